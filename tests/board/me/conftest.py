"""A board with somebody's failed deploys, and an intake for the browser to upload to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.board.lab import Lab, person, seat
from workshop.board.shown import Deploy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MARKUP = "<b onmouseover=alert(1)>"
"""Foreign text that would do harm where it is not escaped."""


def deploy(number: int, **changes: Any) -> Deploy:
    """Describe one of ada's deploys that went live."""
    found = Deploy(
        f"170000000000{number}-0000000{number}",
        number,
        "push",
        "ada",
        "live",
        1.7e9 + number,
        1.7e9 + number + 4,
        version=f"{number}-9b1d4c3",
    )
    return replace(found, **changes)


FAILED = deploy(
    4,
    what="source",
    stage="failed",
    version="",
    message="The app listens on 127.0.0.1, where nobody can reach it.",
    evidence=("127.0.0.1:8000",),
    next="Let it listen on `0.0.0.0`.",
)
RUNS = (FAILED, deploy(3, live=True), deploy(2, kept=True), deploy(1))


@pytest.fixture
def spare(tmp_path: Path) -> Iterator[Lab]:
    """Run a board for ada, bob and a seat that is nobody's yet."""
    lab = Lab(tmp_path / "board")
    spare = person("spare-1", display_name="", spare=True)
    lab.config = replace(lab.config, seats=(*lab.config.seats, spare))
    yield lab.start()
    lab.stop()


@pytest.fixture
def deployed(lab: Lab) -> Lab:
    """Have ada's deploys: one that failed, one that is live, one to go back to."""
    assert lab.shown is not None
    lab.show(replace(lab.shown, seats=(seat("ada", deploys=RUNS), seat("bob"))))
    return lab


@pytest.fixture
def page(browser: Callable[[], Any]) -> Any:
    """Open a browser."""
    return browser()
