"""The base image: pulled where that is possible, bootstrapped from Debian's packages where not.

A class room, a company and a ship have one thing in common: the public registry may be out of
reach. The bootstrapped image is equivalent for our purpose: Debian, Python 3 with ``venv``, and
the certificate authorities this server trusts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from workshop.errors import BuildFailed
from workshop.labels import ROLE, Role
from workshop.specs import ImageSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workshop.engines.base import Engine
    from workshop.settings import Settings

SUITE = "bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
"""Where Debian's programs look for certificate authorities, inside an image."""
_UNUSED = ("usr/share/doc/*", "usr/share/man/*", "usr/share/locale/*", "usr/share/info/*")


def labels() -> Mapping[str, str]:
    """Mark a base image: it belongs to every workshop of the engine, so it carries no name."""
    return {ROLE: Role.BASE.value}


def provide(engine: Engine, tag: str, settings: Settings, say: Callable[[str], None]) -> None:
    """Make the base image ``tag`` out of ``settings.base_image``, or bootstrap its equal.

    Raises:
        BuildFailed: neither a pull nor a bootstrap is possible; the hint says what to install.

    """
    with tempfile.TemporaryDirectory(prefix="workshop-base-") as directory:
        work = Path(directory)
        try:
            _from_pulled(engine, tag, settings, work, say)
        except BuildFailed as exc:
            say(f"{settings.base_image} cannot be had here; making an equal from Debian's packages")
            _bootstrap(engine, tag, settings, work, exc)


def _from_pulled(
    engine: Engine, tag: str, settings: Settings, work: Path, say: Callable[[str], None]
) -> None:
    reference = settings.base_image
    if not any(image.tag == reference for image in engine.observe("", [reference]).images):
        say(f"pulling {reference}")
        engine.fetch(reference)
    bundle = settings.bundle()
    lines = [f"FROM {reference}"]
    if bundle is not None:
        shutil.copyfile(bundle, work / "ca-certificates.crt")
        lines.append(f"COPY ca-certificates.crt {BUNDLE}")
        lines += [f'ENV {key}="{value}"' for key, value in _environment().items()]
    (work / "Dockerfile").write_text("\n".join(lines) + "\n", "utf-8")
    engine.build(ImageSpec(tag, Role.BASE, work), labels())


def _bootstrap(
    engine: Engine, tag: str, settings: Settings, work: Path, cause: BuildFailed
) -> None:
    tool = shutil.which("mmdebstrap")
    if tool is None:
        raise BuildFailed(
            f"{cause.message}, and mmdebstrap is not installed to make a base image instead",
            hint="sudo apt-get install mmdebstrap, or set WORKSHOP_BASE_IMAGE to an image you have",
        )
    archive = work / "rootfs.tar"
    command = [tool, "--quiet", "--variant=minbase", f"--include={PACKAGES}"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in map("/".__add__, _UNUSED)]
    bundle = settings.bundle()
    if bundle is not None:
        command.append(f"--customize-hook=upload {bundle} {BUNDLE}")
    command += [SUITE, str(archive)]
    if settings.debian_mirror:
        command.append(settings.debian_mirror)
    done = subprocess.run(
        command,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        tail = "\n".join(f"    {line}" for line in done.stderr.splitlines()[-8:])
        raise BuildFailed(
            f"mmdebstrap could not make a base image:\n{tail}",
            hint="run as root, or set WORKSHOP_DEBIAN_MIRROR to a mirror this machine reaches",
        )
    engine.load_rootfs(archive, tag, labels(), _environment() if bundle is not None else {})


def _environment() -> dict[str, str]:
    """Name the bundle to the programs that would otherwise bring their own."""
    return dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT"), BUNDLE)
