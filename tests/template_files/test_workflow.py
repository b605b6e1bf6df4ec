"""The workflow that deploys from GitHub, its steps run as the shell that GitHub runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.template_files.files import EXPRESSION, TEMPLATE, WORKFLOW, environment, job, steps
from tests.template_files.standin import intake

if TYPE_CHECKING:
    from pathlib import Path

SHA = "4f2c" * 10
GIVEN = {
    "WORKSHOP_HOST": "class.example.org",
    "WORKSHOP_NAME": "ada",
    "WORKSHOP_KEY": "wk-se'cret $x",
}
RECORDER = """#!/bin/sh
{ printf '%s' "${0##*/}"; printf ' [%s]' "$@"; [ -t 0 ] || { printf ' < '; cat; }; echo; } >> "$RECORD"
"""


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Put recorders in place of the programs that reach out; say where they write."""
    (tmp_path / "bin").mkdir()
    for name in ("docker", "curl", "pip", "python"):
        path = tmp_path / "bin" / name
        path.write_text(RECORDER, "utf-8")
        path.chmod(0o755)
    return tmp_path / "record"


def run(step: str, place: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run one step the way GitHub does, with nothing on standard input."""
    path = f"{place / 'bin'}:{os.environ['PATH']}"
    variables = {**environment(**GIVEN), "GITHUB_SHA": SHA, "PATH": path, **more}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step],
        env={**variables, "RECORD": str(place / "record")},
        cwd=TEMPLATE,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_steps_test_build_push_and_wait(record: Path) -> None:
    """Each program gets exactly the words it needs, the key on standard input where it can."""
    for step in steps():
        done = run(step, record.parent)
        assert (done.returncode, done.stderr) == (0, "")

    image = f"class.example.org/ada/app:{SHA}"
    follow = "https://class.example.org/deploy/ada?follow=1&strict=1"
    key = GIVEN["WORKSHOP_KEY"]
    assert record.read_text("utf-8").splitlines() == [
        "pip [install] [--disable-pip-version-check] [-r] [requirements.txt] [-r] [requirements-dev.txt] < ",
        "python [-m] [pytest] < ",
        f"docker [build] [-t] [{image}] [.] < ",
        f"docker [login] [class.example.org] [-u] [ada] [--password-stdin] < {key}",
        f"docker [push] [{image}] < ",
        (
            "curl [--silent] [--show-error] [--fail-with-body] [--max-time] [900] "
            f"[-H] [Authorization: Bearer {key}] [{follow}] < "
        ),
    ]


def test_server_without_https_is_asked_in_its_own_scheme() -> None:
    """A class in one room has no certificate."""
    assert environment(**GIVEN)["WORKSHOP_SCHEME"] == "https"
    assert environment(**GIVEN, WORKSHOP_SCHEME="http")["WORKSHOP_SCHEME"] == "http"


def test_failing_tests_stop_the_run_before_anything_is_pushed(record: Path) -> None:
    """GitHub ends a run at the first step that fails."""
    (record.parent / "bin" / "python").write_text("#!/bin/sh\nexit 1\n", "utf-8")

    assert run(steps()[0], record.parent).returncode == 1


@pytest.mark.parametrize(
    ("status", "words", "code"),
    [
        (200, "Live: https://class.example.org/ada/\ndeployed\n", 0),
        (422, "Not live: The app listens on 127.0.0.1:8000\nfailed\n", 22),
        (401, "Your key is missing.\n", 22),
    ],
)
def test_run_ends_as_the_deploy_does_and_shows_its_words(
    status: int, words: str, code: int, tmp_path: Path
) -> None:
    """With the real curl: a red run says why it is red."""
    with intake(status, words) as (host, told):
        done = run(steps()[-1], tmp_path, WORKSHOP_HOST=host, WORKSHOP_SCHEME="http")

    assert (done.returncode, done.stdout) == (code, words)
    (seen,) = told.seen
    assert (seen.method, seen.path) == ("GET", "/deploy/ada?follow=1&strict=1")
    assert seen.authorization == f"Bearer {GIVEN['WORKSHOP_KEY']}"


@pytest.mark.parametrize("step", steps(), ids=lambda step: " ".join(step.split()[:2]))
def test_step_is_good_shell(step: str) -> None:
    """No word splits, no variable is left unquoted."""
    shellcheck = shutil.which("shellcheck")
    assert shellcheck, "scripts/ensure-test-tools installs shellcheck"
    done = subprocess.run(
        [shellcheck, "--shell=bash", "-"], input=step, capture_output=True, text=True, check=False
    )

    assert done.stdout == ""


def test_every_setting_is_explained_where_the_file_begins() -> None:
    """Whoever opens the file knows what to set; nothing else is needed."""
    text = WORKFLOW.read_text("utf-8")
    head = text.partition("\nname:")[0]
    secrets, variables = (
        {
            name
            for found in EXPRESSION.findall(text)
            for name in re.findall(rf"\b{kind}\.(\w+)", found)
        }
        for kind in ("secrets", "vars")
    )

    assert set(re.findall(r"#   Secret +(\w+) ", head)) == secrets == {"WORKSHOP_KEY"}
    assert set(re.findall(r"#   Variable +(\w+) ", head)) == variables
    assert set(GIVEN) <= secrets | variables


def test_no_setting_is_pasted_into_the_shell() -> None:
    """An expression inside `run:` would be read as shell; a variable is only a value."""
    assert not [step for step in steps() if EXPRESSION.search(step)]
    assert "WORKSHOP_KEY" not in job()["env"]


def test_job_has_an_end_and_may_only_read() -> None:
    """A deploy that hangs costs no hours, and a step that is taken over cannot write to the repository."""
    text = WORKFLOW.read_text("utf-8")

    assert job()["timeout-minutes"] <= 30
    assert "permissions:\n  contents: read\n" in text
    assert re.findall(r"uses: (\S+)", text) == ["actions/checkout@v4", "actions/setup-python@v5"]
