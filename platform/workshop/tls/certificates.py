"""Certificates and keys: read, judged and made. The only module that knows the library for them.

All goes in and out as PEM text. Nothing here reads or writes a file.
"""

from __future__ import annotations

import hashlib
import ipaddress
import itertools
import re
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cryptography.hazmat.primitives.asymmetric.types import (
        CertificateIssuerPrivateKeyTypes,
        CertificatePublicKeyTypes,
    )

AUTHORITY_LIFE = timedelta(days=730)
LEAF_LIFE = timedelta(days=90)
_EARLIER = timedelta(hours=1)
"""Certificates begin in the past: a visitor's clock may be slow."""
_SMALLEST_RSA = 2048
_LONGEST_NAME = 64
_NO_NAME = "invalid"
_OWN_ADDRESS = "127.0.0.1"
_PEM = "-----BEGIN "
_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class Unreadable(ValueError):
    """Text that holds no certificate or key as it should; the words say what and what to do."""


@dataclass(frozen=True)
class Pair:
    """A certificate, those of the authorities above it, and its key."""

    chain: str
    key: str = field(repr=False)

    @property
    def digest(self) -> str:
        """Identify both by their content."""
        return hashlib.sha256(f"{self.chain}\0{self.key}".encode()).hexdigest()[:16]

    @property
    def text(self) -> str:
        """Both in one text, so that one file holds them and they are never found apart."""
        return self.key + self.chain


@dataclass(frozen=True)
class Facts:
    """What a certificate says of itself."""

    names: tuple[str, ...]
    """Host names and addresses it is good for."""
    issuer: str
    begins: datetime
    ends: datetime

    def days_left(self, now: datetime) -> int:
        """Count whole days until it ends; negative afterwards."""
        return (self.ends - now).days

    def covers(self, name: str) -> bool:
        """Whether visitors of ``name`` accept it; ``*.x`` stands for one label, as browsers do."""
        above = f"*.{name.partition('.')[2]}"
        return name in self.names or (above in self.names and not name.startswith("*."))


# -- reading --------------------------------------------------------------------------------------


def read_chain(text: str) -> list[x509.Certificate]:
    """Read the certificates in ``text``.

    Raises:
        Unreadable: there are none.

    """
    if _PEM not in text:
        raise Unreadable("it is not PEM; openssl x509 -inform der -in FILE -out FILE.pem turns DER")
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError as exc:
        raise Unreadable(f"it holds no certificate that can be read ({exc})") from None


def read_pair(chain: str, key: str) -> Pair:
    """Take certificates and key out of two texts, which may be the same one.

    Raises:
        Unreadable: one of them does not hold what it should.

    """
    certificates = "".join(_pem(item) for item in read_chain(chain))
    return Pair(certificates, _key_pem(read_key(key)))


def read_key(text: str) -> CertificateIssuerPrivateKeyTypes:
    """Read the private key in ``text``.

    Raises:
        Unreadable: there is none, or it asks for a password.

    """
    if _PEM not in text:
        raise Unreadable("it is not PEM; openssl pkey -inform der -in FILE -out FILE.pem turns DER")
    try:
        key = serialization.load_pem_private_key(text.encode(), None)
    except TypeError:
        message = "it asks for a password, and nobody is there to type it when the edge starts"
        raise Unreadable(f"{message}; openssl pkey -in FILE -out FILE.plain takes it off") from None
    except ValueError:
        raise Unreadable("it holds no private key that can be read") from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise Unreadable("its kind of key is not for browsers; use RSA or an elliptic curve")
    return key


def leaf(chain: str) -> str:
    """Give the first certificate of ``chain`` alone."""
    return _pem(read_chain(chain)[0])


def facts(chain: str) -> Facts:
    """Tell what the first certificate of ``chain`` says of itself."""
    return _facts(read_chain(chain)[0])


def _facts(leaf: x509.Certificate) -> Facts:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    return Facts(
        names=(
            *names.get_values_for_type(x509.DNSName),
            *(str(address) for address in names.get_values_for_type(x509.IPAddress)),
        ),
        issuer=_name(leaf.issuer),
        begins=leaf.not_valid_before_utc,
        ends=leaf.not_valid_after_utc,
    )


def _name(name: x509.Name) -> str:
    for wanted in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        for found in name.get_attributes_for_oid(wanted):
            return str(found.value)
    return name.rfc4514_string() or "nobody"


# -- judging --------------------------------------------------------------------------------------


def problems(pair: Pair, names: Iterable[str], now: datetime) -> Iterator[str]:
    """Say what would keep visitors from accepting ``pair``, and what mends it."""
    yield from misfits(pair, names)
    told = facts(pair.chain)
    if told.ends <= now:
        yield f"it ended on {told.ends:%Y-%m-%d}; renew it"
    if told.begins > now:
        yield f"it begins on {told.begins:%Y-%m-%d %H:%M} UTC only; is this server's clock right?"


def misfits(pair: Pair, names: Iterable[str]) -> Iterator[str]:
    """Say what is wrong with ``pair`` at any time."""
    chain = read_chain(pair.chain)
    told = _facts(chain[0])
    key = read_key(pair.key)
    if _public(key.public_key()) != _public(chain[0].public_key()):
        yield "the key belongs to another certificate; give the one the request was made with"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < _SMALLEST_RSA:
        yield f"an RSA key of {key.key_size} bits is refused by browsers; make one of 2048 or more"
    missing = [name for name in names if not told.covers(name)]
    if missing:
        held = ", ".join(told.names) or "no name at all (browsers do not look at the common name)"
        yield f"it does not cover {', '.join(missing)}, only {held}; order one for all of them"
    yield from _links(chain)


def _links(chain: Sequence[x509.Certificate]) -> Iterator[str]:
    for lower, upper in itertools.pairwise(chain):
        if not _signed(lower, upper):
            if any(_signed(lower, other) for other in chain if other is not lower):
                yield "its chain is out of order; each certificate is followed by its issuer's"
            else:
                yield (
                    f"its chain is broken: {_name(lower.subject)} is signed by "
                    f"{_name(lower.issuer)}, and {_name(upper.subject)} follows"
                )
            return


def end_problem(chain: str, known: str) -> tuple[bool, str]:
    """Say whether a chain leads to an authority somebody knows.

    Args:
        chain: the certificate first.
        known: the authorities this server trusts.

    Returns:
        Whether it is a fault rather than something to be told, and the words; empty words: good.

    """
    last = read_chain(chain)[-1]
    if any(last == one or _signed(last, one) for one in _authorities(known)):
        return False, ""
    if _signed(last, last):
        return False, f"visitors must be told of {_name(last.subject)}, or their browsers warn"
    return True, (
        f"its chain ends with a certificate signed by {_name(last.issuer)}, which is not in it; "
        "append the issuer's certificates (fullchain.pem), or name the authority in "
        "WORKSHOP_CA_BUNDLE"
    )


def _authorities(known: str) -> list[x509.Certificate]:
    """Read those of a server's bundle that can be read; others are no fault of this workshop."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for text in _CERTIFICATE.findall(known):
            with suppress(ValueError):
                found.append(x509.load_pem_x509_certificate(text.encode()))
    return found


def _signed(lower: x509.Certificate, upper: x509.Certificate) -> bool:
    try:
        lower.verify_directly_issued_by(upper)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


# -- making ---------------------------------------------------------------------------------------


def make_authority(title: str, names: Sequence[str], now: datetime) -> Pair:
    """Make an authority that can sign for ``names`` and what is below them, and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title[:_LONGEST_NAME])])
    permitted = x509.NameConstraints([_subtree(item) for item in _signable(names)], None)
    built = (
        _begun(name, name, key, now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(permitted, critical=True)
        .sign(key, hashes.SHA256())
    )
    return Pair(_pem(built), _key_pem(key))


def may_sign(authority: Pair, names: Sequence[str]) -> bool:
    """Whether ``authority`` was made for exactly these names."""
    built = read_chain(authority.chain)[0]
    try:
        found = built.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return False
    return found.permitted_subtrees == [_subtree(item) for item in _signable(names)]


def make_leaf(authority: Pair, names: Sequence[str], now: datetime) -> Pair:
    """Make a certificate for ``names``, signed by ``authority``, which follows in the chain."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer, signer = read_chain(authority.chain)[0], read_key(authority.key)
    # A common name would be judged by the authority's constraints as if it were a host's.
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, names[0][:_LONGEST_NAME])])
    issuer_key = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key())
    built = (
        _begun(subject, issuer.subject, key, now, LEAF_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_alternatives(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key),
            critical=False,
        )
        .sign(signer, hashes.SHA256())
    )
    return Pair(_pem(built) + authority.chain, _key_pem(key))


def make_key() -> str:
    """Make a key for a certificate that an authority is to sign."""
    return _key_pem(ec.generate_private_key(ec.SECP256R1()))


def make_account_key() -> str:
    """Make a key that an authority knows its customer by."""
    return _key_pem(rsa.generate_private_key(65537, 2048))


def make_request(key: str, names: Sequence[str]) -> bytes:
    """Make the request for one certificate that covers all ``names``."""
    built = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    built = built.add_extension(_alternatives(names), critical=False)
    return built.sign(read_key(key), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now.astimezone(UTC) - _EARLIER)
        .not_valid_after(now.astimezone(UTC) + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(names: Iterable[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_general(name) for name in names])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _signable(names: Iterable[str]) -> list[str]:
    """Bound names and addresses alike: a kind that is not mentioned would be free."""
    given = list(names)
    plain = [
        name
        for name in given
        if not name.startswith("*.") and not any(name.endswith(f".{other}") for other in given)
    ]
    return [*plain, _NO_NAME, _OWN_ADDRESS]


def _subtree(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_network(name))
    except ValueError:
        return x509.DNSName(name)


def _public(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: CertificateIssuerPrivateKeyTypes) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
