"""What can be wished for, done: each deed goes through the same functions as the command for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from workshop import announcing, claims, deploying, held, pausing, spares, state
from workshop.board import config as board
from workshop.board.wishes import INSTRUCTOR, What
from workshop.carrying import Verb
from workshop.granting import seats
from workshop.llm import keys
from workshop.lock import apply_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workshop.board.wishes import Wish
    from workshop.deploys.config import Config
    from workshop.engines.base import Engine
    from workshop.health import Probe

LOCK_SECONDS = 30.0
"""How long a wish waits for a command that is at work."""
_FEW = 3
"""Names that are written out."""
_VERBS = {
    What.RESTART: Verb.RESTART,
    What.RESET: Verb.RESET,
    What.STOP: Verb.STOP,
    What.START: Verb.START,
}


class Refused(Exception):
    """A wish that is not granted; its text says why, to whoever wished."""


class Deeds:
    """Does what is wished for, one thing at a time."""

    def __init__(
        self, home: Path, config: Callable[[], Config], engine: Engine, probe: Probe
    ) -> None:
        self._home = home
        self._config = config
        self._engine = engine
        self._probe = probe

    def do(self, wish: Wish) -> tuple[str, str]:
        """Do it.

        Returns:
            One line about what was done, and a key where that was asked for.

        Raises:
            Refused: it cannot be, or not all of it was.
            Locked: another command is at work.
            WorkshopError, OSError: it failed.

        """
        config = self._config()
        self._require_known(wish, config)
        if wish.what in _VERBS:
            return self._move(wish, _VERBS[wish.what]), ""
        if wish.what is What.CLAIM:
            return self._claim(wish, config)
        return {
            What.ROLLBACK: self._roll_back,
            What.PAUSE: self._pause,
            What.RESUME: self._pause,
            What.ANNOUNCE: self._announce,
        }[wish.what](wish, config), ""

    def _require_known(self, wish: Wish, config: Config) -> None:
        strange = [name for name in wish.seats if config.seat(name) is None]
        if strange:
            raise Refused(f"nobody in this class is called {names(strange)} (any more)")
        if wish.what not in {What.PAUSE, What.RESUME, What.ANNOUNCE} and not wish.seats:
            raise Refused("no seat was named")
        if wish.actor != INSTRUCTOR and config.seat(wish.actor) is None:
            raise Refused("you are not in this class any more")

    def _require_free(self, wish: Wish) -> None:
        """Refuse what would start a seat that the instructor stopped, unless by the instructor."""
        resting = held.load(self._home)
        if wish.actor != INSTRUCTOR and wish.actor in resting:
            raise Refused("your instructor has stopped this seat; raise your hand")

    def _move(self, wish: Wish, verb: Verb) -> str:
        chosen = list(dict.fromkeys(wish.seats))
        with apply_lock(self._home / "lock", LOCK_SECONDS):
            self._require_free(wish)
            # Whoever had to wait works with what the other command wrote.
            config = self._config()
            self._require_known(wish, config)
            report = seats.Seats(self._home, config, self._engine, self._probe).move(verb, chosen)
        failed = {name: why for name, why in report.failed.items() if name in chosen}
        well = [name for name in chosen if name not in failed]
        said = [f"{names(well)} {seats.PAST[verb]}"] if well else []
        if not report.plan.steps:
            said = [f"{names(well)}: {seats.ALREADY[verb]}"]
        if not failed:
            return "; ".join(said)
        said += [f"{name}: {why}" for name, why in list(failed.items())[:_FEW]]
        said += [f"and {len(failed) - _FEW} more failed"] if len(failed) > _FEW else []
        raise Refused("; ".join(said))

    def _roll_back(self, wish: Wish, config: Config) -> str:
        del config
        self._require_free(wish)
        resting = sorted(held.load(self._home) & set(wish.seats))
        if resting:
            raise Refused(f"{names(resting)}: stopped; start before going back")
        deploying.roll_back(self._home, list(dict.fromkeys(wish.seats)), wish.text, wish.actor)
        return f"{names(wish.seats)} on the way back; the deploys tell how it ends"

    def _pause(self, wish: Wish, config: Config) -> str:
        paused, workshop = wish.what is What.PAUSE, config.owner.workshop
        with apply_lock(self._home / "lock", LOCK_SECONDS):
            known = pausing.pause(self._home, workshop, wish.seats or None, paused=paused)
        heard = pausing.confirm(self._home, known, self._probe)
        what = "paused" if paused else "resumed"
        note = "" if heard else "; the gateway does not answer, and reads it when it does"
        return f"models {what} for {names(wish.seats) if wish.seats else 'everybody'}{note}"

    def _announce(self, wish: Wish, config: Config) -> str:
        del config
        said = announcing.announce(self._home, wish.text)
        return "said to everybody" if said else "taken back"

    def _claim(self, wish: Wish, config: Config) -> tuple[str, str]:
        """Hand out the key of a seat, once, and name whoever takes a spare one."""
        name, *more = wish.seats
        if more:
            raise Refused("one code is for one seat")
        shown, told = self._home / "board" / "shown", self._home / "board" / "told"
        with apply_lock(self._home / "lock", LOCK_SECONDS):
            if name in claims.claimed(shown):
                raise Refused("this code has been used; your instructor can show you the key")
            known = state.load(self._home)
            if known is None or not known.secret or known.key(name).revoked:
                raise Refused("there is no key for this seat now; ask your instructor")
            if _is_spare(told, name):
                spares.give(Path(config.owner.directory, config.roster), told, name, wish.text)
            claims.mark(shown, name)
        return f"{name} claimed", keys.derive(known.secret, name, known.key(name).serial)


def _is_spare(told: Path, name: str) -> bool:
    try:
        seat = board.load((told / board.FILE).read_text("utf-8")).seat(name)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return seat is not None and seat.spare


def names(found: Sequence[str]) -> str:
    """Write names for a sentence: all of a few, the first of many."""
    if len(found) <= _FEW:
        return ", ".join(found)
    return f"{', '.join(found[:_FEW])} and {len(found) - _FEW} more"
