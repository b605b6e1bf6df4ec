"""The way to the class's models: what the gateway is told, and what the edge says itself."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import lab as laboratory
import pytest
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Lab, Reply


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Run the edge in front of a stand-in for the gateway."""
    directory = tmp_path_factory.mktemp("models")
    with laboratory.apps(["gateway"]) as ports:
        edge = laboratory.edge_for({"ada": ports["gateway"]}, directory)
        edge = replace(edge, gateway=f"127.0.0.1:{ports['gateway']}")
        with laboratory.running(edge, directory) as started:
            yield started


def error(reply: Reply) -> dict[str, Any]:
    """Read an error in the words of the models' API."""
    assert reply.header("content-type") == "application/json"
    found: dict[str, Any] = json.loads(reply.body)["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return found


@pytest.mark.parametrize("path", ["/llm/v1/models", "/llm/v1/models/gpt-5-mini?a=b"])
def test_path_of_a_request_arrives_as_it_was_sent(models: Lab, path: str) -> None:
    """The prefix stays: seats that ask the gateway directly use the same paths."""
    assert models.get(path).body == f"gateway {path}".encode()


def test_key_arrives_and_the_visitors_address_is_the_edges_word(models: Lab) -> None:
    """A key bound to an address must not be freed by a forged header."""
    reply = models.get("/llm/v1/head", "Authorization: Bearer wk-x", "X-Real-IP: 10.9.9.9")
    head = reply.body.decode().lower()

    assert "authorization: bearer wk-x" in head
    assert "x-real-ip: 127.0.0.1" in head
    assert "10.9.9.9" not in head


@pytest.mark.parametrize("status", [400, 401, 404, 413, 429, 500, 502, 503])
def test_gateways_own_errors_pass_untouched(models: Lab, status: int) -> None:
    """The gateway knows better than the edge why it refuses."""
    reply = models.get(f"/llm/v1/status/{status}")

    assert (reply.status, reply.body) == (status, b"the app's own words")


@pytest.mark.parametrize(
    "path", ["/llm/v1/..%2fmetrics", "/llm/v1/%2e%2e/healthz", "/llm/v1//models", "/llm/v1/./x"]
)
def test_path_that_could_be_read_in_two_ways_is_refused(models: Lab, path: str) -> None:
    """The gateway's other addresses are not for the class."""
    reply = models.get(path)

    assert reply.status in {400, 404}
    assert b"gateway /" not in reply.body


@pytest.mark.parametrize("path", ["/llm", "/llm/", "/llm/metrics", "/llm/v2/models", "/metrics"])
def test_nothing_beside_the_api_is_reached(models: Lab, path: str) -> None:
    """What the edge does not pass on does not exist."""
    assert models.get(path).status == 404


def test_request_that_is_too_large_is_refused_in_the_apis_words(models: Lab) -> None:
    """Ten megabytes of prompt never reach the gateway."""
    head = b"POST /llm/v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    reply = models.send(head + b"Content-Length: 10485760\r\n\r\n")

    assert reply.status == 413
    assert error(reply)["code"] == "too_large"


def test_gateway_that_is_away_is_reported_in_the_apis_words(tmp_path: Any) -> None:
    """The official client reads the sentence, and knows when to come back."""
    edge = laboratory.edge_for({"ada": free_port()}, tmp_path)
    edge = replace(edge, gateway=f"127.0.0.1:{free_port()}")
    with laboratory.running(edge, tmp_path) as away:
        reply = away.get("/llm/v1/models")

    assert reply.status == 503
    assert reply.header("retry-after") == "5"
    assert error(reply)["code"] == "gateway_unavailable"


def test_answer_arrives_piece_by_piece(models: Lab) -> None:
    """Tokens are shown as they come, not when the answer is over."""
    with models.connect() as connection:
        connection.sendall(b"GET /llm/v1/sse HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        while b"data: 0" not in received:
            received += connection.recv(4096)

    assert b"data: 3" not in received


def test_key_in_an_address_is_not_logged(models: Lab) -> None:
    """The gateway refuses such a request; the log must not keep what it carried."""
    models.get("/llm/v1/models?key=wk-canary")

    assert "wk-canary" not in (models.directory / "access.log").read_text("utf-8")
    assert all("wk-canary" not in str(entry) for entry in models.log())
