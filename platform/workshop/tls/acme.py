"""One certificate from an authority that speaks ACME (RFC 8555): ordered, proved, fetched.

The only module that knows the library for it. The proof is laid where the edge, or the
instructor's own program for DNS, shows it, and is taken away again whatever happens.
"""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import josepy.errors
from acme import challenges, client, errors, messages
from josepy.jwk import JWKRSA

import workshop
from workshop.errors import CertificateRefused
from workshop.tls import certificates, store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from workshop.tls.certificates import Pair
    from workshop.tls.options import Acme

ORDER_SECONDS = 120
_TRIES = 4
_HOOK_SECONDS = 300
"""A hook waits until the name servers know the record; that takes minutes at some."""
_CALL_SECONDS = 30
_ADVICE = {
    "connection": "{host} must lead to this server, and port 80 must be open to the internet",
    "dns": "{host} has no DNS record that leads to this server",
    "caa": "a CAA record of {host} forbids this authority",
    "rateLimited": "wait as long as it says; rehearse with staging: true meanwhile",
    "rejectedIdentifier": "this authority does not certify that name",
    "unauthorized": "{host} must lead to this server alone, with nothing in front that answers",
}


@dataclass(frozen=True)
class Order:
    """What is asked of the authority, and the ways to prove that the names are ours."""

    options: Acme
    names: tuple[str, ...]
    accounts: Path
    """Directory of the keys this workshop is known to authorities by."""
    webroot: Path
    """What the edge serves below ``/.well-known/acme-challenge/``."""
    served: Callable[[str, str], bool]
    """Whether this server's edge answers a proof's path with the text given."""
    bundle: Path | None
    say: Callable[[str], None]


def obtain(order: Order) -> Pair:
    """Have one certificate issued for all names of ``order``.

    Raises:
        CertificateRefused: with the authority's own words and what to do.

    """
    try:
        return _persistently(order)
    except errors.ValidationError as exc:
        raise _refused(order, *_failed(exc)) from exc
    except messages.Error as exc:
        raise _refused(order, exc.code or "", exc.detail or str(exc)) from exc
    except errors.TimeoutError as exc:
        raise _refused(order, "", f"no answer within {ORDER_SECONDS} s") from exc
    except (errors.Error, josepy.errors.Error) as exc:
        raise _refused(order, "", str(exc)) from exc
    except OSError as exc:
        # The library lets errors of its HTTP client through, which are of this class.
        hint = "check this server's way to the internet; a private authority's root goes into "
        message = f"{order.options.server} cannot be reached: {exc}"
        raise CertificateRefused(message, hint=f"{hint}WORKSHOP_CA_BUNDLE") from exc


def _persistently(order: Order) -> Pair:
    """Begin again where the authority forgot its own number, which it may do at any call."""
    for _ in range(_TRIES - 1):
        try:
            return _obtain(order)
        except messages.Error as exc:
            if exc.code != "badNonce":
                raise
    return _obtain(order)


def _obtain(order: Order) -> Pair:
    caller = _caller(order)
    key = certificates.make_key()
    order.say(f"asking {order.options.server} for a certificate for {', '.join(order.names)}")
    placed = caller.new_order(certificates.make_request(key, order.names))
    deadline = datetime.now() + timedelta(seconds=ORDER_SECONDS)  # noqa: DTZ005 - as it compares
    with contextlib.ExitStack() as proofs:
        for authorization in placed.authorizations:
            if authorization.body.status == messages.STATUS_VALID:
                continue
            proofs.enter_context(_proof(order, caller, authorization))
        finished = caller.poll_and_finalize(placed, deadline)
    pair = certificates.read_pair(finished.fullchain_pem, key)
    for trouble in certificates.misfits(pair, order.names):
        raise _refused(order, "", f"what it issued cannot be used: {trouble}")
    return pair


def _caller(order: Order) -> client.ClientV2:
    """Log in, under a key that is made once for each authority."""
    options = order.options
    name = f"account-{hashlib.sha256(options.server.encode()).hexdigest()[:8]}.pem"
    if not (order.accounts / name).is_file():
        store.keep(order.accounts, {name: certificates.make_account_key()})
    key = JWKRSA.load((order.accounts / name).read_bytes())
    agent = f"workshop/{workshop.__version__}"
    net = client.ClientNetwork(key, user_agent=agent, timeout=_CALL_SECONDS)
    if order.bundle:
        # Handed on to its HTTP client, which takes a file of authorities too.
        net.verify_ssl = str(order.bundle)  # type: ignore[assignment]
    caller = client.ClientV2(client.ClientV2.get_directory(options.server, net), net)
    wanted = messages.NewRegistration.from_data(email=options.email, terms_of_service_agreed=True)
    try:
        caller.new_account(wanted)
    except errors.ConflictError as exc:
        known = messages.RegistrationResource(uri=exc.location, body=messages.Registration())
        net.account = caller.query_registration(known)
    return caller


@contextlib.contextmanager
def _proof(
    order: Order, caller: client.ClientV2, authorization: messages.AuthorizationResource
) -> Iterator[None]:
    """Show one proof for as long as the block lasts, and tell the authority to look."""
    wanted = challenges.DNS01 if order.options.dns_hook else challenges.HTTP01
    for challenge in authorization.body.challenges:
        if isinstance(challenge.chall, wanted):
            break
    else:
        offered = ", ".join(item.chall.typ for item in authorization.body.challenges)
        name = authorization.body.identifier.value
        raise _refused(order, "", f"for {name} it offers {offered} only, not {wanted.typ}")
    response, text = challenge.response_and_validation(caller.net.key)
    if order.options.dns_hook:
        name = challenge.chall.validation_domain_name(authorization.body.identifier.value)
        shown = _record(order, name, text)
    else:
        shown = _file(order, challenge.chall, text)
    with shown:
        caller.answer_challenge(challenge, response)
        yield


@contextlib.contextmanager
def _file(order: Order, challenge: challenges.HTTP01, text: str) -> Iterator[None]:
    """Lay the proof where the edge serves it; ask the edge before the authority does."""
    path = order.webroot / challenge.path.rpartition("/")[2]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o755)
    try:
        path.write_text(text, "ascii")
        path.chmod(0o644)
        if not order.served(challenge.path, text):
            raise CertificateRefused(
                f"this server's own edge does not answer {challenge.path} over http",
                hint="`workshop provision` brings it up; `workshop logs edge` shows why not",
            )
        yield
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _record(order: Order, name: str, text: str) -> Iterator[None]:
    """Let the instructor's program write a TXT record, and remove it afterwards."""
    _hook(order, "set", name, text)
    try:
        yield
    finally:
        with contextlib.suppress(CertificateRefused):
            _hook(order, "clear", name, text)


def _hook(order: Order, verb: str, name: str, text: str) -> None:
    program = order.options.dns_hook
    assert program is not None  # noqa: S101 - told apart by the caller
    order.say(f"{program.name} {verb} {name}")
    try:
        done = subprocess.run(
            [str(program), verb, name, text],
            capture_output=True,
            text=True,
            check=False,
            timeout=_HOOK_SECONDS,
            stdin=subprocess.DEVNULL,
            cwd=program.parent,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise CertificateRefused(
            f"{program.name} {verb} {name}: {exc}", hint="run it by hand; docs/tls.md has its form"
        ) from exc
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        last = said[-1] if said else "it said nothing"
        raise CertificateRefused(
            f"{program.name} {verb} {name} ended with {done.returncode}: {last[:200]}",
            hint="run it by hand; docs/tls.md has its form",
        )


def _failed(error: errors.ValidationError) -> tuple[str, str]:
    """Find the authority's words in the first proof it did not accept."""
    for authorization in error.failed_authzrs:
        for challenge in authorization.body.challenges:
            if challenge.error is not None:
                name = authorization.body.identifier.value
                return challenge.error.code or "", f"{name}: {challenge.error.detail}"
    return "", str(error)


def _refused(order: Order, code: str, detail: str) -> CertificateRefused:
    host = order.names[0]
    advice = _ADVICE.get(code, "docs/tls.md says what the authority needs")
    message = f"{order.options.server} issued nothing: {detail[:300]}"
    return CertificateRefused(message, hint=advice.format(host=host))
