"""Waiting for what somebody else does: a process, a thread, a browser."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 60.0
"""Seconds. Long, as builds run beside the tests: how quick something is stands in ``bench/``."""
SOON = 10.0
"""Seconds within which what waits for nothing is over, also beside builds."""
_BETWEEN = 0.02
"""Seconds. Whoever asks a browser more often takes the processors that its page needs."""


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait until something is so, and return what it is."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not so after {seconds:g} s"
        time.sleep(_BETWEEN)
    return found
