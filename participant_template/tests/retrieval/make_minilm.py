"""Write minilm.json.gz anew: chunks and questions with the vectors of all-MiniLM-L6-v2.

Needed when texts, questions or the way of cutting change. Any service that has the model will do,
such as the workshop's own gateway:

    OPENAI_BASE_URL=... OPENAI_API_KEY=... OPENAI_EMBEDDING_MODEL=all-minilm-l6-v2 \
        python tests/retrieval/make_minilm.py
"""

import base64
import gzip
import json
import struct
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from app.retrieval.embeddings import Embeddings  # noqa: E402 - found only from here on
from app.retrieval.files import find_files, read_chunks  # noqa: E402
from app.retrieval.keeper import as_text  # noqa: E402
from app.retrieval.store import Vector  # noqa: E402
from app.settings import HOME, Settings  # noqa: E402


def pack(vector: Vector) -> str:
    """Write a vector in half precision, as text."""
    return base64.b64encode(struct.pack(f"{len(vector)}e", *vector)).decode()


def main() -> None:
    """Cut, embed, write."""
    service = Embeddings(Settings())

    def embed(texts: list[str]) -> list[Vector]:
        return [service.embed([text])[0] for text in texts]

    files = [*find_files(HOME / "documents"), *find_files(HERE / "texts")]
    chunks = [chunk for file in files for chunk in read_chunks(file.name, file.read_bytes())]
    lines = (HERE / "questions.txt").read_text("utf-8").splitlines()
    questions = [line.split(" | ")[3] for line in lines if not line.startswith("#")]
    fixture = {
        "chunks": [
            {
                **{name: getattr(chunk, name) for name in ("source", "number", "section")},
                **{name: getattr(chunk, name) for name in ("topic", "text", "version")},
                "vector": pack(vector),
            }
            for chunk, vector in zip(chunks, embed([as_text(c) for c in chunks]), strict=True)
        ],
        "questions": dict(zip(questions, map(pack, embed(questions)), strict=True)),
    }
    file = HERE / "minilm.json.gz"
    file.write_bytes(gzip.compress(json.dumps(fixture).encode(), mtime=0))


if __name__ == "__main__":
    main()
