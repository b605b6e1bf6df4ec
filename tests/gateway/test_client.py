"""The official client works against the gateway unchanged."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import openai
import pytest

from tests.gateway.fake import good, piece, usage_event
from tests.gateway.lab import PROVIDER_KEY, key_of

if TYPE_CHECKING:
    from tests.gateway.lab import Lab

HELLO = [{"role": "user", "content": "hello"}]


def test_client_chat_gets_answer_and_usage(lab: Lab) -> None:
    """An answer in one piece arrives with the upstream's own count."""
    with lab.client() as client:
        answer = client.chat.completions.create(model="small", messages=HELLO)
    assert answer.choices[0].message.content == "tok " * 5
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 5)


def test_client_stream_gets_pieces_and_no_empty_choices(lab: Lab) -> None:
    """A stream arrives piece by piece; who did not ask for usage never meets empty choices."""
    with lab.client() as client:
        pieces = [
            c.choices[0].delta.content
            for c in client.chat.completions.create(model="small", messages=HELLO, stream=True)
        ]
    assert pieces == [*["tok "] * 5, None]


def test_client_stream_with_usage_gets_it_last(lab: Lab) -> None:
    """Who asks for the usage gets it in the last piece."""
    with lab.client() as client:
        options = {"include_usage": True}
        *_, last = client.chat.completions.create(
            model="small", messages=HELLO, stream=True, stream_options=options
        )
    assert (last.choices, last.usage.total_tokens) == ([], 12)


def test_client_embeddings_get_vectors(lab: Lab) -> None:
    """Embeddings arrive in the order of the texts."""
    with lab.client() as client:
        answer = client.embeddings.create(
            model="vectors", input=["a", "b"], encoding_format="float"
        )
    assert [v.embedding for v in answer.data] == [[0.5, 0.0], [0.5, 1.0]]


def test_client_models_lists_and_finds(lab: Lab) -> None:
    """The models of the class are listed, and found by name; another is not."""
    with lab.client() as client:
        assert [m.id for m in client.models.list()] == ["small", "vectors"]
        assert client.models.retrieve("small").id == "small"
        with pytest.raises(openai.NotFoundError, match="Known: small, vectors"):
            client.models.retrieve("huge")


def test_client_async_many_at_once_all_answered(lab: Lab) -> None:
    """The asynchronous client streams and asks, many at a time."""

    async def one(client: openai.AsyncOpenAI, *, stream: bool) -> str:
        answer = await client.chat.completions.create(model="small", messages=HELLO, stream=stream)
        if not stream:
            return answer.choices[0].message.content
        return "".join([c.choices[0].delta.content or "" async for c in answer])

    async def run() -> list[str]:
        async with openai.AsyncOpenAI(
            base_url=lab.url, api_key=key_of("ada"), max_retries=0
        ) as client:
            return await asyncio.gather(*(one(client, stream=n % 2 == 0) for n in range(10)))

    assert asyncio.run(run()) == ["tok " * 5] * 10
    lab.idle()


def test_client_unknown_key_is_authentication_error(lab: Lab) -> None:
    """A wrong key becomes the client's own exception, and nothing is forwarded."""
    with lab.client("eve") as client, pytest.raises(openai.AuthenticationError) as caught:
        client.chat.completions.create(model="small", messages=HELLO)
    assert caught.value.code == "invalid_api_key"
    assert lab.fake.seen == []


def test_forwarded_request_is_the_upstreams_own(lab: Lab) -> None:
    """The upstream sees its own key, its own model name, a bound, and no header of the caller."""
    lab.post(
        {"model": "small", "messages": HELLO, "stream": True, "max_completion_tokens": 9},
        cookie="a=b",
        x_mine="mine",
        user_agent="me",
    )
    seen = lab.fake.seen[0]
    assert seen.path == "/v1/chat/completions"
    assert seen.body == {
        "model": "up-small",
        "messages": HELLO,
        "max_tokens": 9,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert seen.headers["authorization"] == f"Bearer {PROVIDER_KEY}"
    assert seen.headers["user-agent"] == "workshop-gateway"
    assert not {"cookie", "x_mine", "x-real-ip", "x-forwarded-for"} & set(seen.headers)


def test_stream_bytes_pass_unchanged_but_for_the_usage(lab: Lab) -> None:
    """What passes through is what the upstream wrote, byte for byte."""
    lab.fake.script.append(good(tokens=3, text='"\\u00e9 \\n'))
    answer = lab.ask(stream=True, stream_options={"include_usage": True})
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    expected = (
        piece('"\\u00e9 \\n') * 3 + piece(None, "stop") + usage_event(usage) + b"data: [DONE]\n\n"
    )
    assert answer.content == expected
    assert answer.headers["x-workshop-upstream"] == "main"
    assert "x-workshop-toy" not in answer.headers


def test_answer_in_one_piece_passes_unchanged(lab: Lab) -> None:
    """An answer in one piece is the upstream's, with one header of ours."""
    answer = lab.ask()
    assert json.loads(answer.content)["id"] == "c1"
    assert answer.headers["x-workshop-upstream"] == "main"
