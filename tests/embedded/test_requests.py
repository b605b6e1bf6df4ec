"""What may be asked, and how a request that may not is refused."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import numpy as np
import pytest

from workshop.embedded import chat, fields, texts
from workshop.embedded.embeddings import Vectors
from workshop.embedded.faults import ApiError
from workshop.embedded.relay import engine_error

HELLO = [{"role": "user", "content": "Hello"}]
TOLD = {"role": "system", "content": chat.SYSTEM_MESSAGE}


def test_engine_request_bare_question_gets_the_toys_defaults() -> None:
    """Sampling is left to the engine; only the length is bounded."""
    assert chat.engine_request({"model": "gpt-5", "messages": HELLO}) == {
        "model": "toy-smollm2-135m",
        "messages": [TOLD, *HELLO],
        "stream": False,
        "max_tokens": 256,
        "stop": [],
    }


def test_engine_request_everything_given_is_passed_on() -> None:
    """The request's own parameters win over every default."""
    own = [{"role": "developer", "content": [{"type": "text", "text": "Be kind"}]}, *HELLO]
    body = {
        "messages": own,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.9,
        "top_p": 0.5,
        "presence_penalty": 1,
        "frequency_penalty": -1,
        "seed": -1,
        "max_tokens": 7,
        "stop": "END",
    }
    assert chat.engine_request(body) == {
        "model": "toy-smollm2-135m",
        "messages": [{"role": "system", "content": "Be kind"}, *HELLO],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.9,
        "top_p": 0.5,
        "presence_penalty": 1,
        "frequency_penalty": -1,
        "seed": 2**32 - 1,
        "max_tokens": 7,
        "stop": ["END"],
    }


def test_engine_request_engines_own_parameters_do_not_pass() -> None:
    """Nobody chooses a slot or hands over a grammar."""
    body = {"messages": HELLO, "id_slot": 1, "grammar": "root ::= x", "n_predict": -1, "lora": []}
    assert chat.engine_request(body) == chat.engine_request({"messages": HELLO})


def test_engine_request_huge_length_is_bounded() -> None:
    """One answer cannot hold a slot for minutes."""
    asked = chat.engine_request({"messages": HELLO, "max_completion_tokens": 100_000})
    assert asked["max_tokens"] == chat.MOST_TOKENS


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0]",
        ),
        ({"stream": "yes"}, "stream"),
        ({"stream": True, "stream_options": [1]}, "stream_options"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": "1"}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"seed": 1e300}, "seed"),
        ({"n": 1000}, "n"),
        ({"stop": [1]}, "stop"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": {"a": 1}}, "stop"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": "json"}, "response_format"),
    ],
)
def test_engine_request_wrong_field_is_named(change: dict[str, Any], param: str) -> None:
    """The field at fault stands in the error and in its sentence."""
    with pytest.raises(ApiError) as caught:
        chat.engine_request({"messages": HELLO, **change})
    assert (caught.value.param, caught.value.status) == (param, 400)
    assert param in caught.value.message


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_parse_no_json_object_is_refused(raw: bytes) -> None:
    """Neither nesting nor broken encoding goes further than the door."""
    with pytest.raises(ApiError, match="JSON"):
        fields.parse(raw)


@pytest.mark.parametrize(
    "body",
    [
        {"input": None},
        {"input": []},
        {"input": [1, 2, 3]},
        {"input": ""},
        {"input": ["a", ""]},
        {"input": "\udc00"},
        {"input": ["a"] * 257},
        {"input": "a", "encoding_format": "hex"},
        {"input": "a", "encoding_format": ["float"]},
        {"input": "a", "dimensions": 100},
    ],
)
def test_texts_request_wrong_field_is_refused(body: dict[str, Any]) -> None:
    """Token numbers and other models' options get a sentence, not a crash."""
    with pytest.raises(ApiError) as caught:
        texts.texts_request(body)
    assert caught.value.status == 400


def test_answer_both_encodings_hold_the_same_numbers() -> None:
    """The official client asks for base64 and unpacks 32-bit floats."""
    vectors = Vectors((np.array([0.5, -0.25], np.float32),), 3)
    plain = texts.TextsRequest(("a",), "float").answer(vectors)
    packed = texts.TextsRequest(("a",), "base64").answer(vectors)
    assert plain == {
        "object": "list",
        "model": "all-minilm-l6-v2",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}],
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    raw = base64.b64decode(packed["data"][0]["embedding"])
    assert struct.unpack("<2f", raw) == (0.5, -0.25)


def test_body_error_has_openais_shape() -> None:
    """Clients read message, type, param and code."""
    assert json.loads(ApiError("no", param="n").body()) == {
        "error": {
            "message": "no",
            "type": "invalid_request_error",
            "param": "n",
            "code": "invalid_value",
        }
    }


def test_engine_error_too_long_names_both_lengths() -> None:
    """Whoever reads it knows how much must go."""
    raw = {"type": "exceed_context_size_error", "n_prompt_tokens": 3000, "n_ctx": 2048}
    error = engine_error(400, json.dumps({"error": raw}).encode())
    assert (error.status, error.code) == (400, "context_length_exceeded")
    assert "3000 tokens" in error.message
    assert "2048" in error.message


@pytest.mark.parametrize("raw", [b"", b"oops", b"[]", b'{"error": 3}', b'{"error": {}}'])
def test_engine_error_garbage_is_a_failed_engine(raw: bytes) -> None:
    """What cannot be read is not shown."""
    assert engine_error(400, raw).status == 502
