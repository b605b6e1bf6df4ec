"""Why a build failed, in words for somebody who wrote their first Dockerfile today."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from workshop.deploys.builds.steps import End, Ended
from workshop.deploys.failure import DeployFailed
from workshop.deploys.versions import server_full
from workshop.disk import is_full
from workshop.intake.orders import Finding
from workshop.limits import show_memory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workshop.deploys.builds.dockerfile import Unreadable
    from workshop.deploys.options import BuildLimits

SHOWN_LINES = 15
_REQUIREMENTS = "requirements.txt"
_NO_PACKAGE = re.compile(r"No matching distribution found for ([^\s;(]+)")
_NO_VERSION = re.compile(
    r"Could not find a version that satisfies the requirement ([^\s;(]+).*?"
    r"\(from versions: ([^)]*)\)"
)
_NO_DEBIAN_PACKAGE = re.compile(r"Unable to locate package (\S+)")
_NO_COMMAND = re.compile(r"(?:\d+: )?(\S+): (?:command )?not found")
_NETWORK = re.compile(
    r"Tunnel connection failed: 403|403\s+Forbidden|Proxy Error|"
    r"Name or service not known|Temporary failure in name resolution|"
    r"Could not resolve host|Temporary failure resolving|Network is unreachable|"
    r"CONNECT tunnel failed|from proxy after CONNECT|ENETUNREACH|EAI_AGAIN|Could not connect to",
    re.IGNORECASE,
)
_PROXY_GONE = re.compile(r"127\.0\.0\.1[: ]+3128.*(?:refused|failed)|Cannot connect to proxy")
_HOST = re.compile(
    r"(?:host(?:name)?[=:' ]+|https?://)'?([a-z0-9-]+(?:\.[a-z0-9-]+)+)", re.IGNORECASE
)
_PROCESSES = re.compile(
    r"Resource temporarily unavailable|[Cc]annot fork|can't start new thread|fork: retry"
)
_DISK = re.compile(r"File too large|File size limit exceeded")
_SIGNALS = {153: "File size limit exceeded"}
"""What a shell calls such a status, which it does only where it is asked to say something."""
_MEMORY = re.compile(r"MemoryError|Cannot allocate memory|std::bad_alloc|JavaScript heap out of")


def _failed(cause: str, message: str, evidence: Iterable[str], following: str) -> DeployFailed:
    return DeployFailed(Finding(cause, message, tuple(evidence), following))


# -- before anything runs ---------------------------------------------------------------------


def no_dockerfile(name: str, nearest: str) -> DeployFailed:
    """Say that neither the source nor the class has a recipe."""
    near = f"; {nearest} looks like it" if nearest else ""
    return _failed(
        "no-dockerfile",
        f"There is no {name} in what you sent, so the server does not know how to build it{near}.",
        (),
        f"Put a file named {name} at the top of your project, beside requirements.txt. "
        "The class's template has one to copy.",
    )


def bad_source(problem: str) -> DeployFailed:
    """Say that the archive is damaged or holds what no source needs."""
    return _failed(
        "bad-source",
        "What you sent cannot be read.",
        (problem,),
        "Pack the project again, with plain files and directories only, and send it once more.",
    )


def unreadable(fault: Unreadable) -> DeployFailed:
    """Say that a line of the Dockerfile is wrong, or not supported."""
    return _failed(
        "dockerfile",
        f"Line {fault.line} of your Dockerfile cannot be carried out: {fault.reason}.",
        (),
        f"{fault.way_out[:1].upper()}{fault.way_out[1:]}. Then send it again.",
    )


def not_placed(line: int, text: str, problem: str) -> DeployFailed:
    """Say that the engine would not unpack what a COPY brings."""
    if is_full(problem):
        return DeployFailed(server_full(problem))
    return _failed(
        "dockerfile",
        f"Line {line} of your Dockerfile cannot be carried out.",
        (text, problem),
        "See whether the target of COPY is a file where a directory is wanted, or the reverse.",
    )


def no_command() -> DeployFailed:
    """Nothing says what the finished image shall run."""
    return _failed(
        "dockerfile",
        "Your Dockerfile does not say what to run: it has no CMD line.",
        (),
        'Put CMD at its end, for example: CMD ["python", "-m", "app"]',
    )


def no_secret(line: int, name: str) -> DeployFailed:
    """Say that a RUN asks for a secret that this build does not have."""
    return _failed(
        "dockerfile",
        f"Line {line} of your Dockerfile asks for the secret {name}, which your builds do not get.",
        (),
        "Leave the --mount=type=secret out. Keys are given to your app when it runs, not when "
        "it is built.",
    )


def no_such_file(
    line: int, text: str, wanted: str, *, nearest: str = "", ignored: bool = False
) -> DeployFailed:
    """Say that a COPY names what is not there."""
    if ignored:
        return _failed(
            "no-such-file",
            f"Line {line} of your Dockerfile copies {wanted}, which .dockerignore keeps out.",
            (text,),
            f"Take {wanted} out of .dockerignore, or out of the Dockerfile. "
            "Files such as .env never travel: keys do not belong into an image.",
        )
    meant = f" There is {nearest}: did you mean that?" if nearest else ""
    if wanted.rpartition("/")[2] == _REQUIREMENTS:
        return _failed(
            "missing-requirements",
            f"There is no {wanted} in what you sent.{meant}",
            (f"line {line}: {text}",),
            f"Put a file {_REQUIREMENTS} at the top of your project, one package a line, "
            "such as fastapi. If you have one: did you pack the project's directory itself, "
            "and not the directory around it?",
        )
    return _failed(
        "no-such-file",
        f"Line {line} of your Dockerfile copies {wanted}, but there is no such file in what "
        f"you sent.{meant}",
        (text,),
        "Names are case-sensitive, and count from the top of your project. "
        "Correct the line, or add the file.",
    )


def base_image(line: int, reference: str, allowed: Iterable[str], problem: str) -> DeployFailed:
    """Say that FROM, or COPY --from, names an image that participants may not have."""
    return _failed(
        "base-image",
        f"Line {line} of your Dockerfile starts from {ascii(reference[:100])[1:-1]}, {problem}.",
        (f"allowed: {', '.join(allowed)}",),
        "Write FROM ${BASE_IMAGE}, with a line ARG BASE_IMAGE before it: that is this class's "
        "Python image. If you need another one, ask your instructor.",
    )


# -- while it runs ----------------------------------------------------------------------------


def step(line: int, text: str, ended: Ended, limits: BuildLimits) -> DeployFailed:
    """Say what became of a RUN that did not end well."""
    if ended.end is not End.EXIT:
        return stopped(ended.end, limits, line, (text, *ended.tail[-SHOWN_LINES:]))
    said = "\n".join((*ended.tail, _SIGNALS.get(ended.status, "")))
    evidence = (f"line {line}: {text}", *ended.tail[-SHOWN_LINES:])
    if short := _short(said, limits, line, evidence):
        return short
    if _PROXY_GONE.search(said):
        return _failed(
            "build-network",
            "The server's way to the package sources does not answer.",
            evidence,
            "This is not your fault. Send it again in a minute; if it happens again, "
            "tell your instructor.",
        )
    if _NETWORK.search(said):
        return _network(line, said, evidence)
    if special := _package(line, said, evidence):
        return special
    missing = _NO_COMMAND.search(said)
    hint = (
        f"The command {missing[1]} is not in the image: is it spelled right, or does it have to "
        "be installed first?"
        if missing and ended.status == 127  # noqa: PLR2004 - a shell's word for "not found"
        else "The last lines say what went wrong; the first word in capitals is often the best "
        "clue. Mend it and send it again."
    )
    return _failed(
        "build-step",
        f"Line {line} of your Dockerfile failed: the command ended with status {ended.status}.",
        evidence,
        hint,
    )


def _short(
    said: str, limits: BuildLimits, line: int, evidence: tuple[str, ...]
) -> DeployFailed | None:
    """Tell what there was too little of that a build may have."""
    if is_full(said):
        return _failed(
            "build-disk",
            f"Line {line} of your Dockerfile writes more than fits where it writes.",
            evidence,
            "The server's disk has room: /dev/shm holds 16 MiB in a build, and whatever is mounted "
            "has a size of its own. Write below /tmp or in the project instead.",
        )
    for pattern, end in ((_PROCESSES, End.PROCESSES), (_DISK, End.DISK), (_MEMORY, End.MEMORY)):
        if pattern.search(said):
            return stopped(end, limits, line, evidence)
    return None


def _package(line: int, said: str, evidence: tuple[str, ...]) -> DeployFailed | None:
    versions, missing = _NO_VERSION.search(said), _NO_PACKAGE.search(said)
    if versions and versions[2].strip() not in {"", "none"}:
        newest = versions[2].split(",")[-1].strip()
        return _failed(
            "build-step",
            f"The package {versions[1]} is there, but not in the version you ask for.",
            evidence,
            f"The newest that fits this Python is {newest}. Change the line in {_REQUIREMENTS}.",
        )
    if missing or versions:
        found = missing or versions
        assert found is not None  # noqa: S101 - for the type checker
        return _failed(
            "build-step",
            f"There is no package {found[1]}.",
            evidence,
            f"Check its spelling in {_REQUIREMENTS}: the name to install is not always the name "
            "to import (opencv-python for cv2, scikit-learn for sklearn).",
        )
    if debian := _NO_DEBIAN_PACKAGE.search(said):
        return _failed(
            "build-step",
            f"There is no Debian package {debian[1]}.",
            evidence,
            f"Check its spelling, and that line {line} begins with `apt-get update &&`.",
        )
    return None


def _network(line: int, said: str, evidence: tuple[str, ...]) -> DeployFailed:
    host = _HOST.search(said)
    where = f" ({host[1]})" if host else ""
    return _failed(
        "build-network",
        f"Line {line} of your Dockerfile tried to reach an address that builds may not "
        f"reach{where}.",
        evidence,
        "Builds reach the sources of Python and Debian packages, and nothing else. Download the "
        "file yourself and put it into your project, or ask your instructor to allow the address.",
    )


def stopped(
    end: End, limits: BuildLimits, line: int = 0, evidence: tuple[str, ...] = ()
) -> DeployFailed:
    """Say which limit ended the build, or that the server's own disk did."""
    if end is End.ENGINE_FULL:
        return DeployFailed(replace(server_full(""), evidence=evidence))
    where = f" in line {line} of your Dockerfile" if line else ""
    what, meant, following = {
        End.MEMORY: (
            "build-memory",
            f"needs more than {show_memory(limits.limits.memory)} of memory",
            "Install fewer or smaller packages, and compute large things on your own machine.",
        ),
        End.TIME: (
            "build-time",
            f"takes longer than {limits.seconds} seconds",
            "Does a command wait for something, or start your app? RUN prepares, CMD starts.",
        ),
        End.DISK: (
            "build-disk",
            f"writes more than {show_memory(limits.disk)}",
            "Install less, use pip's --no-cache-dir, and leave models and data out.",
        ),
        End.PROCESSES: (
            "build-processes",
            f"starts more than {limits.limits.pids} processes",
            "A program that starts itself again and again does this. Look at the command.",
        ),
        End.OUTPUT: (
            "build-step",
            "writes text without end",
            "A command that repeats itself does this. Make it quieter, with -q where it has that.",
        ),
        End.STOPPED: (
            "build-stopped",
            "was stopped",
            "A newer version of yours took its place, or somebody stopped it. Nothing is wrong.",
        ),
    }[end]
    verb = meant if end is End.STOPPED else f"was ended because it {meant}"
    return _failed(what, f"The build {verb}{where}.", evidence, following)
