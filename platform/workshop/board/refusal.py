"""How the board says no."""

from __future__ import annotations

import math


class Refused(Exception):
    """Somebody asks for what they do not get; the words are for people."""

    def __init__(self, status: int, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after
        """In seconds; 0 where waiting does not help."""

    def headers(self) -> dict[str, str]:
        """Give the headers that go with it."""
        return {"retry-after": str(math.ceil(self.retry_after))} if self.retry_after else {}
