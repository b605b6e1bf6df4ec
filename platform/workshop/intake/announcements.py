"""Hears from the registry what was pushed, and hands over what should be deployed."""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from workshop.intake import orders
from workshop.intake.exchange import json_reply, read_whole
from workshop.intake.orders import Order, What
from workshop.intake.refusal import Refused

if TYPE_CHECKING:
    from workshop.intake.exchange import Ask, Reply
    from workshop.intake.service import Service
    from workshop.intake.view import View

_LONGEST = 4 * 1024 * 1024
_REMEMBERED = 20_000
_IMAGES = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
    }
)
_SIGNATURE = re.compile(r"sha256-[0-9a-f]{64}(?:\.[a-z]+)?")
"""Tags that tools give to signatures and bills of material."""
Pushed = tuple[str, str]
"""Repository and digest."""


class Heard:
    """The events that were dealt with; the registry says everything until it is thanked."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, event_id: object) -> bool:
        return event_id in self._ids

    def add(self, event_id: str) -> None:
        """Remember one; the oldest are forgotten."""
        self._ids[event_id] = None
        while len(self._ids) > _REMEMBERED:
            self._ids.popitem(last=False)


async def events(service: Service, ask: Ask) -> Reply:
    """Take an envelope of events.

    Raises:
        Refused: it does not come from the registry, or an order could not be written: the registry
            tries again then.

    """
    view = service.view
    expected = f"Bearer {view.events_secret}".encode()
    given = ask.headers.get("authorization", "").encode("utf-8", "replace")
    if not hmac.compare_digest(given, expected):
        raise Refused("Only the workshop's own registry announces here.", 401)
    found = _envelope(await read_whole(ask, _LONGEST))
    placed: dict[Pushed, str] = {}
    for event in found:
        event_id = str(event.get("id") or "")
        if event_id and event_id in service.heard:
            continue
        await _deal_with(service, view, event, placed)
        if event_id:
            service.heard.add(event_id)
    return json_reply({"orders": sorted(placed.values())})


async def _deal_with(
    service: Service, view: View, event: dict[str, Any], placed: dict[Pushed, str]
) -> None:
    if event.get("action") != "push":
        return
    order, reason = _order(event, view)
    if order is None:
        target = event.get("target")
        name = str(target.get("repository", ""))[:100] if isinstance(target, dict) else ""
        service.log("push ignored", repository=name, reason=reason)
        return
    if (order.repository, order.digest) in placed:
        return
    try:
        await asyncio.to_thread(orders.place, service.options.inbox, order)
    except OSError as exc:
        service.log("order not written", seat=order.seat, error=exc.strerror)
        raise Refused("The order could not be written; try again.", 500) from exc
    placed[order.repository, order.digest] = order.id
    service.log("push", seat=order.seat, order=order.id, repository=order.repository)


def _envelope(raw: bytes) -> list[dict[str, Any]]:
    try:
        found = json.loads(raw)["events"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Refused("This is no envelope of events.", 400) from None
    if not isinstance(found, list):
        raise Refused("This is no envelope of events.", 400)
    return [event for event in found if isinstance(event, dict)]


def _order(event: dict[str, Any], view: View) -> tuple[Order | None, str]:
    """Make an order of a push, or say why not."""
    target, actor = event.get("target"), event.get("actor")
    target = target if isinstance(target, dict) else {}
    tag, repository = str(target.get("tag") or ""), str(target.get("repository") or "")
    digest = str(target.get("digest") or "")
    seat = repository.partition("/")[0]
    if not tag:
        return None, "no tag"
    if target.get("mediaType") not in _IMAGES or _SIGNATURE.fullmatch(tag):
        return None, "not an image"
    if not orders.REPOSITORY.fullmatch(repository) or not orders.DIGEST.fullmatch(digest):
        return None, "a name or a digest that is none"
    if seat not in view.seats:
        return None, "nobody's"
    name = str(actor.get("name") or "") if isinstance(actor, dict) else ""
    who = name if orders.NAME.fullmatch(name) else seat
    made = Order(
        id=orders.new_id(),
        seat=seat,
        what=What.PUSH,
        actor=who,
        received=time.time(),
        repository=repository,
        digest=digest,
    )
    return made, ""
