r"""Environment variables of a seat: which are allowed, and the one grammar of ``.env`` files.

Grammar of a ``.env`` file (UTF-8, a byte order mark and CRLF are accepted)::

    # a comment            blank lines and lines that start with # are skipped
    NAME=plain text        up to the end of the line or " #"; spaces around it are dropped
    export NAME=text       "export" is allowed and ignored
    NAME='as it stands'    no escapes; may span lines; no single quote inside
    NAME="a\\nb \\"c\\" \\$d"   \\n \\r \\t \\" \\\\ \\$ \\xHH are escapes; may span lines

No variable is ever expanded: ``$HOME`` stays ``$HOME``. Docker's own ``--env-file`` keeps quotes
and comments literally, so values travel through the engine's API as a list instead.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from workshop.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_KEY = 100
MAX_VALUE = 32 * 1024
MAX_TOTAL = 128 * 1024
"""Bytes over all variables; Linux gives a process at most 128 KiB for a single string."""
MAX_COUNT = 200

_CONTROLS = frozenset((*range(0x20), *range(0x7F, 0xA0)))
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOCKED_NAMES = """
    PORT ROOT_PATH FORWARDED_ALLOW_IPS PATH HOME HOSTNAME LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT
    PYTHONPATH PYTHONHOME PYTHONSTARTUP LLM_API_KEY HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY
    FTP_PROXY
"""
_LOCKED = frozenset(_LOCKED_NAMES.split())
_LOCKED_PREFIXES = ("WORKSHOP_", "UVICORN_", "DOCKER_")
_SECRET_KEY = re.compile(r"(?i)(secret|token|passw|api_?key|private_?key|credential)")
_SECRET_VALUE = re.compile(r"^(sk-|ghp_|github_pat_|xox[abp]-|AKIA|wk-)[A-Za-z0-9_-]{8,}")


def key_problem(key: str) -> str | None:
    """Say why ``key`` cannot name a variable of a seat, or ``None`` when it can."""
    if len(key) > MAX_KEY:
        return f"name of {len(key)} characters; at most {MAX_KEY}"
    if not _KEY.fullmatch(key):
        return _misnamed(key)
    if key.upper() in _LOCKED or key.upper().startswith(_LOCKED_PREFIXES):
        return f"{key} is set by the platform and cannot be overridden"
    return None


def _misnamed(key: str) -> str:
    return f"{key[:40]!a} is not a variable name; expected letters, digits and _"


def value_problem(value: str) -> str | None:
    """Say why ``value`` cannot be handed to a process, or ``None`` when it can; never quotes it."""
    if "\0" in value:
        return "the value holds a NUL character"
    if len(value.encode("utf-8", "surrogatepass")) > MAX_VALUE:
        return f"the value is larger than {MAX_VALUE // 1024} KiB"
    return None


def total_problem(env: Mapping[str, str]) -> str | None:
    """Say why a whole environment is too large, or ``None`` when it is not."""
    if len(env) > MAX_COUNT:
        return f"{len(env)} variables; at most {MAX_COUNT}"
    size = sum(
        len(key) + len(value.encode("utf-8", "surrogatepass")) + 2 for key, value in env.items()
    )
    if size > MAX_TOTAL:
        return f"{size // 1024} KiB of variables; at most {MAX_TOTAL // 1024} KiB"
    return None


def looks_secret(key: str, value: str) -> bool:
    """Guess whether a variable holds something that does not belong into a shared file."""
    return bool(value) and bool(_SECRET_KEY.search(key) or _SECRET_VALUE.match(value))


_LINE = re.compile(
    r"""
    [ \t]* (?: \# [^\n]* | (?:export[ \t]+)? (?P<key>[^\s=\#'"]+) [ \t]* = [ \t]*
      (?: '(?P<single>[^']*)' | "(?P<double>(?:[^"\\]|\\.)*)" | (?P<plain>[^\n'"][^\n]*|) )
      [ \t]* (?:\#[^\n]*)? )? (?:\n|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}
_WRITTEN = {char: f"\\{escape}" for escape, char in _ESCAPES.items()}
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")


def quote(value: str) -> str:
    """Write ``value`` so that it can stand after ``NAME=`` and is read back as it is.

    What cannot be printed becomes an escape, so that the line can be seen, sent and pasted.
    """
    if _PLAIN.fullmatch(value):
        return value
    return f'"{"".join(map(_written, value))}"'


def _written(char: str) -> str:
    if char in _WRITTEN:
        return _WRITTEN[char]
    return char if ord(char) not in _CONTROLS else f"\\x{ord(char):02x}"


def parse_env_file(text: str, file: str) -> tuple[dict[str, str], list[Fault]]:
    """Read the variables of a seat; faults name line and key, never a value."""
    return _read(text, file, lambda key, value: key_problem(key) or value_problem(value))


def parse_settings_file(text: str, file: str) -> tuple[dict[str, str], list[Fault]]:
    """Read the ``.env`` beside the roster: the same grammar, for variables of this machine."""
    return _read(text, file, lambda key, _: None if _KEY.fullmatch(key) else _misnamed(key))


def _read(
    text: str, file: str, problem: Callable[[str, str], str | None]
) -> tuple[dict[str, str], list[Fault]]:
    found: dict[str, str] = {}
    faults: list[Fault] = []
    for line, key, value, message in _assignments(text.replace("\r\n", "\n")):
        trouble = message or problem(key, value)
        if trouble is None and key in found:
            trouble = f"{key} stands twice"
        if trouble:
            faults.append(Fault(file, line, 1, "", trouble))
        else:
            found[key] = value
    return found, faults


def _assignments(text: str) -> Iterator[tuple[int, str, str, str]]:
    """Yield line, key, value and (instead of them) what is wrong."""
    place = 0
    while place < len(text):
        line = text.count("\n", 0, place) + 1
        match = _LINE.match(text, place)
        if match is None:
            end = text.find("\n", place)
            yield line, "", "", "expected NAME=value, with a closing quote where one was opened"
            place = len(text) if end < 0 else end + 1
            continue
        if match["key"] is not None:
            yield line, match["key"], _value(match), ""
        if match.end() == place:
            return
        place = match.end()


def _value(match: re.Match[str]) -> str:
    if match["single"] is not None:
        return match["single"]
    if match["double"] is not None:
        return _ESCAPE.sub(_meant, match["double"])
    return re.split(r"[ \t]#", match["plain"], maxsplit=1)[0].strip()


def _meant(match: re.Match[str]) -> str:
    escape = match[1]
    return chr(int(escape[1:], 16)) if len(escape) > 1 else _ESCAPES.get(escape, match[0])
