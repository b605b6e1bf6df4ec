"""Whose request is it: every way to be somebody, and to be nobody."""

from __future__ import annotations

import pytest

from tests.gateway.lab import Lab, key_of, seat
from workshop.gateway.authenticate import authenticate, holder
from workshop.gateway.config import Config
from workshop.gateway.errors import GatewayError
from workshop.gateway.view import derive

ADA = {b"authorization": f"Bearer {key_of('ada')}".encode()}
VIEW = derive(Config("class", seats=(seat("ada"), seat("bob", paused=True))), {})


def test_good_key_finds_its_seat() -> None:
    """A key in the header is enough."""
    assert authenticate(ADA, b"api-version=1", "10.0.0.9", VIEW).name == "ada"


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"", "carries no key"),
        (b"Basic abc", "carries no key"),
        (b"Bearer ", "carries no key"),
        (b"Bearer sk-proj-1234", "not a key of this workshop"),
        (b"Bearer wk-somebody-else", "not known here"),
        (b"Bearer wk-\xff\x00", "not known here"),
    ],
)
def test_no_good_key_is_401_in_words(header: bytes, words: str) -> None:
    """Whatever is wrong with the key, the answer says it and does not repeat it."""
    with pytest.raises(GatewayError, match=words) as caught:
        authenticate({b"authorization": header}, b"", "10.0.0.9", VIEW)
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
    secret = header.partition(b" ")[2].decode("latin-1")
    assert not secret or secret not in caught.value.message


def test_unknown_key_is_named_by_its_hash() -> None:
    """The instructor can find a key by the beginning of its hash."""
    with pytest.raises(GatewayError, match=r"its id is [0-9a-f]{8}\)"):
        authenticate({b"authorization": b"Bearer wk-lost"}, b"", "10.0.0.9", VIEW)


@pytest.mark.parametrize(
    "query",
    [b"api_key=wk-x", b"a=1&key=abc", b"x=%77k-secret", b"access_token=1", b"Authorization=Bearer"],
)
def test_key_in_query_is_refused_with_advice(query: bytes) -> None:
    """A key in an address is lost, even beside a good one in the header."""
    with pytest.raises(GatewayError, match="rotate") as caught:
        authenticate(ADA, query, "10.0.0.9", VIEW)
    assert (caught.value.status, caught.value.code) == (400, "key_in_url")


def test_bound_key_works_only_at_its_address() -> None:
    """A key bound to its seat's container is refused from elsewhere."""
    view = derive(Config("class", seats=(seat("ada", address="10.0.0.5"),)), {})
    assert authenticate(ADA, b"", "10.0.0.5", view).name == "ada"
    with pytest.raises(GatewayError, match=r"ada-1 works only .* 10\.0\.0\.9") as caught:
        authenticate(ADA, b"", "10.0.0.9", view)
    assert (caught.value.status, caught.value.code) == (403, "key_bound")


def test_revoked_key_is_401() -> None:
    """A seat without a hash has no key, and an empty one does not fit it."""
    view = derive(Config("class", seats=(seat("ada", key_hash=""),)), {})
    with pytest.raises(GatewayError) as caught:
        authenticate(ADA, b"", "10.0.0.9", view)
    assert caught.value.status == 401


def test_paused_seat_and_class_are_403() -> None:
    """A pause says who ordered it."""
    bob = {b"authorization": f"Bearer {key_of('bob')}".encode()}
    with pytest.raises(GatewayError, match=r"instructor has paused .* for bob") as caught:
        authenticate(bob, b"", "10.0.0.9", VIEW)
    assert (caught.value.status, caught.value.code) == (403, "paused")
    view = derive(Config("class", seats=(seat("ada"),), paused=True), {})
    with pytest.raises(GatewayError, match="whole class"):
        authenticate(ADA, b"", "10.0.0.9", view)


def test_only_the_edge_may_name_the_caller() -> None:
    """X-Real-IP counts from our own addresses and from nobody else."""
    own = frozenset({"10.86.8.1"})
    told = {b"x-real-ip": b"10.0.0.5"}
    assert holder("10.86.8.1", told, own) == "10.0.0.5"
    assert holder("127.0.0.1", told, own) == "10.0.0.5"
    assert holder("10.86.8.1", {}, own) == "10.86.8.1"
    assert holder("10.0.0.9", told, own) == "10.0.0.9"


def test_query_key_reaches_no_upstream_and_no_log(lab: Lab) -> None:
    """The whole way: a key in the address is answered, not forwarded and not written down."""
    answer = lab.post({"model": "small"}, path=f"/chat/completions?api_key={key_of('ada')}")
    assert answer.status_code == 400
    assert lab.fake.seen == []
    assert key_of("ada") not in answer.text + lab.log.getvalue()
