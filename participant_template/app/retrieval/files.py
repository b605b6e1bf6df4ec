"""Read documents: text, Markdown and PDF. Whatever a visitor sends is checked here first."""

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

from app.errors import ChatError
from app.retrieval.chunks import make_chunks, split_sections
from app.retrieval.pdf import PdfError, read_pdf
from app.retrieval.store import Chunk

KINDS = (".txt", ".md", ".pdf")
MOST_BYTES = 1_000_000  # of one document
LONGEST_NAME = 80  # characters
TOPIC = re.compile(r"topic:[ \t]*(\S[^\n]{0,60})\n")


class DocumentError(ChatError):
    """A document cannot be used."""

    def __init__(
        self, message: str, hint: str, status: int = HTTPStatus.UNPROCESSABLE_ENTITY
    ) -> None:
        super().__init__(message, hint, status)


def clean_name(name: str) -> str:
    """Return a harmless file name: no folders, no invisible or special characters."""
    name = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    name = re.sub(r"[^\w .()-]", "_", name).strip(" .")
    path = Path(name)
    if path.suffix.lower() not in KINDS or not path.stem.strip("_ ."):
        raise DocumentError(
            "This kind of document cannot be read.", f"Its name must end in {', '.join(KINDS)}."
        )
    return path.stem[:LONGEST_NAME] + path.suffix.lower()


def find_files(folder: Path) -> Iterator[Path]:
    """Yield the documents of a folder, by name."""
    if folder.is_dir():
        yield from sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in KINDS and path.is_file() and not path.name.startswith(".")
        )


def read_bytes(path: Path) -> bytes:
    """Read a file that is not too large."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise too_large()
        return path.read_bytes()
    except OSError as error:
        raise DocumentError(f"{path.name} cannot be read.", "Look at the file's rights.") from error


def too_large() -> DocumentError:
    """Say how large a document may be."""
    return DocumentError(
        "The document is too large.",
        f"Send at most {MOST_BYTES // 1000:,} kB; leave out pictures, or send parts of it.",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    )


def version_of(data: bytes) -> str:
    """Return a short text that changes with the content."""
    return hashlib.sha256(data).hexdigest()[:16]


def read_chunks(name: str, data: bytes) -> list[Chunk]:
    """Cut a document into chunks."""
    topic = ""
    if name.endswith(".pdf"):
        try:
            sections = read_pdf(data)
        except PdfError as error:
            raise DocumentError(
                "The PDF cannot be read.", "It may be damaged or locked: send the text instead."
            ) from error
    else:
        text = decode(data)
        if found := TOPIC.match(text):  # a first line such as "topic: network"
            topic = found[1].strip()
            text = text[found.end() :]
        sections = split_sections(text)
    chunks = make_chunks(name, topic, version_of(data), sections)
    if not chunks:
        raise DocumentError(
            "There is no text in the document.", "A scanned PDF holds pictures: send text instead."
        )
    return chunks


def decode(data: bytes) -> str:
    """Read bytes as text."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(
            "The document is not UTF-8 text.", 'Save it again with the encoding "UTF-8".'
        ) from error
    if "\0" in text:
        raise DocumentError("The document is not text.", "Send a text, Markdown or PDF file.")
    return text.replace("\r\n", "\n").replace("\r", "\n")
