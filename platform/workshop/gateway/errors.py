"""What goes wrong at the gateway, in the shape every OpenAI client understands.

``GatewayError`` is said to the caller: a status, a sentence, and the code programs look at.

    GatewayError
    └── Cut            ends a request under way: its key no longer holds, or the gateway stops
    UpstreamFailed     one upstream gave no usable answer; another may (never leaves forward.py)
"""

from __future__ import annotations

import json
import math
import re

INVALID = "invalid_request_error"
DENIED = "permission_error"
RATE = "rate_limit_error"
QUOTA = "insufficient_quota"
SERVER = "server_error"

_KEY = re.compile(r"\b(?:wk|sk|pk|rk|gsk|key|AIza)[-_]?[A-Za-z0-9_\-]{16,}", re.ASCII)
_LONGEST = 500


class GatewayError(Exception):
    """A request that gets no answer, and what its caller is told."""

    def __init__(  # noqa: PLR0913 - the fields of OpenAI's error object, and two of HTTP
        self,
        status: int,
        message: str,
        *,
        code: str,
        type: str = INVALID,  # noqa: A002 - the name of the field
        param: str | None = None,
        retry_after: float | None = None,
        final: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.type = type
        self.param = param
        self.retry_after = retry_after
        self.final = final
        """Whether official clients should not try again by themselves, whatever the status."""

    def body(self) -> bytes:
        """Write the error object."""
        error = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        return json.dumps({"error": error}).encode()

    def event(self) -> bytes:
        """Write the error as the last event of a stream that has begun."""
        return b"data: " + self.body() + b"\n\n"

    def headers(self) -> dict[str, str]:
        """Name the headers that go with it."""
        found = {}
        if self.retry_after is not None:
            found["retry-after"] = str(max(1, math.ceil(self.retry_after)))
        if self.final:
            found["x-should-retry"] = "false"
        if self.status == 401:  # noqa: PLR2004 - HTTP asks for this header with this status
            found["www-authenticate"] = "Bearer"
        return found


class Cut(GatewayError):
    """Ends a request that is being answered."""


class UpstreamFailed(Exception):
    """One upstream gave no usable answer."""

    def __init__(
        self, reason: str, *, error: GatewayError | None = None, down: bool = True
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        """For the log; holds nothing a caller or a provider wrote."""
        self.error = error
        """What the caller is told if no other upstream answers."""
        self.down = down
        """Whether the upstream should be left alone for a while."""


def invalid(message: str, param: str | None = None, code: str = "invalid_value") -> GatewayError:
    """Describe a request that was not understood."""
    return GatewayError(400, message, code=code, param=param)


def scrub(text: object, *secrets: str) -> str:
    """Shorten a foreign message and take out whatever looks like a key."""
    words = " ".join(str(text).split())
    for secret in filter(None, secrets):
        words = words.replace(secret, "[key]")
    words = _KEY.sub("[key]", words)
    return words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"


def in_words(seconds: float) -> str:
    """Say a length of time: ``in 3 h 12 min``, ``in 40 s``."""
    whole = max(1, math.ceil(seconds))
    if whole < 120:  # noqa: PLR2004 - below two minutes seconds read better
        return f"in {whole} s"
    hours, minutes = divmod(math.ceil(whole / 60), 60)
    return f"in {hours} h {minutes} min" if hours else f"in {minutes} min"
