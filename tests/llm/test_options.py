"""The roster's ``llm`` section: what it means, and every way to get it wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workshop.errors import InputError
from workshop.gateway.config import Budget, Outage, Task, Window
from workshop.limits import MIB
from workshop.llm.options import DEFAULT_BUDGET, TOY_CHAT, TOY_EMBEDDING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workshop.llm.options import Llm
    from workshop.roster import Roster

UPSTREAM = """\
- name: openai
        url: https://api.openai.com/v1
        key_env: OPENAI_API_KEY
        models: {gpt-5-mini: {input: 0.25, output: 2}, small: {as: gpt-5-nano}, text-embedding-3-small: }"""


@pytest.fixture
def llm(parse: Callable[[str], Roster]) -> Callable[[str], Llm | None]:
    """Parse the lines of an ``llm`` section."""
    return lambda lines: (
        parse(f"workshop:\n  name: class\n  llm:\n    {lines}\nparticipants: [ada, bob]\n").llm
    )


def faults(parse: Callable[[str], Roster], text: str) -> list[str]:
    """Parse a text that must be refused; its faults as lines."""
    with pytest.raises(InputError) as caught:
        parse(text)
    return [str(fault) for fault in caught.value.faults]


def test_roster_without_the_section_gets_the_embedded_model(parse: Callable[[str], Roster]) -> None:
    """A fresh server without any key has a real model."""
    found = parse("workshop: {name: class}\nparticipants: [ada]\n").llm

    assert found is not None
    assert (found.model, found.embedding) == (TOY_CHAT, TOY_EMBEDDING)
    assert found.embedded is not None
    assert found.providers == ()


def test_section_that_says_false_means_no_models(parse: Callable[[str], Roster]) -> None:
    """A class about something else pays for nothing."""
    assert parse("workshop: {name: class, llm: false}\nparticipants: [ada]\n").llm is None


def test_upstream_brings_its_models_and_prices(llm: Callable[[str], Llm]) -> None:
    """Prices are exact: nano-units for one token."""
    [provider] = llm(f"upstreams:\n      {UPSTREAM}").providers
    models = provider.upstream.models

    assert (models["gpt-5-mini"].input_price, models["gpt-5-mini"].output_price) == (250, 2000)
    assert models["small"].upstream_name == "gpt-5-nano"
    assert models["text-embedding-3-small"].task is Task.EMBEDDING
    assert provider.upstream.answer_limit == "max_completion_tokens"


def test_first_fitting_models_are_what_seats_ask_for(llm: Callable[[str], Llm]) -> None:
    """Nobody has to repeat a name."""
    found = llm(f"upstreams:\n      {UPSTREAM}")

    assert (found.model, found.embedding) == ("gpt-5-mini", "text-embedding-3-small")


def test_upstream_alone_brings_no_embedded_model(llm: Callable[[str], Llm]) -> None:
    """Whoever has a provider does not need half a gigabyte of toy."""
    assert llm(f"upstreams:\n      {UPSTREAM}").embedded is None


def test_outage_that_names_the_embedded_model_brings_it(llm: Callable[[str], Llm]) -> None:
    """It must run to be there when it is needed."""
    found = llm(f"outage: [replay, embedded]\n    upstreams:\n      {UPSTREAM}")

    assert found.embedded is not None
    assert found.outage == (Outage.REPLAY, Outage.EMBEDDED)


def test_embedded_model_takes_limits_of_its_own(llm: Callable[[str], Llm]) -> None:
    """A larger server may give it more."""
    embedded = llm("embedded: {memory: 1g, cpus: 4}").embedded

    assert embedded is not None
    assert (embedded.memory, embedded.cpus) == (1024 * MIB, 4)


def test_budgets_and_pace_narrow_from_everybody_to_one(parse: Callable[[str], Roster]) -> None:
    """Defaults hold unless an own entry says otherwise, key by key."""
    roster = parse("""
        workshop:
          name: class
          llm: {budget: {tokens: 5m, money: 12.50, per: workshop}}
        defaults:
          llm: {tokens: 100k, per: hour, concurrency: 2}
        participants:
          - ada
          - {name: bob, llm: {tokens: 1m, requests_per_minute: 5, bound: true}}
    """)
    ada, bob = (person.llm for person in roster.participants)

    assert roster.llm is not None
    assert roster.llm.budget == Budget(5_000_000, 12_500_000_000, Window.WORKSHOP)
    assert ada.budget == Budget(100_000, None, Window.HOUR)
    assert bob.budget == Budget(1_000_000, None, Window.HOUR)
    assert (ada.pace.requests_per_minute, bob.pace.requests_per_minute) == (30, 5)
    assert (ada.pace.concurrency, bob.pace.concurrency) == (2, 2)
    assert (ada.bound, bob.bound) == (False, True)


def test_paid_upstream_without_a_budget_is_guarded(llm: Callable[[str], Llm]) -> None:
    """One loop must not eat the afternoon's money because a line was forgotten."""
    from workshop.llm.options import Allowance

    assert llm(f"upstreams:\n      {UPSTREAM}").budget_of(Allowance()) == DEFAULT_BUDGET
    assert llm("embedded: true").budget_of(Allowance()) == Budget()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("model: gpt-9", "no chat model here; known: toy-smollm2-135m"),
        ("embedded: false", "no upstream and no embedded model"),
        ("budget: {tokens: many}", "expected a number of tokens"),
        ("budget: {money: -1}", "expected an amount"),
        ("budget: {money: 1.0000000001}", "expected an amount"),
        ("budget: {per: fortnight}", "expected hour or day or workshop"),
        ("outage: [hope]", "expected replay or embedded"),
        ("outage: replay", "expected a list, found text"),
        ("currency: euro", "expected three capitals"),
        ("answer_tokens: 0", "expected a whole number from 16"),
        ("upstream: []", "did you mean 'upstreams'?"),
        ("upstreams: [{name: one}]", "the key 'url' is missing"),
        ("upstreams: [{name: One, url: 'echo:', models: {m: }}]", "expected a-z"),
        ("upstreams: [{name: embedded, url: 'echo:', models: {m: }}]", "reserved"),
        (
            "upstreams: [{name: one, url: 'ftp://x/v1', models: {m: }}]",
            "expected https://HOST/PATH",
        ),
        ("upstreams: [{name: one, url: 'https://u:p@x/v1', models: {m: }}]", "a URL with a user"),
        ("upstreams: [{name: one, url: 'https://x/v1?key=1', models: {m: }}]", "a URL with a user"),
        ("upstreams: [{name: one, url: 'echo:', models: {}}]", "at least one model"),
        ("upstreams: [{name: one, url: 'echo:', models: {'a b': }}]", "expected a model's name"),
        ("upstreams: [{name: one, url: 'echo:', models: {m: {input: free}}}]", "expected a price"),
        ("upstreams: [{name: one, url: 'echo:', models: {m: {task: sing}}}]", "chat or embedding"),
        (
            "upstreams: [{name: one, url: 'echo:', models: {m: }, key_env: 'A B'}]",
            "a variable's name",
        ),
        (
            "upstreams: [{name: one, url: 'echo:', models: {m: }, key_file: /etc/shadow}]",
            "a path below",
        ),
        ("upstreams: [{name: one, url: 'echo:', models: {m: }, key_file: none}]", "no file 'none'"),
        (
            "upstreams: [{name: one, url: 'echo:', models: {m: }, key_env: A, key_file: b}]",
            "not both",
        ),
    ],
)
def test_mistake_is_named_with_what_was_expected(
    parse: Callable[[str], Roster], lines: str, message: str
) -> None:
    """One line says what is wrong; nothing is touched."""
    found = faults(parse, f"workshop:\n  name: class\n  llm:\n    {lines}\nparticipants: [ada]\n")

    assert any(message in line for line in found), found


def test_key_file_others_can_read_is_refused(
    parse: Callable[[str], Roster], directory: Path
) -> None:
    """A provider's key is worth money."""
    (directory / "openai.key").write_text("sk-x")
    (directory / "openai.key").chmod(0o644)
    line = "{name: one, url: 'echo:', models: {m: }, key_file: openai.key}"
    found = faults(
        parse, f"workshop: {{name: class, llm: {{upstreams: [{line}]}}}}\nparticipants: [ada]\n"
    )

    assert any("chmod 600 openai.key" in text for text in found)


def test_key_over_an_open_line_is_warned_about(parse: Callable[[str], Roster]) -> None:
    """Everybody on the way could read it."""
    line = "{name: one, url: 'http://llm.example.org/v1', models: {m: }, key_env: KEY}"
    roster = parse(
        f"workshop: {{name: class, llm: {{upstreams: [{line}]}}}}\nparticipants: [ada]\n"
    )

    assert any("unencrypted" in str(warning) for warning in roster.warnings)


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "OPENAI_BASE_URL"])
def test_variable_of_the_gateway_cannot_be_overridden(
    parse: Callable[[str], Roster], name: str
) -> None:
    """A seat that talks past the gateway would need somebody's real key."""
    text = f"workshop: {{name: class%s}}\nparticipants: [{{name: ada, env: {{{name}: x}}}}]\n"

    assert any("set by the platform" in line for line in faults(parse, text % ""))
    assert parse(text % ", llm: false").participants[0].env == {name: "x"}


def test_model_of_a_seat_may_be_chosen_in_its_env(parse: Callable[[str], Roster]) -> None:
    """The platform's choice is a default."""
    text = "workshop: {name: class}\nparticipants: [{name: ada, env: {OPENAI_MODEL: other}}]\n"

    assert parse(text).participants[0].env == {"OPENAI_MODEL": "other"}
