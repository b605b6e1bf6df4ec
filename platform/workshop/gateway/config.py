"""What the gateway is told: frozen data that the command writes and the service reads.

One JSON file carries it, replaced whole, so a change of keys, budgets or upstreams takes effect
without a restart. It holds no secret: keys of participants appear as hashes, keys of providers as
the name of a file beside it.

Money is counted in whole billionths ("nano") of the currency's unit: a price of 0.25 per million
tokens is exactly 250 for one token, and sums have no rounding.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = 1
FILE = "config.json"
SECRETS = "secrets"
"""Directory beside the file: one provider's key in each of its files."""
PREFIX = "/llm/v1"
"""Where the gateway answers, behind the edge and from a seat alike."""
ECHO = "echo:"
"""Base URL of the upstream that is part of the gateway itself."""
NANO = 1_000_000_000


class Window(StrEnum):
    """How long a budget lasts before it is full again; hours and days begin by the UTC clock."""

    HOUR = "hour"
    DAY = "day"
    WORKSHOP = "workshop"


class Outage(StrEnum):
    """What may answer while no upstream does, in this order."""

    REPLAY = "replay"
    EMBEDDED = "embedded"


class Task(StrEnum):
    """What a model is for."""

    CHAT = "chat"
    EMBEDDING = "embedding"


@dataclass(frozen=True)
class Budget:
    """What may be used up in one window; ``None`` is no bound."""

    tokens: int | None = None
    money: int | None = None
    """Nano-units of the currency."""
    window: Window = Window.DAY


@dataclass(frozen=True)
class Pace:
    """How fast one seat may go."""

    requests_per_minute: int = 30
    tokens_per_minute: int = 60_000
    concurrency: int = 4
    """Answers at the same time; more of one seat wait their turn."""


@dataclass(frozen=True)
class Seat:
    """One participant, as far as the gateway needs to know."""

    name: str
    key_id: str
    """What messages and logs call the key, such as ``ada-1``."""
    key_hash: str
    """SHA-256 of the key in hexadecimal; empty when it is revoked."""
    address: str | None = None
    """IPv4 address the key is bound to; ``None`` lets it be used from anywhere."""
    paused: bool = False
    budget: Budget = Budget()
    pace: Pace = Pace()


@dataclass(frozen=True)
class Model:
    """One model of an upstream, and what a token of it costs in nano-units."""

    upstream_name: str
    """What the upstream calls it."""
    task: Task = Task.CHAT
    input_price: int = 0
    output_price: int = 0


@dataclass(frozen=True)
class Upstream:
    """A provider of models that speaks OpenAI's dialect."""

    name: str
    base_url: str
    """Such as ``https://api.example.com/v1``; ``echo:`` is the gateway's own."""
    models: Mapping[str, Model] = field(default_factory=dict)
    """By the name the class uses."""
    secret: str = ""
    """File in the secrets directory that holds the provider's key; empty for none."""
    key_header: str = "authorization"
    """``authorization`` sends ``Bearer KEY``; any other header (Azure: ``api-key``) the key."""
    answer_limit: str = "max_tokens"
    """The parameter that bounds an answer; newer models want ``max_completion_tokens``."""
    concurrency: int = 32
    """Requests in flight over all seats."""
    toy: bool = False
    """Whether its answers need the warning that they come from a toy model. In an outage it answers
    for every chat model."""


@dataclass(frozen=True)
class Config:
    """Everything the gateway is told. Upstreams are tried in their order."""

    workshop: str
    seats: tuple[Seat, ...] = ()
    upstreams: tuple[Upstream, ...] = ()
    budget: Budget = Budget()
    """Of the whole class."""
    currency: str = "USD"
    paused: bool = False
    """Whether nobody may ask for now."""
    record: bool = False
    """Whether good answers are kept, to be replayed while no upstream answers."""
    outage: tuple[Outage, ...] = (Outage.REPLAY, Outage.EMBEDDED)
    answer_tokens: int = 1024
    """Longest answer in tokens; also what a request without a bound of its own is given."""
    queue_seconds: float = 300.0
    """Longest wait for a turn."""
    body_bytes: int = 1024 * 1024

    @property
    def fingerprint(self) -> str:
        """Name the configuration by its content; the gateway answers it at ``/healthz``."""
        return hashlib.sha256(dump(self).encode()).hexdigest()[:16]


def dump(config: Config) -> str:
    """Write ``config`` as JSON; equal configurations give equal text."""
    return json.dumps({"schema": SCHEMA, **asdict(config)}, indent=1, sort_keys=True) + "\n"


def load(text: str) -> Config:
    """Read what :func:`dump` wrote.

    Raises:
        ValueError, KeyError, TypeError: it is not such a text.

    """
    raw = json.loads(text)
    if raw.pop("schema") != SCHEMA:
        raise ValueError("a configuration for another version of the gateway")
    return Config(
        **{
            **raw,
            "seats": tuple(map(_seat, raw["seats"])),
            "upstreams": tuple(map(_upstream, raw["upstreams"])),
            "budget": _budget(raw["budget"]),
            "outage": tuple(map(Outage, raw["outage"])),
        }
    )


def _seat(raw: Mapping[str, Any]) -> Seat:
    return Seat(**{**raw, "budget": _budget(raw["budget"]), "pace": Pace(**raw["pace"])})


def _budget(raw: Mapping[str, Any]) -> Budget:
    return Budget(**{**raw, "window": Window(raw["window"])})


def _upstream(raw: Mapping[str, Any]) -> Upstream:
    models = {
        name: Model(**{**model, "task": Task(model["task"])})
        for name, model in raw["models"].items()
    }
    return Upstream(**{**raw, "models": models})
