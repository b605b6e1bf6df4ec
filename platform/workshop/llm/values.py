"""Single values of the roster's ``llm`` section.

Each reader raises ``ValueError`` with what it expected.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from urllib.parse import urlsplit

from workshop import names
from workshop.gateway.config import ECHO, NANO, Outage, Task, Window
from workshop.reading import parse_text

_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,99}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,49}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_COUNT = re.compile(r"([0-9]{1,9})([km]?)")
_COMPLETION_TOKENS = ("openai.com", "azure.com")
"""Hosts whose newer models know an answer's bound by the name ``max_completion_tokens`` only."""


def parse_count(text: str) -> int:
    """Read a number of tokens such as ``200k`` or ``5m``."""
    match = _COUNT.fullmatch(text)
    value = int(match[1]) * {"": 1, "k": 1000, "m": 1_000_000}[match[2]] if match else 0
    if not value:
        raise ValueError(f"{text[:40]!r}; expected a number of tokens, such as 200k or 5m")
    return value


def parse_money(text: str) -> int:
    """Read an amount as nano-units of the currency."""
    return _exact(text, NANO, "an amount, such as 2.50")


def parse_price(text: str) -> int:
    """Read a price for a million tokens as nano-units for one."""
    return _exact(text, NANO // 1_000_000, "a price for a million tokens, such as 0.25")


def _exact(text: str, unit: int, expected: str) -> int:
    try:
        value = Decimal(text) * unit if re.fullmatch(r"[0-9.]{1,20}", text) else Decimal(-1)
    except InvalidOperation:
        value = Decimal(-1)
    if value < 0 or value != value.to_integral_value():
        raise ValueError(f"{text[:40]!r}; expected {expected}")
    return int(value)


def parse_window(text: str) -> Window:
    """Read how long a budget lasts."""
    return Window(_one_of(text, [window.value for window in Window]))


def parse_outage(text: str) -> Outage | None:
    """Read what may answer in an outage."""
    return Outage(_one_of(text, [outage.value for outage in Outage]))


def parse_task(text: str) -> Task:
    """Read what a model is for."""
    return Task(_one_of(text, [task.value for task in Task]))


def parse_limit(text: str) -> str:
    """Read the name of the parameter that bounds an answer."""
    return _one_of(text, ["max_tokens", "max_completion_tokens"])


def _one_of(text: str, known: list[str]) -> str:
    if text not in known:
        raise ValueError(f"{text[:40]!r}; expected {' or '.join(known)}")
    return text


def parse_slug(text: str) -> str:
    """Read an upstream's name."""
    trouble = names.problem(text)
    if trouble:
        raise ValueError(trouble)
    return text


def parse_model_name(text: str) -> str:
    """Read a model's name."""
    if not _MODEL_NAME.fullmatch(text):
        raise ValueError(f"{text[:60]!a}; expected a model's name, such as gpt-5-mini")
    return text


def parse_variable(text: str) -> str:
    """Read the name of an environment variable."""
    if not _VARIABLE.fullmatch(text):
        raise ValueError(f"{text[:40]!a}; expected a variable's name, such as OPENAI_API_KEY")
    return text


def parse_header(text: str) -> str:
    """Read a header's name."""
    if not _HEADER.fullmatch(text):
        raise ValueError(f"{text[:40]!a}; expected a header's name, such as api-key")
    return text.lower()


def parse_currency(text: str) -> str:
    """Read a currency's code."""
    if not _CURRENCY.fullmatch(text):
        raise ValueError(f"{text[:40]!a}; expected three capitals, such as EUR")
    return text


def parse_url(text: str) -> str:
    """Read the base URL of an OpenAI-style API."""
    expected = "expected https://HOST/PATH of an OpenAI-style API, or echo:"
    if parse_text(text) == ECHO:
        return text
    try:
        parts = urlsplit(text)
        legal = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        legal = False
    if not legal or " " in text:
        raise ValueError(f"{text[:80]!a}; {expected}")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"a URL with a user, password, query or fragment; {expected}")
    return text.rstrip("/")


def answer_limit(url: str) -> str:
    """Guess which parameter bounds an answer at ``url``."""
    host = urlsplit(url).hostname or ""
    newer = any(host == name or host.endswith(f".{name}") for name in _COMPLETION_TOKENS)
    return "max_completion_tokens" if newer else "max_tokens"
