"""Files for Prometheus and Grafana: ``workshop monitoring``.

They travel with the package in ``files/``. Two of them name the class and its board; all others are
copied as they are, so that what ``promtool`` tests here is what an instructor gets.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import TYPE_CHECKING

from workshop import figures, state
from workshop.board.config import METRICS_TOKEN
from workshop.disk import writing
from workshop.errors import InputError, WorkshopError
from workshop.state import write_atomically
from workshop.subnets import BOARD_PORT, own_loopback

if TYPE_CHECKING:
    from workshop.workspace import Workspace

FILES = Path(__file__).resolve().parent / "files"
FILLED_IN = frozenset({"prometheus.yml", "README.md"})
"""Files with ``$workshop`` and ``$target`` in them."""
MARK = "Written by `workshop monitoring`"
"""Stands in both, so that nobody's own file is overwritten."""
_READABLE = 0o644


def write(work: Workspace, directory: Path) -> list[str]:
    """Write the files into ``directory``, which is made where it is missing; return their names.

    The token is readable by its owner alone.

    Raises:
        InputError: the roster switches the board off, ``directory`` holds somebody's own files of
            these names, or cannot be written.
        WorkshopError: the class was not provisioned yet.

    """
    token, target = figures.token(work), _target(work)
    for name in sorted(FILLED_IN):
        _require_ours(directory / name)
    with writing(directory):
        if not directory.is_dir():
            directory.mkdir(parents=True)
            (directory / ".gitignore").write_text(f"{METRICS_TOKEN}\n", "ascii")
    facts = {"workshop": work.roster.name, "target": target}
    texts = {path.name: path.read_text("utf-8") for path in sorted(FILES.iterdir())}
    for name, text in texts.items():
        filled = string.Template(text).substitute(facts) if name in FILLED_IN else text
        write_atomically(directory / name, filled, _READABLE)
    write_atomically(directory / METRICS_TOKEN, f"{token}\n")
    return [*texts, METRICS_TOKEN]


def _target(work: Workspace) -> str:
    """Say where the board answers on this server."""
    known = state.load(work.state_directory)
    if known is None:
        raise WorkshopError("nothing is provisioned yet", hint="`workshop provision`")
    return f"{own_loopback(known.network)}:{BOARD_PORT}"


def _require_ours(path: Path) -> None:
    try:
        text = path.read_text("utf-8", "replace")
    except FileNotFoundError:
        return
    except OSError as exc:
        raise InputError(f"cannot read {path}: {exc.strerror}") from exc
    if MARK not in text:
        raise InputError(
            f"{path} is not one of ours and would be overwritten",
            hint="give --output a directory of its own",
        )
