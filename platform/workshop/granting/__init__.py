"""Wishes of the board, granted: ``serve`` carries them out and says what became of them.

A wish is a file that the board wrote (:mod:`workshop.board.wishes`), and no field of it is
believed. It is removed before anything is done, so one that brings the server down is not begun
again; whoever wished it hears nothing then, and wishes once more. Wishes are granted in their
order, one at a time, on a thread of their own: orders of deploys never wait for them, except for
the class's lock.
"""

from __future__ import annotations

import stat
import threading
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

from workshop import journal
from workshop.board import shown, wishes
from workshop.board.wishes import INSTRUCTOR, Answer, What
from workshop.errors import InputError, Locked, WorkshopError
from workshop.granting.deeds import Deeds, Refused
from workshop.health import HttpProbe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workshop.board.wishes import Wish
    from workshop.deploys.config import Config
    from workshop.engines.base import Engine
    from workshop.health import Probe

ANSWER_SECONDS = 3600.0
"""How long an answer is kept for whoever wished."""
KEY_SECONDS = 60.0
"""The same of an answer that holds a key."""
LATE_SECONDS = 300.0
"""A wish that waited longer is not granted: nobody expects any more that a seat restarts."""
BREATHER_SECONDS = 10.0
"""After a participant's seat was restarted, before the same one wishes again: the class's lock is
held while it starts, and deploys wait for that."""
_SWEEP_SECONDS = 10.0
_TAKES_THE_LOCK = frozenset({What.RESTART, What.RESET})
_BUSY = "another command is at work; try again"


class Granter:
    """Looks for wishes and sees to them."""

    def __init__(
        self,
        home: Path,
        config: Callable[[], Config],
        engine: Engine,
        probe: Probe | None = None,
    ) -> None:
        board = home / "board"
        self._home = home
        self._wishes = board / "kept" / wishes.WISHES
        self._answers = board / "shown" / shown.ANSWERS
        self._deeds = Deeds(home, config, engine, probe or HttpProbe())
        self._worker: threading.Thread | None = None
        self._stuck: set[str] = set()
        self._with_key: dict[str, float] = {}
        self._rested: dict[str, float] = {}
        self._swept = 0.0

    @property
    def idle(self) -> bool:
        """Whether no wish is being granted."""
        return self._worker is None or not self._worker.is_alive()

    def step(self) -> None:
        """Take up what is wished for, and return at once.

        Raises:
            OSError: a file cannot be removed.

        """
        if self.idle and self._waiting():
            self._worker = threading.Thread(target=self._work, name="granting", daemon=True)
            self._worker.start()
        now = time.monotonic()
        if not self._swept or now - self._swept > _SWEEP_SECONDS:
            self._swept = now
            self._sweep()

    def _waiting(self) -> list[str]:
        return [item for item in wishes.waiting(self._wishes) if item not in self._stuck]

    def _work(self) -> None:
        while waiting := self._waiting():
            try:
                self._grant(waiting[0])
            except OSError:
                # A full disk: the answer is lost, the next wish may fare better.
                traceback.print_exc()

    # -- one wish -----------------------------------------------------------------------------

    def _grant(self, wish_id: str) -> None:
        wish = self._take(wish_id)
        if wish_id in self._stuck:
            return
        if wish is None:
            said = Answer(wish_id, done=False, words="this wish cannot be understood")
            journal.note(self._home, "wish", done=False, words=said.words)
        else:
            said = self._answer(wish)
            facts = {"by": wish.actor, "seats": list(wish.seats), "done": said.done}
            journal.note(self._home, wish.what.value, **facts, words=said.words)
        self._answers.mkdir(parents=True, exist_ok=True)
        wishes.answer(self._answers, said)
        if said.key:
            self._with_key[wish_id] = time.monotonic()

    def _take(self, wish_id: str) -> Wish | None:
        """Read a wish and remove it; one that cannot be removed is left alone from now on."""
        path = self._wishes / f"{wish_id}.json"
        try:
            # Whoever writes there is not trusted to put a file, and opening a pipe could last.
            wish = wishes.read(self._wishes, wish_id) if _is_file(path) else None
            path.unlink()
        except OSError:
            self._stuck.add(wish_id)
            traceback.print_exc()
            return None
        return wish

    def _answer(self, wish: Wish) -> Answer:
        """Grant a wish, or say why not."""
        try:
            self._require_timely(wish)
            words, key = self._do(wish)
        except Refused as exc:
            said = str(exc)
        except Locked:
            said = _BUSY
        except WorkshopError as exc:
            said = _words(exc, wish)
        except OSError as exc:
            said = f"the server cannot write: {exc.strerror or exc}"
        except Exception:  # noqa: BLE001 - one wish must not end the thread of all others
            traceback.print_exc()
            said = "the platform itself failed; `workshop logs serve` shows why"
        else:
            return Answer(wish.id, done=True, words=words, key=key)
        return Answer(wish.id, done=False, words=said)

    def _do(self, wish: Wish) -> tuple[str, str]:
        try:
            return self._deeds.do(wish)
        finally:
            if wish.what in _TAKES_THE_LOCK:
                self._rested[wish.actor] = time.monotonic()

    def _require_timely(self, wish: Wish) -> None:
        if _age(wish.id) > LATE_SECONDS:
            raise Refused("the server was not at work when this was wished; do it again")
        rested = self._rested.get(wish.actor)
        if wish.actor == INSTRUCTOR or wish.what not in _TAKES_THE_LOCK or rested is None:
            return
        if time.monotonic() - rested < BREATHER_SECONDS:
            raise Refused("this was done a moment ago; wait a little")

    # -- what is over -------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Remove answers that nobody waits for any more."""
        now = time.monotonic()
        for item in wishes.waiting(self._answers):
            held = self._with_key.get(item)
            secret = held is None and self._holds_key(item)
            if _age(item) > ANSWER_SECONDS or secret or (held and now - held > KEY_SECONDS):
                (self._answers / f"{item}.json").unlink(missing_ok=True)
                self._with_key.pop(item, None)

    def _holds_key(self, answer_id: str) -> bool:
        """Whether a server before this one handed out a key in an answer that is long over."""
        if _age(answer_id) < LATE_SECONDS + KEY_SECONDS:
            return False
        said = wishes.read_answer(self._answers, answer_id)
        return said is not None and bool(said.key)


def _is_file(path: Path) -> bool:
    with suppress(FileNotFoundError):
        return stat.S_ISREG(path.lstat().st_mode)
    return False


def _age(item: str) -> float:
    """Seconds since an id was made, by its own word."""
    return time.time() - int(item.partition("-")[0]) / 1000


def _words(exc: WorkshopError, wish: Wish) -> str:
    """Say what failed; the next step is the instructor's, who has the command."""
    if wish.actor != INSTRUCTOR:
        return exc.message
    faults = "; ".join(str(fault) for fault in exc.faults) if isinstance(exc, InputError) else ""
    return "; ".join(part for part in (exc.message, faults, exc.hint) if part)
