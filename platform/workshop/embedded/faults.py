"""What goes wrong for a caller, in OpenAI's shape."""

from __future__ import annotations

import json


class ApiError(Exception):
    """A request that gets no answer.

    Attributes:
        message: what, where, and what to do next; a beginner reads it.
        status: the HTTP status.
        code: a word for programs.
        param: the field at fault.

    """

    def __init__(
        self,
        message: str,
        status: int = 400,
        code: str = "invalid_value",
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.param = param

    def body(self) -> bytes:
        """Write it as OpenAI's error object."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"  # noqa: PLR2004 - HTTP's own border
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return json.dumps({"error": error}).encode()
