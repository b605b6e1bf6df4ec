"""What the doctor says about models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workshop import doctor, host, operations
from workshop.doctor import Verdict

if TYPE_CHECKING:
    import pytest

    from workshop.doctor import Check
    from workshop.workspace import Workspace


def checks(work: Workspace) -> list[Check]:
    """Make the checks about models."""
    return [check for check in operations.examine(work) if check.name == "models"]


def test_processor_that_cannot_run_the_model_is_named(
    models: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Better than a container that starts again and again."""
    monkeypatch.setattr(host, "cpu_flags", lambda: frozenset({"sse2", "fma", "f16c"}))

    found = checks(models)[0]
    assert (found.verdict, "avx2" in found.found) == (Verdict.FAILED, True)


def test_missing_key_is_found_before_the_class(
    models: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line says which variable, and where to set it."""
    monkeypatch.delenv("CLASS_KEY")

    found = checks(models)[1]
    assert (found.verdict, "CLASS_KEY" in found.found) == (Verdict.FAILED, True)


def test_paid_upstream_without_a_bound_for_the_class_is_a_warning(models: Workspace) -> None:
    """Thirty budgets of thirty people add up."""
    assert [check.verdict for check in checks(models)][-1] is Verdict.WARNING


def test_class_without_models_is_not_checked_for_them(work: Workspace) -> None:
    """What is not used cannot be wrong."""
    assert checks(work) == []


def test_memory_of_the_embedded_model_counts(models: Workspace, work: Workspace) -> None:
    """It is the largest container of a small class."""
    assert doctor.memory_wanted(models.roster) == 2 * (256 << 20) + (768 << 20)
