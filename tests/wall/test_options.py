"""What the roster says about egress: the modes, the approved hosts, and each way to get it wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workshop.errors import InputError
from workshop.parts.wall import proxy_variables
from workshop.roster import Participant
from workshop.wall.options import MOST_HOSTS, Mode, host_problem, shortest

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop.roster import Roster

    Parse = Callable[[str], Roster]

CLASS = """
workshop:
  name: class
  egress: {egress}
defaults: {{{defaults}}}
participants:
  - ada
  - name: bob
    egress: {bob}
"""


def modes(parse: Parse, egress: str, *, defaults: str = "", bob: str = "open") -> list[Mode]:
    """Read the modes of two seats."""
    found = parse(CLASS.format(egress=egress, defaults=defaults, bob=bob))
    return [person.egress for person in found.participants]


def faults(parse: Parse, egress: str, *, defaults: str = "", bob: str = "open") -> list[str]:
    """Read a roster that is wrong, and return what is said of it."""
    with pytest.raises(InputError) as raised:
        parse(CLASS.format(egress=egress, defaults=defaults, bob=bob))
    return [str(fault) for fault in raised.value.faults]


def test_seat_without_a_word_is_open(parse: Parse) -> None:
    """The internet is what most apps need."""
    found = parse("workshop: {name: class}\nparticipants: [ada]\n")

    assert [person.egress for person in found.participants] == [Mode.OPEN]
    assert found.hosts == ()


def test_own_word_beats_the_defaults_and_these_the_class(parse: Parse) -> None:
    """As with every other key."""
    assert modes(parse, "llm") == [Mode.LLM, Mode.OPEN]
    assert modes(parse, "llm", defaults="egress: none", bob="llm") == [Mode.NONE, Mode.LLM]


def test_approved_hosts_are_the_classs(parse: Parse) -> None:
    """One list, whoever uses it, in the order of the file and each once."""
    egress = "{mode: none, hosts: [pkg.example.org, .example.org, pkg.example.org]}"
    found = parse(CLASS.format(egress=egress, defaults="", bob="approved"))

    assert [person.egress for person in found.participants] == [Mode.NONE, Mode.APPROVED]
    assert found.hosts == ("pkg.example.org", ".example.org")


@pytest.mark.parametrize(
    ("egress", "defaults", "bob", "place"),
    [
        ("approved", "", "open", "workshop.egress"),
        ("{mode: approved, hosts: []}", "", "open", "workshop.egress.mode"),
        ("open", "egress: approved", "open", "defaults.egress"),
        ("open", "", "approved", "participants[1].egress"),
    ],
)
def test_approved_without_hosts_says_where_to_list_them(
    parse: Parse, egress: str, defaults: str, bob: str, place: str
) -> None:
    """Such a seat would reach nothing, which somebody else's word for it is ``llm``."""
    (fault,) = faults(parse, egress, defaults=defaults, bob=bob)

    assert f" {place}: approved, but no host is; list them under workshop:" in fault
    assert "egress: {mode: approved, hosts: [pkg.example.org]}" in fault


def test_unknown_mode_names_the_known_ones(parse: Parse) -> None:
    """With line and column, as everywhere."""
    assert faults(parse, "closed") == [
        "participants.yaml:4:11: workshop.egress: 'closed'; expected open, approved, llm, none"
    ]


@pytest.mark.parametrize(
    ("entry", "advice"),
    [
        ("*", "expected a name; .example.org means every name below"),
        ("*.com", "expected a name; .example.org means every name below"),
        ("http://example.org", "expected a name alone, without http:// or a path"),
        ("example.org/path", "expected a name alone, without http:// or a path"),
        ("10.0.0.0/8", "expected a name alone"),
        ("203.0.113.7", "expected a name, not an address"),
        ("10.0.0.1", "expected a name, not an address"),
        ("::1", "expected a name, not an address"),
        ("[2001:db8::1]", "expected a name, not an address"),
        ("127.1", "expected a name, not an address"),
        ("evil.com:22", "expected a name without a port"),
        ("user@example.org", "expected a name without a port"),
        (".com", "too wide"),
        ("localhost", "too wide"),
        ("", "expected a name such as pkg.example.org"),
        (".", "expected a name such as pkg.example.org"),
        ("example..org", "expected a name such as pkg.example.org"),
        ("..example.org", "expected a name such as pkg.example.org"),
        ("-a.example.org", "expected a name such as pkg.example.org"),
        ("example.org.", "expected a name such as pkg.example.org"),
        ("a b.example.org", "expected a name such as pkg.example.org"),
        ("a\nhttp_access allow all", "expected a name such as pkg.example.org"),
        (f"{'a' * 64}.example.org", "expected a name such as pkg.example.org"),
        (f"{'a.' * 130}org", "expected a name such as pkg.example.org"),
        ("Example.org", "expected lower case"),
        ("bücher.example.org", "ASCII form, which begins with xn--"),
    ],
)
def test_entry_that_is_no_host_is_told_what_to_be(entry: str, advice: str) -> None:
    """B36: stars, addresses, ports and whole top-level domains are not approved by accident."""
    assert advice in host_problem(entry)


@pytest.mark.parametrize(
    "entry", ["pkg.example.org", ".example.org", "xn--bcher-kva.example", "a-1.b2.c3d"]
)
def test_name_of_a_host_is_taken(entry: str) -> None:
    """A name, or with a leading dot all names below it too."""
    assert host_problem(entry) == ""


def test_every_wrong_entry_is_a_fault_with_its_place(parse: Parse) -> None:
    """All at once, each where it stands."""
    found = faults(parse, "{mode: open, hosts: ['*', pkg.example.org, [], 'evil.com:22']}")

    assert [": ".join(fault.split(": ")[:2]) for fault in found] == [
        "participants.yaml:4:32: workshop.egress.hosts[0]",
        "participants.yaml:4:54: workshop.egress.hosts[2]",
        "participants.yaml:4:58: workshop.egress.hosts[3]",
    ]


def test_endless_list_is_refused(parse: Parse) -> None:
    """A list nobody can read approves what nobody meant."""
    hosts = ", ".join(f"h{number}.example.org" for number in range(MOST_HOSTS + 1))
    (fault,) = faults(parse, f"{{mode: open, hosts: [{hosts}]}}")

    assert "201 hosts; at most 200" in fault


@pytest.mark.parametrize(
    "key", sorted(proxy_variables(Participant("ada", egress=Mode.APPROVED), ""))
)
def test_way_out_of_an_approved_seat_is_the_platforms(parse: Parse, key: str) -> None:
    """B27: an own value would lead nowhere, or past the class's models."""
    egress, env = "{mode: approved, hosts: [pkg.example.org]}", f"env: {{{key}: x}}"

    assert f"{key} is set by the platform" in faults(parse, egress, defaults=env)[0]


def test_names_below_a_listed_one_are_left_out() -> None:
    """Squid refuses to start with a name and the dot above it."""
    hosts = (
        ".example.org",
        "pkg.example.org",
        "example.org",
        ".b.example.org",
        "a.example",
        "b.org",
    )

    assert shortest(hosts) == (".example.org", "a.example", "b.org")
