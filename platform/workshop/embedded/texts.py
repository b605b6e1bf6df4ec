"""What may be asked of the embedding model, and the shape of its answer."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workshop.embedded import fields
from workshop.embedded.faults import ApiError

if TYPE_CHECKING:
    from workshop.embedded.bert import Array
    from workshop.embedded.embeddings import Vectors

MODEL = "all-minilm-l6-v2"
DIMENSIONS = 384
MOST_TEXTS = 256
"""Texts in one request: about ten seconds of one processor."""
_ENCODINGS = ("float", "base64")


@dataclass(frozen=True)
class TextsRequest:
    """Texts to embed.

    Attributes:
        texts: what to embed, in order.
        encoding: how each vector is written: ``float`` or ``base64``.

    """

    texts: tuple[str, ...]
    encoding: str

    def answer(self, vectors: Vectors) -> dict[str, Any]:
        """Write the vectors as OpenAI's list of embeddings."""
        write = _base64 if self.encoding == "base64" else _floats
        data = [
            {"object": "embedding", "index": index, "embedding": write(row)}
            for index, row in enumerate(vectors.rows)
        ]
        usage = {"prompt_tokens": vectors.tokens, "total_tokens": vectors.tokens}
        return {"object": "list", "model": MODEL, "data": data, "usage": usage}


def texts_request(body: fields.Body) -> TextsRequest:
    """Check a request's body."""
    fields.integer(body, "dimensions", DIMENSIONS, DIMENSIONS)
    encoding = body.get("encoding_format") or "float"
    if encoding not in _ENCODINGS:
        raise ApiError("encoding_format must be float or base64", param="encoding_format")
    return TextsRequest(_texts(body.get("input")), encoding)


def _texts(value: object) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        raise ApiError("input must be a string or a list of strings", param="input")
    if len(texts) > MOST_TEXTS:
        raise ApiError(f"input holds {len(texts)} texts; send at most {MOST_TEXTS}", param="input")
    found = tuple(fields.text(item, f"input[{index}]") for index, item in enumerate(texts))
    if not all(found):
        raise ApiError("input holds an empty string; leave it out", param="input")
    return found


def _floats(row: Array) -> list[float]:
    return [float(value) for value in row]


def _base64(row: Array) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode()
