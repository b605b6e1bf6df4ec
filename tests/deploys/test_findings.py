"""The doctor's words, one golden text for each piece of evidence: read them, they are the product."""

from __future__ import annotations

import dataclasses
import string
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.deploys.logs import CASES
from workshop.deploys.diagnosis import crash
from workshop.deploys.diagnosis.binding import change
from workshop.deploys.diagnosis.evidence import (
    ContainerState,
    Evidence,
    Listening,
    last_run,
    secrets_in,
    shown,
)
from workshop.deploys.diagnosis.findings import explain
from workshop.deploys.diagnosis.packages import lists, package_of
from workshop.engines.remains import parse_sockets
from workshop.limits import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.deploys.logs import Case
    from workshop.intake.orders import Finding

CONTROL = [chr(code) for code in (*range(32), 0x7F, 0x9B, 0x202E, 0x2066)]


def written(finding: Finding) -> str:
    """Write a finding as a person would read it."""
    lines = [finding.cause, "", finding.message, *(f"    {line}" for line in finding.evidence)]
    return "\n".join([*lines, finding.next, ""])


def seen(log: str = "", **facts: object) -> Evidence:
    """Gather evidence about ada's app."""
    base = Evidence("ada", "v7", 8000, 256 * MIB, log=tuple(log.splitlines()))
    return dataclasses.replace(base, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_evidence_gets_its_words(case: Case, golden: Callable[[str, str], None]) -> None:
    """Each piece of evidence is explained in the reviewed words, under the right cause."""
    finding = explain(case.evidence)

    assert finding.cause == case.cause, finding
    golden(f"deploys/{case.name}.txt", written(finding))


@given(st.text(max_size=400), st.lists(st.text(st.characters(), max_size=120), max_size=30))
def test_any_log_is_explained_in_bounded_visible_lines(word: str, lines: list[str]) -> None:
    """Whatever an app writes, there is a finding, and no character of it acts on a terminal."""
    state = ContainerState(running=False, exit_code=1)
    finding = explain(seen(state=state, log="\n".join([word, *lines])))

    for line in (finding.message, finding.next, *finding.evidence):
        assert line.isprintable()
        assert len(line) <= 600
    assert len(finding.evidence) <= 8
    assert finding.cause
    assert finding.next


@given(st.text(string.ascii_letters + string.digits + "-_", min_size=12, max_size=60))
def test_secret_never_shows(secret: str) -> None:
    """A value whose name says that it is secret is masked wherever it turns up."""
    secrets = secrets_in({"MY_API_TOKEN": secret, "GREETING": "hello"})
    state = ContainerState(running=False, exit_code=1)
    # A word of the finding's own, which Hypothesis may take from the source, is no secret.
    assume(secret not in written(explain(seen(state=state, log="KeyError: 'x'"))))
    log = f"connecting with {secret}\nKeyError: '{secret}' and sk-{secret}"
    text = written(explain(seen(state=state, log=log, secrets=secrets)))

    assert secret not in text


@pytest.mark.parametrize("character", CONTROL, ids=ascii)
def test_control_character_is_quoted(character: str) -> None:
    """Nothing in a log moves a cursor, rings a bell or turns the text round."""
    assert shown(f"a{character}b").isprintable()


def test_key_of_a_known_form_is_masked_without_being_told() -> None:
    """Participants' keys and the usual providers' are known by their form."""
    assert shown("key wk-ada-1-abcdef123456.") == "key wk-****."
    assert shown("Bearer sk-proj-abcdef123456") == "Bearer sk-****"
    assert shown("a task-force is no key") == "a task-force is no key"


def test_log_of_a_crash_loop_is_cut_to_its_last_run() -> None:
    """Three times the same lines are shown once."""
    assert last_run(["a", "b", "a", "b", "a", "b"]) == ("a", "b")
    assert last_run(["once", "x", "y"]) == ("once", "x", "y")
    assert last_run([]) == ()


def test_sockets_are_read_from_the_kernel_table() -> None:
    """Listening ones of both families, without connections and the engine's name server."""
    table = """  sl  local_address rem_address   st tx_queue rx_queue
   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000 10001 0 1
   1: 00000000:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000 10001 0 1
   2: 0B00007F:9C41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0 0 1
   3: 0200E70A:1F40 0100E70A:8CA2 01 00000000:00000000 00:00000000 00000000 10001 0 1
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000001000000:1F41 00000000000000000000000000000000:0000 0A 0
   1: 00000000000000000000000000000000:1F42 00000000000000000000000000000000:0000 0A 0
   2: 0000000000000000FFFF00000100007F:1F43 00000000000000000000000000000000:0000 0A 0
"""
    assert [str(item) for item in parse_sockets(table)] == [
        "0.0.0.0:5000",
        "127.0.0.1:8000",
        "[::1]:8001",
        "[::]:8002",
        "127.0.0.1:8003",
    ]


@given(st.text(max_size=300))
def test_any_socket_table_is_read(text: str) -> None:
    """A table in a form nobody has seen yet is empty rather than an error."""
    assert isinstance(parse_sockets(text), list)


@pytest.mark.parametrize(
    ("command", "log", "expected"),
    [
        (
            ("uvicorn", "main:app", "--host", "127.0.0.1", "--port=5000", "--reload"),
            "",
            'in the Dockerfile: CMD ["uvicorn", "main:app", "--reload", "--host", "0.0.0.0", "--port", "8000"]',
        ),
        (
            ("/opt/venv/bin/streamlit", "run", "app.py"),
            "",
            'in the Dockerfile: CMD ["streamlit", "run", "app.py", "--server.address", "0.0.0.0", "--server.port", "8000"]',
        ),
        (
            ("gunicorn", "-b", "127.0.0.1:8000", "main:app"),
            "",
            'in the Dockerfile: CMD ["gunicorn", "main:app", "--bind", "0.0.0.0:8000"]',
        ),
        (
            ("sh", "-c", "uvicorn main:app --port 5000"),
            "",
            "in the Dockerfile: add --host 0.0.0.0 --port 8000 to the command",
        ),
        (
            ("python", "main.py"),
            "INFO:     Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)",
            'in your code: uvicorn.run(app, host="0.0.0.0", port=8000)',
        ),
        (
            ("python", "main.py"),
            " * Serving Flask app 'main'",
            'in your code: app.run(host="0.0.0.0", port=8000)',
        ),
        (
            ("python", "main.py"),
            "* Running on local URL:  http://127.0.0.1:7860",
            'in your code: demo.launch(server_name="0.0.0.0", server_port=8000)',
        ),
        (("node", "server.js"), "", 'in your code: server.listen(8000, "0.0.0.0")'),
        (
            ("python", "manage.py", "runserver"),
            "",
            'in the Dockerfile: CMD ["python", "manage.py", "runserver", "0.0.0.0:8000"]',
        ),
        (("/srv/app",), "hello", ""),
    ],
)
def test_server_is_told_the_exact_change(command: tuple[str, ...], log: str, expected: str) -> None:
    """The line to write is the one of the server that is used."""
    assert change(command, [log], 8000) == expected


def test_library_frames_are_passed_over() -> None:
    """The place that is named is the innermost in the participant's own code."""
    log = """Traceback (most recent call last):
  File "/srv/main.py", line 9, in <module>
    start()
  File "/srv/lib.py", line 4, in start
    client.get(url)
  File "/opt/venv/lib/python3.12/site-packages/http/client.py", line 700, in get
    raise Broken(url)
http.client.Broken: nobody there"""
    found = crash.find(log.splitlines())

    assert found is not None
    assert found.place == crash.Place("/srv/lib.py", 4, "client.get(url)")
    assert (found.kind, found.message) == ("Broken", "nobody there")


def test_output_in_the_middle_of_a_traceback_is_passed_over() -> None:
    """Standard output and standard error meet in one log, in any order."""
    log = """Traceback (most recent call last):
Serving HTTP on 0.0.0.0 port 80 ...
  File "/srv/main.py", line 2, in <module>
    serve(port=80)
INFO:     waiting
PermissionError: [Errno 13] Permission denied"""
    found = crash.find(log.splitlines())

    assert found is not None
    assert (found.kind, found.place) == (
        "PermissionError",
        crash.Place("/srv/main.py", 2, "serve(port=80)"),
    )


def test_handled_error_is_no_cause() -> None:
    """What was raised while another error was handled counts; the handled one does not."""
    log = """Traceback (most recent call last):
  File "/srv/main.py", line 2, in <module>
    import orjson
ModuleNotFoundError: No module named 'orjson'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/main.py", line 4, in <module>
    raise ValueError("no settings")
ValueError: no settings"""
    found = crash.find(log.splitlines())

    assert found is not None
    assert [item.kind for item in found.chain] == ["ValueError"]


def test_listeners_of_libraries_do_not_count() -> None:
    """A helper's socket on a passing local port is not where the app listens."""
    state = ContainerState(running=True)
    evidence = seen(state=state, listening=(Listening("127.0.0.1", 41_233),), waited=30.0)

    assert explain(evidence).cause == "silent"


def test_packages_have_their_usual_names() -> None:
    """A module is offered under the name that pip knows."""
    assert package_of("cv2") == "opencv-python-headless"
    assert package_of("sklearn.linear_model") == "scikit-learn"
    assert package_of("langchain_community.llms") == "langchain-community"
    assert lists("fastapi\nLangchain_Community>=0.2 # x\n", "langchain-community")
    assert not lists("# flask\n-r flask\n", "flask")


@pytest.mark.parametrize(
    "unit",
    ["exec ", "   at (", "sh: ", "'", 'File "', "Error: ", "a.", ":1: ", "\x7fELF", "../", "+-"],
)
def test_log_made_to_be_slow_is_explained_soon(unit: str) -> None:
    """The longest log of the worst lines takes a second at most."""
    line = (unit * 1024)[:1024]
    log = ["Traceback (most recent call last):", '  File "/srv/a.py", line 1', *[line] * 300]
    state = ContainerState(running=False, exit_code=1)
    started = time.process_time()
    explain(seen(state=state, log="\n".join(log)))
    explain(seen(state=state, log="\n".join(f"Error: EACCES: permission denied, {x}" for x in log)))

    assert time.process_time() - started < 2
