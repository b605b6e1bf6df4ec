"""A new version beside the old one: wait until it is ready, or say why it never will be.

Four watchers run side by side: the app's own answer, the container's state, what listens in it,
and whether somebody called the whole thing off. The first to be sure decides.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from workshop.deploys.diagnosis.evidence import (
    ContainerState,
    Said,
    about,
    read_files,
    read_log,
)
from workshop.deploys.diagnosis.findings import explain, wrong_listening
from workshop.deploys.failure import DeployFailed
from workshop.errors import EngineError, EngineUnreachable, NotFound, WorkshopError
from workshop.health import fetch, identity_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from workshop.deploys.diagnosis.evidence import Evidence, Listening, Remains
    from workshop.health import Answer
    from workshop.specs import ContainerSpec

T = TypeVar("T")

_OK, _NOT_FOUND = 200, 404
_FIRST_PAUSE, _LAST_PAUSE = 0.02, 0.045
_STATE_PAUSE = 0.1
_STOP_PAUSE = 0.1
_SIGHTINGS, _MOST_SIGHTINGS = 2, 60
_QUIET = 3.0
"""Seconds without an answer before anybody looks where the app listens."""
_CONFIRM = 2.0
_ABOUT_FILES = frozenset({"import-error", "no-such-file"})
_LOOKS = (5.0, 10.0, 20.0)
"""Pauses between looks, the last one again and again."""


class Superseded(WorkshopError):
    """Nobody waits for this version any more."""

    code = "superseded"


@dataclass(frozen=True)
class Ready:
    """The app answers, and it is the right one."""

    seconds: float


def await_ready(
    spec: ContainerSpec,
    container_id: str,
    remains: Remains,
    *,
    seconds: float,
    stop: Callable[[], bool],
) -> Ready:
    """Wait until a started container answers as a seat should.

    Args:
        spec: what it was made from.
        container_id: the started container.
        remains: how to look at it from outside.
        seconds: how long it may take.
        stop: whether to give up, asked ten times a second.

    Raises:
        DeployFailed: it will not become ready, with the reason.
        Superseded: ``stop`` said so.
        EngineError, EngineUnreachable: nobody can say what has become of it.

    """
    # Not the event loop's own threads: ending the loop would wait for a slow look to finish.
    with_threads = ThreadPoolExecutor(4, f"candidate-{spec.key}")
    try:
        candidate = _Candidate(spec, container_id, remains, with_threads)
        return asyncio.run(candidate.settle(seconds, stop))
    finally:
        with_threads.shutdown(wait=False, cancel_futures=True)


def start_refused(spec: ContainerSpec, words: str) -> DeployFailed:
    """Explain a container that the engine would not even start, from the engine's own words."""
    return DeployFailed(explain(replace(about(spec), refusal=words)))


class _Candidate:
    """One wait."""

    def __init__(
        self,
        spec: ContainerSpec,
        container_id: str,
        remains: Remains,
        threads: ThreadPoolExecutor,
    ) -> None:
        self._spec = spec
        self._id = container_id
        self._remains = remains
        self._threads = threads
        self._started = time.monotonic()
        self._evidence = about(spec)
        self._wrong: Answer | None = None
        self._silence = ""

    async def settle(self, seconds: float, stop: Callable[[], bool]) -> Ready:
        """Let the watchers run until the first is sure, or time is up."""
        watchers: list[Coroutine[None, None, Ready | Evidence]] = [
            self._answers(),
            self._ends(),
            self._listens_wrongly(),
            self._called_off(stop),
        ]
        tasks = [asyncio.ensure_future(watcher) for watcher in watchers]
        try:
            done, _ = await asyncio.wait(
                tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            # Of two that end in the same moment, the one that knows of an end is right.
            first = next((task for task in reversed(tasks) if task in done), None)
            outcome = first.result() if first else await self._too_late()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if isinstance(outcome, Ready):
            return outcome
        raise DeployFailed(explain(await self._complete(outcome)))

    # -- watchers -----------------------------------------------------------------------------

    async def _answers(self) -> Ready | Evidence:
        """Ask until the app answers; then ask who it is."""
        while True:
            answer = await self._ask("/healthz")
            if answer is not None and answer.status in {_OK, _NOT_FOUND}:
                return await self._is_the_right_one()
            self._wrong = answer or self._wrong
            waited = time.monotonic() - self._started
            await asyncio.sleep(min(max(waited / 20, _FIRST_PAUSE), _LAST_PAUSE))

    async def _is_the_right_one(self) -> Ready | Evidence:
        seconds = time.monotonic() - self._started
        evidence = self._evidence
        answer, state = await asyncio.gather(self._ask("/whoami"), self._state())
        # Some answer once and break down: a second server on the same port, a failing thread.
        if state is not None and state.ended:
            return replace(evidence, state=state)
        if answer is None:
            return Ready(seconds)
        problem = identity_problem(answer, evidence.participant, evidence.version)
        if problem is None:
            return Ready(seconds)
        said = _said("/whoami", answer)
        is_named = answer.status == _OK
        return replace(evidence, answer=said, identity=problem if is_named else "")

    async def _ask(self, path: str) -> Answer | None:
        try:
            return await fetch(self._spec.answers_at, self._spec.port, path)
        except ConnectionRefusedError:
            self._silence = "nothing listens on it"
        except ValueError as exc:
            self._silence = str(exc)
        except TimeoutError:
            self._silence = "no answer"
        except (OSError, EOFError, asyncio.LimitOverrunError):
            self._silence = "the connection breaks off"
        return None

    async def _ends(self) -> Evidence:
        """Look at the container until it has ended for certain."""
        seen: list[ContainerState] = []
        starved = 0
        while not _is_certain(seen):
            state = await self._state()
            if state is not None and state.ended:
                seen.append(state)
            elif state is not None and state.out_of_memory:
                # A worker was killed and its server lives: it may yet answer with another one.
                starved += 1
                if starved * _STATE_PAUSE > _QUIET:
                    return replace(self._evidence, state=state)
            await asyncio.sleep(_STATE_PAUSE / 2 if seen else _STATE_PAUSE)
        last = next((state for state in reversed(seen) if state.exit_code is not None), seen[-1])
        return replace(self._evidence, state=last)

    async def _listens_wrongly(self) -> Evidence:
        """Look where the app listens, once it has been quiet for a while."""
        await asyncio.sleep(_QUIET)
        pauses = iter(_LOOKS)
        pause = 0.0
        while True:
            before = await self._verdict()
            if before is not None:
                await asyncio.sleep(_CONFIRM)
                after = await self._verdict()
                if after is not None and after.listening == before.listening:
                    return after
            pause = next(pauses, pause)
            await asyncio.sleep(pause)

    async def _verdict(self) -> Evidence | None:
        """Say what is wrong with where it listens; ``None`` where nothing is, or nobody knows."""
        if self._wrong is not None:
            return None
        found = await self._sockets()
        if found is None:
            return None
        evidence = replace(self._evidence, listening=found, silence=self._silence)
        return evidence if wrong_listening(evidence) else None

    async def _called_off(self, stop: Callable[[], bool]) -> Evidence:
        while not stop():  # noqa: ASYNC110 - a function of the caller's, not an event
            await asyncio.sleep(_STOP_PAUSE)
        raise Superseded("a newer version is wanted")

    # -- the end ------------------------------------------------------------------------------

    async def _too_late(self) -> Evidence:
        wrong = self._wrong
        listening = None if wrong else await self._sockets()
        return replace(
            self._evidence,
            answer=_said("/healthz", wrong) if wrong else None,
            listening=listening,
            silence=self._silence,
        )

    async def _complete(self, evidence: Evidence) -> Evidence:
        """Add what the explanation needs; the participant's files only where they help."""
        state = evidence.state
        if state is None:
            state = await self._run(self._remains.state, self._id)
        log = await self._run(read_log, self._remains, self._id)
        waited = time.monotonic() - self._started
        whole = replace(evidence, state=state, log=log, waited=waited)
        if explain(whole).cause not in _ABOUT_FILES:
            return whole
        files, requirements = await self._run(read_files, self._remains, self._id, state.directory)
        return replace(whole, files=files, requirements=requirements)

    # -- the engine ---------------------------------------------------------------------------

    async def _state(self) -> ContainerState | None:
        """Ask for the container's state; one that is gone stays gone."""
        try:
            return await self._run(self._remains.state, self._id)
        except NotFound:
            raise
        except (EngineError, EngineUnreachable):
            return None

    async def _sockets(self) -> tuple[Listening, ...] | None:
        """Ask what listens; ``None`` while the engine cannot say."""
        try:
            return tuple(await self._run(self._remains.listening, self._id))
        except (EngineError, EngineUnreachable):
            return None

    async def _run(self, function: Callable[..., T], *arguments: object) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, function, *arguments)


def _is_certain(seen: Sequence[ContainerState]) -> bool:
    """Tell whether a container has ended for certain, and how.

    The engine calls one that has not quite started not running. It counts restarts truly, but hides
    the exit status of one that is running again.
    """
    known = [state for state in seen if state.exit_code is not None]
    if known and any(state.restarts for state in seen):
        return True
    return len(known) >= _SIGHTINGS or len(seen) >= _MOST_SIGHTINGS


def _said(path: str, answer: Answer) -> Said:
    text = answer.body.decode("utf-8", "replace").strip()
    return Said(path, answer.status, text.partition("\n")[0])
