"""No request ever reaches another seat: the corpus, and tens of thousands of random raw targets.

The law, for every raw target: the answer is the edge's own refusal, a redirect to the seat named
literally first, or the word of that seat, which saw the rest of the target byte for byte.
"""

from __future__ import annotations

import random
import re

import pytest
from lab import SEATS, Crowd, Lab, Reply

CORPUS = [
    b"/alice/x", b"/alice/../bob/x", b"/alice/%2e%2e/bob/x", b"/alice/..%2fbob/x",
    b"/alice/%2e%2e%2fbob/x", b"/bob/..%2falice/x", b"/alice/..%252fbob/x", b"//bob/x",
    b"/alice//x", b"/alice/%00x", b"/alice;/x", b"/alice/..;/bob/x", b"/%61lice/x", b"/alice%2fx",
    b"/alice/x%0d%0aX-Inj:1", b"http://evil/bob/x", b"/alice?x=1", b"/alice/?next=/bob/../alice",
    b"/alice/#f", b"/alice/%", b"/alice/%zz", b"/alice/%ff%fe", "/alice/é".encode(),
    b"/alice/..\\bob", b"/alice/a%5c..%5cbob", b"/alice/...", b"/alice/.well-known/a",
    b"/alice/a%2Fb%20c%3Fd?q=%2e%2e/", b"/alice/a|../b", b"/aliceX/", b"/Alice/", b"/alice",
    b"/alice/./x",
]  # fmt: skip
"""Appendix B of the reliability research: every form known to have crossed somewhere."""

BORDERS = [
    b"/carl", b"/carlos", b"/carl/", b"/carlos/", b"/carl../x", b"/carlos/../carl/x", b"/carl-2/x",
    b"/carl-2", b"/al", b"/al/", b"/ali/", b"/al%69ce/x", b"/alice/al/alice/", b"/alice?", b"/alice#x",
    b"/alice/?", b"/alice/x?", b"/alice/x#y?z", b"/?", b"/", b"/#", b"/?x=/alice/", b"/alice/..",
    b"/alice/%2e%2e", b"/alice/%2E", b"/x/../alice/y", b"/./alice/x", b"/%2e/alice/x", b"/alice/x/..",
    b"http://localhost/alice/x", b"http://localhost/alice/../bob/x", b"http://localhost",
    b"HTTP://LOCALHOST/alice/x?y", b"/.pages/404.html", b"/.pages/", b"/alice/%23/%3f", b"/alice/a+b",
    b"/alice/x?a%00b", b"/healthz/", b"/healthz?", b"/heal%74hz", b"/robots.txt", b"/alice/%2e%2e/",
    b"/%2falice/x", b"/alice/..%5cbob", b"/alice/%252e%252e/bob", b"/default/", b"*", b"alice/x", b"/\\alice/x",
]  # fmt: skip

TOKENS = [
    *(name.encode() for name in SEATS),
    *[b"/"] * 6, b"//", b"..", b".", b"/../", b"/./", b"%2e", b"%2E%2e", b"%2f", b"%2F", b"%5c",
    b"\\", b";", b"..;", b"%00", b"%0d%0a", b"?", b"#", b"%", b"%z", b"%25", b"%252f", b"%61", b"%6C",
    "é".encode(), b"%ff", b"\xff", b":", b"@", b"|", b"a", b"x.y", b"+", b"&", b"=", b"~", b"'", b'"',
    b"<b>", b"{}", b"$uri", b"\x01", b"\x7f",
]  # fmt: skip


def crossing(target: bytes, reply: Reply) -> str | None:
    """Say how an answer breaks the law, or None."""
    raw = re.sub(rb"^[A-Za-z]+://[^/?#]*", b"", target)
    first = re.split(rb"[/?#]", raw[1:], maxsplit=1)[0]
    if 400 <= reply.status < 500:
        return None
    if reply.status == 308:
        rest = raw[1 + len(first) :].partition(b"#")[0].decode("latin-1")
        expected = f"/{first.decode()}/{'' if rest == '?' else rest}"
        location = reply.header("location")
        return None if location == expected else f"redirects to {location}"
    if reply.status == 200 and first.decode("latin-1") in SEATS:
        expected_word = first + b" " + raw[1 + len(first) :]
        return None if reply.body == expected_word else f"was served {reply.body!r}"
    edges_own = re.fullmatch(rb"/(healthz|robots\.txt)?(?:[?#].*)?", raw, re.DOTALL) or raw == b""
    return None if reply.status == 200 and edges_own else f"got {reply.status} {reply.body[:80]!r}"


def random_targets(seed: int, count: int, seats: tuple[str, ...] = SEATS) -> list[bytes]:
    """Make raw targets; most begin like one of ``seats``, since those are the ones worth trying."""
    chance = random.Random(seed)
    targets = []
    for _ in range(count):
        tail = b"".join(chance.choices(TOKENS, k=chance.randint(0, 8)))
        head = b"/" + (chance.choice(seats).encode() if chance.random() < 0.7 else b"")
        targets.append(head + chance.choice([b"/", b"/", b"", b"x"]) + tail)
    return targets


@pytest.mark.parametrize("target", CORPUS + BORDERS)
def test_known_odd_target_stays_in_its_seat(lab: Lab, target: bytes) -> None:
    """Every known way to cross ends at the seat named first, or in a refusal."""
    assert crossing(target, lab.get(target)) is None


@pytest.mark.parametrize("seat", SEATS)
def test_corpus_stays_in_every_seat(lab: Lab, seat: str) -> None:
    """The corpus holds for names which are prefixes of one another, in either role."""
    other = SEATS[SEATS.index(seat) - 1]
    swap = {b"alice": seat.encode(), b"bob": other.encode()}
    targets = [re.sub(rb"alice|bob", lambda m: swap[m[0]], target) for target in CORPUS]
    faults = [(t, f) for t in targets if (f := crossing(t, lab.get(t))) is not None]

    assert faults == []


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(5_000, id="5000"),
        pytest.param(50_000, id="50000", marks=[pytest.mark.slow, pytest.mark.timeout(300)]),
    ],
)
def test_random_targets_cross_nowhere(lab: Lab, count: int) -> None:
    """Seeded, so that a failure can be repeated; enough are served for the law to be tested."""
    targets = random_targets(20_000 + count, count)
    replies = Crowd(lab.port).ask(targets)
    faults = [(t, f) for t, r in zip(targets, replies, strict=True) if (f := crossing(t, r))]
    served = sum(reply.status == 200 for reply in replies)

    assert faults == []
    assert served > count / 5


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        ("/alice/", "/"),
        ("/alice/a/b.c?d=e&f", "/a/b.c?d=e&f"),
        ("/alice//a//", "//a//"),
        ("/alice/a%2Fb%20c?q=%2e%2e/", "/a%2Fb%20c?q=%2e%2e/"),
        ("/alice/x?", "/x?"),
        ("/alice/%7Euser/%C3%A9", "/%7Euser/%C3%A9"),
        ("/alice/a;b=c/@d:e", "/a;b=c/@d:e"),
        ("/alice/.well-known/x", "/.well-known/x"),
    ],
)
def test_legitimate_target_arrives_unchanged(lab: Lab, target: str, seen: str) -> None:
    """What an app may rely on: the prefix goes, every other byte stays."""
    assert lab.get(target).body == b"alice " + seen.encode()


@pytest.mark.parametrize(
    ("target", "location"),
    [("/alice", "/alice/"), ("/alice?a=%2F&b", "/alice/?a=%2F&b"), ("/carl", "/carl/")],
)
def test_seat_without_slash_redirects_and_keeps_the_query(
    lab: Lab, target: str, location: str
) -> None:
    """308 keeps the method; a relative Location is right behind any scheme and port."""
    reply = lab.get(target)

    assert (reply.status, reply.header("location")) == (308, location)


@pytest.mark.parametrize("target", ["/nobody/", "/Alice/", "/alicex/", "/al-ice/", "/favicon.ico"])
def test_unknown_name_gets_the_friendly_page(lab: Lab, target: str) -> None:
    """A typing error ends in a page that says what to do."""
    reply = lab.get(target)

    assert reply.status == 404
    assert b"There is nothing at this address" in reply.body
