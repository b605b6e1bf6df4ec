"""An answer that has begun: checked as far as it is there, the rest still to come."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workshop.gateway.config import Task
from workshop.gateway.errors import UpstreamFailed
from workshop.gateway.sse import EventReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from workshop.gateway.config import Upstream
    from workshop.gateway.doors import Patience, Reply
    from workshop.gateway.tally import Tally
    from workshop.gateway.validate import Ask

LARGEST = 8 * 1024 * 1024
_LISTS = {Task.CHAT: "choices", Task.EMBEDDING: "data"}


@dataclass
class Answer:
    """What one upstream gives; :meth:`close` is due, whatever happens."""

    upstream: Upstream
    content: bytes
    """All of it, or the first events of a stream."""
    reply: Reply
    patience: Patience
    reader: EventReader | None = None
    """Reads the stream on the side; ``None`` for an answer in one piece."""
    leave: Callable[[], None] | None = None
    """Gives back the place it holds in its upstream's pool."""

    @property
    def headers(self) -> dict[str, str]:
        """Name the upstream, for whoever looks."""
        return headers(self.upstream)

    @property
    def over(self) -> bool:
        """Whether a stream has said that it is over."""
        return self.reader is not None and self.reader.done

    async def pieces(self) -> AsyncIterator[bytes]:
        """Give the stream as it comes, in whole events.

        Raises:
            UpstreamFailed: it breaks off, or is no stream of answers.

        """
        reader = self.reader
        if reader is None:
            raise RuntimeError("this answer is no stream")
        yield self.content
        while not reader.done:
            try:
                async with asyncio.timeout(self.patience.between):
                    chunk = await anext(self.reply.chunks, None)
            except TimeoutError as exc:
                raise UpstreamFailed("silence in the middle of the answer") from exc
            if chunk is None:
                break
            if piece := reader.feed(chunk):
                yield piece
        else:
            return
        if rest := reader.finish():
            yield rest

    async def close(self) -> None:
        """Let go of the connection; keep it for the next request where the stream has ended."""
        if self.leave:
            self.leave()
        try:
            if self.over:
                async with asyncio.timeout(self.patience.draining):
                    await anext(self.reply.chunks, None)
        except (TimeoutError, UpstreamFailed):
            pass
        finally:
            await self.reply.chunks.aclose()
            await self.reply.close()


def headers(upstream: Upstream) -> dict[str, str]:
    """Name an upstream, and warn if it is a toy."""
    found = {"x-workshop-upstream": upstream.name}
    if upstream.toy:
        found["x-workshop-toy"] = "1"
    return found


async def begin(
    ask: Ask, upstream: Upstream, reply: Reply, tally: Tally, patience: Patience
) -> Answer:
    """Read as much of a reply as is needed to trust it.

    Raises:
        UpstreamFailed: it is no answer.

    """
    try:
        if ask.stream:
            reader = EventReader(tally, wants_usage=ask.wants_usage)
            content = await _first(reply, reader, patience)
            return Answer(upstream, content, reply, patience, reader)
        content = await _whole(reply, patience)
        tally.take_whole(_parse(content, ask.task))
        return Answer(upstream, content, reply, patience)
    except BaseException:
        await reply.chunks.aclose()
        await reply.close()
        raise


async def _first(reply: Reply, reader: EventReader, patience: Patience) -> bytes:
    if "text/event-stream" not in reply.content_type.lower():
        raise UpstreamFailed("no stream, though one was asked for")
    try:
        async with asyncio.timeout(patience.first_byte):
            async for chunk in reply.chunks:
                if events := reader.feed(chunk):
                    return events
    except TimeoutError as exc:
        raise UpstreamFailed("no answer in time") from exc
    return reader.finish()


async def _whole(reply: Reply, patience: Patience) -> bytes:
    parts, size = [], 0
    try:
        async with asyncio.timeout(patience.whole):
            async for chunk in reply.chunks:
                size += len(chunk)
                if size > LARGEST:
                    raise UpstreamFailed("an answer larger than 8 MiB")
                parts.append(chunk)
    except TimeoutError as exc:
        raise UpstreamFailed("the answer took too long") from exc
    return b"".join(parts)


def _parse(content: bytes, task: Task) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise UpstreamFailed("an answer that is no JSON") from exc
    if not isinstance(found, dict) or not isinstance(found.get(_LISTS[task]), list):
        raise UpstreamFailed("an answer of another shape")
    return found
