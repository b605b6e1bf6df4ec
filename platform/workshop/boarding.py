"""The ways to the board: a one-time link for the instructor, and where participants enter.

The word of a link is made here and kept nowhere: the board finds the name of a file that is the
word's hash (:data:`workshop.board.config.LINKS`), with the second the link ends at.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop import serving, state
from workshop.address import parse_address
from workshop.board import config
from workshop.disk import writing
from workshop.errors import InputError, NotReady, WorkshopError
from workshop.parts.board import TOLD
from workshop.subnets import BOARD_PORT, own_loopback

if TYPE_CHECKING:
    from pathlib import Path

    from workshop.board.config import Config
    from workshop.workspace import Workspace

LINK_SECONDS = 10 * 60.0
"""How long a link may wait to be used."""
_WORD_BYTES = 32
_OK = 200


@dataclass(frozen=True)
class Way:
    """A one-time link to the instructor's board."""

    urls: tuple[str, ...]
    """The same way through each of the board's addresses; the first is for people. It is used up
    with the first that is opened."""
    ends: float
    """Seconds since 1970."""
    forward: str
    """What ``ssh -L`` takes to reach the board's loopback address from another computer."""
    forwarded: str
    """The link's address through that."""

    @property
    def url(self) -> str:
        """The link to open."""
        return self.urls[0]


def open_way(work: Workspace) -> Way:
    """Make a link that logs one browser in, once: ``workshop board``.

    Raises:
        InputError: the roster switches the board off, or the link cannot be written.
        WorkshopError: nothing is provisioned yet.
        NotReady: the board does not answer.

    """
    if work.roster.board is None:
        raise InputError(
            f"{work.roster_path.name} switches the board off",
            hint="set workshop.board: true and leave `deploys: false` out, then "
            "`workshop provision`",
        )
    known, loopback = told(work), _loopback(work)
    if known is None or not loopback:
        raise WorkshopError("there is no board yet", hint="`workshop provision` makes it")
    asyncio.run(_require_answer(work, loopback))
    now = time.time()
    word, ends = secrets.token_urlsafe(_WORD_BYTES), int(now + LINK_SECONDS)
    _write(work.directories.board / TOLD / config.LINKS, word, ends, now)
    own = f"http://{loopback}:{BOARD_PORT}"
    public = [origin for origin in known.origins[:1] if not _is_local(origin)]
    return Way(
        urls=tuple(f"{origin}/login#{word}" for origin in dict.fromkeys([*public, own])),
        ends=ends,
        forward=f"{BOARD_PORT}:{loopback}:{BOARD_PORT}",
        forwarded=f"http://127.0.0.1:{BOARD_PORT}/login#{word}",
    )


def participants_page(work: Workspace) -> str:
    """Give the address of the participants' page; empty where they cannot reach it.

    Without a host of its own the board answers on this server alone, which is where participants
    are only in a class whose address is this machine's as well.
    """
    known = told(work)
    if work.roster.board is None or known is None or not known.origins:
        return ""
    origin = known.origins[0]
    return f"{origin}/me" if not _is_local(origin) or _is_local(known.url) else ""


def told(work: Workspace) -> Config | None:
    """Read what the board was told last; ``None`` where that is nothing readable."""
    try:
        return config.load((work.directories.board / TOLD / config.FILE).read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_local(origin: str) -> bool:
    """Whether only this machine itself can use an address."""
    return parse_address(origin).is_loopback


def _loopback(work: Workspace) -> str:
    known = state.load(work.state_directory) if work.state_directory.is_dir() else None
    return own_loopback(known.network) if known else ""


async def _require_answer(work: Workspace, loopback: str) -> None:
    """Stop where a link would lead to nobody."""
    try:
        answer = await work.probe.ask(loopback, BOARD_PORT, "/healthz")
    except (OSError, EOFError, TimeoutError, ValueError):
        answer = None
    if answer is None or answer.status != _OK:
        raise NotReady(
            "the board does not answer",
            hint="`workshop provision` starts it; `workshop logs board` shows what it says",
        )


def _write(links: Path, word: str, ends: int, now: float) -> None:
    """Keep the hash of ``word`` until it ends, and forget what has ended."""
    with writing(links):
        links.mkdir(mode=0o755, parents=True, exist_ok=True)
        for old in links.iterdir():
            if _ended(old, now):
                old.unlink(missing_ok=True)
        serving.replace_whole(links / config.hashed(word), f"{ends}\n")


def _ended(link: Path, now: float) -> bool:
    try:
        return float(link.read_text("ascii")) < now
    except (OSError, ValueError):
        # Somebody else's file, or one that another command is writing at this moment.
        return False
