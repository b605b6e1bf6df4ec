"""The processor's share and its instructions, read from files as the kernel writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workshop.embedded.cpus import missing_instructions, threads, usable_cpus

if TYPE_CHECKING:
    from pathlib import Path

_FLAGS = "processor\t: 0\nflags\t\t: fpu avx {}\nbugs\t\t: none\n"


def _v1(root: Path, quota: str, period: str) -> Path:
    (root / "cpu").mkdir()
    (root / "cpu/cpu.cfs_quota_us").write_text(quota + "\n", "ascii")
    (root / "cpu/cpu.cfs_period_us").write_text(period + "\n", "ascii")
    return root


@pytest.mark.parametrize(
    ("text", "expected"), [("150000 100000", 1.5), ("max 100000", 4), ("800000 100000", 4)]
)
def test_usable_cpus_version_2_quota_is_read(tmp_path: Path, text: str, expected: float) -> None:
    """The quota counts, but never beyond the cpuset's four."""
    (tmp_path / "cpu.max").write_text(text + "\n", "ascii")
    assert usable_cpus(tmp_path, allowed=4) == expected


@pytest.mark.parametrize(("quota", "expected"), [("50000", 0.5), ("-1", 4), ("250000", 2.5)])
def test_usable_cpus_version_1_quota_is_read(tmp_path: Path, quota: str, expected: float) -> None:
    """The older hierarchy says -1 where it sets no limit."""
    assert usable_cpus(_v1(tmp_path, quota, "100000"), allowed=4) == expected


def test_usable_cpus_no_control_group_takes_the_cpuset(tmp_path: Path) -> None:
    """A directory without any quota leaves what the scheduler allows."""
    assert usable_cpus(tmp_path, allowed=3) == 3


@pytest.mark.parametrize(("cpus", "expected"), [(0.5, 1), (1.0, 1), (1.9, 1), (2.0, 2), (3.5, 3)])
def test_threads_share_is_rounded_down_to_at_least_one(cpus: float, expected: int) -> None:
    """A part of a processor carries no thread of its own."""
    assert threads(cpus) == expected


def test_missing_instructions_complete_processor_lacks_nothing() -> None:
    """Everything the engine needs is found among the flags."""
    assert missing_instructions(_FLAGS.format("avx2 fma f16c bmi2"), "x86_64") == ()


def test_missing_instructions_old_processor_each_is_named() -> None:
    """``avx`` alone must not be taken for ``avx2``."""
    assert missing_instructions(_FLAGS.format("fma"), "x86_64") == ("avx2", "f16c", "bmi2")


def test_missing_instructions_other_architecture_is_not_judged() -> None:
    """The names are those of x86_64."""
    assert missing_instructions("Features : fp asimd", "aarch64") == ()
