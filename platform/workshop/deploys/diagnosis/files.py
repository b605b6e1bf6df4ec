"""Files that are not there, and places that cannot be written to."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from workshop.deploys.diagnosis.words import crash_lines, finding, last_match, nearest

if TYPE_CHECKING:
    from workshop.deploys.diagnosis.crash import Crash
    from workshop.deploys.diagnosis.evidence import Evidence
    from workshop.intake.orders import Finding

_NOT_FOUND_STATUS = 127


def no_such_file(evidence: Evidence, crash: Crash | None) -> Finding | None:
    """Name the cause where a program to start, or a file to open, is not in the image."""
    lines = (*evidence.log, evidence.refusal)
    started = last_match(
        r"exec (\S+) failed: No such file or directory"
        r"|exec: \"([^\"]+)\": (?:executable file not found|stat .*: no such file)"
        r"|can't open file '([^']+)': \[Errno 2\]"
        r"|\b(?:ba|da)?sh: (?:\d+: |line \d+: )?(?:[Cc]an(?:no|')t open )?'?([^\s:']+)'?: "
        r"(?:command not found|not found|No such file)",
        lines,
    )
    status = evidence.state.exit_code if evidence.state else None
    if started and (status in {None, 1, 2, _NOT_FOUND_STATUS} or evidence.refusal):
        path = next(filter(None, started.groups()))
        return _missing_program(evidence, path, started.string)
    if crash is None:
        return None
    node = re.match(r"Cannot find module '(/[^']+)'", crash.message)
    if node and crash.kind in {"MODULE_NOT_FOUND", "Error"} and not crash.place:
        return _missing_program(evidence, node[1], crash.last)
    for item in crash.chain:
        opened = re.search(r"\[Errno 2\].*: '([^']+)'|ENOENT: .*'([^']+)'", item.message)
        if opened:
            return _missing_data(evidence, item, opened[1] or opened[2])
    return None


def _missing_program(evidence: Evidence, path: str, line: str) -> Finding:
    near = nearest(PurePosixPath(path).name, evidence.files)
    offer = f"Did you mean {near}? " if near else ""
    script = path.endswith(".sh")
    return finding(
        evidence,
        "no-such-file",
        f"The image holds no {path}, which is what it is told to start.",
        f"{offer}Compare CMD and COPY in the Dockerfile with the names of your files, "
        "capital letters included."
        + (
            " If the file is there, its first line names a shell that is not, or it was saved with "
            "Windows line ends: save it with LF."
            if script
            else ""
        ),
        [line],
    )


def _missing_data(evidence: Evidence, crash: Crash, path: str) -> Finding:
    near = nearest(PurePosixPath(path).name, evidence.files)
    offer = f"Did you mean {near}? " if near else ""
    return finding(
        evidence,
        "no-such-file",
        f"The app opens {path}, which is not in the image.",
        f"{offer}Add the file to the image with a COPY line in the Dockerfile, check that "
        ".dockerignore does not leave it out, and write the path as it is inside the image.",
        crash_lines(evidence, crash),
    )


def needs_writable_root(evidence: Evidence, crash: Crash | None) -> Finding | None:
    """Name the cause where the app writes outside /tmp."""
    lines = tuple(f"{item.kind}: {item.message}" for item in crash.chain) if crash else ()
    match = last_match(
        r"Read-only file system|EROFS|attempt to write a readonly database"
        r"|unable to open database file|Permission denied: '(?!/tmp/)|EACCES: permission denied, ",
        (*evidence.log, *lines),
    )
    if match is None:
        return None
    text = match.string
    path = re.search(
        r"(?:'|\"|cannot (?:create|touch) (?:directory )?)"
        r"((?:/|\./)?[\w./~-]+)(?:'|\"|:|$)(?!, line)",
        text[match.start() :] if "'" in text[match.start() :] else text,
    )
    what = f" to {path[1]}" if path else ""
    database = "database" in text
    node = "EROFS" in text or "EACCES" in text
    example = (
        '(process.env.DATA_DIR || "/tmp") + "/data.json"'
        if node
        else 'os.path.join(os.environ.get("DATA_DIR", "/tmp"), "data.db")'
    )
    return finding(
        evidence,
        "needs-writable-root",
        f"The app wants to write{what}, but only /tmp can be written to.",
        f"{'Put the database' if database else 'Write'} below /tmp or, better, into the directory "
        f"that the variable DATA_DIR names, such as {example}. "
        "What is written there is gone after the next deploy.",
        crash_lines(evidence, crash) if crash else [text],
    )
