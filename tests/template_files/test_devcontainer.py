"""The ready-made place to work in: what its file says, and that its commands do it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.ports import free_port
from tests.template_files.files import DEVCONTAINER, copy_app, read_jsonc

if TYPE_CHECKING:
    from pathlib import Path


def test_file_names_an_image_a_port_and_what_to_install() -> None:
    """Valid JSON once its comments are taken out, with the app's own port."""
    found = read_jsonc(DEVCONTAINER)

    assert "python" in found["image"]
    assert found["forwardPorts"] == [8000]
    assert set(found["portsAttributes"]) == {"8000"}
    assert "requirements.txt" in found["postCreateCommand"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_commands_install_what_the_app_needs(tmp_path: Path) -> None:
    """In a fresh environment: install, keep a `.env` that is there, and start as the comment says."""
    app = copy_app(tmp_path)
    (app / ".env").write_text("GREETING=Servus\n", "utf-8")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    variables = {**os.environ, "PATH": f"{tmp_path / 'venv' / 'bin'}:{os.environ['PATH']}"}
    command = read_jsonc(DEVCONTAINER)["postCreateCommand"]
    subprocess.run(["sh", "-e", "-c", command], cwd=app, env=variables, check=True)
    port = free_port()
    started = ["uvicorn", "app.main:app", "--port", str(port)]
    with subprocess.Popen(started, cwd=app, env=variables) as server:
        try:
            page = fetch(f"http://127.0.0.1:{port}/", server)
        finally:
            server.terminate()

    assert "Servus" in page
    assert "uvicorn app.main:app" in DEVCONTAINER.read_text("utf-8")


def fetch(url: str, server: subprocess.Popen[bytes]) -> str:
    """Ask until the server answers."""
    until = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as reply:
                return str(reply.read().decode())
        except urllib.error.URLError:
            assert server.poll() is None, "it ended"
            assert time.monotonic() < until, "it does not answer"
            time.sleep(0.05)
