"""Texts to vectors: tokenizer, batches, and one worker thread that keeps the event loop free."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from workshop.embedded.bert import Array, Bert, read_safetensors
from workshop.embedded.models import TOKENIZER, WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")

TOKENS_PER_TEXT = 256
"""The length the model was tuned for; what stands beyond it is left out, as its card says."""
BATCH = 8
"""Texts a step; 32 would need 200 MB more for their intermediate results."""

KNOWN = 4096
"""Vectors kept, 1.5 kB each: thirty people who index the same documents cost one of them."""


class Tokenizer(Protocol):
    """What is used of ``tokenizers.Tokenizer``."""

    def encode_batch(self, texts: Sequence[str]) -> Sequence[Any]:
        """Return one object with ``ids`` per text."""


@dataclass(frozen=True)
class Vectors:
    """What became of some texts.

    Attributes:
        rows: one vector per text, in the order asked.
        tokens: how many tokens were read.

    """

    rows: tuple[Array, ...]
    tokens: int


class Embedder:
    """Holds the model open; all work happens in one thread, so two requests share it by batches."""

    def __init__(self, tokenizer: Tokenizer, model: Bert) -> None:
        self._tokenizer = tokenizer
        self._model = model
        self._known: OrderedDict[bytes, Array] = OrderedDict()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embeddings")

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts; a cancelled request stops after the batch at work."""
        tokens = [ids for part in _batches(texts) for ids in await self._run(self._tokenize, part)]
        keys = [_key(ids) for ids in tokens]
        rows = {key: self._known[key] for key in keys if key in self._known}
        missing = {key: ids for key, ids in zip(keys, tokens, strict=True) if key not in rows}
        # Neighbours of one length: little padding, little wasted work.
        for part in _batches(sorted(missing, key=lambda key: len(missing[key]))):
            encoded = await self._run(self._model.encode, [missing[key] for key in part])
            rows.update(zip(part, encoded, strict=True))
        self._remember(rows)
        return Vectors(tuple(rows[key] for key in keys), sum(map(len, tokens)))

    def _remember(self, rows: Mapping[bytes, Array]) -> None:
        for key, row in rows.items():
            self._known[key] = row
            self._known.move_to_end(key)
        while len(self._known) > KNOWN:
            self._known.popitem(last=False)

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]

    async def _run(self, function: Any, argument: Any) -> Any:  # noqa: ANN401 - runs either step
        return await asyncio.get_running_loop().run_in_executor(self._worker, function, argument)


def load(directory: Path) -> Embedder:
    """Load tokenizer and weights, and check both."""
    # By name: the library exists in the image only, and tests bring a tokenizer of their own.
    library = importlib.import_module("tokenizers")
    tokenizer = library.Tokenizer.from_file(str(TOKENIZER.verified(directory)))
    tokenizer.no_padding()
    tokenizer.enable_truncation(TOKENS_PER_TEXT)
    return Embedder(tokenizer, Bert(read_safetensors(WEIGHTS.verified(directory))))


def _key(ids: Sequence[int]) -> bytes:
    return hashlib.sha256(str(ids).encode()).digest()


def _batches(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[start : start + BATCH] for start in range(0, len(items), BATCH)]
