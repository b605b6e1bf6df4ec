"""What the doctor says about a server: each thing that stands in the way once, with the mend."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from workshop import doctor, host, operations
from workshop.doctor import Verdict
from workshop.engines.memory import MemoryEngine

if TYPE_CHECKING:
    from workshop.doctor import Check
    from workshop.engines.base import EngineInfo
    from workshop.workspace import Workspace


def told(work: Workspace, monkeypatch: pytest.MonkeyPatch, **facts: str) -> list[Check]:
    """Make the checks of the engine, where it says something else of itself."""
    info = work.engine.info()

    def says(_: MemoryEngine) -> EngineInfo:
        return replace(info, **facts)

    monkeypatch.setattr(MemoryEngine, "info", says)
    return [check for check in operations.examine(work) if check.name == "engine"]


@pytest.mark.parametrize(
    ("version", "verdict"),
    [
        ("19.03.15", Verdict.FAILED),
        ("18.09.1+dfsg1", Verdict.FAILED),
        ("20.10.24+dfsg1", Verdict.OK),
        ("28.0.1", Verdict.OK),
    ],
)
def test_engine_too_old_is_told_which_one_is_needed(
    work: Workspace, monkeypatch: pytest.MonkeyPatch, version: str, verdict: Verdict
) -> None:
    """F46: the API's version is negotiated; the oldest engine is stated."""
    (found,) = told(work, monkeypatch, kind="docker", version=version, endpoint="unix:///run/x")

    assert found.verdict is verdict
    assert version in found.found
    assert found.mend == ("" if verdict is Verdict.OK else "upgrade to Docker 20.10 or newer")


def test_engine_on_another_machine_is_refused(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The edge reaches seats by their addresses, which are that machine's own."""
    (found,) = told(work, monkeypatch, endpoint="ssh://class.example.org")

    assert found.verdict is Verdict.FAILED
    assert found.mend.startswith("run this command on the server itself")


@pytest.mark.parametrize("value", ["0", None])
@pytest.mark.parametrize("name", sorted(doctor.KERNEL))
def test_kernel_that_is_set_otherwise_is_named_with_the_reason(
    work: Workspace, monkeypatch: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    """One setting decides whether seats can reach each other within their bridge."""
    there = host.sysctl
    monkeypatch.setattr(host, "sysctl", lambda key: value if key == name else there(key))
    wanted, reason, mend = doctor.KERNEL[name]

    (found,) = [
        check
        for check in operations.examine(work)
        if check.name == "kernel" and check.verdict is Verdict.FAILED
    ]

    assert wanted == "1"
    assert found.found == f"{name} {'is missing' if value is None else '= 0'}: {reason}"
    assert found.mend == mend
