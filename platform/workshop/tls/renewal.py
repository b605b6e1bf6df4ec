"""What becomes of the edge's certificate: shown, obtained, renewed in time.

An authority that refuses takes nothing down: the certificate before it stays, or a self-made one
stands in, and the reason is remembered so that the authority is not asked again at once.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from workshop import operations, state
from workshop.errors import CertificateRefused, InputError
from workshop.events import Note
from workshop.health import LOCAL, fetch
from workshop.lock import apply_lock
from workshop.tls import certificates, store, supply
from workshop.tls.options import Acme, Own, SelfMade

if TYPE_CHECKING:
    from workshop.apply import Report
    from workshop.tls.supply import Supply
    from workshop.workspace import Workspace

FIRST_PAUSE = timedelta(hours=1)
"""After a refusal: an authority allows few failures in an hour."""
PAUSE = timedelta(hours=12)
"""The same while the certificate before it is good for days yet."""
_URGENT_DAYS = 2
_FAILED = "acme/failed.json"
_CALL_SECONDS = 5.0
_WORDS: dict[type, str] = {SelfMade: "self-made", Own: "own", Acme: "acme"}


@dataclass(frozen=True)
class CertificateStatus:
    """What ``workshop tls`` shows."""

    workshop: str
    source: str
    """``self-made``, ``own`` or ``acme``."""
    placeholder: bool
    """Whether a self-made one stands in for one that was not issued yet."""
    issuer: str
    names: tuple[str, ...]
    begins: datetime
    ends: datetime
    days_left: int
    live: bool
    """Whether the edge shows this very certificate now."""
    authority: str
    """File that programs need to be told of; empty where the issuer is known to them."""
    warnings: tuple[str, ...]
    failed: str
    """Why the authority issued nothing the last time; empty where it did."""


@dataclass(frozen=True)
class Renewal:
    """What ``workshop tls renew`` did."""

    changed: bool
    reason: str
    status: CertificateStatus


# -- looking --------------------------------------------------------------------------------------


def show(work: Workspace) -> CertificateStatus:
    """Say which certificate the edge has, and how long it lasts: ``workshop tls``."""
    found, now = _found(work), datetime.now(UTC)
    self_made = found.placeholder or isinstance(found.source, SelfMade)
    return CertificateStatus(
        workshop=work.roster.name,
        source=_WORDS[type(found.source)],
        placeholder=found.placeholder,
        issuer=found.facts.issuer,
        names=found.facts.names,
        begins=found.facts.begins,
        ends=found.facts.ends,
        days_left=found.facts.days_left(now),
        live=_shown(work) == certificates.leaf(found.pair.chain),
        authority=str(work.certificates / supply.AUTHORITY_FILE) if self_made else "",
        warnings=found.warnings,
        failed=_failure(work)[1],
    )


def _found(work: Workspace) -> Supply:
    if work.certificate is None:
        raise InputError(
            f"{work.roster.name} has no TLS of its own",
            hint="set workshop.tls, such as `tls: self-made`, and an https url; see docs/tls.md",
        )
    return work.certificate


def _shown(work: Workspace) -> str:
    """Ask the edge for its certificate; empty when it shows none."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((LOCAL, work.roster.port), _CALL_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=work.roster.url.host) as connection,
        ):
            return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"")
    except OSError:
        return ""


# -- changing -------------------------------------------------------------------------------------


def provision(
    work: Workspace,
    *,
    prune: frozenset[str] | None = frozenset(),
    strict: bool = False,
    repair: bool = False,
) -> Report:
    """Make what runs equal to the roster, and have the first certificate issued.

    The authority asks the edge, so the edge is up before, with a self-made certificate. A repair
    renews the certificate in time as well; a refusal does not make it a failure.
    """
    report = operations.provision(work, prune=prune, strict=strict, repair=repair)
    found = work.certificate
    if not report.ok or found is None or not isinstance(found.source, Acme):
        return report
    if repair:
        _renew_in_time(work)
        return report
    if not (found.placeholder or found.lacking):
        return report
    wait, reason = _failure(work)
    if wait > datetime.now(UTC):
        work.emit(Note(f"{reason}; asked again after {wait:%H:%M} UTC", warning=True))
        return report
    try:
        obtain(work)
    except CertificateRefused as exc:
        report.failed["certificate"] = f"{exc.message}; {exc.hint}"
        return report
    second = operations.provision(work)
    return report if second.ok else second


def _renew_in_time(work: Workspace) -> None:
    try:
        done = renew(work)
    except CertificateRefused as exc:
        work.emit(Note(f"{exc.message}; {exc.hint}", warning=True))
        return
    if done.changed:
        work.emit(Note(f"a new certificate is {done.reason}"))


def renew(work: Workspace, *, force: bool = False) -> Renewal:
    """Have a new certificate issued when the old one nears its end: ``workshop tls renew``.

    Only what the instructor provisioned goes on; a roster edited meanwhile is not applied.

    Raises:
        CertificateRefused: the certificate before it stays.

    """
    found = _found(work)
    reason = _not_yet(work, found, force=force)
    if reason:
        return Renewal(changed=False, reason=reason, status=show(work))
    if isinstance(found.source, Acme):
        obtain(work)
    report = operations.provision(work, repair=True)
    status = show(work)
    if not report.ok or not status.live:
        why = next(iter(report.failed.values()), "the edge still shows the one before")
        raise CertificateRefused(
            f"the new certificate is not live: {why}", hint="`workshop provision` publishes it"
        )
    return Renewal(changed=True, reason=f"live, good for {status.days_left} days", status=status)


def _not_yet(work: Workspace, found: Supply, *, force: bool) -> str:
    """Say why nothing is to be done; empty when something is."""
    now = datetime.now(UTC)
    if not isinstance(found.source, Acme):
        if _shown(work) != certificates.leaf(found.pair.chain):
            return ""
        return f"live, good for {found.facts.days_left(now)} days"
    left = found.facts.days_left(now)
    if force:
        return ""
    if not (found.placeholder or found.lacking) and left >= supply.RENEW_DAYS:
        return f"good for {left} days; renewed when fewer than {supply.RENEW_DAYS} are left"
    wait, reason = _failure(work)
    if wait > now:
        return f"{reason}; asked again after {wait:%Y-%m-%d %H:%M} UTC, or with --force"
    return ""


def obtain(work: Workspace) -> None:
    """Have the authority issue a certificate, and keep it; the edge is not touched.

    Raises:
        CertificateRefused: and the refusal is remembered.

    """
    from workshop.tls import acme  # noqa: PLC0415 - its libraries are loaded only where needed

    options = work.roster.tls
    assert options is not None  # noqa: S101 - whoever calls has found a certificate
    assert isinstance(options.source, Acme)  # noqa: S101
    order = acme.Order(
        options=options.source,
        names=supply.wanted_names(work.roster),
        accounts=work.certificates / "acme",
        webroot=work.directories.edge / "acme",
        served=lambda path, text: _served(options.http_port, work.roster.url.host, path, text),
        bundle=work.settings.bundle(),
        say=lambda text: work.emit(Note(text)),
    )
    home = state.open_directory(work.roster_path)
    with apply_lock(home / "tls.lock"):
        try:
            pair = acme.obtain(order)
        except CertificateRefused as exc:
            told = {"when": datetime.now(UTC).isoformat(), "message": f"{exc.message}; {exc.hint}"}
            store.keep(work.certificates, {_FAILED: json.dumps(told)})
            raise
        store.keep(work.certificates, {supply.ISSUED: pair.text})
        (work.certificates / _FAILED).unlink(missing_ok=True)
    work.look_again()


def _served(port: int, host: str, path: str, text: str) -> bool:
    """Fetch a proof from this server's own edge, as the authority will."""
    try:
        answer = asyncio.run(fetch(LOCAL, port, path, host))
    except (OSError, EOFError, TimeoutError, ValueError):
        return False
    return answer.body.decode("ascii", "replace").strip() == text


def _failure(work: Workspace) -> tuple[datetime, str]:
    """Tell until when the authority is left alone, and what it said the last time."""
    never = datetime.min.replace(tzinfo=UTC)
    try:
        told = json.loads((work.certificates / _FAILED).read_text("utf-8"))
        when, reason = datetime.fromisoformat(told["when"]), str(told["message"])
    except (OSError, ValueError, KeyError, TypeError):
        return never, ""
    found, now = work.certificate, datetime.now(UTC)
    urgent = found is None or found.placeholder or found.facts.days_left(now) < _URGENT_DAYS
    if when > now:
        # The clock was ahead then; nothing is held back because of it.
        return never, reason
    return when + (FIRST_PAUSE if urgent else PAUSE), reason
