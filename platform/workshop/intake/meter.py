"""What unpacking may cost, counted while it happens; what an archive says is not asked."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from workshop.intake.refusal import Refused, amount

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop.intake.config import Limits

ALLOWANCE = 1024 * 1024
"""Unpacked bytes before the ratio counts: a handful of short files packs very well."""


class Meter:
    """Counts one pass through one archive."""

    def __init__(self, limits: Limits, deadline: float, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._deadline = deadline
        self._clock = clock
        self._packed = 0
        self._unpacked = 0
        self._entries = 0
        self._needless: Counter[str] = Counter()

    def took(self, packed: int) -> None:
        """Count bytes read from the archive."""
        self._packed += packed
        self._check_time()

    def gave(self, unpacked: int) -> None:
        """Count bytes that came out of it.

        Raises:
            Refused: it is too much, or too much for what went in, or it takes too long.

        """
        self._unpacked += unpacked
        self._check_time()
        limits = self._limits
        if self._unpacked > limits.unpacked_bytes:
            raise Refused(
                f"The archive unpacks to more than {amount(limits.unpacked_bytes)}."
                f"{self._advice('Send source code only; data and models do not belong in it.')}",
                413,
            )
        if self._unpacked > ALLOWANCE + limits.ratio * self._packed:
            raise Refused(
                f"The archive unpacks to more than {limits.ratio} times its size, as bombs do."
                " Leave out files that hold nothing but repetitions.",
                413,
            )

    def entry(self, needless: str) -> None:
        """Count one file or directory, and what kind of needless thing it is, if any.

        Raises:
            Refused: there are too many.

        """
        self._entries += 1
        self._check_time()
        if needless:
            self._needless[needless] += 1
        if self._entries > self._limits.entries:
            raise Refused(
                f"The archive holds more than {self._limits.entries} files and directories."
                f"{self._advice('Send source code only.')}",
                413,
            )

    def _advice(self, otherwise: str) -> str:
        if not self._needless:
            return f" {otherwise}"
        kind, count = self._needless.most_common(1)[0]
        return f" {count} of them are needless: leave out {kind}."

    def _check_time(self) -> None:
        if self._clock() > self._deadline:
            raise Refused(
                f"The archive takes longer than {self._limits.seconds:.0f} s to unpack."
                " Send less, or pack it plainly: tar czf app.tgz -C my-app .",
                413,
            )


def deadline(limits: Limits, clock: Callable[[], float] = time.monotonic) -> float:
    """Tell when unpacking that begins now must be over."""
    return clock() + limits.seconds
