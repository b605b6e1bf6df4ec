"""How each kind of web server is told where to listen: the exact change, where it can be known."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what a seat must listen on; its network is its own


@dataclass(frozen=True)
class _Server:
    sign: re.Pattern[str]
    """What its log or its command looks like."""
    code: str
    """The change in code; empty for one that is only ever started by its command."""
    host: tuple[str, ...] = ()
    """Its flags for the address, the best first; the port's flag is beside them."""
    port: tuple[str, ...] = ()


def _signs(*words: str) -> re.Pattern[str]:
    return re.compile("|".join(words))


_SERVERS = {
    "gradio": _Server(
        _signs("Running on local URL:", "gradio"),
        'demo.launch(server_name="0.0.0.0", server_port={port})',
    ),
    "streamlit": _Server(
        _signs("You can now view your Streamlit app", "streamlit"),
        "",
        ("--server.address",),
        ("--server.port",),
    ),
    "gunicorn": _Server(_signs("Starting gunicorn", "gunicorn"), "", ("--bind", "-b")),
    "hypercorn": _Server(_signs("hypercorn"), "", ("--bind", "-b")),
    "uvicorn": _Server(
        _signs("Uvicorn running on", "uvicorn"),
        'uvicorn.run(app, host="0.0.0.0", port={port})',
        ("--host",),
        ("--port",),
    ),
    "flask": _Server(
        _signs(r"Serving Flask app", r"\* Running on http", "flask", "Werkzeug"),
        'app.run(host="0.0.0.0", port={port})',
        ("--host", "-h"),
        ("--port", "-p"),
    ),
    "http.server": _Server(
        _signs("Serving HTTP on", r"http\.server"),
        'HTTPServer(("0.0.0.0", {port}), Handler)',
        ("--bind", "-b"),
    ),
    "django": _Server(
        _signs("Starting development server at", "runserver"),
        "",
    ),
    "vite": _Server(_signs("VITE v", r"\bvite\b"), "", ("--host",), ("--port",)),
    "node": _Server(_signs(r"\bnode\b", r"\bnpm\b", "Express"), 'server.listen({port}, "0.0.0.0")'),
}


def change(command: Sequence[str], log: Sequence[str], port: int) -> str:
    """Say what to write so that the app listens on every address at ``port``.

    The command is asked before the log: it is what starts the server.
    """
    words = {PurePosixPath(word).name for text in command for word in text.split()}
    for name, server in _SERVERS.items():
        if server.host and name in words:
            return f"in the Dockerfile: {_command(name, server, command, port)}"
    text = "\n".join((" ".join(command), *log))
    for name, server in _SERVERS.items():
        if not server.sign.search(text):
            continue
        if name == "django":
            whole = ["python", "manage.py", "runserver", f"{EVERYWHERE}:{port}"]
            return f"in the Dockerfile: CMD {json.dumps(whole)}"
        if server.code:
            return f"in your code: {server.code.format(port=port)}"
        return f"in its command: {' '.join(_flags(name, server, port))}"
    return ""


def _command(name: str, server: _Server, command: Sequence[str], port: int) -> str:
    """Write the command anew, with the right flags in the place of the wrong ones."""
    shell = any(PurePosixPath(word).name in {"sh", "bash", "dash"} for word in command[:1])
    if shell:
        return f"add {' '.join(_flags(name, server, port))} to the command"
    kept = _without(command, {*server.host, *server.port})
    if name == "http.server":
        kept = [word for word in kept if not word.isdecimal()]
    # A full path of the interpreter says nothing to a reader; the file's name is what they wrote.
    words = [PurePosixPath(kept[0]).name, *kept[1:], *_flags(name, server, port)]
    return f"CMD {json.dumps(words)}"


def _flags(name: str, server: _Server, port: int) -> list[str]:
    if name == "http.server":
        return [str(port), "--bind", EVERYWHERE]
    if not server.port:
        return [server.host[0], f"{EVERYWHERE}:{port}"]
    return [server.host[0], EVERYWHERE, server.port[0], str(port)]


def _without(command: Sequence[str], flags: set[str]) -> list[str]:
    kept: list[str] = []
    words = iter(command)
    for word in words:
        if word in flags:
            next(words, None)
        elif word.partition("=")[0] not in flags:
            kept.append(word)
    return kept
