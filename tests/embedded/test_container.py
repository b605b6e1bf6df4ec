"""The real service in its container, under the limits it runs with: both models, no network."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests import layers
from tests.waiting import until
from workshop.embedded.chat import MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(600)]

PACKAGE = Path(__file__).parents[2] / "platform/workshop"
REFERENCE = [0.0677, 0.0635, 0.0487, 0.0793, 0.0374, 0.0027]
"""The first numbers of the model card's example."""
ALLOWED_BYTES = 600 * 10**6
LIMITS: dict[str, Any] = {
    "read_only": True,
    "user": "10004:10004",
    "cap_drop": ["ALL"],
    "init": True,
    "security_opt": ["no-new-privileges:true"],
    "pids_limit": 128,
    "mem_limit": "768m",
    "memswap_limit": "768m",
    "nano_cpus": 1_500_000_000,
    "tmpfs": {"/tmp": "rw,noexec,nosuid,nodev,size=32m"},
}


@dataclass(frozen=True)
class Toy:
    """The container and where it answers."""

    container: Any
    url: str

    def ask(self, *texts: str, **options: Any) -> dict[str, Any]:
        """Have a conversation; user and assistant take turns."""
        roles = ("user", "assistant")
        messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]
        found = self.post("/v1/chat/completions", {"messages": messages, **options})
        assert found.status_code == 200, found.text
        answer: dict[str, Any] = found.json()
        assert answer["model"] == MODEL
        return answer

    def post(self, path: str, body: Any) -> httpx2.Response:
        """Send a body."""
        return httpx2.post(self.url + path, json=body, timeout=110)

    def resident(self) -> int:
        """Read the service's resident memory, in bytes."""
        script = "cat /proc/[0-9]*/status"
        output = self.container.exec_run(["sh", "-c", script]).output.decode()
        lines = [line.split() for line in output.splitlines() if line.startswith("VmHWM")]
        return max(int(fields[1]) for fields in lines) * 1024


@pytest.fixture(scope="module")
def toy(docker_engine: Any) -> Iterator[Toy]:
    """Build the image as the platform would and start it."""
    import docker

    client = docker.from_env()
    base = layers.base(docker_engine)
    tag = f"embedded-test/{uuid.uuid4().hex[:10]}"
    client.images.build(
        path=str(PACKAGE),
        dockerfile="images/embedded/Dockerfile",
        tag=tag,
        buildargs={"BASE_IMAGE": base},
        rm=True,
        forcerm=True,
    )
    container = client.containers.run(tag, detach=True, name=tag.replace("/", "-"), **LIMITS)
    try:
        yield _ready(container)
    finally:
        container.remove(force=True, v=True)
        client.images.remove(tag)
        client.close()


def _said(answer: dict[str, Any]) -> str:
    text: str = answer["choices"][0]["message"]["content"]
    return text


def test_capital_of_france_is_paris(toy: Toy) -> None:
    """A real model knows it."""
    assert "Paris" in _said(toy.ask("What is the capital of France?", seed=1))


def test_follow_up_name_is_remembered(toy: Toy) -> None:
    """What stands earlier in the conversation is used."""
    turns = ("My name is Grace.", "Nice to meet you, Grace!", "What is my name?")
    assert "Grace" in _said(toy.ask(*turns, seed=1))


def test_extract_answer_is_quoted_from_it(toy: Toy) -> None:
    """No model knows this but from the text."""
    question = (
        "Answer from this text:\n\nThe library of Ravensholm opens at nine in the morning and"
        " closes at six in the evening. It is closed on Mondays. A library card costs four"
        " crowns a year.\n\nQuestion: How much does a library card cost?"
    )
    assert "four crowns" in _said(toy.ask(question, seed=1))


def test_stream_chunks_come_one_by_one_and_usage_is_exact(toy: Toy) -> None:
    """As many texts as the usage counts tokens, the whole answer's count being the same."""
    body = {
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 6,
        "seed": 1,
    }
    with httpx2.stream("POST", toy.url + "/v1/chat/completions", json=body, timeout=60) as answer:
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    texts = [c["choices"][0]["delta"].get("content") for c in chunks if c["choices"]]
    usage = chunks[-1]["usage"]
    assert len([text for text in texts if text]) == 6 == usage["completion_tokens"]
    whole = toy.ask("What is the capital of France?", max_tokens=6, seed=1)["usage"]
    assert usage["prompt_tokens"] == whole["prompt_tokens"]


def test_embeddings_example_sentence_equals_the_model_card(toy: Toy) -> None:
    """Four digits of the published vector."""
    body = {"input": ["This is an example sentence", "Another one " * 300], "model": "any"}
    answer = toy.post("/v1/embeddings", body).json()
    assert [round(x, 4) for x in answer["data"][0]["embedding"][:6]] == REFERENCE
    assert len(answer["data"][1]["embedding"]) == 384
    assert answer["usage"]["prompt_tokens"] == 7 + 256


def test_prompt_too_long_is_a_400_and_the_next_is_answered(toy: Toy) -> None:
    """No slot stays with what cannot be read."""
    body = {"messages": [{"role": "user", "content": "word " * 5000}], "stream": True}
    for _ in range(5):
        refused = toy.post("/v1/chat/completions", body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (
            400,
            "context_length_exceeded",
        )
    assert toy.ask("Hi", max_tokens=2)["usage"]["completion_tokens"] <= 2


def test_answer_reaching_the_end_of_the_context_stops_there(toy: Toy) -> None:
    """A prompt that just fits gets as much answer as there is room."""
    answer = toy.ask("word " * 1990, max_tokens=512)
    assert answer["usage"]["total_tokens"] <= 2048


def test_ten_at_once_all_are_answered(toy: Toy) -> None:
    """Four at work, the others in line, none refused; texts are embedded meanwhile."""

    async def scene() -> list[httpx2.Response]:
        async with httpx2.AsyncClient(base_url=toy.url, timeout=110) as client:
            questions = [
                client.post(
                    "/v1/chat/completions",
                    json={
                        "messages": [{"role": "user", "content": f"Tell me about number {i}."}],
                        "max_tokens": 32,
                    },
                )
                for i in range(10)
            ]
            texts = client.post("/v1/embeddings", json={"input": ["some text " * 60] * 16})
            return await asyncio.gather(*questions, texts)

    assert [answer.status_code for answer in asyncio.run(scene())] == [200] * 11


@pytest.mark.parametrize("stream", [True, False])
def test_callers_who_leave_free_their_slots(toy: Toy, *, stream: bool) -> None:
    """Eight leave in the middle of long answers; a newcomer does not wait for those to end."""
    host = toy.url.removeprefix("http://")
    story = [{"role": "user", "content": "Count from 1 to 1000, every number in words."}]
    body = json.dumps({"messages": story, "max_tokens": 512, "stream": stream})
    gone = [http.client.HTTPConnection(host, timeout=30) for _ in range(8)]
    for connection in gone:
        connection.request("POST", "/v1/chat/completions", body)
    until(lambda: _counts(toy) == (4, 4))
    for connection in gone:
        connection.close()
    began = time.monotonic()
    until(lambda: _counts(toy) == (0, 0))
    toy.ask("Hi", max_tokens=1)
    # Four answers of 512 tokens would take half a minute.
    assert time.monotonic() - began < 20


def test_memory_after_all_this_is_under_600_megabytes(toy: Toy) -> None:
    """Peak of everything resident, mapped model files included, after the largest batch."""
    body = {"input": ["Another one " * 300] * 16}
    assert toy.post("/v1/embeddings", body).status_code == 200
    assert toy.resident() < ALLOWED_BYTES


def test_sigterm_ends_without_the_engines_kill(toy: Toy) -> None:
    """Even with a stream open; it starts again as before."""
    host = toy.url.removeprefix("http://")
    story = [{"role": "user", "content": "Tell me a story."}]
    stream = http.client.HTTPConnection(host, timeout=30)
    stream.request("POST", "/v1/chat/completions", json.dumps({"messages": story, "stream": True}))
    until(lambda: _counts(toy)[0] == 1)
    began = time.monotonic()
    toy.container.stop(timeout=10)
    took = time.monotonic() - began
    stream.close()
    toy.container.reload()
    # The engine kills after ten.
    assert took < 9
    # 128 and the signal's number: the server has closed and passes the signal on.
    assert toy.container.attrs["State"]["ExitCode"] == 143
    again = _ready_after_start(toy)
    assert "Paris" in _said(again.ask("What is the capital of France?", seed=1))


def _counts(toy: Toy) -> tuple[int, int]:
    found = httpx2.get(toy.url + "/healthz", timeout=30).json()
    return found["busy"], found["waiting"]


def _ready(container: Any) -> Toy:
    container.reload()
    networks = container.attrs["NetworkSettings"]["Networks"]
    address = next(iter(networks.values()))["IPAddress"]
    toy = Toy(container, f"http://{address}:8000")

    def answers() -> bool:
        try:
            return httpx2.get(toy.url + "/healthz", timeout=5).is_success
        except httpx2.TransportError:
            container.reload()
            assert container.status == "running", container.logs().decode()
            return False

    until(answers)
    return toy


def _ready_after_start(toy: Toy) -> Toy:
    toy.container.start()
    return _ready(toy.container)
