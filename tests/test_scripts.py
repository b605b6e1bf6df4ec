"""The scripts of the two-command set-up: what they say, and that they refuse rather than guess."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(
    path for path in (ROOT / "scripts").iterdir() if path.is_file() and not path.suffix
)
SHELL_FILES = [*SCRIPTS, ROOT / "scripts" / "common.sh", ROOT / ".ci" / "run"]
REQUIREMENTS = ROOT / "requirements-dev.txt"

# What a machine has that has no package manager, no engine and no test tools.
BARE_PROGRAMS = (
    "bash basename cat cut dirname env grep head id mktemp python3 rm sed sha256sum tail timeout"
)


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command away from the repository, with colour asked for by nobody."""
    return subprocess.run(
        command,
        env={**os.environ, **environment},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def bare_path(tmp_path: Path) -> str:
    """Return a PATH on which only the most common programs are found."""
    for name in BARE_PROGRAMS.split():
        program = shutil.which(name)
        assert program, f"this test needs {name}"
        (tmp_path / name).symlink_to(program)
    return str(tmp_path)


@pytest.mark.parametrize("script", SHELL_FILES, ids=lambda path: path.name)
def test_parses(script: Path) -> None:
    """Every script is valid to bash."""
    result = run("bash", "-n", script)

    assert (result.returncode, result.stderr) == (0, "")


def test_shellcheck_finds_nothing(request: pytest.FixtureRequest) -> None:
    """Shellcheck has no remark on any script."""
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        if request.config.getoption("--require-docker", default=False):
            pytest.fail("shellcheck is missing: run `make test-tools`")
        pytest.skip("shellcheck is not installed")

    result = run(shellcheck, "--external-sources", *SHELL_FILES)

    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_help(script: Path) -> None:
    """--help prints what the script does and its exit codes, and does nothing."""
    result = run(script, "--help")

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Usage: scripts/{script.name}")
    assert "Exit codes: 0" in result.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_unknown_option(script: Path) -> None:
    """An option nobody knows is a mistake of the input, named, without colour off a terminal."""
    result = run(script, "--frobnicate")

    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {script.name} does not know '--frobnicate'\n")


def test_engine_elsewhere_does_not_answer(tmp_path: Path) -> None:
    """A DOCKER_HOST without an engine is reported; no other engine is started in its stead."""
    result = run(ROOT / "scripts" / "ensure-engine", DOCKER_HOST=f"unix://{tmp_path}/none.sock")

    assert result.returncode == 3
    assert "where DOCKER_HOST points" in result.stderr


def test_tools_where_nothing_may_be_installed(bare_path: str) -> None:
    """Where there is no apt, the missing programs and their packages are named."""
    result = run(
        shutil.which("bash") or "bash", ROOT / "scripts" / "ensure-test-tools", PATH=bare_path
    )

    assert result.returncode == 3
    assert "The tests need " in result.stderr
    assert "chromium chromium-driver" in result.stderr


def test_old_python(tmp_path: Path) -> None:
    """An interpreter older than 3.11 is refused by its version, with the way out."""
    python = tmp_path / "python3.9"
    python.write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.2 && exit\nexit 1\n')
    python.chmod(0o755)

    result = run(ROOT / "scripts" / "setup-venv", PYTHON=str(python))

    assert result.returncode == 3
    assert "Python 3.9.2" in result.stderr
    assert "PYTHON=python3.12 make setup" in result.stderr


def test_requirements_are_pinned_and_hashed() -> None:
    """Every package has one version and a hash, and no line names a host or a file."""
    text = REQUIREMENTS.read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", text.strip())

    assert all(re.match(r"[a-z0-9-]+==\S+( ; [^\\]+)? \\\n", entry) for entry in entries)
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "/" not in text


def test_make_help_names_every_target() -> None:
    """`make` alone lists each target with its purpose."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony

    result = run("make", "--no-print-directory", "-C", ROOT, MAKEFLAGS="")

    listed = re.findall(r"^  make ([a-z-]+) +\S", result.stdout, re.MULTILINE)
    assert listed == phony[1].split()


def test_ci_runs_the_documented_command() -> None:
    """The continuous integration does what the README tells a person to do."""
    script = ROOT / ".ci" / "run"

    assert os.access(script, os.X_OK)
    assert "exec make test" in script.read_text(encoding="utf-8")
