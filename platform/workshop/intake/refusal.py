"""What the intake does not do, and what its caller is told: a status and plain words."""

from __future__ import annotations

import math


class Refused(Exception):
    """A request, or an archive, that is not taken."""

    def __init__(
        self,
        message: str,
        status: int,
        *,
        retry_after: float | None = None,
        basic: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        """What is wrong, what was seen, what to do next."""
        self.status = status
        self.retry_after = retry_after
        """Seconds to wait before trying again."""
        self.basic = basic
        """Whether to ask for a name and a key the way browsers and docker understand."""

    def headers(self) -> dict[str, str]:
        """Name the headers that go with it."""
        found = {}
        if self.retry_after is not None:
            found["retry-after"] = str(max(1, math.ceil(self.retry_after)))
        if self.basic:
            found["www-authenticate"] = 'Basic realm="workshop", charset="UTF-8"'
        return found


def amount(size: float) -> str:
    """Say a number of bytes: ``640 bytes``, ``34 kB``, ``2.1 GB``."""
    units = ("bytes", "kB", "MB", "GB")
    for unit in units[:-1]:
        if size < 1000:  # noqa: PLR2004 - the step between two units
            return f"{size:.0f} {unit}" if unit != "MB" else f"{size:.1f} MB"
        size /= 1000
    return f"{size:.1f} {units[-1]}"
