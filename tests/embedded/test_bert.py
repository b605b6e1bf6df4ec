"""The encoder against a slow reference of its own: plain loops, Python's erf, no numpy."""

from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from workshop.embedded.bert import Bert, gelu, mean_pooled, read_safetensors

if TYPE_CHECKING:
    from pathlib import Path

    from workshop.embedded.bert import Array

WIDTH, HEADS, INNER, LAYERS, WORDS, PLACES = 8, 2, 12, 2, 20, 10

Matrix = list[list[float]]


@pytest.fixture(scope="module")
def weights() -> dict[str, Array]:
    """Make a tiny encoder's weights, the same in every run."""
    random = np.random.default_rng(7)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (WORDS, WIDTH),
        "embeddings.position_embeddings.weight": (PLACES, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
    }
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        for part in ("query", "key", "value"):
            shapes[f"{at}attention.self.{part}.weight"] = (WIDTH, WIDTH)
            shapes[f"{at}attention.self.{part}.bias"] = (WIDTH,)
        for name, shape in (
            ("attention.output.dense", (WIDTH, WIDTH)),
            ("attention.output.LayerNorm", (WIDTH,)),
            ("intermediate.dense", (INNER, WIDTH)),
            ("output.dense", (WIDTH, INNER)),
            ("output.LayerNorm", (WIDTH,)),
        ):
            shapes[f"{at}{name}.weight"] = shape
            shapes[f"{at}{name}.bias"] = shape[:1]
    return {name: random.normal(0, 0.7, shape).astype(np.float32) for name, shape in shapes.items()}


class Reference:
    """One text at a time, one number at a time."""

    def __init__(self, weights: dict[str, Array]) -> None:
        self.weights = {name: value.tolist() for name, value in weights.items()}

    def encode(self, tokens: list[int]) -> list[float]:
        """Encode one text without any padding."""
        table = self.weights
        hidden = [
            self.norm(
                "embeddings.LayerNorm",
                [
                    table["embeddings.word_embeddings.weight"][token][i]
                    + table["embeddings.position_embeddings.weight"][place][i]
                    + table["embeddings.token_type_embeddings.weight"][0][i]
                    for i in range(WIDTH)
                ],
            )
            for place, token in enumerate(tokens)
        ]
        for layer in range(LAYERS):
            hidden = self.layer(f"encoder.layer.{layer}.", hidden)
        mean = [sum(row[i] for row in hidden) / len(hidden) for i in range(WIDTH)]
        length = math.sqrt(sum(value * value for value in mean))
        return [value / length for value in mean]

    def layer(self, at: str, hidden: Matrix) -> Matrix:
        """Attend, then pass each token through the two dense steps."""
        result = []
        for row, mixed in zip(hidden, self.attention(at, hidden), strict=True):
            out = self.linear(at + "attention.output.dense", mixed)
            middle = self.norm(at + "attention.output.LayerNorm", _sum(row, out))
            inner = [
                0.5 * x * (1 + math.erf(x / math.sqrt(2)))
                for x in self.linear(at + "intermediate.dense", middle)
            ]
            out = self.linear(at + "output.dense", inner)
            result.append(self.norm(at + "output.LayerNorm", _sum(middle, out)))
        return result

    def attention(self, at: str, hidden: Matrix) -> Matrix:
        """Mix the values of all tokens, head by head."""
        query, key, value = (
            [self.linear(f"{at}attention.self.{part}", row) for row in hidden]
            for part in ("query", "key", "value")
        )
        size = WIDTH // HEADS
        result = [[0.0] * WIDTH for _ in hidden]
        for head in range(HEADS):
            span = range(head * size, (head + 1) * size)
            for target, asked in zip(result, query, strict=True):
                scores = [sum(asked[i] * other[i] for i in span) / math.sqrt(size) for other in key]
                powers = [math.exp(score) for score in scores]
                for i in span:
                    target[i] = sum(p * row[i] for p, row in zip(powers, value, strict=True))
                    target[i] /= sum(powers)
        return result

    def linear(self, name: str, row: list[float]) -> list[float]:
        """Multiply by a matrix and add its bias."""
        matrix, bias = self.weights[name + ".weight"], self.weights[name + ".bias"]
        return [
            sum(w * x for w, x in zip(line, row, strict=True)) + b
            for line, b in zip(matrix, bias, strict=True)
        ]

    def norm(self, name: str, row: list[float]) -> list[float]:
        """Centre and scale a row, then apply the learned factors."""
        mean = sum(row) / len(row)
        spread = math.sqrt(sum((x - mean) ** 2 for x in row) / len(row) + 1e-12)
        factors = zip(
            row, self.weights[name + ".weight"], self.weights[name + ".bias"], strict=True
        )
        return [(x - mean) / spread * w + b for x, w, b in factors]


def _sum(left: list[float], right: list[float]) -> list[float]:
    return [a + b for a, b in zip(left, right, strict=True)]


TEXTS = [[2, 5, 9, 3], [2, 3], [1, 1, 4, 19, 7, 3, 0, 11]]


def test_encode_texts_of_unequal_length_equal_the_slow_reference(weights: dict[str, Array]) -> None:
    """Padding one text for another's sake changes neither."""
    found = Bert(weights, heads=HEADS).encode(TEXTS)
    expected = [Reference(weights).encode(text) for text in TEXTS]
    np.testing.assert_allclose(found, expected, atol=5e-6)


def test_encode_result_has_length_one(weights: dict[str, Array]) -> None:
    """Vectors of length 1 make the dot product the cosine."""
    found = Bert(weights, heads=HEADS).encode(TEXTS)
    np.testing.assert_allclose((found * found).sum(1), 1, atol=1e-6)


def test_gelu_whole_range_is_exact_for_32_bit() -> None:
    """The formula for erf stays within what the encoder can resolve."""
    x = np.linspace(-8, 8, 4001, dtype=np.float32)
    expected = [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()]
    np.testing.assert_allclose(gelu(x), expected, atol=2e-6)


def test_mean_pooled_padding_has_no_say() -> None:
    """Whatever stands behind the mask is left out of the mean."""
    hidden = np.array([[[3, 0], [0, 4], [99, 99]]], np.float32)
    mask = np.array([[1, 1, 0]], np.float32)
    np.testing.assert_allclose(mean_pooled(hidden, mask), [[0.6, 0.8]], atol=1e-6)


def test_read_safetensors_tensors_are_found_and_integers_left_out(tmp_path: Path) -> None:
    """The layout is eight bytes of length, a JSON header, then the tensors."""
    data = np.arange(6, dtype="<f4")
    header = {
        "__metadata__": {"format": "pt"},
        "ids": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]},
        "table": {"dtype": "F32", "shape": [2, 3], "data_offsets": [8, 32]},
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8) + data.tobytes())
    found = read_safetensors(path)
    assert list(found) == ["table"]
    np.testing.assert_array_equal(found["table"], data.reshape(2, 3))
