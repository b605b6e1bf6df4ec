"""A real ACME authority on this machine: pebble, the test server of the largest one, and its DNS.

It fetches proofs for real, over HTTP from the port the roster names and over DNS from a server
whose records a test sets. Nothing leaves the machine.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.ports import free_port
from workshop.tls import certificates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 60.0
_PAUSE = 0.05


@dataclass(frozen=True)
class Authority:
    """A running authority."""

    directory: str
    """URL of its ACME directory."""
    bundle: Path
    """The authority its own TLS certificate is signed by."""
    records: str
    """URL at which records of its DNS are set."""

    def hook(self, path: Path) -> Path:
        """Write a DNS hook that sets and clears records of this authority's resolver."""
        path.write_text(
            "#!/bin/sh\nset -e\n"
            f'echo "$1 $2" >> "$0.log"\n'
            f'curl -sSf -d "{{\\"host\\":\\"$2.\\",\\"value\\":\\"$3\\"}}" {self.records}/$1-txt\n',
            "utf-8",
        )
        path.chmod(0o755)
        return path


@contextlib.contextmanager
def authority(directory: Path, http_port: int) -> Iterator[Authority]:
    """Run an authority that asks for HTTP proofs on ``http_port`` of this machine."""
    for tool in ("pebble", "pebble-challtestsrv"):
        if shutil.which(tool) is None:
            pytest.fail(f"{tool} is not installed; scripts/ensure-test-tools installs it")
    directory.mkdir(exist_ok=True)
    listen, manage, records, names = (free_port() for _ in range(4))
    now = datetime.now(UTC)
    signer = certificates.make_authority("Test bed", ["localhost", "127.0.0.1"], now)
    pair = certificates.make_leaf(signer, ["localhost", "127.0.0.1"], now)
    (directory / "bundle.pem").write_text(signer.chain, "ascii")
    (directory / "cert.pem").write_text(pair.chain, "ascii")
    (directory / "key.pem").write_text(pair.key, "ascii")
    config = {
        "listenAddress": f"127.0.0.1:{listen}",
        "managementListenAddress": f"127.0.0.1:{manage}",
        "certificate": str(directory / "cert.pem"),
        "privateKey": str(directory / "key.pem"),
        "httpPort": http_port,
        "tlsPort": free_port(),
    }
    (directory / "pebble.json").write_text(json.dumps({"pebble": config}), "ascii")
    commands = (
        [
            "pebble-challtestsrv",
            *("-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""),
            *("-dns01", f"127.0.0.1:{names}", "-management", f"127.0.0.1:{records}"),
        ],
        [
            "pebble",
            *("-config", str(directory / "pebble.json"), "-dnsserver", f"127.0.0.1:{names}"),
        ],
    )
    with contextlib.ExitStack() as running:
        for command in commands:
            running.enter_context(_process(command, directory))
        for port in (records, listen):
            _wait(port)
        yield Authority(
            f"https://localhost:{listen}/dir",
            directory / "bundle.pem",
            f"http://127.0.0.1:{records}",
        )


@contextlib.contextmanager
def _process(command: list[str], directory: Path) -> Iterator[None]:
    environment = {"PEBBLE_VA_NOSLEEP": "1", "PATH": "/usr/bin:/bin"}
    with (directory / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _wait(port: int) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(_PAUSE)
    pytest.fail(f"nothing listens on port {port}")
