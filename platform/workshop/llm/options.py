"""What the roster says about language models: upstreams, budgets, and what each seat may use."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from workshop import limits
from workshop.gateway.config import (
    ECHO,
    Budget,
    Model,
    Outage,
    Pace,
    Task,
    Upstream,
)
from workshop.limits import MIB, Limits
from workshop.llm import values
from workshop.reading import parse_bool
from workshop.yamltree import Mapping, Node, Scalar, Sequence, describe

if TYPE_CHECKING:
    from pathlib import Path

    from workshop.reading import Reader

EMBEDDED = "embedded"
TOY_CHAT = "toy-smollm2-135m"
TOY_EMBEDDING = "all-minilm-l6-v2"
EMBEDDED_LIMITS = Limits(memory=768 * MIB, cpus=1.5, pids=128)
"""The model takes about 500 MB. On two cores it leaves half a core to everybody else."""
DEFAULT_BUDGET = Budget(tokens=200_000)
"""What a seat may use of somebody's paid model where the roster names no bound: an afternoon of
questions, and not much more than that for a loop."""
_KEYS = (
    "model embedding upstreams embedded budget currency outage record answer_tokens queue_seconds"
)
KEYS = tuple(_KEYS.split())
_UPSTREAM_KEYS = (
    "name",
    "url",
    "key_env",
    "key_file",
    "key_header",
    "models",
    "concurrency",
    "answer_limit",
)
_MODEL_KEYS = ("as", "task", "input", "output")
_BUDGET_KEYS = ("tokens", "money", "per")
SEAT_KEYS = (*_BUDGET_KEYS, "requests_per_minute", "tokens_per_minute", "concurrency", "bound")


@dataclass(frozen=True)
class Allowance:
    """What one seat may use, and how fast."""

    budget: Budget | None = None
    """``None`` until somebody names one; then :data:`DEFAULT_BUDGET` guards a paid upstream."""
    pace: Pace = field(default_factory=Pace)
    bound: bool = False
    """Whether the key works from the seat's own address alone."""


@dataclass(frozen=True)
class Provider:
    """One upstream, and where this server finds its key."""

    upstream: Upstream
    key_env: str = ""
    key_file: Path | None = None

    @property
    def has_key(self) -> bool:
        """Whether somebody pays for it."""
        return bool(self.key_env or self.key_file)


@dataclass(frozen=True)
class Llm:
    """Everything the roster's ``llm`` section says. Without one, the embedded model answers."""

    providers: tuple[Provider, ...] = ()
    embedded: Limits | None = EMBEDDED_LIMITS
    """Ceilings of the embedded model's container; ``None`` where it is not wanted."""
    model: str = TOY_CHAT
    """What seats ask for unless they say otherwise."""
    embedding: str = TOY_EMBEDDING
    """The same for embeddings; empty where no upstream makes any."""
    budget: Budget = field(default_factory=Budget)
    currency: str = "USD"
    outage: tuple[Outage, ...] = (Outage.REPLAY, Outage.EMBEDDED)
    record: bool = False
    answer_tokens: int = 1024
    queue_seconds: int = 300

    @property
    def is_paid(self) -> bool:
        """Whether any upstream needs somebody's key."""
        return any(provider.has_key for provider in self.providers)

    def budget_of(self, allowance: Allowance) -> Budget:
        """Say what one seat may use up."""
        if allowance.budget is not None:
            return allowance.budget
        return DEFAULT_BUDGET if self.is_paid else Budget()


def read(reader: Reader, node: Node | None) -> Llm | None:
    """Read ``workshop.llm``; ``None`` when it says ``false``."""
    where = "workshop.llm"
    if isinstance(node, Scalar) and not node.is_null:
        wanted = reader.value(node, where, parse_bool, default=True)
        return Llm() if wanted else None
    section = reader.section(node, where, KEYS) if node is not None else None
    if section is None:
        return Llm()
    return _Section(reader, where).llm(section)


def read_allowance(reader: Reader, node: Node | None, where: str, base: Allowance) -> Allowance:
    """Read what a seat may use on top of ``base``: the class's, or everybody's."""
    section = reader.section(node, where, SEAT_KEYS) if node is not None else None
    if section is None:
        return base
    get, pace = section.entries.get, base.pace
    named = any(key in section.entries for key in _BUDGET_KEYS)
    budget = read_budget(reader, section, where, base.budget or Budget()) if named else base.budget
    return Allowance(
        budget=budget,
        pace=Pace(
            requests_per_minute=reader.value(
                get("requests_per_minute"),
                f"{where}.requests_per_minute",
                lambda text: limits.parse_whole(text, 1, 10_000),
                pace.requests_per_minute,
            ),
            tokens_per_minute=reader.value(
                get("tokens_per_minute"),
                f"{where}.tokens_per_minute",
                values.parse_count,
                pace.tokens_per_minute,
            ),
            concurrency=reader.value(
                get("concurrency"),
                f"{where}.concurrency",
                lambda text: limits.parse_whole(text, 1, 100),
                pace.concurrency,
            ),
        ),
        bound=reader.value(get("bound"), f"{where}.bound", parse_bool, base.bound),
    )


def read_budget(reader: Reader, section: Mapping, where: str, base: Budget) -> Budget:
    """Read tokens, money and window of a budget."""
    get = section.entries.get
    return Budget(
        tokens=reader.value(get("tokens"), f"{where}.tokens", values.parse_count, base.tokens),
        money=reader.value(get("money"), f"{where}.money", values.parse_money, base.money),
        window=reader.value(get("per"), f"{where}.per", values.parse_window, base.window),
    )


class _Section:
    """Reads the ``llm`` section, top down."""

    def __init__(self, reader: Reader, where: str) -> None:
        self.reader = reader
        self.where = where

    def llm(self, section: Mapping) -> Llm:
        get, base, value = section.entries.get, Llm(), self.reader.value
        providers = self._providers(get("upstreams"))
        outage = self._outage(get("outage"), base.outage)
        named = get("outage") is not None and Outage.EMBEDDED in outage
        options = Llm(
            providers=providers,
            embedded=self._embedded(get("embedded"), needed=named or not providers),
            budget=self._budget(get("budget")),
            currency=value(get("currency"), f"{self.where}.currency", values.parse_currency, "USD"),
            outage=outage,
            record=value(get("record"), f"{self.where}.record", parse_bool, base.record),
            answer_tokens=value(
                get("answer_tokens"),
                f"{self.where}.answer_tokens",
                lambda text: limits.parse_whole(text, 16, 100_000),
                base.answer_tokens,
            ),
            queue_seconds=value(
                get("queue_seconds"),
                f"{self.where}.queue_seconds",
                lambda text: limits.parse_whole(text, 1, 3600),
                base.queue_seconds,
            ),
        )
        if options.embedded is None and not providers:
            self.reader.fault(
                section, self.where, "no upstream and no embedded model; write llm: false for none"
            )
        return replace(
            options,
            model=self._chosen(get("model"), "model", options, Task.CHAT),
            embedding=self._chosen(get("embedding"), "embedding", options, Task.EMBEDDING),
        )

    def _chosen(self, node: Node | None, key: str, options: Llm, task: Task) -> str:
        """Take the model seats ask for by default: as named, else the first that fits."""
        fitting = [
            name
            for provider in options.providers
            for name, model in provider.upstream.models.items()
            if model.task is task
        ]
        if options.embedded is not None:
            fitting.append(TOY_CHAT if task is Task.CHAT else TOY_EMBEDDING)
        default = fitting[0] if fitting else ""
        where = f"{self.where}.{key}"
        name = self.reader.value(node, where, values.parse_model_name, default)
        if name not in fitting and node is not None:
            known = ", ".join(fitting) or "none"
            self.reader.fault(node, where, f"{name!r} is no {task} model here; known: {known}")
        return name

    def _embedded(self, node: Node | None, *, needed: bool) -> Limits | None:
        where = f"{self.where}.embedded"
        if isinstance(node, Mapping):
            return self.reader.limits(node, where, EMBEDDED_LIMITS)
        wanted = self.reader.value(node, where, parse_bool, needed)
        return EMBEDDED_LIMITS if wanted else None

    def _budget(self, node: Node | None) -> Budget:
        where = f"{self.where}.budget"
        section = self.reader.section(node, where, _BUDGET_KEYS) if node is not None else None
        return read_budget(self.reader, section, where, Budget()) if section else Budget()

    def _outage(self, node: Node | None, default: tuple[Outage, ...]) -> tuple[Outage, ...]:
        where = f"{self.where}.outage"
        found: list[Outage] = []
        for item in self._items(node, where):
            one = self.reader.value(item, where, values.parse_outage, None)
            if one is not None:
                found.append(one)
        return tuple(dict.fromkeys(found)) if node is not None else default

    def _items(self, node: Node | None, where: str) -> list[Node]:
        if node is None:
            return []
        if not isinstance(node, Sequence):
            self.reader.fault(node, where, f"expected a list, found {describe(node)}")
            return []
        return node.items

    # -- upstreams ----------------------------------------------------------------------------

    def _providers(self, node: Node | None) -> tuple[Provider, ...]:
        found: dict[str, Provider] = {}
        for index, item in enumerate(self._items(node, f"{self.where}.upstreams")):
            where = f"{self.where}.upstreams[{index}]"
            provider = self._provider(item, where)
            if provider is None:
                continue
            if provider.upstream.name in found or provider.upstream.name == EMBEDDED:
                taken = f"the name {provider.upstream.name!r} is taken; give it another"
                self.reader.fault(item, where, taken)
            found[provider.upstream.name] = provider
        return tuple(found.values())

    def _provider(self, node: Node, where: str) -> Provider | None:
        section = self.reader.section(node, where, _UPSTREAM_KEYS)
        if section is None:
            return None
        get, value = section.entries.get, self.reader.value
        name = value(
            self.reader.required(section, "name", where),
            f"{where}.name",
            values.parse_slug,
            "unnamed",
        )
        url = value(
            self.reader.required(section, "url", where), f"{where}.url", values.parse_url, ECHO
        )
        models = self._models(self.reader.required(section, "models", where), f"{where}.models")
        upstream = Upstream(
            name=name,
            base_url=url,
            models=models,
            key_header=value(
                get("key_header"), f"{where}.key_header", values.parse_header, "authorization"
            ),
            answer_limit=value(
                get("answer_limit"),
                f"{where}.answer_limit",
                values.parse_limit,
                values.answer_limit(url),
            ),
            concurrency=value(
                get("concurrency"),
                f"{where}.concurrency",
                lambda text: limits.parse_whole(text, 1, 1000),
                Upstream("", "").concurrency,
            ),
        )
        return self._with_key(section, where, Provider(upstream))

    def _with_key(self, section: Mapping, where: str, provider: Provider) -> Provider:
        variable, file = section.entries.get("key_env"), section.entries.get("key_file")
        if variable is not None and file is not None:
            self.reader.fault(file, f"{where}.key_file", "either key_env or key_file, not both")
        name = self.reader.value(variable, f"{where}.key_env", values.parse_variable, "")
        path = self.reader.private(file, f"{where}.key_file") if file is not None else None
        if path is not None and not path.is_file():
            self.reader.fault(file, f"{where}.key_file", f"no file {path.name!r}")
        url = urlsplit(provider.upstream.base_url)
        if (name or path) and url.scheme == "http" and url.hostname != "localhost":
            self.reader.warn(section, where, f"the key goes to {url.hostname} unencrypted")
        return replace(provider, key_env=name, key_file=path)

    def _models(self, node: Node | None, where: str) -> dict[str, Model]:
        if not isinstance(node, Mapping):
            if node is not None:
                expected = "expected a mapping of names to prices"
                self.reader.fault(node, where, f"{expected}, found {describe(node)}")
            return {}
        found = {}
        for name, item in node.entries.items():
            mark = node.keys[name]
            if self.reader.value(mark, where, values.parse_model_name, "") != name:
                continue
            found[name] = self._model(name, item, f"{where}.{name[:40]}")
        if not found:
            self.reader.fault(node, where, "expected at least one model")
        return found

    def _model(self, name: str, node: Node, where: str) -> Model:
        guess = Task.EMBEDDING if "embed" in name or "minilm" in name else Task.CHAT
        if isinstance(node, Scalar) and node.is_null:
            return Model(name, guess)
        section = self.reader.section(node, where, _MODEL_KEYS)
        if section is None:
            return Model(name, guess)
        get, value = section.entries.get, self.reader.value
        return Model(
            upstream_name=value(get("as"), f"{where}.as", values.parse_model_name, name),
            task=value(get("task"), f"{where}.task", values.parse_task, guess),
            input_price=value(get("input"), f"{where}.input", values.parse_price, 0),
            output_price=value(get("output"), f"{where}.output", values.parse_price, 0),
        )
