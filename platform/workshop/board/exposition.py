"""The class in numbers, as Prometheus reads them: text of its format, version 0.0.4.

The board answers it at ``/metrics``, and ``workshop metrics`` prints the same. No library is used:
the command must not load those of a service. The format is that of
https://prometheus.io/docs/instrumenting/exposition_formats/, the names follow
https://prometheus.io/docs/practices/naming/. Names of seats are labels; no word of anybody is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workshop.board.shown import BUCKETS, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from workshop.board.config import Config
    from workshop.board.shown import Seat, Shown

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of Prometheus' text."""
RUNNING = "running"
"""The engine's word for a part that runs."""
_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

_Labels = tuple[tuple[str, str], ...]
_Sample = tuple[str, _Labels, float | None]
"""What a name ends in, labels, and a value; nothing is written where there is no value."""


@dataclass(frozen=True)
class _Facts:
    shown: Shown
    config: Config | None
    hands: Mapping[str, float]


@dataclass(frozen=True)
class _Family:
    """One metric, and how its samples are found."""

    name: str
    kind: str
    help: str
    samples: Callable[[_Facts], Iterable[_Sample]] = field(compare=False)


def text(shown: Shown, config: Config | None, hands: Mapping[str, float]) -> str:
    """Write what was seen of the class.

    Args:
        shown: what the control process saw.
        config: what the board is told; titles and addresses are left out where it is unknown.
        hands: who raised a hand, and when.

    """
    facts = _Facts(shown, config, hands)
    return "".join(line for family in _FAMILIES for line in _written(family, facts))


def names() -> frozenset[str]:
    """Name every series there can be, ``_bucket``, ``_sum`` and ``_count`` included."""
    return frozenset(
        family.name + end
        for family in _FAMILIES
        for end in (("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",))
    )


def _written(family: _Family, facts: _Facts) -> Iterator[str]:
    yield f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n"
    for end, labels, value in family.samples(facts):
        if value is not None:
            said = ",".join(f'{key}="{_label(word)}"' for key, word in labels)
            yield f"{family.name}{end}{f'{{{said}}}' if said else ''} {_number(value)}\n"


def _label(word: str) -> str:
    # Half a surrogate pair can stand in JSON, but not in UTF-8.
    return word.translate(_ESCAPED).encode("utf-8", "replace").decode("utf-8")


def _number(value: float) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return repr(value if isinstance(value, float) else int(value))


# -- where samples come from ----------------------------------------------------------------------


def _one(look: Callable[[_Facts], float | None]) -> Callable[[_Facts], Iterator[_Sample]]:
    """Take one sample for the class."""

    def samples(facts: _Facts) -> Iterator[_Sample]:
        yield "", (), look(facts)

    return samples


def _each(
    look: Callable[[Seat], float | None], *labels: tuple[str, str]
) -> Callable[[_Facts], Iterator[_Sample]]:
    """Take one sample for each seat."""

    def samples(facts: _Facts) -> Iterator[_Sample]:
        for seat in facts.shown.seats:
            yield "", (("seat", seat.name), *labels), look(seat)

    return samples


def _both(
    *sources: Callable[[_Facts], Iterator[_Sample]],
) -> Callable[[_Facts], Iterator[_Sample]]:
    def samples(facts: _Facts) -> Iterator[_Sample]:
        for source in sources:
            yield from source(facts)

    return samples


def _class_info(facts: _Facts) -> Iterator[_Sample]:
    config = facts.config
    labels = (
        ("workshop", facts.shown.workshop),
        ("title", config.title if config else ""),
        ("url", config.url if config else ""),
    )
    yield "", labels, 1


def _seat_info(facts: _Facts) -> Iterator[_Sample]:
    for seat in facts.shown.seats:
        told = facts.config.seat(seat.name) if facts.config else None
        labels = (
            ("seat", seat.name),
            ("display_name", told.display_name if told else ""),
            ("url", told.url if told else ""),
            ("version", seat.version),
        )
        yield "", labels, 1


def _states(facts: _Facts) -> Iterator[_Sample]:
    for seat in facts.shown.seats:
        for state in State:
            yield "", (("seat", seat.name), ("state", state.value)), seat.state is state


def _durations(facts: _Facts) -> Iterator[_Sample]:
    for seat in facts.shown.seats:
        label = ("seat", seat.name)
        for bound, count in zip(BUCKETS, seat.totals.buckets, strict=False):
            yield "_bucket", (label, ("le", _number(bound))), count
        yield "_bucket", (label, ("le", "+Inf")), seat.totals.requests
        yield "_sum", (label,), seat.totals.seconds
        yield "_count", (label,), seat.totals.requests


def _hands(facts: _Facts) -> Iterator[_Sample]:
    for seat in facts.shown.seats:
        yield "", (("seat", seat.name),), seat.name in facts.hands


def _parts(facts: _Facts) -> Iterator[_Sample]:
    for name, state in facts.shown.parts:
        yield "", (("part", name),), state == RUNNING


def used_of_budget(seat: Seat) -> float | None:
    """Say how much of its budget a seat has used, from 0 to 1; of two bounds, the nearer one.

    ``None`` without a bound.
    """
    pairs = ((seat.tokens, seat.tokens_limit), (seat.money, seat.money_limit))
    return max((_share(used, limit) for used, limit in pairs if limit is not None), default=None)


def _share(used: int, limit: int) -> float:
    return used / limit if limit > 0 else 1.0


_SEAT = "workshop_seat_"
_FAMILIES = (
    _Family("workshop_info", "gauge", "The class; always 1.", _class_info),
    _Family(
        "workshop_start_time_seconds",
        "gauge",
        "When the control process began to count, in seconds since 1970.",
        _one(lambda facts: facts.shown.started),
    ),
    _Family(
        "workshop_seen_timestamp_seconds",
        "gauge",
        "When the control process last wrote what it sees, in seconds since 1970.",
        _one(lambda facts: facts.shown.time),
    ),
    _Family(
        "workshop_troubles",
        "gauge",
        "Things the control process cannot see right now.",
        _one(lambda facts: len(facts.shown.troubles)),
    ),
    _Family(
        "workshop_part_up", "gauge", "Whether one of the platform's own containers runs.", _parts
    ),
    _Family(
        "workshop_llm_paused",
        "gauge",
        "Whether nobody may ask the models anything for now.",
        _one(lambda facts: facts.shown.paused),
    ),
    _Family(_SEAT + "info", "gauge", "The seat and its version; always 1.", _seat_info),
    _Family(
        _SEAT + "up",
        "gauge",
        "Whether the seat runs and its latest visitors got answers.",
        _each(lambda seat: seat.state is State.LIVE),
    ),
    _Family(_SEAT + "state", "gauge", "1 for the state the seat is in, 0 for all others.", _states),
    _Family(
        _SEAT + "state_start_time_seconds",
        "gauge",
        "When the state began, in seconds since 1970.",
        _each(lambda seat: seat.since or None),
    ),
    _Family(
        _SEAT + "restarts_total",
        "counter",
        "Starts of the container after it ended by itself; a new container begins at 0.",
        _each(lambda seat: seat.restarts),
    ),
    _Family(
        _SEAT + "requests_total",
        "counter",
        "Requests of visitors, by the edge's log.",
        _each(lambda seat: seat.totals.requests),
    ),
    _Family(
        _SEAT + "request_errors_total",
        "counter",
        "Answers with status 5xx, and visitors who got none.",
        _each(lambda seat: seat.totals.errors),
    ),
    _Family(
        _SEAT + "request_duration_seconds",
        "histogram",
        "How long answers took at the edge, streams included.",
        _durations,
    ),
    _Family(
        _SEAT + "response_bytes_total",
        "counter",
        "Bytes sent to visitors.",
        _each(lambda seat: seat.totals.bytes),
    ),
    _Family(
        _SEAT + "memory_bytes",
        "gauge",
        "Memory in use, without what the kernel may drop at once.",
        _each(lambda seat: seat.memory),
    ),
    _Family(
        _SEAT + "memory_limit_bytes",
        "gauge",
        "Memory the seat may use.",
        _each(lambda seat: seat.memory_limit or None),
    ),
    _Family(
        _SEAT + "cpu_seconds_total",
        "counter",
        "Processor time used.",
        _each(lambda seat: seat.totals.cpu_seconds),
    ),
    _Family(
        _SEAT + "cpu_limit_cores",
        "gauge",
        "Cores the seat may use.",
        _each(lambda seat: seat.cpu_limit or None),
    ),
    _Family(
        _SEAT + "deploys_total",
        "counter",
        "Deploys that ended, by whether they went live.",
        _both(
            _each(lambda seat: seat.totals.deploys, ("result", "live")),
            _each(lambda seat: seat.totals.failed_deploys, ("result", "failed")),
        ),
    ),
    _Family(
        _SEAT + "deploying",
        "gauge",
        "Whether a deploy is under way.",
        _each(lambda seat: seat.deploy is not None and seat.deploy.ended is None),
    ),
    _Family(
        _SEAT + "llm_requests_total",
        "counter",
        "Requests to the class's models.",
        _each(lambda seat: seat.totals.llm_requests),
    ),
    _Family(
        _SEAT + "llm_tokens_total",
        "counter",
        "Tokens of the class's models.",
        _both(
            _each(lambda seat: seat.totals.input_tokens, ("direction", "in")),
            _each(lambda seat: seat.totals.output_tokens, ("direction", "out")),
        ),
    ),
    _Family(
        _SEAT + "llm_budget_tokens",
        "gauge",
        "Tokens the seat may use in the running window of its budget.",
        _each(lambda seat: seat.tokens_limit),
    ),
    _Family(
        _SEAT + "llm_budget_used_tokens",
        "gauge",
        "Tokens used in the same window.",
        _each(lambda seat: seat.tokens),
    ),
    _Family(
        _SEAT + "llm_budget_used_ratio",
        "gauge",
        "Share of the budget that is used, 0 to 1: tokens or money, whichever is nearer its end.",
        _each(used_of_budget),
    ),
    _Family(
        _SEAT + "llm_paused",
        "gauge",
        "Whether the seat may ask the models nothing for now.",
        _each(lambda seat: seat.paused),
    ),
    _Family(
        _SEAT + "hand_raised",
        "gauge",
        "Whether the participant raised a hand.",
        _hands,
    ),
)
