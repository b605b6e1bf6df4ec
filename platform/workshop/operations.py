"""One function per command: where the pure parts and the impure ones meet.

Every operation goes the same way: read the files, take one snapshot, settle what is chosen once,
compare, carry out. Nothing here prints; events go to ``emit`` and results are returned.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from workshop import (
    capacity,
    carrying,
    held,
    host,
    removals,
    resources,
    rosterfile,
    safekeeping,
    state,
)
from workshop import doctor as doctoring
from workshop.apply import Publishers, Report, Tools
from workshop.carrying import Verb
from workshop.deploys import current
from workshop.disk import writing
from workshop.errors import InputError, WorkshopError
from workshop.events import Note
from workshop.labels import Role
from workshop.limits import show_memory
from workshop.lock import apply_lock
from workshop.observed import Observed, State
from workshop.parts.deploys import RELAYS
from workshop.plan import Kind, Plan, make_plan
from workshop.proxy.render import render
from workshop.subnets import seat_address
from workshop.wall import firewall
from workshop.workspace import Survey, Workspace, survey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from workshop.doctor import Check
    from workshop.roster import Participant
    from workshop.state import State as Choices


# -- looking ----------------------------------------------------------------------------------


def examine(work: Workspace) -> list[Check]:
    """Check this server for this roster: ``workshop doctor``."""
    checks = doctoring.examine(work.roster, work.settings, lambda: work.engine)
    return [*checks, *_wall(work)]


def _wall(work: Workspace) -> list[Check]:
    """Check the firewall once the class runs."""
    try:
        seen = survey(work) if work.state_directory.is_dir() else None
    except WorkshopError:
        return []  # said by another check
    if seen is None or seen.desired.wall is None or not seen.observed.networks:
        return []
    bridges = [network.bridge for network in seen.desired.networks]
    own = not work.engine.has_kernel or host.has_engine_rules(bridges)
    return [doctoring.wall(seen.desired.wall.lines, seen.observed.wall, own=own)]


def plan(work: Workspace, *, prune: bool = False) -> Plan:
    """Say what ``provision`` would do: ``workshop plan``."""
    seen = survey(work, closely=True)
    made = make_plan(
        seen.desired,
        removals.without(seen.observed, work.state_directory),
        prune=None if prune else frozenset(),
        unproven=state.is_unproven(work.state_directory),
        held=held.load(work.state_directory),
    )
    return replace(made, warnings=(*made.warnings, *_capacity_warnings(work)))


def _capacity_warnings(work: Workspace) -> tuple[str, ...]:
    wanted, there = doctoring.memory_wanted(work.roster), work.engine.info().memory
    notes = [str(warning) for warning in work.roster.warnings]
    if wanted > there:
        notes.append(
            f"all memory limits together are {show_memory(wanted)}, "
            f"this server has {show_memory(there)}"
        )
    return (*notes, *_standing_warnings(work))


def _standing_warnings(work: Workspace) -> tuple[str, ...]:
    """Name what can go wrong by itself where nothing is to be done."""
    certificate = work.certificate.warnings if work.certificate is not None else ()
    return (*certificate, *(doctoring.open_bridges() if work.engine.has_kernel else ()))


def logs(work: Workspace, name: str, *, tail: int, follow: bool) -> Iterator[str]:
    """Yield what a seat, or ``edge``, has written: ``workshop logs``."""
    return work.engine.logs(_container_id(work, name), tail=tail, follow=follow)


def attach(work: Workspace, name: str, command: Sequence[str]) -> int:
    """Run a command inside a seat on this terminal: ``workshop exec``."""
    return work.engine.attach(_container_id(work, name), command)


def run(work: Workspace, name: str, command: Sequence[str]) -> tuple[int, str]:
    """Run a command inside a seat; its exit status and output."""
    return work.engine.run(_container_id(work, name), command)


def _container_id(work: Workspace, name: str) -> str:
    role = _PARTS.get(name, Role.SEAT)
    if role is Role.SEAT:
        work.roster.participant(name)
    seen = work.engine.observe(work.roster.name)
    found = seen.container(role, name, _address(work, name) if role is Role.SEAT else "")
    if found is None:
        raise WorkshopError(f"{name} has no container", hint="`workshop provision` creates it")
    return found.id


def _address(work: Workspace, name: str) -> str:
    """Tell at which of its two addresses a seat is live."""
    known = state.load(work.state_directory) if work.state_directory.is_dir() else None
    if known is None or name not in known.slots:
        return ""
    held = current.load(work.directories.deploys).get(name)
    return seat_address(known.network, known.slots[name], green=bool(held and held.is_green))


_PARTS = {
    **{
        role.value: role
        for role in (
            Role.EDGE,
            Role.GATEWAY,
            Role.EMBEDDED,
            Role.REGISTRY,
            Role.INTAKE,
            Role.BOARD,
            Role.SERVE,
            Role.EGRESS,
            Role.OUTBOUND,
        )
    },
    **dict.fromkeys(RELAYS, Role.RELAY),
}
"""Names `workshop logs` knows beside the participants'; no participant may be called so."""


# -- changing ---------------------------------------------------------------------------------


def provision(
    work: Workspace,
    *,
    prune: frozenset[str] | None = frozenset(),
    strict: bool = False,
    repair: bool = False,
) -> Report:
    """Make what runs equal to the roster: ``workshop provision``.

    Args:
        work: where.
        prune: participants whose seats go when the roster no longer names them; ``None``: all.
        strict: let warnings stop the command before anything is touched.
        repair: only put back what was lost; do nothing where the roster says something new.

    """
    _ = work.roster
    with _alone(work):
        return _converge(work, prune=prune, strict=strict, repair=repair)


def add(work: Workspace, person: Participant) -> Report:
    """Write a latecomer into the roster and converge: ``workshop add``."""
    with _alone(work):
        rosterfile.add(work.roster_path, person)
        return _converge(work, prune=frozenset())


def remove(work: Workspace, name: str) -> Report:
    """Take somebody out of the roster and remove the seat: ``workshop remove``."""
    with _alone(work):
        rosterfile.remove(work.roster_path, name)
        carrying.release(work.state_directory, {name})
        _renew_spare(work, name)
        return _converge(work, prune=frozenset({name}))


def _renew_spare(work: Workspace, name: str) -> None:
    """Give a seat that is a spare one again a new key: whoever left knows the old one."""
    known = state.load(work.state_directory)
    if known is not None and any(person.name == name for person in work.roster.participants):
        before = known.key(name)
        renewed = state.KeyState(serial=before.serial + 1)
        state.save(work.state_directory, replace(known, keys={**known.keys, name: renewed}))


def restart(work: Workspace, names: Sequence[str]) -> Report:
    """Restart seats: ``workshop restart``. One that was held is so no longer."""
    return _act(work, names, Verb.RESTART)


def reset(work: Workspace, names: Sequence[str]) -> Report:
    """Put fresh containers in place of seats: ``workshop reset``. It ends a hold as well."""
    return _act(work, names, Verb.RESET)


def start(work: Workspace, names: Sequence[str]) -> Report:
    """Bring seats up that were stopped: ``workshop start``."""
    return _act(work, names, Verb.START)


def stop(work: Workspace, names: Sequence[str]) -> Report:
    """Stop seats, to stay so until they are started: ``workshop stop``."""
    return _act(work, names, Verb.STOP)


def _act(work: Workspace, names: Sequence[str], verb: Verb) -> Report:
    for name in names:
        work.roster.participant(name)
    with _alone(work):
        for name in names:
            work.roster.participant(name)
        seen = _survey(work)
        made = carrying.plan_for(verb, work.state_directory, seen.desired, seen.observed, names)
        if verb is not Verb.STOP:
            return _carry_out(work, seen, made, strict=False)
        # Nothing but seats is touched: an edge in trouble, or a full disk, must not keep one going.
        tools = Tools(work.engine, work.probe, None, work.settings, work.emit)
        return carrying.carry_out(made, seen.desired, work.state_directory, tools)


def rechoose(work: Workspace, change: Callable[[Choices], Choices]) -> Report:
    """Change what was chosen for this run, such as a key's number, and converge.

    Raises:
        WorkshopError: nothing has been provisioned yet.

    """
    with _alone(work):
        known = state.load(work.state_directory)
        if known is None or known.workshop != work.roster.name:
            raise WorkshopError("nothing runs yet", hint="`workshop provision` comes first")
        state.save(work.state_directory, change(known))
        return _converge(work, prune=frozenset())


@contextmanager
def _alone(work: Workspace) -> Iterator[None]:
    """Reach the engine first, so that nothing is written where none answers; then lock."""
    _ = work.engine
    directory = state.open_directory(work.roster_path)
    with apply_lock(directory / "lock"), writing(directory):
        work.read_again()
        yield


def _converge(
    work: Workspace, *, prune: frozenset[str] | None, strict: bool = False, repair: bool = False
) -> Report:
    seen = _survey(work)
    if repair and state.provisioned(work.state_directory) != seen.desired.asked:
        note = "the roster or what images are made of has changed since the last provision"
        work.emit(Note(f"{note}; nothing is repaired until `workshop provision`", warning=True))
        return Report(Plan(work.roster.name, ()))
    state.set_provisioned(work.state_directory, seen.desired.asked)
    unproven = state.is_unproven(work.state_directory)
    resting = held.load(work.state_directory)
    made = make_plan(seen.desired, seen.observed, prune=prune, unproven=unproven, held=resting)
    return _carry_out(work, seen, made, strict=strict)


def _survey(work: Workspace) -> Survey:
    """Look once nothing goes on any more that an interrupted command had begun."""
    gone = removals.finish(work.state_directory, work.engine, work.roster.name)
    if gone:
        what = "1 thing" if gone == 1 else f"{gone} things"
        work.emit(Note(f"an interrupted command had begun to remove {what}, now removed"))
    return survey(work, closely=True)


def _carry_out(work: Workspace, seen: Survey, made: Plan, *, strict: bool) -> Report:
    if made.is_empty:
        _warn(work, (*made.warnings, *_standing_warnings(work)), strict=strict)
        return Report(made)
    _warn(work, (*made.warnings, *_capacity_warnings(work)), strict=strict)
    _refuse_taken_port(work, seen.observed)
    capacity.refuse(made, work.engine.info().root)
    safekeeping.hand_over(work, seen.desired)
    state.save(work.state_directory, seen.choices)
    _lay_certificate(work)
    publisher = work.publisher(seen.desired.edge)
    if seen.desired.edge is not None and seen.desired.edge_config is not None:
        files = render(seen.desired.edge, resources.nginx_templates())
        publisher.stage(seen.desired.edge_config, files)
        if any(step.kind is Kind.EDGE for step in made.steps):
            publisher.prepare(seen.desired.edge_config)
    gateway = work.gateway_publisher()
    if seen.desired.gateway is not None and any(step.kind is Kind.GATEWAY for step in made.steps):
        gateway.write(seen.desired.gateway)
    deploys = work.deploy_files()
    deploys.prepare(seen.desired)
    if seen.desired.wall is not None:
        firewall.keep(work.directories.wall, seen.desired.wall)
    publishers = Publishers(publisher, gateway, deploys)
    tools = Tools(work.engine, work.probe, publishers, work.settings, work.emit)
    report = carrying.carry_out(made, seen.desired, work.state_directory, tools)
    safekeeping.take_back(work, seen.desired, report)
    if report.ok:
        _forget_certificates(work)
    return report


def _lay_certificate(work: Workspace) -> None:
    """Keep a certificate that was made afresh, and lay it where the edge reads it."""
    supply = work.certificate
    if supply is None:
        return
    from workshop.tls import store  # noqa: PLC0415 - its library is loaded only where needed

    store.keep(work.certificates, supply.fresh)
    store.stage(work.directories.edge, supply.pair)


def _forget_certificates(work: Workspace) -> None:
    """Remove the certificates that neither the edge nor a release kept for it names any more."""
    if work.certificate is not None:
        from workshop.tls import store  # noqa: PLC0415 - its library is loaded only where needed

        store.forget(work.directories.edge, work.certificate.pair.digest)


def _warn(work: Workspace, warnings: Sequence[str], *, strict: bool) -> None:
    for text in warnings:
        work.emit(Note(text, warning=True))
    if strict and warnings:
        raise InputError(f"{len(warnings)} warnings, and --strict was given; nothing was touched")


def _refuse_taken_port(work: Workspace, observed: Observed) -> None:
    """Stop before anything is created when the edge could not listen."""
    edge = observed.container(Role.EDGE, "edge")
    if edge is not None and edge.state is State.RUNNING:
        return
    for port in work.roster.edge_ports:
        key = "workshop.port" if port == work.roster.port else "workshop.tls.http_port"
        if host.port_needs_root(port):
            raise WorkshopError(
                f"port {port} may only be opened by root",
                hint=f"run as root, or set {key} to 1024 or more",
            )
        if not host.port_is_free(port):
            raise WorkshopError(
                f"port {port} is taken by {host.port_holder(port)}; nothing was created",
                hint=f"stop that program, or set {key} to another one",
            )
