"""A class with models, on a memory engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workshop import operations

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop.workspace import Workspace

MODELS = """
workshop:
  name: class
  url: http://localhost:18999
  deploys: false
  llm:
    upstreams:
      - name: openai
        url: https://api.openai.com/v1
        key_env: CLASS_KEY
        models:
          gpt-5-mini: {input: 0.25, output: 2}
          text-embedding-3-small: {input: 0.02}
    outage: [replay, embedded]
participants: [ada, bob]
"""


@pytest.fixture
def models(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Make a workshop of two with a paid upstream and the embedded model behind it."""
    monkeypatch.setenv("CLASS_KEY", "sk-canary")
    work.roster_path.write_text(MODELS, "utf-8")
    return work


@pytest.fixture
def running(models: Workspace, next_command: Callable[[Workspace], Workspace]) -> Workspace:
    """Provision it; ready for the next command."""
    report = operations.provision(models)
    assert report.ok, report.failed
    return next_command(models)
