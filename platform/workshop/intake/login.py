"""Gives docker its tokens: who is it, what may it do, is there room left."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from workshop.intake import quota, scopes
from workshop.intake.authenticate import authenticate, basic, refuse_key_in_url
from workshop.intake.exchange import json_reply, read_whole
from workshop.intake.issuer import SERVICE
from workshop.intake.refusal import Refused, amount
from workshop.intake.tokens import SECONDS

if TYPE_CHECKING:
    from workshop.intake.config import Seat
    from workshop.intake.exchange import Ask, Reply
    from workshop.intake.service import Service
    from workshop.intake.tokens import Access

_LONGEST_FORM = 16 * 1024


async def token(service: Service, ask: Ask) -> Reply:
    """Answer a request for a token, as a query or as the form that newer clients send.

    Raises:
        Refused: it gets none.

    """
    refuse_key_in_url(ask.query)
    if ask.method == "POST":
        name, key, wanted = await _form(ask)
    else:
        name, key = basic(ask.headers) or ("", "")
        wanted = ask.all("scope")
    view = service.view
    seat = authenticate(name, key, view, ask.peer, service.guesses)
    access = scopes.grant(seat, scopes.parse(wanted), view)
    if any("push" in item.actions for item in access):
        await _check_disk(service)
        await _check_room(service, seat)
    service.log("token", seat=seat.name, access=[_shown(item) for item in access])
    signed = view.signer.token(seat.name, SERVICE, access, SECONDS)
    issued = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return json_reply(
        {"token": signed, "access_token": signed, "expires_in": SECONDS, "issued_at": issued},
        headers={"cache-control": "no-store"},
    )


async def _form(ask: Ask) -> tuple[str, str, list[str]]:
    raw = await read_whole(ask, _LONGEST_FORM)
    try:
        form = parse_qs(raw.decode("utf-8"), max_num_fields=100)
    except ValueError:
        raise Refused("The form with the request for a token is not readable.", 400) from None

    def first(field: str) -> str:
        return form.get(field, [""])[0]

    pair = basic(ask.headers)
    if pair is None and first("grant_type") != "password":
        raise Refused(
            f"This kind of login ('{first('grant_type')[:40]}') is not known here. Log in anew with"
            " your name and your key: docker logout, then docker login.",
            401,
            basic=True,
        )
    name, key = pair or (first("username"), first("password"))
    return name, key, form.get("scope", [])


async def _check_disk(service: Service) -> None:
    """Say before a push begins what the registry could only say without words, in the middle."""
    left = await asyncio.to_thread(quota.too_little, service.options.storage)
    if left:
        service.log("no room for images", left=left)
        raise Refused(
            f"The server's disk has no room for another image, only for {left}. Your app goes on"
            " as it is, and nothing is wrong with your image. Tell your instructor, and push"
            " again once there is room.",
            403,
        )


async def _check_room(service: Service, seat: Seat) -> None:
    most = service.view.config.limits.repository_bytes
    used = await asyncio.to_thread(quota.usage, service.options.storage, seat.name)
    if not used.whole:
        service.log("counting layers takes too long", seat=seat.name, layers=used.layers)
    if used.bytes > most:
        raise Refused(
            f"Your images take {amount(used.bytes)} in {used.layers} layers, and {amount(most)} are"
            " yours. Your app goes on as it is. Ask your instructor to clear your repositories;"
            " smaller images start from the class's own base and leave data out.",
            403,
        )


def _shown(access: Access) -> str:
    return f"{access.name}:{','.join(access.actions)}"
