"""What tokens for the registry say, and which pairs of key and certificate sign them."""

from __future__ import annotations

import base64
import datetime as dt
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from workshop.intake.config import CERTIFICATE, SIGNING_KEY
from workshop.intake.tokens import ISSUER, SERVICE, Access, Signer, make_pair

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Write a pair where the intake would find it."""
    key, certificate = make_pair()
    (tmp_path / SIGNING_KEY).write_text(key, "utf-8")
    (tmp_path / CERTIFICATE).write_text(certificate, "utf-8")
    return tmp_path


def _read(directory: Path, token: str) -> dict[str, Any]:
    certificate = x509.load_pem_x509_certificate((directory / CERTIFICATE).read_bytes())
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    return dict(jwt.decode(token, key, ["ES256"], options, audience=SERVICE, issuer=ISSUER))


def test_token_says_what_the_registry_asks_for(directory: Path) -> None:
    """Every claim is there, and half a minute of wrong clock does no harm."""
    access = [Access("repository", "ada/app", ("pull", "push"))]
    token = Signer.load(directory, lambda: NOW + 0.9).token("ada", SERVICE, access, 60)
    claims = _read(directory, token)
    jti = claims.pop("jti")

    assert len(jti) == 16
    assert claims == {
        "iss": ISSUER,
        "sub": "ada",
        "aud": SERVICE,
        "iat": NOW,
        "nbf": NOW - 30,
        "exp": NOW + 60,
        "access": [{"type": "repository", "name": "ada/app", "actions": ["pull", "push"]}],
    }


def test_token_names_its_certificate(directory: Path) -> None:
    """The header holds the whole certificate, in base64 of DER, and the algorithm."""
    header = jwt.get_unverified_header(Signer.load(directory).token("ada", SERVICE, []))
    certificate = x509.load_pem_x509_certificate((directory / CERTIFICATE).read_bytes())

    assert (header["alg"], header["typ"]) == ("ES256", "JWT")
    assert [base64.b64decode(item) for item in header["x5c"]] == [
        certificate.public_bytes(serialization.Encoding.DER)
    ]


def test_two_tokens_differ(directory: Path) -> None:
    """Even in the same second each has an id of its own."""
    signer = Signer.load(directory, lambda: NOW)
    first, second = (_read(directory, signer.token("ada", SERVICE, [])) for _ in range(2))

    assert first["jti"] != second["jti"]


def test_certificate_lasts_ten_years_and_signs_nothing_else(directory: Path) -> None:
    """It is valid since yesterday, and is no authority."""
    certificate = x509.load_pem_x509_certificate((directory / CERTIFICATE).read_bytes())
    now = dt.datetime.now(dt.UTC)

    assert certificate.not_valid_before_utc < now - dt.timedelta(hours=23)
    assert certificate.not_valid_after_utc > now + dt.timedelta(days=3640)
    extension = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert extension.value.ca is False


def test_pair_of_two_halves_is_refused(directory: Path) -> None:
    """A certificate of another key would make every token worthless: better said at the start."""
    (directory / CERTIFICATE).write_text(make_pair()[1], "utf-8")
    with pytest.raises(ValueError, match="belongs to another key"):
        Signer.load(directory)


def test_key_of_another_kind_is_refused(directory: Path) -> None:
    """An RSA key cannot sign with ES256."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (directory / SIGNING_KEY).write_bytes(pem)
    with pytest.raises(ValueError, match="no key on P-256"):
        Signer.load(directory)


def test_missing_key_is_the_operating_systems_word(directory: Path) -> None:
    """No file, no signer."""
    (directory / SIGNING_KEY).unlink()
    with pytest.raises(FileNotFoundError):
        Signer.load(directory)
