"""The deploy doctor's words: evidence in, one finding out. Nothing here looks or waits."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from workshop.deploys.diagnosis import crash as crashes
from workshop.deploys.diagnosis.binding import change
from workshop.deploys.diagnosis.causes import ended, out_of_memory, specific
from workshop.deploys.diagnosis.words import crash_lines, finding, tail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workshop.deploys.diagnosis.crash import Crash
    from workshop.deploys.diagnosis.evidence import Evidence, Listening
    from workshop.intake.orders import Finding

_FIRST_PASSING_PORT = 32_768
"""From here on the kernel hands out ports itself: a library's inner affairs, not a server."""
_SERVER_ERROR = 500


def explain(evidence: Evidence) -> Finding:
    """Say why a version did not become ready."""
    crash = crashes.find(evidence.log)
    if evidence.refusal:
        return specific(evidence, None) or _start_refused(evidence)
    if evidence.state is not None and evidence.state.ended:
        return ended(evidence, crash)
    if evidence.identity:
        return _wrong_identity(evidence)
    if evidence.answer is not None:
        return _answers_wrongly(evidence, crash)
    return (
        out_of_memory(evidence, crash)
        or wrong_listening(evidence)
        or _does_not_answer(evidence)
        or specific(evidence, crash)
        or _silent(evidence, crash)
    )


def wrong_listening(evidence: Evidence) -> Finding | None:
    """Name the cause where the app listens, but not where visitors come; else ``None``."""
    found = servers(evidence.listening or (), evidence.port)
    here = [item for item in found if item.port == evidence.port]
    if here:
        loopback = all(_is_loopback(item) for item in here)
        six = all(item.address == "::" for item in here) and "nothing listens" in evidence.silence
        if loopback:
            return _listens_on_localhost(evidence, here)
        return _listens_on_ipv6(evidence, here) if six else None
    return _listens_on_another_port(evidence, found) if found else None


def servers(listening: Sequence[Listening], port: int) -> list[Listening]:
    """Leave out what no server of the participant's would be."""
    return [
        item
        for item in listening
        if item.port == port or not (_is_loopback(item) and item.port >= _FIRST_PASSING_PORT)
    ]


def _is_loopback(item: Listening) -> bool:
    return ipaddress.ip_address(item.address).is_loopback


# -- where it listens -------------------------------------------------------------------------


def _listens_on_localhost(evidence: Evidence, here: Sequence[Listening]) -> Finding:
    return finding(
        evidence,
        "listens-on-localhost",
        f"The app listens on {here[0]}, which can only be reached from inside its own container.",
        _listen_rightly(evidence),
        _seen(evidence),
    )


def _listens_on_ipv6(evidence: Evidence, here: Sequence[Listening]) -> Finding:
    return finding(
        evidence,
        "listens-on-ipv6-only",
        f"The app listens on {here[0]}, which is IPv6 only; visitors come over IPv4.",
        _listen_rightly(evidence),
        _seen(evidence),
    )


def _listens_on_another_port(evidence: Evidence, found: Sequence[Listening]) -> Finding:
    ports = sorted({item.port for item in found})
    which = f"port {ports[0]}" if len(ports) == 1 else f"ports {', '.join(map(str, ports))}"
    local = " and only on localhost," if all(map(_is_loopback, found)) else ""
    return finding(
        evidence,
        "listens-on-another-port",
        f"The app listens on {which},{local} but visitors are sent to port {evidence.port}.",
        f"{_listen_rightly(evidence)} The variable PORT holds {evidence.port}.",
        _seen(evidence),
    )


def _listen_rightly(evidence: Evidence) -> str:
    command = evidence.state.command if evidence.state else ()
    exact = change(command, evidence.log, evidence.port)
    words = f"Let it listen on 0.0.0.0 (every address), port {evidence.port}"
    # Somebody who copies a command must not copy a full stop with it.
    return f"{words}; {exact} ." if exact.endswith("]") else f"{words}{'; ' * bool(exact)}{exact}."


def _seen(evidence: Evidence) -> list[str]:
    heard = [f"listens on {item}" for item in servers(evidence.listening or (), evidence.port)]
    words = ("http://", "https://", "istening", "unning on")
    said = [line for line in evidence.log if any(word in line for word in words)]
    return [*heard[:4], *said[-3:]]


# -- what it answers --------------------------------------------------------------------------


def _wrong_identity(evidence: Evidence) -> Finding:
    return finding(
        evidence,
        "wrong-identity",
        f"The app {evidence.identity}: its name or version is written into the code or the image.",
        "Let /whoami answer the variables WORKSHOP_PARTICIPANT and WORKSHOP_VERSION as they are "
        "when the app starts, without values of your own in the code, the Dockerfile or a .env.",
        [
            f"expected: participant {evidence.participant}, version {evidence.version}",
            *([evidence.answer.line] if evidence.answer else []),
        ],
    )


def _answers_wrongly(evidence: Evidence, crash: Crash | None) -> Finding:
    answer = evidence.answer
    assert answer is not None  # noqa: S101 - the caller looked
    known = specific(evidence, crash) if answer.status >= _SERVER_ERROR else None
    if known is not None:
        return known
    lines = [f"GET {answer.path}: {answer.status}", answer.line]
    return finding(
        evidence,
        "not-ready",
        f"The app runs, but {answer.path} answers {answer.status} where 200 is expected.",
        f"Open {answer.path} on your own machine and mend what it needs. "
        "It should answer 200 as soon as the app can serve, without a login and without asking "
        "other services; an app without this address is fine, too.",
        [*lines, *(crash_lines(evidence, crash) if crash else tail(evidence))],
    )


def _does_not_answer(evidence: Evidence) -> Finding | None:
    """Something listens where it should, and yet there is no answer."""
    if not any(item.port == evidence.port for item in evidence.listening or ()):
        return None
    http = "does not speak HTTP" in evidence.silence
    return finding(
        evidence,
        "not-ready",
        f"The app listens on port {evidence.port}, but "
        + (
            "what it answers is not HTTP."
            if http
            else f"did not answer /healthz within {evidence.waited:.0f} seconds."
        ),
        "Let it speak plain HTTP there, without TLS: the server adds https."
        if http
        else "Look for something that keeps it busy at the start, such as a large download or a "
        "loop: do that in the background, or when it is first needed.",
        [*_seen(evidence), *tail(evidence)],
    )


def _silent(evidence: Evidence, crash: Crash | None) -> Finding:
    wrote = tail(evidence)
    return finding(
        evidence,
        "silent",
        f"The app runs, but after {evidence.waited:.0f} seconds it still listens on no port"
        + ("." if wrote else ", and wrote nothing to its log."),
        "Check that its last step starts a web server on 0.0.0.0, "
        f"port {evidence.port}. If it needs longer to start, load large things later.",
        crash_lines(evidence, crash) if crash else wrote,
    )


def _start_refused(evidence: Evidence) -> Finding:
    return finding(
        evidence,
        "start-refused",
        "The server's container engine would not start the app.",
        "If the engine's words name something in your Dockerfile, mend it there; if not, show them "
        "to your instructor.",
        evidence.refusal.splitlines(),
    )
