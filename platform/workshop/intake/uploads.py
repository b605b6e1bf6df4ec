"""Takes an archive: spools it, has it made clean, and hands it over."""

from __future__ import annotations

import asyncio
import errno
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from workshop.intake import archive, forms, orders
from workshop.intake.authenticate import authenticate, key_of, refuse_key_in_url
from workshop.intake.orders import Order, What
from workshop.intake.refusal import Refused, amount

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator
    from pathlib import Path

    from workshop.intake.archive import Summary
    from workshop.intake.config import Limits, Seat
    from workshop.intake.exchange import Ask
    from workshop.intake.service import Service

UNPACKING = 2
"""Archives unpacked at the same time."""
PLACES = 64
"""Uploads under way at the same time, arriving or waiting to be unpacked."""
PLACES_EACH = 2
_WAITING_EACH = 5
"""Orders of one seat that nobody has taken yet."""
_AROUND_FORM = 64 * 1024
_LEAVE_OUT = "Leave out .venv, node_modules, .git and data; the build installs what your app needs."


class Doorway:
    """Counts who is inside, and unpacks with few hands."""

    def __init__(self) -> None:
        self._inside: Counter[str] = Counter()
        self.hands = ThreadPoolExecutor(UNPACKING, thread_name_prefix="unpack")

    @contextmanager
    def place(self, seat: str) -> Iterator[None]:
        """Hold a place for one upload.

        Raises:
            Refused: there is none left, for this seat or at all.

        """
        if self._inside[seat] >= PLACES_EACH:
            raise Refused(
                "Two uploads of yours are under way already. Wait for one of them to end.",
                429,
                retry_after=5,
            )
        if self._inside.total() >= PLACES:
            raise Refused(
                "The whole class is uploading at this moment. Try again in a few seconds.",
                429,
                retry_after=5,
            )
        self._inside[seat] += 1
        try:
            yield
        finally:
            self._inside[seat] -= 1
            if not self._inside[seat]:
                del self._inside[seat]


async def receive(service: Service, ask: Ask, name: str) -> tuple[Order, Summary]:
    """Take one upload for ``name``, up to its order in the inbox.

    Raises:
        Refused: it is not taken; nothing of it is left then.
        Gone: the client went away before the archive was whole.

    """
    refuse_key_in_url(ask.query)
    limits = service.view.config.limits
    order_id = orders.new_id()
    inbox = service.options.inbox
    body, source = inbox / f".{order_id}.body", inbox / f".{order_id}.tar"
    pieces = _content(service, ask, name)
    try:
        seat = await anext(pieces)
        assert not isinstance(seat, bytes)  # noqa: S101 - the first thing that comes, by contract
        with service.doorway.place(seat.name), _disk(service):
            await _spool(pieces, body, limits)
            loop = asyncio.get_running_loop()
            summary = await loop.run_in_executor(
                service.doorway.hands, _clean, body, source, limits
            )
            order = Order(order_id, seat.name, What.SOURCE, seat.name, time.time())
            await asyncio.to_thread(orders.place, inbox, order, source)
    finally:
        await pieces.aclose()
        body.unlink(missing_ok=True)
        source.unlink(missing_ok=True)
    service.log("upload", seat=seat.name, order=order_id, files=summary.files, bytes=summary.bytes)
    return order, summary


def sweep(inbox: Path) -> None:
    """Remove what a killed intake left half done."""
    for path in inbox.glob(".*"):
        if path.suffix in {".body", ".tar", ".new"}:
            path.unlink(missing_ok=True)
    # An archive is there before its order, and goes before it.
    for path in inbox.glob("*.tar"):
        if not path.with_suffix(".json").exists():
            path.unlink(missing_ok=True)


async def _content(service: Service, ask: Ask, name: str) -> AsyncGenerator[Seat | bytes, None]:
    """Give the seat as soon as it is known, then the bytes of its archive."""
    content_type = ask.headers.get("content-type", "")
    form = content_type.lower().startswith("multipart/form-data")
    if not form:
        yield _admit(service, ask, name, "")
        async for piece in ask.body():
            yield piece
        return
    key, admitted, seen = "", False, False
    if "authorization" in ask.headers:
        yield _admit(service, ask, name, "")
        admitted = True
    async for part in forms.parts(ask.body(), content_type):
        if isinstance(part, forms.Field):
            key = part.value if part.name == "key" else key
            continue
        if not admitted:
            yield _admit(service, ask, name, key)
            admitted = True
        seen = True
        yield part.content
    if not seen:
        raise Refused("The form holds no file. With curl: -F key=KEY -F file=@app.zip", 400)


def _admit(service: Service, ask: Ask, name: str, field: str) -> Seat:
    """See whose upload it is, and whether it may come now."""
    seat = authenticate(
        name, key_of(ask.headers, name, field), service.view, ask.peer, service.guesses
    )
    limits = service.view.config.limits
    _check_length(ask, limits)
    wait = service.paces.take(seat.name, limits.deploys_per_minute, limits.burst)
    if wait:
        raise Refused(
            f"You have sent {limits.burst} deploys in short order; {limits.deploys_per_minute} a"
            f" minute are yours. Try again in {wait:.0f} s.",
            429,
            retry_after=wait,
        )
    _check_taken(service, seat)
    return seat


def _check_length(ask: Ask, limits: Limits) -> None:
    """Refuse by the announced length before a byte is read; bytes are counted all the same."""
    length = ask.headers.get("content-length", "")
    if length.isdigit() and int(length) > limits.upload_bytes + _AROUND_FORM:
        raise _too_large(limits)


def _check_taken(service: Service, seat: Seat) -> None:
    inbox = service.options.inbox
    found = (orders.read_order(inbox, order_id) for order_id in orders.waiting(inbox))
    if sum(1 for order in found if order and order.seat == seat.name) >= _WAITING_EACH:
        raise Refused(
            f"{_WAITING_EACH} deploys of yours wait already; the platform's deploy server does not"
            " answer. Tell your instructor.",
            503,
            retry_after=30,
        )


async def _spool(pieces: AsyncIterator[Seat | bytes], body: Path, limits: Limits) -> None:
    size = 0
    with body.open("wb") as file:
        async for piece in pieces:
            assert isinstance(piece, bytes)  # noqa: S101 - by contract
            size += len(piece)
            if size > limits.upload_bytes:
                raise _too_large(limits)
            file.write(piece)


def _clean(body: Path, source: Path, limits: Limits) -> Summary:
    with body.open("rb") as packed, source.open("wb") as clean:
        summary = archive.normalise(packed, clean, limits)
    # Whoever builds from it is another user.
    source.chmod(0o644)
    return summary


@contextmanager
def _disk(service: Service) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        service.log("upload not written", error=exc.strerror)
        full = exc.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        what = "has no room left on its disk" if full else "cannot write your upload"
        raise Refused(
            f"The server {what}. Nothing is wrong with your app; tell your instructor.",
            507 if full else 500,
        ) from exc


def _too_large(limits: Limits) -> Refused:
    return Refused(f"The upload is larger than {amount(limits.upload_bytes)}. {_LEAVE_OUT}", 413)
