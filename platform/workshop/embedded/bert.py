"""A BERT encoder in numpy: token numbers in, one vector of length 1 per text out.

It holds no tokenizer and knows no file but the weights'.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Array = NDArray[np.float32]

_EPSILON = 1e-12
_MASKED = np.float32(-1e9)


def read_safetensors(path: Path) -> dict[str, Array]:
    """Map the 32-bit tensors of a file into memory.

    Mapped, not read: the kernel may drop what it can fetch again, so weights press on nobody.
    """
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(length))
    return {
        name: np.memmap(
            path,
            dtype="<f4",
            mode="r",
            offset=8 + length + entry["data_offsets"][0],
            shape=tuple(entry["shape"]),
        )
        for name, entry in header.items()
        if entry.get("dtype") == "F32"
    }


@dataclass(frozen=True)
class Bert:
    """An encoder with its weights.

    Attributes:
        weights: tensors under the names Hugging Face gives them.
        heads: attention heads per layer; the file does not say.

    """

    weights: Mapping[str, Array]
    heads: int = 12

    def encode(self, texts: Sequence[Sequence[int]]) -> Array:
        """Encode texts of token numbers: the mean over each text's tokens, scaled to length 1."""
        length = max(map(len, texts))
        tokens = np.zeros((len(texts), length), np.intp)
        mask = np.zeros((len(texts), length), np.float32)
        for row, text in enumerate(texts):
            tokens[row, : len(text)] = text
            mask[row, : len(text)] = 1
        hidden = self._embed(tokens)
        away = ((1 - mask) * _MASKED)[:, None, None, :]
        for layer in range(self._layers()):
            hidden = self._layer(f"encoder.layer.{layer}.", hidden, away)
        return mean_pooled(hidden, mask)

    def _layers(self) -> int:
        return sum(name.endswith("attention.self.query.weight") for name in self.weights)

    def _embed(self, tokens: NDArray[np.intp]) -> Array:
        table = "embeddings.{}_embeddings.weight".format
        hidden = self.weights[table("word")][tokens]
        hidden = hidden + self.weights[table("position")][: tokens.shape[1]]
        return self._norm("embeddings.LayerNorm", hidden + self.weights[table("token_type")][0])

    def _layer(self, at: str, hidden: Array, away: Array) -> Array:
        mixed = self._linear(at + "attention.output.dense", self._attention(at, hidden, away))
        hidden = self._norm(at + "attention.output.LayerNorm", hidden + mixed)
        inner = gelu(self._linear(at + "intermediate.dense", hidden))
        return self._norm(
            at + "output.LayerNorm", hidden + self._linear(at + "output.dense", inner)
        )

    def _attention(self, at: str, hidden: Array, away: Array) -> Array:
        batch, length, width = hidden.shape

        def split(part: str) -> Array:
            whole = self._linear(f"{at}attention.self.{part}", hidden)
            return whole.reshape(batch, length, self.heads, -1).transpose(0, 2, 1, 3)

        scale = np.float32(np.sqrt(width // self.heads))
        scores = split("query") @ split("key").transpose(0, 1, 3, 2) / scale + away
        mixed = softmax(scores) @ split("value")
        return mixed.transpose(0, 2, 1, 3).reshape(batch, length, width)

    def _linear(self, name: str, hidden: Array) -> Array:
        flat = hidden.reshape(-1, hidden.shape[-1])
        result: Array = flat @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]
        return result.reshape(*hidden.shape[:-1], -1)

    def _norm(self, name: str, hidden: Array) -> Array:
        centred = hidden - hidden.mean(-1, keepdims=True)
        spread = np.sqrt((centred * centred).mean(-1, keepdims=True) + np.float32(_EPSILON))
        scaled: Array = centred / spread * self.weights[name + ".weight"]
        return scaled + self.weights[name + ".bias"]


def softmax(scores: Array) -> Array:
    """Turn the scores of the last axis into shares that sum to 1."""
    powers: Array = np.exp(scores - scores.max(-1, keepdims=True))
    shares: Array = powers / powers.sum(-1, keepdims=True)
    return shares


def gelu(x: Array) -> Array:
    """Apply the exact Gaussian error linear unit.

    numpy has no erf: formula 7.1.26 of Abramowitz and Stegun is within 1.5e-7, which is what
    32-bit floats resolve.
    """
    z = np.abs(x) * np.float32(1 / np.sqrt(2))
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = t * np.float32(1.061405429) - np.float32(1.453152027)
    for factor in (1.421413741, -0.284496736, 0.254829592):
        series = series * t + np.float32(factor)
    erf: Array = np.copysign(1 - series * t * np.exp(-z * z), x)
    return np.float32(0.5) * x * (1 + erf)


def mean_pooled(hidden: Array, mask: Array) -> Array:
    """Average each text's tokens, padding left out, and scale to length 1."""
    mean: Array = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
    length = np.sqrt((mean * mean).sum(-1, keepdims=True))
    unit: Array = mean / np.maximum(length, np.float32(_EPSILON))
    return unit
