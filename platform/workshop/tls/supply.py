"""Which certificate the edge shows now: read, judged, or made where the workshop makes its own.

Nothing is written: what was made afresh comes along as files to keep, so that ``plan`` can look
without changing anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from workshop.errors import InputError
from workshop.tls import certificates, store
from workshop.tls.certificates import Facts, Pair, Unreadable
from workshop.tls.options import Acme, Own, SelfMade

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from workshop.roster import Roster

WARN_DAYS = 14
RENEW_DAYS = 30
_AUTHORITY_DAYS = 120
"""An authority is made anew while its last certificate still has its full life before it."""
_SELF_MADE = "self-made"
AUTHORITY_FILE = f"{_SELF_MADE}/authority.pem"
"""What visitors' programs are told of, such as ``curl --cacert``."""
_AUTHORITY_PAIR = f"{_SELF_MADE}/authority-pair.pem"
_LEAF_PAIR = f"{_SELF_MADE}/pair.pem"
ISSUED = "acme/pair.pem"
LOCAL_NAMES = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Supply:
    """The certificate the edge is to show."""

    pair: Pair
    facts: Facts
    source: SelfMade | Own | Acme
    placeholder: bool = False
    """Whether a self-made one stands in until the authority has issued the first."""
    warnings: tuple[str, ...] = ()
    fresh: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Files to keep before it is used, by path in the folder of certificates."""
    lacking: tuple[str, ...] = ()
    """Names it was to be good for and is not; the class can do without them meanwhile."""


def wanted_names(roster: Roster) -> tuple[str, ...]:
    """List what the certificate is to be good for: one for everybody, never one for each seat."""
    names, board = _required_names(roster), roster.board.host if roster.board else ""
    # An authority refuses a name beside a wildcard that covers it.
    covered = not board or f"*.{board.partition('.')[2]}" in names
    return names if covered else (*names, board)


def _required_names(roster: Roster) -> tuple[str, ...]:
    """List what it must be good for, or it is of no use to the class."""
    host = roster.url.host
    names = [host]
    if roster.routing.by_host and "." in host:
        names.append(f"*.{host}")
    elif roster.routing.by_host:
        # Programs refuse a wildcard right below the root, such as *.localhost.
        names += [f"{person.name}.{host}" for person in roster.participants]
    if roster.url.is_loopback:
        names += LOCAL_NAMES
    return tuple(dict.fromkeys(names))


def find(roster: Roster, folder: Path, bundle: Path | None, now: datetime) -> Supply | None:
    """Find the certificate for ``roster``; ``None`` where its edge speaks plain HTTP.

    Args:
        roster: what it says about TLS, and which names are needed.
        folder: where the workshop keeps its certificates.
        bundle: authorities this server trusts.
        now: the time.

    Raises:
        InputError: the instructor's own certificate cannot be used; nothing was touched.

    """
    if roster.tls is None:
        return None
    source = roster.tls.source
    if isinstance(source, Own):
        return _own(source, roster, bundle, now)
    if isinstance(source, Acme):
        return _issued(source, roster, folder, now)
    return _self_made(roster, folder, now)


def _own(source: Own, roster: Roster, bundle: Path | None, now: datetime) -> Supply:
    chain, key = _text(source.certificate), _text(source.key)
    try:
        certificates.read_chain(chain)
    except Unreadable as exc:
        raise _refused(source.certificate, str(exc)) from None
    try:
        pair = certificates.read_pair(chain, key)
    except Unreadable as exc:
        raise _refused(source.key, str(exc)) from None
    found = list(certificates.problems(pair, _required_names(roster), now))
    known = bundle.read_text("utf-8", "replace") if bundle else ""
    fatal, ending = certificates.end_problem(pair.chain, known)
    if fatal and not found:
        found.append(ending)
    if found:
        raise _refused(source.certificate, "; ".join(found))
    facts = certificates.facts(pair.chain)
    warnings = [f"{source.certificate.name}: {ending}"] if ending else []
    lacking = _lacking(facts, roster)
    warnings += [
        f"{source.certificate.name} does not cover {name}: browsers refuse the board there; order "
        "one for both"
        for name in lacking
    ]
    warnings += _soon(facts, now, "renew it")
    return Supply(pair, facts, source, lacking=lacking, warnings=tuple(warnings))


def _lacking(facts: Facts, roster: Roster) -> tuple[str, ...]:
    return tuple(name for name in wanted_names(roster) if not facts.covers(name))


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError as exc:
        raise InputError(f"cannot read {path}: {exc.strerror}") from exc


def _refused(path: Path, words: str) -> InputError:
    hint = f"mend {path.name}, or rehearse with `tls: self-made`"
    return InputError(f"{path.name} cannot be used: {words}", hint=hint)


def _issued(source: Acme, roster: Roster, folder: Path, now: datetime) -> Supply:
    pair = store.read(folder / ISSUED)
    # One that has ended stays: visitors can click past it as past a self-made one, and it says
    # whose server this is.
    if pair is None or any(certificates.misfits(pair, _required_names(roster))):
        found = _self_made(roster, folder, now)
        note = "the authority has not issued a certificate yet; `workshop tls renew` asks it"
        return Supply(found.pair, found.facts, source, True, (note,), found.fresh)
    facts = certificates.facts(pair.chain)
    lacking = _lacking(facts, roster)
    warnings = [
        f"the certificate does not cover {name} yet: browsers refuse the board there; "
        "`workshop tls renew` asks the authority"
        for name in lacking
    ]
    warnings += _soon(facts, now, "`workshop tls renew` says why it stays")
    return Supply(pair, facts, source, lacking=lacking, warnings=tuple(warnings))


def _self_made(roster: Roster, folder: Path, now: datetime) -> Supply:
    names = wanted_names(roster)
    fresh: dict[str, str] = {}
    authority = store.read(folder / _AUTHORITY_PAIR)
    if (
        authority is None
        or not certificates.may_sign(authority, names)
        or _ends_within(authority, _AUTHORITY_DAYS, now)
    ):
        title = f"Workshop {roster.name} (made on this server)"
        authority = certificates.make_authority(title, names, now)
        fresh = {AUTHORITY_FILE: authority.chain, _AUTHORITY_PAIR: authority.text}
    leaf = store.read(folder / _LEAF_PAIR)
    if leaf is None or _ends_within(leaf, RENEW_DAYS, now) or not _fits(leaf, authority, names):
        leaf = certificates.make_leaf(authority, names, now)
        fresh[_LEAF_PAIR] = leaf.text
    return Supply(leaf, certificates.facts(leaf.chain), SelfMade(), fresh=fresh)


def _fits(leaf: Pair, authority: Pair, names: tuple[str, ...]) -> bool:
    told = certificates.facts(leaf.chain)
    same = sorted(told.names) == sorted(names) and leaf.chain.endswith(authority.chain)
    return same and not any(certificates.misfits(leaf, names))


def _ends_within(pair: Pair, days: int, now: datetime) -> bool:
    facts = certificates.facts(pair.chain)
    return facts.ends - timedelta(days=days) <= now or facts.begins > now


def _soon(facts: Facts, now: datetime, what: str) -> tuple[str, ...]:
    left = facts.days_left(now)
    if left >= WARN_DAYS:
        return ()
    when = f"ended on {facts.ends:%Y-%m-%d}" if left < 0 else f"ends in {left} days"
    return (f"the certificate for {facts.names[0]} {when}; {what}",)
