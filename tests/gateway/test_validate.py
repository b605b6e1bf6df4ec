"""What is no request is refused before anything is forwarded, in words and in OpenAI's shape."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from tests.gateway.lab import Lab, key_of

HELLO = [{"role": "user", "content": "hello"}]
CHAT: dict[str, Any] = {"model": "small", "messages": HELLO}
PICTURE = [{"type": "image_url", "image_url": {"url": "data:x"}}]
DEEP = b'{"model":"small","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
NESTED: Any = "x"
for _ in range(70):
    NESTED = {"a": NESTED}

BAD: list[tuple[Any, int, str, str | None]] = [
    (b"", 400, "not JSON: line 1", None),
    (b"{", 400, "not JSON", None),
    (b'{"model": NaN}', 400, "a number that is none", None),
    (b'{"seed": ' + b"9" * 5000 + b"}", 400, "a number that is none", None),
    (b'{"model": "\xff"}', 400, "not UTF-8: byte 11", None),
    (b"[]", 400, "must be a JSON object", None),
    (DEEP, 400, "nested too deep", None),
    (
        {**CHAT, "response_format": {"type": "json_schema", "json_schema": NESTED}},
        400,
        "nested too deep",
        None,
    ),
    (b'{"model": "' + b"x" * 10_000_000 + b'"}', 413, "larger than 1024 KiB", None),
    ({"messages": HELLO}, 400, "'model' must name a model", "model"),
    ({**CHAT, "model": 7}, 400, "'model' must name a model", "model"),
    ({**CHAT, "model": "huge"}, 404, "no model 'huge' here. Known for this call: small.", "model"),
    ({**CHAT, "model": "vectors"}, 400, "is a model for embeddings", "model"),
    ({**CHAT, "stream": "yes"}, 400, "'stream' must be true or false", "stream"),
    ({**CHAT, "n": 1000}, 400, "'n' is 1000; it may be 1 to 4", "n"),
    ({**CHAT, "n": 0}, 400, "'n' is 0", "n"),
    ({**CHAT, "n": True}, 400, "'n' must be a whole number", "n"),
    ({**CHAT, "n": 1.5}, 400, "'n' must be a whole number", "n"),
    ({**CHAT, "temperature": 3}, 400, "0 to 2", "temperature"),
    ({**CHAT, "temperature": "hot"}, 400, "found a text", "temperature"),
    ({**CHAT, "top_p": -1}, 400, "0 to 1", "top_p"),
    ({**CHAT, "stop": [1]}, 400, "'stop' must be", "stop"),
    ({**CHAT, "stop": ["a"] * 5}, 400, "at most 4", "stop"),
    ({**CHAT, "max_tokens": 0}, 400, "'max_tokens' is 0", "max_tokens"),
    (
        {**CHAT, "max_completion_tokens": -1},
        400,
        "'max_completion_tokens' is -1",
        "max_completion_tokens",
    ),
    ({**CHAT, "tools": [{"type": "function", "function": {}}] * 65}, 400, "at most 64", "tools"),
    ({**CHAT, "tools": [{"type": "web_search"}]}, 400, "not available here", "tools[0].type"),
    ({**CHAT, "tool_choice": "some"}, 400, "'tool_choice' must be", "tool_choice"),
    ({**CHAT, "logit_bias": {"1": 200}}, 400, "-100 to 100", "logit_bias.1"),
    (
        {**CHAT, "response_format": {"type": "xml"}},
        400,
        "'response_format' must be",
        "response_format",
    ),
    ({**CHAT, "stream_options": {"include_usage": True}}, 400, "needs", "stream_options"),
    (
        {**CHAT, "stream": True, "stream_options": {"include_usage": 1}},
        400,
        "true or false",
        "stream_options.include_usage",
    ),
    ({**CHAT, "store": True}, 400, "'store' is not a field", "store"),
    ({**CHAT, "service_tier": "priority"}, 400, "not a field", "service_tier"),
    ({**CHAT, "messages": []}, 400, "at least one message", "messages"),
    ({"model": "small"}, 400, "at least one message", "messages"),
    ({**CHAT, "messages": "hello"}, 400, "at least one message", "messages"),
    ({**CHAT, "messages": HELLO * 1001}, 400, "at most 1000", "messages"),
    ({**CHAT, "messages": ["hello"]}, 400, "role and content", "messages[0]"),
    (
        {**CHAT, "messages": [{"role": "king", "content": "x"}]},
        400,
        "must be one of",
        "messages[0].role",
    ),
    ({**CHAT, "messages": [{"role": "user"}]}, 400, "has no content", "messages[0].content"),
    (
        {**CHAT, "messages": [{"role": "user", "content": PICTURE}]},
        400,
        "text only",
        "messages[0].content[0]",
    ),
    (
        {**CHAT, "messages": [{"role": "user", "content": 5}]},
        400,
        "must be a text",
        "messages[0].content",
    ),
    (
        {**CHAT, "messages": [{"role": "user", "content": "x", "weight": 1}]},
        400,
        "unknown field",
        "messages[0]",
    ),
]
BAD_EMBEDDINGS: list[tuple[Any, str]] = [
    ({"model": "vectors"}, "'input' must be"),
    ({"model": "vectors", "input": []}, "'input' must be"),
    ({"model": "vectors", "input": [1, 2]}, "'input' must be"),
    ({"model": "vectors", "input": ["a"] * 257}, "1 to 256"),
    ({"model": "vectors", "input": ""}, "none of them empty"),
    ({"model": "small", "input": "a"}, "is a model for chat"),
    ({"model": "vectors", "input": "a", "encoding_format": "hex"}, "one of float, base64"),
]


@pytest.mark.parametrize(("body", "status", "words", "param"), BAD)
def test_bad_chat_is_refused_before_it_is_forwarded(
    shared: Lab, body: Any, status: int, words: str, param: str | None
) -> None:
    """Each bad request gets its own sentence, and the upstream never hears of it."""
    answer = shared.post(body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param)
    assert words in error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"]
    assert shared.fake.seen == []


@pytest.mark.parametrize(("body", "words"), BAD_EMBEDDINGS)
def test_bad_embedding_is_refused_before_it_is_forwarded(
    shared: Lab, body: Any, words: str
) -> None:
    """The same for embeddings."""
    answer = shared.post(body, path="/embeddings")
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]
    assert shared.fake.seen == []


def test_large_body_without_length_is_cut_off_while_reading(shared: Lab) -> None:
    """A body that does not declare its size is read no further than the bound."""

    def endless() -> Any:
        for _ in range(200):
            yield b" " * 65536

    with httpx2.Client(trust_env=False) as client:
        answer = client.post(
            shared.url + "/chat/completions",
            content=endless(),
            headers={"authorization": f"Bearer {key_of('ada')}"},
        )
    assert answer.status_code == 413
    assert shared.fake.seen == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/chat/completions", 405),
        ("POST", "/models", 405),
        ("GET", "/completions", 404),
        ("GET", "/../../etc/passwd", 404),
    ],
)
def test_elsewhere_is_answered_in_openai_shape(
    shared: Lab, method: str, path: str, status: int
) -> None:
    """Other addresses and methods get an error object too."""
    answer = httpx2.request(method, shared.url + path, trust_env=False)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] in ("method_not_allowed", "unknown_url")


def test_bound_of_the_answer_is_added_or_clamped(lab: Lab) -> None:
    """Nobody asks for more than the class's bound, and who says nothing gets it."""
    for given, sent in (
        ({}, 1024),
        ({"max_tokens": 5}, 5),
        ({"max_tokens": 10**6}, 1024),
        ({"max_tokens": 9, "max_completion_tokens": 3}, 3),
    ):
        lab.post({**CHAT, **given})
        assert lab.fake.seen[-1].body["max_tokens"] == sent
        assert "max_completion_tokens" not in lab.fake.seen[-1].body


def test_what_the_client_sends_back_is_understood(lab: Lab) -> None:
    """An answer's message may be sent back as it came, with its nulls and extras."""
    reply = {
        "role": "assistant",
        "content": "hi",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "tool_calls": None,
    }
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        *HELLO,
        reply,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "2"},
    ]
    assert lab.post({**CHAT, "messages": messages, "temperature": None}).status_code == 200
    sent = lab.fake.seen[0].body
    assert sent["messages"][1] == {"role": "assistant", "content": "hi"}
    assert "temperature" not in sent


def test_lone_surrogate_is_passed_on_unharmed(lab: Lab) -> None:
    """Half a character, which JSON allows, breaks nothing."""
    raw = b'{"model":"small","messages":[{"role":"user","content":"\\ud800"}]}'
    assert lab.post(raw).status_code == 200
    assert json.loads(lab.fake.seen[0].raw)["messages"][0]["content"] == "\ud800"
