"""Places at the chat engine: as many at work as it has slots, the others in the order they came.

The engine would queue too, but it holds one thread per waiting connection.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from workshop.embedded.faults import ApiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MOST_WAITING = 64


class Slots:
    """Counts who works and who waits."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.busy = 0
        self.waiting = 0
        self._free = asyncio.Semaphore(size)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place; wait for one if need be.

        Raises:
            ApiError: too many wait already.

        """
        if self.waiting >= MOST_WAITING:
            raise ApiError(
                f"{self.waiting} questions already wait for the toy model; try again in 5 seconds",
                status=503,
                code="overloaded",
            )
        await self._wait()
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1
            self._free.release()

    async def _wait(self) -> None:
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
