"""Participants' keys to the class's models: shown, renewed, withdrawn, paused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workshop import environment, operations, pausing, state
from workshop.errors import InputError, WorkshopError
from workshop.events import Note
from workshop.gateway.config import PREFIX
from workshop.intake.config import PAGE
from workshop.llm import keys
from workshop.lock import apply_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workshop.apply import Report
    from workshop.state import KeyState, State
    from workshop.workspace import Workspace


@dataclass(frozen=True)
class HandedKey:
    """One participant's key and everything needed to use it from anywhere."""

    name: str
    key_id: str
    """What messages and logs call the key."""
    key: str
    state: str
    """active, paused or revoked."""
    base_url: str
    model: str
    embedding: str
    registry: str = ""
    """What `docker login` takes, with the key as the password; empty where nobody deploys."""
    upload: str = ""
    """Where a source can be sent to, with the same key."""

    @property
    def ways_to_deploy(self) -> tuple[str, ...]:
        """Comments that say how the key deploys."""
        if not self.registry:
            return ()
        return (
            f"# docker login {self.registry} -u {self.name}      (the password is the key)",
            f"# curl -T app.zip -H 'Authorization: Bearer KEY' {self.upload}",
        )

    @property
    def dotenv(self) -> tuple[str, ...]:
        """The lines for a ``.env`` on somebody's own computer."""
        if not self.base_url:
            return (f"WORKSHOP_KEY={self.key}",)
        lines = {
            "OPENAI_API_KEY": self.key,
            "OPENAI_BASE_URL": self.base_url,
            "OPENAI_MODEL": self.model,
            "OPENAI_EMBEDDING_MODEL": self.embedding,
        }
        return tuple(f"{name}={environment.quote(value)}" for name, value in lines.items() if value)


def show(work: Workspace, names: Sequence[str]) -> list[HandedKey]:
    """Make the keys of ``names`` again: ``workshop keys show``.

    Raises:
        WorkshopError: there are none yet, or the class does without models.

    """
    llm = work.roster.llm
    if llm is None and work.roster.deploys is None:
        raise InputError("keys are for models and deploys, and the roster switches both off")
    choices = _choices(work)
    return [
        HandedKey(
            name=name,
            key_id=keys.key_id(name, choices.key(name).serial),
            key=keys.derive(choices.secret, name, choices.key(name).serial),
            state=_state(choices, name),
            base_url=f"{work.roster.url}{PREFIX}" if llm else "",
            model=llm.model if llm else "",
            embedding=llm.embedding if llm else "",
            registry=str(work.roster.url).partition("://")[2] if work.roster.deploys else "",
            upload=f"{work.roster.url}{PAGE}/{name}" if work.roster.deploys else "",
        )
        for name in (work.roster.participant(name).name for name in names)
    ]


def rotate(work: Workspace, names: Sequence[str]) -> Report:
    """Give ``names`` new keys; the old ones stop at once: ``workshop keys rotate``."""
    return _change(work, names, lambda held: replace(held, serial=held.serial + 1, revoked=False))


def revoke(work: Workspace, names: Sequence[str]) -> Report:
    """Let the keys of ``names`` hold no longer: ``workshop keys revoke``."""
    return _change(work, names, lambda held: replace(held, revoked=True))


def restore(work: Workspace, names: Sequence[str]) -> Report:
    """Let revoked keys hold again: ``workshop keys restore``."""
    return _change(work, names, lambda held: replace(held, revoked=False))


def pause(work: Workspace, names: Sequence[str], *, paused: bool) -> None:
    """Let ``names`` ask no more questions for now, or again: ``workshop llm pause``, ``resume``.

    Raises:
        WorkshopError: there are no keys yet, or the gateway does not take the change over.

    """
    _pause(work, [work.roster.participant(name).name for name in names], paused=paused)


def pause_class(work: Workspace, *, paused: bool) -> None:
    """Pause or resume everybody at once; what holds for single participants stays as it is.

    Raises:
        WorkshopError: as with :func:`pause`.

    """
    _pause(work, None, paused=paused)


def _pause(work: Workspace, names: Sequence[str] | None, *, paused: bool) -> None:
    _choices(work)
    home = work.state_directory
    with apply_lock(home / "lock"):
        known = pausing.pause(home, work.roster.name, names, paused=paused)
    if not pausing.confirm(home, known, work.probe):
        text = "the gateway does not answer; it takes this over when it does"
        work.emit(Note(text, warning=True))


def _change(
    work: Workspace, names: Sequence[str], change: Callable[[KeyState], KeyState]
) -> Report:
    people = [work.roster.participant(name).name for name in names]
    return operations.rechoose(
        work,
        lambda choices: replace(
            choices, keys={**choices.keys, **{name: change(choices.key(name)) for name in people}}
        ),
    )


def _choices(work: Workspace) -> State:
    known = state.load(work.state_directory) if work.state_directory.is_dir() else None
    if known is None or not known.secret:
        raise WorkshopError("there are no keys yet", hint="`workshop provision` makes them")
    return known


def _state(choices: State, name: str) -> str:
    held = choices.key(name)
    if held.revoked:
        return "revoked"
    return "paused" if held.paused or choices.paused else "active"
