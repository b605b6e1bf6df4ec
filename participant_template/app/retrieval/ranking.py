"""Merge rankings: by words and by meaning."""

from collections import defaultdict

from app.retrieval.store import Chunk

SMOOTHING = 60  # the usual value: the first places do not outweigh all others


def merge(rankings: list[list[Chunk]], limit: int) -> list[Chunk]:
    """Return the chunks that stand high in many rankings ("reciprocal rank fusion").

    Scores of different searches cannot be compared, places can: place n of a ranking is worth
    1 / (60 + n), and a chunk gets the sum over all rankings.
    """
    worth: dict[tuple[str, int], float] = defaultdict(float)
    chunks = {}
    for ranking in rankings:
        for place, chunk in enumerate(ranking, start=1):
            worth[chunk.id] += 1 / (SMOOTHING + place)
            chunks.setdefault(chunk.id, chunk)
    return sorted(chunks.values(), key=lambda chunk: -worth[chunk.id])[:limit]
