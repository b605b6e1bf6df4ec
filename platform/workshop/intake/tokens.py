"""Tokens for the registry: who may do what with which repository, signed and short-lived.

The registry never sees a participant's key. It believes what is written in a JSON Web Token that
was signed with the class's own key, in the form CNCF Distribution asks for: ES256, and in the
header the certificate that the registry was told to trust.
"""

from __future__ import annotations

import base64
import datetime as dt
import secrets
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from workshop.intake.config import CERTIFICATE, SIGNING_KEY
from workshop.intake.issuer import ISSUER, SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["ISSUER", "REPOSITORY", "SERVICE", "Access", "Signer", "make_pair"]

REPOSITORY = "repository"
"""The type of access to one repository; its actions are ``pull`` and ``push``."""
SECONDS = 300
"""How long a token is good for: a layer that takes longer is asked for with a new one."""
SKEW = 30
"""Seconds by which the clock of whoever checks a token may be behind."""
_YEARS = 10
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Access:
    """What a token allows with one thing."""

    type: str
    name: str
    actions: tuple[str, ...]


class Signer:
    """Holds the class's key and signs tokens with it."""

    def __init__(
        self,
        key: ec.EllipticCurvePrivateKey,
        certificate: x509.Certificate,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._key = key
        self._clock = clock
        der = certificate.public_bytes(serialization.Encoding.DER)
        self._header = {"x5c": [base64.b64encode(der).decode("ascii")]}

    @classmethod
    def load(cls, directory: Path, clock: Callable[[], float] = time.time) -> Signer:
        """Read the key and the certificate in ``directory``.

        Raises:
            OSError: one of them is not there, or may not be read.
            ValueError: they are no such things, or do not belong together.

        """
        key = serialization.load_pem_private_key((directory / SIGNING_KEY).read_bytes(), None)
        certificate = x509.load_pem_x509_certificate((directory / CERTIFICATE).read_bytes())
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
            raise ValueError(f"{directory / SIGNING_KEY} is no key on P-256")
        if certificate.public_key() != key.public_key():
            raise ValueError(f"{directory / CERTIFICATE} belongs to another key")
        return cls(key, certificate, clock)

    def token(
        self, subject: str, service: str, access: Sequence[Access], seconds: int = SECONDS
    ) -> str:
        """Sign what ``subject`` may do at ``service`` for the next ``seconds``."""
        now = int(self._clock())
        claims = {
            "iss": ISSUER,
            "sub": subject,
            "aud": service,
            "iat": now,
            "nbf": now - SKEW,
            "exp": now + seconds,
            "jti": secrets.token_hex(8),
            "access": [asdict(item) for item in access],
        }
        return jwt.encode(claims, self._key, algorithm="ES256", headers=self._header)


def make_pair() -> tuple[str, str]:
    """Make a key and its certificate, both as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
    # A server whose clock is put back by less than a day still trusts it.
    begin = dt.datetime.now(dt.UTC) - _DAY
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + 365 * _YEARS * _DAY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    return private.decode("ascii"), public.decode("ascii")
