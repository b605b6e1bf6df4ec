"""Shows participants their deploys: while one is made, how it ended, and the ones before."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from workshop.intake import words
from workshop.intake.authenticate import authenticate, key_of, refuse_key_in_url
from workshop.intake.exchange import NDJSON, TEXT, Reply, json_reply
from workshop.intake.orders import Progress, Stage
from workshop.intake.uploads import receive
from workshop.intake.watch import follow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from workshop.intake.exchange import Ask
    from workshop.intake.service import Service

_NO_STORE = {"cache-control": "no-store", "x-accel-buffering": "no"}


async def upload(service: Service, ask: Ask, name: str) -> Reply:
    """Take an upload and answer with what becomes of it.

    Raises:
        Refused: it is not taken.

    """
    order, summary = await receive(service, ask, name)
    taken = words.received(summary)
    headers = {**_NO_STORE, "x-deploy-id": order.id}
    as_json = ask.wants_json()
    facts = {"id": order.id, "seat": order.seat, "stage": Stage.WAITING, "text": taken}
    if ask.has("wait", "no", "0", "false"):
        if as_json:
            return json_reply(facts, 202, headers)
        return Reply(f"{order.id}\n".encode(), 202, headers=headers)
    first = _object(facts) if as_json else _text(taken)
    pieces = _after(first, _stream(service, order.id, as_json=as_json))
    return _reply(pieces, 202, headers, as_json=as_json)


async def show(service: Service, ask: Ask, name: str) -> Reply:
    """List the deploys of ``name``, or follow the newest one to its end.

    Raises:
        Refused: whoever asks is not ``name``.

    """
    refuse_key_in_url(ask.query)
    key = key_of(ask.headers, name)
    seat = authenticate(name, key, service.view, ask.peer, service.guesses)
    as_json = ask.wants_json()
    if ask.has("follow"):
        return await _follow_newest(service, ask, seat.name)
    found = await service.last(seat.name)
    if as_json:
        app = service.view.app
        deploys = [{**_facts(item, app), "text": _ended_text(item, app)} for item in found]
        return json_reply({"seat": seat.name, "deploys": deploys}, headers=_NO_STORE)
    return Reply(_text(words.listing(seat.name, found, service.view.url)), headers=_NO_STORE)


async def _follow_newest(service: Service, ask: Ask, seat: str) -> Reply:
    order_id = await _newest(service, seat)
    as_json = ask.wants_json()
    if not order_id:
        lines = words.listing(seat, [], service.view.url)
        content = _object({"seat": seat, "text": lines}) if as_json else _text(lines)
        return _reply(content, 404, _NO_STORE, as_json=as_json)
    headers = {**_NO_STORE, "x-deploy-id": order_id}
    pieces = _stream(service, order_id, as_json=as_json)
    if not ask.has("strict"):
        return _reply(pieces, 200, headers, as_json=as_json)
    content = b"".join([piece async for piece in pieces])
    ended = await _ended(service, seat, order_id)
    live = ended is not None and ended.stage is Stage.LIVE
    return _reply(content, 200 if live else 422, headers, as_json=as_json)


async def _newest(service: Service, seat: str) -> str:
    """Name the deploy to follow: one under way, which may take a moment to appear, or the last."""
    end = time.monotonic() + service.options.appear
    while True:
        found = await service.last(seat)
        if found and not found[0].stage.over:
            return found[0].id
        if time.monotonic() >= end:
            return found[0].id if found else ""
        # A whole class may wait here, and each look reads several files.
        await asyncio.sleep(4 * service.options.poll)


async def _ended(service: Service, seat: str, order_id: str) -> Progress | None:
    return next((item for item in await service.last(seat) if item.id == order_id), None)


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


async def _stream(service: Service, order_id: str, *, as_json: bool) -> AsyncIterator[bytes]:
    """Tell what becomes of an order, as it comes."""
    options, teller = service.options, words.Teller(service.view.app)
    began = spoke = time.monotonic()
    known = warned = False
    async for progress in _changes(service, order_id):
        now = time.monotonic()
        if progress is not None:
            known, spoke = True, now
            new = teller.new_lines(progress)
            lines = teller.tell(progress, new)
            if as_json:
                facts = _facts(progress, service.view.app)
                yield _object({**facts, "lines": new, "text": lines})
            elif lines:
                yield _text(lines)
            if progress.stage.over:
                return
        elif not known and not warned and now - began > options.silent:
            warned, spoke = True, now
            yield _note(order_id, words.SILENT, as_json=as_json)
        elif now - spoke > options.heartbeat and not as_json:
            spoke = now
            yield _text([f"... {now - began:.0f} s"])
    yield _note(order_id, words.PATIENCE_OVER, as_json=as_json)


async def _changes(service: Service, order_id: str) -> AsyncIterator[Progress | None]:
    """Follow an order; one whose progress is not kept any more has its end in the log."""
    ended = await service.ended(order_id)
    if ended is not None:
        yield ended
        return
    options = service.options
    async for progress in follow(
        options.deploys, order_id, every=options.poll, longest=options.longest
    ):
        yield progress


def _facts(progress: Progress, app: Callable[[str], str]) -> dict[str, Any]:
    found = asdict(progress)
    del found["lines"]
    return {**found, "over": progress.stage.over, "url": app(progress.seat)}


def _ended_text(progress: Progress, app: Callable[[str], str]) -> list[str]:
    return words.ending(progress, app) if progress.stage.over else []


def _note(order_id: str, text: str, *, as_json: bool) -> bytes:
    if as_json:
        return _object({"id": order_id, "stage": Stage.WAITING, "text": [text]})
    return _text([text])


def _reply(
    content: bytes | AsyncIterator[bytes], status: int, headers: dict[str, str], *, as_json: bool
) -> Reply:
    return Reply(content, status, NDJSON if as_json else TEXT, headers)


def _object(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _text(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
