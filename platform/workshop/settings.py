"""What the operator's machine decides, as opposed to the class: environment and ``.env``.

The file has the grammar of every other ``.env`` here (:mod:`workshop.environment`).

Precedence: command-line option, then ``WORKSHOP_*`` in the environment, then the same in a
``.env`` beside the roster, then the roster, then the default written here.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from workshop import environment, yamltree
from workshop.errors import InputError

_PREFIX = "WORKSHOP_"
HOST_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_BUNDLE_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE")


class Settings(BaseSettings):
    """Settings of this machine; each is ``WORKSHOP_`` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="ignore", frozen=True)

    base_image: str = "python:3.12-slim"
    """Image every other starts from. When it cannot be pulled, an equivalent is bootstrapped."""

    ca_bundle: Path | None = None
    """PEM file of certificate authorities for builds and seats; default: the host's own bundle,
    so that a company's private authority is trusted inside as it is outside."""

    debian_mirror: str = ""
    """Mirror for the bootstrap of a base image; default: mmdebstrap's own."""

    workers: int = Field(default=6, ge=1, le=64)
    """Engine calls at the same time. Beyond about twice the cores the engine only gets slower."""

    ready_seconds: float = Field(default=90.0, gt=0, le=3600)
    """How long a started seat may take to answer; 30 apps starting on two cores take about 10."""

    secrets_key: SecretStr = SecretStr("")
    """What opens the store of secrets; default: a file in the operator's own configuration."""

    runtime_directory: Path | None = None
    """Where the files of seats' secrets lie; must be in memory. Default: the first that is."""

    def bundle(self) -> Path | None:
        """Find the certificate bundle to hand on, or ``None`` when the host has none."""
        if self.ca_bundle is not None:
            return self.ca_bundle
        named = [os.environ.get(name) for name in _BUNDLE_VARIABLES]
        for candidate in (*named, HOST_BUNDLE):
            if candidate and os.path.isfile(candidate):  # noqa: PTH113 - text from the environment
                return Path(candidate)
        return None


def load(directory: Path) -> Settings:
    """Read the settings that hold for a roster in ``directory``.

    Raises:
        InputError: a value does not fit; the message names the variable.

    """
    from pydantic import ValidationError  # noqa: PLC0415

    set_already = {name.upper() for name in os.environ}
    values = {
        name.removeprefix(_PREFIX).lower(): value
        for name, value in read_env_file(directory / ".env").items()
        if name.startswith(_PREFIX) and name not in set_already
    }
    try:
        return Settings(**values)  # type: ignore[arg-type]
    except ValidationError as exc:
        lines = [
            f"WORKSHOP_{'_'.join(map(str, error['loc'])).upper()}: {error['msg']}"
            for error in exc.errors(include_input=False, include_url=False)
        ]
        raise InputError("; ".join(lines), hint="see docs/settings.md") from None


def read_env_file(path: Path) -> dict[str, str]:
    """Read the ``.env`` beside the roster; empty where there is none.

    Raises:
        InputError: others can read it, or a line is not of the grammar.

    """
    if not path.is_file():
        return {}
    if path.stat().st_mode & 0o077:
        raise InputError(
            f"{path} can be read by others on this machine", hint=f"chmod 600 {path.name}"
        )
    found, faults = environment.parse_settings_file(yamltree.read_text(path), path.name)
    if faults:
        raise InputError.of(faults)
    return found
