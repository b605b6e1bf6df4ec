"""Why a program ended, from what it left behind: one function for each cause, the surest first.

Every function answers with a finding or, where the evidence does not speak for it, ``None``.
"""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from workshop.deploys.diagnosis.files import needs_writable_root, no_such_file
from workshop.deploys.diagnosis.imports import import_error, syntax_error
from workshop.deploys.diagnosis.words import at, crash_lines, finding, last_match, place_of, tail
from workshop.limits import show_memory

if TYPE_CHECKING:
    from workshop.deploys.diagnosis.crash import Crash
    from workshop.deploys.diagnosis.evidence import Evidence
    from workshop.intake.orders import Finding

_SIGNALLED = 128


def specific(evidence: Evidence, crash: Crash | None) -> Finding | None:
    """Name the cause, where the log tells it."""
    rules = (
        _wrong_architecture,
        syntax_error,
        import_error,
        no_such_file,
        _privileged_port,
        _address_in_use,
        needs_writable_root,
    )
    return next(filter(None, (rule(evidence, crash) for rule in rules)), None)


def ended(evidence: Evidence, crash: Crash | None) -> Finding:
    """Name the cause of a program that is no longer running."""
    return (
        out_of_memory(evidence, crash)
        or specific(evidence, crash)
        or _killed(evidence, crash)
        or _exits_at_once(evidence, crash)
    )


# -- memory and machine -----------------------------------------------------------------------


def out_of_memory(evidence: Evidence, crash: Crash | None) -> Finding | None:
    """Name the cause where the kernel or the program itself says so."""
    heap = last_match(r"JavaScript heap out of memory", evidence.log)
    raised = crash is not None and crash.kind == "MemoryError"
    if not ((evidence.state and evidence.state.out_of_memory) or heap or raised):
        return None
    limit = show_memory(evidence.memory)
    return finding(
        evidence,
        "out-of-memory",
        f"The app needed more than the {limit} of memory it may use, and was stopped.",
        "Load less when the app starts: a smaller model or file, or only when it is first needed. "
        "If the app cannot do with less, ask your instructor for a higher limit.",
        [f"memory limit: {limit}", *tail(evidence)],
    )


def _wrong_architecture(evidence: Evidence, crash: Crash | None) -> Finding | None:
    del crash
    pattern = r"(?i)exec format error|cannot execute binary file|: 1: \S*\x7fELF"
    match = last_match(pattern, (*evidence.log, evidence.refusal))
    if match is None:
        return None
    return finding(
        evidence,
        "wrong-architecture",
        "The image was built for another kind of processor than this server's.",
        "On a Mac with an Apple chip, build with: docker build --platform linux/amd64 -t IMAGE . "
        "Or upload the source and let the server build it.",
        [match.string],
    )


# -- ports ------------------------------------------------------------------------------------


def _privileged_port(evidence: Evidence, crash: Crash | None) -> Finding | None:
    match = last_match(
        r"(?i)to bind on address \('[^']*', (\d+)[^)]*\): permission denied"
        r"|listen EACCES: permission denied \S*?:?(\d+)$"
        r"|bind\(\) to \S*?:(\d+) failed \(13",
        evidence.log,
    )
    raised = crash is not None and crash.kind == "PermissionError" and _binds(crash)
    if match is None and not raised:
        return None
    port = next(filter(None, match.groups()), "") if match else ""
    which = f"port {port}; ports below 1024 are" if port else "a port below 1024, which is"
    lines = crash_lines(evidence, crash) if crash and raised else []
    return finding(
        evidence,
        "privileged-port",
        f"The app wants to listen on {which} for administrators.",
        f"Let it listen on port {evidence.port}; the variable PORT holds that number.",
        lines or ([match.string] if match else []),
    )


def _address_in_use(evidence: Evidence, crash: Crash | None) -> Finding | None:
    pattern = r"(?i)address already in use|EADDRINUSE|Connection in use:|port \d+ is in use"
    match = last_match(pattern, evidence.log)
    if match is None:
        return None
    port = re.search(r"(?::+|, |[Pp]ort )(\d{2,5})\b", match.string)
    which = f"port {port[1]}" if port else "its port"
    return finding(
        evidence,
        "address-in-use",
        f"The app starts two servers on {which}: the second finds it taken by the first.",
        "Start one server only: look for a second call such as uvicorn.run, app.run or listen, "
        "for code that starts a server whenever a file is imported, and for two commands in CMD.",
        crash_lines(evidence, crash) if crash else [match.string],
    )


def _binds(crash: Crash) -> bool:
    words = ("bind(", "listen(", "HTTPServer(", "TCPServer(", "create_server(", "server_bind")
    return any(word in place.code for place in crash.places for word in words)


# -- the rest ---------------------------------------------------------------------------------


def _killed(evidence: Evidence, crash: Crash | None) -> Finding | None:
    status = evidence.state.exit_code if evidence.state else None
    if crash is not None or status is None or status <= _SIGNALLED:
        return None
    try:
        name = signal.Signals(status - _SIGNALLED).name
    except ValueError:
        return None
    reasons = {
        "SIGKILL": "The app was killed from outside, or killed itself.",
        "SIGSEGV": "The app broke off inside a compiled library (segmentation fault).",
        "SIGILL": "The app uses instructions this server's processor does not have.",
        "SIGABRT": "The app ended itself with abort().",
        "SIGTERM": "The app was told to end while it started.",
    }
    advice = (
        "Deploy again; if it happens once more, tell your instructor."
        if name in {"SIGKILL", "SIGTERM"}
        else "Try another version of the library that was loaded last, or leave it out, and start "
        "the image on your own machine: docker run --rm -p 8000:8000 IMAGE"
    )
    return finding(
        evidence,
        "killed",
        reasons.get(name, f"The app was ended by the signal {name}."),
        advice,
        [f"exit status {status} ({name})", *tail(evidence)],
    )


def _exits_at_once(evidence: Evidence, crash: Crash | None) -> Finding:
    status = evidence.state.exit_code if evidence.state else None
    how = "" if status is None else f" with exit status {status}"
    if crash is not None:
        place = place_of(crash)
        where = f", at {at(evidence, place)}" if place else ""
        return finding(
            evidence,
            "exits-at-once",
            f"The app ended right after its start{how}: {crash.last.strip()}{where}",
            "Mend the line that is named, try the app on your own machine, and deploy again.",
            crash_lines(evidence, crash),
        )
    wrote = tail(evidence)
    denied = last_match(r"exec (\S+) failed: Permission denied", evidence.log)
    if denied:
        advice = f"Make the file executable in the Dockerfile: RUN chmod +x {denied[1]}"
    elif status == 0:
        advice = (
            "A web app must go on running: let its last line start a server, such as "
            f'uvicorn.run(app, host="0.0.0.0", port={evidence.port}), and not in the background.'
        )
    else:
        advice = (
            f"{'Read its last lines, then start' if wrote else 'Start'} the image on your own "
            "machine: docker run --rm -p 8000:8000 IMAGE"
        )
    return finding(
        evidence,
        "exits-at-once",
        f"The app ended right after its start{how}"
        + ("." if wrote else ", without a word in its log."),
        advice,
        wrote,
    )
