"""Cut a text into chunks: small enough to be about one thing, large enough to make sense."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from app.retrieval.store import Chunk

CHUNK = 600  # characters, about 150 tokens
OVERLAP = 150  # the end of a chunk, up to this long, begins the next one too

HEADING = re.compile(r"#{1,6}\s+(.+)")
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[^a-z])")


@dataclass(frozen=True)
class Section:
    """A part of a document under one heading, or one page."""

    heading: str
    text: str


def make_chunks(source: str, topic: str, version: str, sections: list[Section]) -> list[Chunk]:
    """Cut all sections; no chunk spans two of them."""
    pieces = [(section.heading, text) for section in sections for text in pack(section.text)]
    return [
        Chunk(source, number, heading, topic, text, version)
        for number, (heading, text) in enumerate(pieces, start=1)
    ]


def split_sections(text: str) -> list[Section]:
    """Cut a text at its headings, which begin with #; a # inside ``` is a comment in code."""
    sections: list[Section] = []
    heading = ""
    lines: list[str] = []
    in_code = False
    for line in text.splitlines():
        in_code ^= line.lstrip().startswith("```")
        found = None if in_code else HEADING.fullmatch(line.rstrip())
        if found:
            sections.append(Section(heading, "\n".join(lines)))
            heading, lines = found[1].strip(" #"), []
        else:
            lines.append(line)
    sections.append(Section(heading, "\n".join(lines)))
    return [section for section in sections if section.text.strip()]


def pack(text: str) -> Iterator[str]:
    """Fill chunks with whole sentences; each begins with the last sentence of the one before."""
    chunk = ""
    for sentence in sentences(text):
        if chunk and len(chunk) + len(sentence) > CHUNK:
            yield chunk.strip()
            chunk = tail(chunk, len(sentence))
        chunk += sentence
    if chunk.strip():
        yield chunk.strip()


def tail(chunk: str, needed: int) -> str:
    """Return the last sentence of a chunk, if it is short and leaves room for the next one."""
    last = list(sentences(chunk))[-1]
    return last if len(last) <= OVERLAP and len(last) + needed <= CHUNK else ""


def sentences(text: str) -> Iterator[str]:
    """Cut a text after each paragraph and each sentence, and where a sentence is too long."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        found = SENTENCE.split(paragraph.strip())
        for sentence in found:
            end = "\n\n" if sentence is found[-1] else " "
            for start in range(0, len(sentence), CHUNK):
                part = sentence[start : start + CHUNK]
                yield part + (end if start + CHUNK >= len(sentence) else "")
