"""Die before or after the n-th side effect: the tests' own means, the product knows nothing of it.

A side effect is a changing verb of the engine, or a change of a file below one directory. Files
are seen by an audit hook of Python itself, so nothing has to be patched and nothing is missed:
opening to write, renaming, removing, making directories and links, changing modes, locking.

A process is forked for each death. The parent has imported everything and has no threads, so a
death costs what the work costs.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import gc
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

LOOKING = frozenset({"info", "observe", "facts", "altered", "logs", "leftovers", "close", "guests"})
"""Verbs of an engine that change nothing; every other one counts, whoever adds it."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
PATIENCE = 90.0
_FINISHED, _RAISED = 0, 70


@dataclass(frozen=True)
class Point:
    """A moment to die at: before or after the n-th side effect, counted from 1."""

    number: int
    after: bool
    call: bool = False
    """Whether calls to the engine alone are counted; see :meth:`Effects.calls`."""

    def __str__(self) -> str:
        what = "call" if self.call else "effect"
        return f"{'after' if self.after else 'before'} {what} {self.number}"


def points(effects: int, *, call: bool = False) -> list[Point]:
    """List every moment of a command that has so many side effects."""
    numbers = range(1, effects + 1)
    return [Point(number, after, call) for number in numbers for after in (False, True)]


def spread(found: list[Point], most: int) -> list[Point]:
    """Choose at most ``most`` of them, evenly; the first and the last are always among them."""
    if len(found) <= most:
        return found
    return [found[round(place * (len(found) - 1) / (most - 1))] for place in range(most)]


@dataclass
class Effects:
    """Counts side effects below ``directory`` and on an engine, and dies at ``point``."""

    directory: Path
    point: Point | None = None
    journal: int = -1
    """A descriptor that every effect is written to."""
    look: Callable[[str], None] | None = None
    """Called before every effect, to see what must hold at all times."""
    count: int = 0
    _called: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _busy: bool = False

    def watch(self) -> None:
        """Watch this process's files from now on; there is no way back, so only in a fork."""
        self._root = str(self.directory.resolve())
        # What is moved aside beside it, to be removed, is the class's as well.
        self._inside = (f"{self._root}/", f"{self._root}.")
        sys.addaudithook(self._audit)

    def engine(self, engine: Any, persist: Callable[[], None] = lambda: None) -> Any:
        """Wrap an engine so that its changing verbs count."""
        return _CountedEngine(engine, self, persist)

    def calls(self, client: Any) -> None:
        """Count what a kind of client asks an engine to change, in place of the verbs of one.

        A verb may be several calls, and dies between them too. Only in a fork.
        """
        send = client.send

        def counted(api: Any, request: Any, **options: Any) -> Any:
            if request.method in {"GET", "HEAD"}:
                return send(api, request, **options)
            name = f"{request.method} {urlsplit(request.url).path.partition('/v')[2]}"
            with self._lock:
                self._called += 1
                called = self._called
            act = functools.partial(send, api, request, **options)
            return self.around(name[:60], act, lambda: None, called)

        client.send = counted

    def around(
        self, name: str, act: Callable[[], Any], done: Callable[[], None], called: int = 0
    ) -> Any:
        """Do something that counts, ``called`` counts calls to the engine apart."""
        number = self._next(name)
        own = (Point(number, after=False), Point(called, after=False, call=True))
        if self.point in own:
            _die()
        result = act()
        done()
        if self.point in {replace(point, after=True) for point in own}:
            _die()
        return result

    def _next(self, name: str) -> int:
        with self._lock:
            if self.look is not None:
                self._busy = True
                try:
                    self.look(name)
                finally:
                    self._busy = False
            self.count += 1
            if self.journal >= 0:
                os.write(self.journal, f"{name}\n".encode())
            return self.count

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _EVENTS or self._busy:
            return
        if event == "open" and not (arguments[2] or 0) & WRITING:
            return
        paths, act = _EVENTS[event](arguments)
        if not any(f"{path}/".startswith(self._inside) for path in paths):
            return
        number = self._next(f"{event} {paths[-1].removeprefix(self._root)}")
        if self.point == Point(number, after=False):
            _die()
        if self.point == Point(number, after=True):
            # The hook is asked before anything happens; so it is done here, and then the end.
            self._busy = True
            with contextlib.suppress(OSError):
                act()
            _die()


class _CountedEngine:
    def __init__(self, engine: Any, effects: Effects, persist: Callable[[], None]) -> None:
        self._engine = engine
        self._effects = effects
        self._persist = persist

    def __getattr__(self, verb: str) -> Any:
        found = getattr(self._engine, verb)
        if verb in LOOKING or not callable(found):
            return found

        def counted(*arguments: Any, **named: Any) -> Any:
            subject = getattr(arguments[0], "name", arguments[0]) if arguments else ""
            return self._effects.around(
                f"{verb} {str(subject)[:40]}", lambda: found(*arguments, **named), self._persist
            )

        return counted


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("dead")  # the signal is on its way


def _at(path: Any, folder: int | None = -1) -> str:
    """Give the absolute path of an event's argument: a path, or a descriptor, below a directory."""
    if isinstance(path, int):
        return os.readlink(f"/proc/self/fd/{path}")  # noqa: PTH115 - as text
    text = os.fsdecode(path)
    if folder not in {-1, None} and not text.startswith("/"):
        return f"{os.readlink(f'/proc/self/fd/{folder}')}/{text}"  # noqa: PTH115 - as text
    return os.path.abspath(text)  # noqa: PTH100 - links stay as they are


def _opening(arguments: tuple[Any, ...]) -> tuple[list[str], Callable[[], object]]:
    path, kind, flags = arguments
    if isinstance(path, int):
        return [], lambda: None
    place = _at(path)
    # Only what was opened by number may have another mode than everybody's.
    return [place], lambda: os.open(place, flags, 0o600 if kind is None else 0o666)


def _renaming(arguments: tuple[Any, ...]) -> tuple[list[str], Callable[[], object]]:
    source, target, above, beside = arguments
    old, new = _at(source, above), _at(target, beside)
    return [old, new], lambda: os.replace(old, new)  # noqa: PTH105 - the call itself


def _one(act: Callable[..., object], *, folder: int) -> Callable[..., Any]:
    def event(arguments: tuple[Any, ...]) -> tuple[list[str], Callable[[], object]]:
        place = _at(arguments[0], arguments[folder])
        return [place], lambda: act(place, *arguments[1:folder])

    return event


def _linking(arguments: tuple[Any, ...]) -> tuple[list[str], Callable[[], object]]:
    text, path, folder = arguments
    place = _at(path, folder)
    return [place], lambda: os.symlink(text, place)  # noqa: PTH211 - the call itself


def _cutting(arguments: tuple[Any, ...]) -> tuple[list[str], Callable[[], object]]:
    return [_at(arguments[0])], lambda: os.truncate(*arguments)


def _locking(arguments: tuple[Any, ...]) -> tuple[list[str], Callable[[], object]]:
    return [_at(arguments[0])], lambda: fcntl.flock(*arguments)


_EVENTS: dict[str, Callable[[tuple[Any, ...]], tuple[list[str], Callable[[], object]]]] = {
    "open": _opening,
    "os.rename": _renaming,
    "os.remove": _one(os.remove, folder=1),
    "os.rmdir": _one(os.rmdir, folder=1),
    "os.mkdir": _one(os.mkdir, folder=2),
    "os.chmod": _one(os.chmod, folder=2),
    "os.symlink": _linking,
    "os.truncate": _cutting,
    "fcntl.flock": _locking,
}


# -- a process that may die -----------------------------------------------------------------------


@dataclass(frozen=True)
class Ending:
    """How a forked process ended, and the side effects it had."""

    killed: bool
    effects: list[str]
    words: str
    """The traceback, where there was one."""

    def must_finish(self) -> Ending:
        """Require that nothing went wrong."""
        assert not self.killed, f"killed in {self.effects[-1:]}"
        assert not self.words, self.words
        return self


class Fork:
    """A forked process that does ``work`` with its side effects counted."""

    def __init__(
        self, directory: Path, work: Callable[[Effects], object], point: Point | None = None
    ) -> None:
        self._journal, journal = os.pipe()
        self._words, words = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        # What is not looked at again need not be copied.
        gc.freeze()
        self.pid = os.fork()
        if not self.pid:
            _be_the_child(Effects(directory, point, journal), work, words)
        gc.unfreeze()
        os.close(journal)
        os.close(words)
        os.set_blocking(self._journal, False)
        os.set_blocking(self._words, False)
        self._read = {self._journal: b"", self._words: b""}
        self._deadline = time.monotonic() + PATIENCE
        self.over = False

    def running(self) -> bool:
        """Whether it is still at work; reads what it has to say meanwhile."""
        self._drain()
        if time.monotonic() > self._deadline:
            self.end()
            raise AssertionError(f"not over after {PATIENCE} s: {self._effects()[-3:]}")
        pid, self._status = os.waitpid(self.pid, os.WNOHANG)
        self.over = pid != 0
        return not self.over

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def end(self) -> None:
        """Kill it if it still runs: whoever waited has given up."""
        if not self.over:
            self.kill()
            os.waitpid(self.pid, 0)

    def wait(self) -> Ending:
        """Return how it ended, once it has."""
        while self.running():
            time.sleep(0.002)
        return self.ended()

    def ended(self) -> Ending:
        """Tell how it ended; only when it no longer runs."""
        self._drain()
        for pipe in self._read:
            os.close(pipe)
        killed = os.WIFSIGNALED(self._status) and os.WTERMSIG(self._status) == signal.SIGKILL
        words = self._read[self._words].decode()
        if not killed and os.waitstatus_to_exitcode(self._status) not in {_FINISHED, _RAISED}:
            words += f"ended with {os.waitstatus_to_exitcode(self._status)}"
        return Ending(killed, self._effects(), words)

    def _effects(self) -> list[str]:
        return self._read[self._journal].decode().splitlines()

    def _drain(self) -> None:
        for pipe in self._read:
            try:
                while some := os.read(pipe, 65536):
                    self._read[pipe] += some
            except BlockingIOError:
                pass


def _be_the_child(effects: Effects, work: Callable[[Effects], object], words: int) -> NoReturn:
    status = _RAISED
    try:
        effects.watch()
        work(effects)
        status = _FINISHED
    except BaseException:  # noqa: BLE001 - the parent has to read it
        os.write(words, traceback.format_exc().encode()[-60000:])
    finally:
        # Nothing of the parent's (open files, pytest's own ending) may be touched.
        os._exit(status)


def run(directory: Path, work: Callable[[Effects], object], point: Point | None = None) -> Ending:
    """Do ``work`` in a process of its own, which dies at ``point``."""
    return Fork(directory, work, point).wait()


def tree(directory: Path, skip: Iterable[str] = ()) -> dict[str, str]:
    """Describe every file below ``directory``: mode and content, or where a link leads.

    Unfinished files of a writer that was killed begin with a dot and end with ``.new``; nobody
    reads them.
    """
    found = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if any(part.startswith(".") and part.endswith(".new") for part in path.parts):
            continue
        mode = f"{path.lstat().st_mode:o}"
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            found[name] = mode
        else:
            text = path.read_bytes() if name not in set(skip) else b""
            found[name] = f"{mode} {text!r}"
    return found


def difference(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Pair what differs of two descriptions."""
    keys = [key for key in {**wanted, **found} if wanted.get(key) != found.get(key)]
    return {key: (wanted.get(key), found.get(key)) for key in keys}
