"""Reads ``multipart/form-data`` as it arrives: short fields, and one file, never in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from workshop.intake.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_LONGEST_FIELD = 4096
_MOST_PARTS = 20


@dataclass(frozen=True)
class Field:
    """A short field, whole."""

    name: str
    value: str


@dataclass(frozen=True)
class File:
    """A piece of the file."""

    content: bytes


async def parts(pieces: AsyncIterator[bytes], content_type: str) -> AsyncIterator[Field | File]:
    """Take a form apart.

    Raises:
        Refused: it is none, it holds two files, or a field is longer than a key could be.

    """
    reader = _Reader(content_type)
    async for piece in pieces:
        for part in reader.feed(piece):
            yield part
    reader.finish()


class _Reader:
    def __init__(self, content_type: str) -> None:
        _, options = parse_options_header(content_type)
        try:
            self._parser = MultipartParser(
                options.get(b"boundary", b""),
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_part_data": self._data,
                    "on_part_end": self._end,
                    "on_end": self._all,
                },
            )
        except FormParserError:
            raise _unreadable() from None
        if b"boundary" not in options:
            raise _unreadable()
        self._out: list[Field | File] = []
        self._parts = 0
        self._files = 0
        self._complete = False

    def feed(self, data: bytes) -> list[Field | File]:
        try:
            self._parser.write(data)
        except FormParserError:
            raise _unreadable() from None
        found, self._out = self._out, []
        return found

    def finish(self) -> None:
        if not self._complete:
            raise Refused("The form ends too early; the upload broke off. Send it again.", 400)

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise Refused("The form has too many fields.", 400)
        self._headers: dict[bytes, bytes] = {}
        self._key = self._value = b""
        self._name, self._is_file = "", False
        self._content = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._key += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._key.lower()] = self._value
        self._key = self._value = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = b"filename" in options or self._name == "file"
        self._files += self._is_file
        if self._files > 1:
            raise Refused("The form holds two files. Send one archive of the whole directory.", 400)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._out.append(File(data[start:end]))
            return
        self._content += data[start:end]
        if len(self._content) > _LONGEST_FIELD:
            raise Refused(
                f"The field '{self._name[:40]}' of the form is too long. A file goes like this:"
                " curl -F file=@app.zip",
                400,
            )

    def _end(self) -> None:
        if not self._is_file:
            self._out.append(Field(self._name, self._content.decode("utf-8", "replace")))

    def _all(self) -> None:
        self._complete = True


def _unreadable() -> Refused:
    return Refused("The form is not readable. Send the archive alone: curl -T app.zip ...", 400)
