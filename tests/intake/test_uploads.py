"""Uploads: the documented lines of curl, what they answer, and what is refused."""

from __future__ import annotations

import io
import json
import os
import tarfile
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.intake import crafted
from tests.intake.crafted import HOSTILE, member, tar
from tests.intake.lab import Lab, basic, bearer, key_of, send_raw
from tests.small_disk import PAGE, fill, make_room, small_disk
from tests.waiting import until
from workshop.intake.orders import Escape, Finding, Proof, Stage, What

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.intake.crafted import Case

GOOD = crafted.plain_tgz()
SENT = {name: case for name, case in HOSTILE.items() if name != "tar-100-megabytes-and-one"}
"""Those that are small enough to be looked at."""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Write a zip as a participant has one."""
    path = tmp_path / "app.zip"
    path.write_bytes(crafted.plain_zip())
    return path


def test_upload_is_handed_over_and_its_end_is_told(served: Lab) -> None:
    """The server gets a clean tar and an order; the client reads a line for each thing."""
    answer = served.upload(GOOD)

    (order,) = until(lambda: served.server.taken)
    assert (order.what, order.seat, order.actor) == (What.SOURCE, "ada", "ada")
    with tarfile.open(fileobj=io.BytesIO(served.server.sources[order.id])) as found:
        assert "app/main.py" in found.getnames()
    lines = answer.text.splitlines()
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-deploy-id"] == order.id
    assert lines[0] == "Received 5 files, 78 kB."
    assert lines[-2].startswith(f"Live: {served.url}/ada/ (version v1, 0.")
    assert lines[-1] == "deployed"


@pytest.mark.parametrize(
    "line",
    [
        ["-H", "Authorization: Bearer KEY", "--data-binary", "@APP", "URL"],
        ["-H", "Authorization: Bearer KEY", "-T", "APP", "URL"],
        ["-H", "Authorization: Bearer KEY", "-T", "APP", "URL/"],
        ["-u", "ada:KEY", "-T", "APP", "URL"],
        ["-u", "ada:KEY", "-F", "file=@APP", "URL"],
        ["-F", "key=KEY", "-F", "file=@APP", "URL"],
        ["-F", "name=ada", "-F", "key=KEY", "-F", "archive=@APP", "URL"],
    ],
)
def test_documented_lines_of_curl_work(served: Lab, app: Path, line: list[str]) -> None:
    """Raw, put, with a slash at the end, as a form, with the key in a header or a field."""
    words = {"KEY": key_of("ada"), "APP": str(app), "URL": f"{served.url}/deploy/ada"}

    def filled(text: str) -> str:
        for word, value in words.items():
            text = text.replace(word, value)
        return text

    done = served.curl(*map(filled, line))
    assert done.stdout.splitlines()[-1:] == ["deployed"], done.stdout + done.stderr
    assert len(until(lambda: served.server.taken)) == 1


def test_program_reads_one_object_for_each_change(served: Lab) -> None:
    """The words for people come along, so that a page need not invent its own."""
    proof = Proof(2, (Escape("link", "/index.html:3", "/about", "about"),), 0.04)
    served.server.script = [
        {"stage": Stage.WAITING, "ahead": 2},
        {"stage": Stage.BUILDING, "lines": ("Step 1/2", "Step 2/2")},
        {"stage": Stage.BUILDING, "lines": ("Step 2/2", "done")},
        {"stage": Stage.LIVE, "version": "v7", "proof": proof},
    ]
    served.server.pace = 0.3
    answer = served.upload(GOOD, headers={"accept": "application/x-ndjson"})
    found = [json.loads(line) for line in answer.text.splitlines()]

    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [item["stage"] for item in found] == [
        "waiting",
        "waiting",
        "building",
        "building",
        "live",
    ]
    assert [item.get("lines", []) for item in found[2:4]] == [["Step 1/2", "Step 2/2"], ["done"]]
    assert found[-1]["over"] is True
    assert found[-1]["url"] == f"{served.url}/ada/"
    assert found[-1]["proof"]["escapes"][0]["better"] == "about"
    assert found[1]["text"] == ["Waiting for a turn; 2 deploys come first."]


def test_people_read_build_lines_proof_and_end(served: Lab) -> None:
    """The whole text of a deploy that went live with two faults in its addresses."""
    proof = Proof(2, (Escape("link", "/index.html:3", "/about", "about"),), 0.04)
    served.server.script = [
        {"stage": Stage.WAITING, "ahead": 1},
        {"stage": Stage.BUILDING, "number": 4, "lines": ("Step 1/2",)},
        {"stage": Stage.STARTING, "lines": ("Step 1/2", "Step 2/2")},
        {"stage": Stage.LIVE, "version": "v4", "proof": proof, "ended": 0.0},
    ]
    served.server.pace = 0.3
    text = served.upload(tar(member(b"my-app/a.py"), member(b"my-app/.env"))).text

    assert text == (
        "Received 1 file, 44 bytes.\n"
        "The directory 'my-app' around everything was taken off.\n"
        "Left out: .env (it holds secrets, which do not belong in an image; the platform gives your"
        " app its key).\n"
        "Waiting for a turn; 1 deploy comes first.\n"
        "Building ...\n"
        "  | Step 1/2\n"
        "Starting it beside the version that is live ...\n"
        "  | Step 2/2\n"
        f"Live: {served.url}/ada/ (version v4, 0.0 s)\n"
        "  Leaves the app's address: link /about in /index.html:3; write about\n"
        "  The first event of a stream came after 0.04 s.\n"
        "deployed\n"
    )


def test_failure_is_explained_with_evidence_and_next_step(served: Lab) -> None:
    """The doctor's words reach whoever uploaded."""
    finding = Finding(
        "listens-on-localhost",
        "Your app listens on 127.0.0.1, where only itself can reach it.",
        ("127.0.0.1:8000 LISTEN",),
        "Start it with --host 0.0.0.0.",
    )
    served.server.script = [{"stage": Stage.FAILED, "finding": finding}]
    lines = served.upload(GOOD).text.splitlines()

    assert lines[1:] == [
        "Not live: Your app listens on 127.0.0.1, where only itself can reach it.",
        "    127.0.0.1:8000 LISTEN",
        "What to do: Start it with --host 0.0.0.0.",
        "The version before it is still live.",
        "failed",
    ]


def test_superseded_says_so(served: Lab) -> None:
    """It is neither a success nor a fault of the app."""
    served.server.script = [{"stage": Stage.SUPERSEDED}]
    assert served.upload(GOOD).text.splitlines()[-1] == "superseded"


def test_silent_server_is_named_and_waited_for(lab: Lab) -> None:
    """Whoever waits hears it after a moment, and the end when the server comes back."""
    with_answer: list[Any] = []
    thread = threading.Thread(target=lambda: with_answer.append(lab.upload(GOOD)))
    thread.start()
    until(lab.orders)
    # Long enough for the warning, which is due 0.3 s after the order.
    thread.join(0.6)
    lab.server.start()
    thread.join(10)
    lines = with_answer[0].text.splitlines()
    assert lines[1] == (
        "Your deploy waits; the platform's deploy server does not answer. Tell your instructor."
    )
    assert lines[-1] == "deployed"


def test_wait_no_answers_the_id_alone(lab: Lab) -> None:
    """For scripts that look later."""
    answer = lab.upload(GOOD, query="?wait=no")
    (order,) = lab.orders()
    assert (answer.status_code, answer.text) == (202, f"{order.id}\n")
    answer = lab.upload(GOOD, query="?wait=no", headers={"accept": "application/json"})
    assert answer.json()["stage"] == "waiting"


def test_client_that_goes_away_costs_nothing(lab: Lab) -> None:
    """The deploy goes on, the follower does not."""
    head = (
        f"POST /deploy/ada HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key_of('ada')}\r\n"
        f"Content-Length: {len(GOOD)}\r\n\r\n"
    )
    with send_raw(lab.address, head.encode() + GOOD) as connection:
        assert b"202" in connection.recv(4096)
    until(lambda: any(line["event"] == "request" for line in lab.logged()))
    assert len(lab.orders()) == 1
    lab.server.start()
    until(lambda: lab.server.taken)


def test_upload_that_breaks_off_leaves_nothing(lab: Lab) -> None:
    """Half an archive is no archive."""
    head = (
        f"POST /deploy/ada HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key_of('ada')}\r\n"
        f"Content-Length: {len(GOOD)}\r\n\r\n"
    )
    with send_raw(lab.address, head.encode() + GOOD[:100]):
        until(lambda: any(name.endswith(".body") for name in lab.leftovers()))
    until(lambda: lab.leftovers() == [])
    assert lab.orders() == []


def test_silence_in_the_middle_ends_an_upload(lab: Lab) -> None:
    """A place is not held for somebody who sends nothing."""
    object.__setattr__(lab.service.options, "idle", 0.2)
    head = (
        f"POST /deploy/ada HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key_of('ada')}\r\n"
        f"Content-Length: {len(GOOD)}\r\n\r\n"
    )
    with send_raw(lab.address, head.encode() + GOOD[:100]) as connection:
        assert b"408" in connection.recv(4096)
    assert lab.leftovers() == []


# -- refusals -----------------------------------------------------------------------------------


def tree(directory: Path) -> dict[str, tuple[int, int]]:
    """Take a picture of every file: size and time."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in directory.rglob("*")
        if path.name != "inbox"
    }


@pytest.mark.parametrize("case", SENT.values(), ids=SENT.keys())
def test_hostile_upload_is_refused_and_leaves_nothing(lab: Lab, case: Case) -> None:
    """Through the front door: the status, the reason, an empty inbox, nothing else touched."""
    before = tree(lab.directory)
    answer = lab.upload(case.make())

    assert (answer.status_code, case.words in answer.text) == (case.status, True), answer.text
    assert answer.text.endswith("\n")
    assert lab.leftovers() == []
    assert tree(lab.directory) == before
    assert not any(line["event"] == "internal error" for line in lab.logged())


@pytest.mark.parametrize("announced", [True, False])
def test_too_large_upload_is_refused_before_it_is_whole(lab: Lab, announced: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """By its announced length, or while it is counted."""
    lab.limit(upload_bytes=1_000_000)
    content = os.urandom(1_100_000)
    whole: Any = (
        content
        if announced
        else iter([content[n : n + 50_000] for n in range(0, len(content), 50_000)])
    )
    answer = lab.upload(whole)
    assert answer.status_code == 413
    assert "larger than 1.0 MB. Leave out .venv" in answer.text
    assert lab.leftovers() == []


@pytest.mark.parametrize(
    ("name", "headers", "status", "words"),
    [
        ("ada", {}, 401, "Your key is missing"),
        ("ada", bearer("bob"), 401, "the key of bob, and the name given is 'ada'"),
        ("ada", basic("bob"), 403, "This address is ada's, and you log in as 'bob'"),
        ("zed", bearer("ada"), 401, "the key of ada, and the name given is 'zed'"),
        ("zed", {"authorization": "Bearer wk-" + "x" * 30}, 401, "There is no 'zed'"),
        ("ada", {"authorization": "Bearer sk-live"}, 401, "those begin with 'wk-'"),
        ("ada", {"authorization": "Basic %%%"}, 400, "not readable"),
    ],
)
def test_upload_of_somebody_else_is_refused(
    lab: Lab, name: str, headers: dict[str, str], status: int, words: str
) -> None:
    """Before a byte of the body is kept."""
    answer = lab.ask("POST", f"/deploy/{name}", content=GOOD, headers=headers)
    assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert lab.leftovers() == []


def test_program_gets_its_refusal_as_json(lab: Lab) -> None:
    """With the lines for people in it."""
    answer = lab.upload(b"no archive", headers={"accept": "application/json"})
    assert answer.status_code == 415
    assert answer.json()["text"][-1] == "failed"


def test_storm_is_slowed_for_one_seat_alone(lab: Lab) -> None:
    """A burst passes, then a minute's pace holds; bob is not touched."""
    lab.limit(deploys_per_minute=6, burst=2)
    statuses = [lab.upload(GOOD, query="?wait=no").status_code for _ in range(3)]
    assert statuses == [202, 202, 429]
    answer = lab.upload(GOOD, query="?wait=no")
    assert 7 <= int(answer.headers["retry-after"]) <= 10
    assert "Try again in" in answer.text
    assert lab.upload(GOOD, "bob", "?wait=no").status_code == 202


def test_orders_that_nobody_takes_do_not_pile_up(lab: Lab) -> None:
    """While the server is away, five of a seat wait and no more."""
    statuses = [lab.upload(GOOD, query="?wait=no").status_code for _ in range(6)]
    assert statuses == [202] * 5 + [503]


def test_third_upload_at_a_time_of_one_seat_is_refused(lab: Lab) -> None:
    """Bob still comes in."""
    head = (
        f"POST /deploy/ada HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key_of('ada')}\r\n"
        f"Content-Length: {len(GOOD)}\r\n\r\n"
    ).encode() + GOOD[:10]
    with send_raw(lab.address, head), send_raw(lab.address, head):
        until(lambda: len(lab.leftovers()) == 2)
        answer = lab.upload(GOOD)
        assert answer.status_code == 429
        assert "Two uploads of yours" in answer.text
        assert lab.upload(GOOD, "bob", "?wait=no").status_code == 202


def test_full_class_is_refused_fairly(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the places there are, the answer is quick and says when to come back."""
    monkeypatch.setattr("workshop.intake.uploads.PLACES", 0)
    answer = lab.upload(GOOD)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")


def test_unwritable_inbox_is_no_fault_of_the_participant(lab: Lab, tmp_path: Path) -> None:
    """It says whom to tell."""
    lab.inbox.rename(tmp_path / "away")
    answer = lab.upload(GOOD)
    (tmp_path / "away").rename(lab.inbox)
    assert answer.status_code == 500
    assert "tell your instructor" in answer.text


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Have the inbox lie on a disk of one mebibyte."""
    (tmp_path / "inbox").mkdir()
    with small_disk(tmp_path / "inbox", 1 << 20, 100) as found:
        yield found


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("room", [0, PAGE, 3 * PAGE, 20 * PAGE, 24 * PAGE])
def test_upload_onto_a_full_disk_is_told_and_taken_once_there_is_room(
    disk: Path, lab: Lab, room: int
) -> None:
    """F40: whether body, clean archive or order finds no room: 507 in words, and nothing stays."""
    fill(disk, room)
    filled = lab.leftovers()

    refused = lab.upload(GOOD)
    left = lab.leftovers()
    make_room(disk)
    taken = lab.upload(GOOD, query="?wait=no")

    assert refused.status_code == 507, refused.text
    assert "has no room left on its disk" in refused.text
    assert "Nothing is wrong with your app; tell your instructor" in refused.text
    assert left == filled
    assert taken.status_code == 202
    assert [order.seat for order in lab.orders()] == ["ada"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "ends too early"),
        (b"--x\r\n", "ends too early"),
        (b"junk", "not readable"),
        (b'--x\r\nContent-Disposition: form-data; name="key"\r\n\r\nKEY\r\n--x--\r\n', "no file"),
        (b'--x\r\nContent-Disposition: form-data; name="key"\r\n\r\n' + b"k" * 5000, "too long"),
        (b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc\r\n--x--\r\n', "key is missing"),
        (b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\n\r\n' * 30, "too many"),
    ],
)  # fmt: skip
def test_garbled_form_is_refused(lab: Lab, body: bytes, words: str) -> None:
    """A form that is none leaves nothing."""
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = lab.ask(
        "POST", "/deploy/ada", content=body.replace(b"KEY", key_of("ada").encode()), headers=headers
    )
    assert (answer.status_code in {400, 401}, words in answer.text) == (True, True), answer.text
    assert lab.leftovers() == []


def test_form_without_boundary_is_refused(lab: Lab) -> None:
    """The header is as foreign as the body."""
    headers = {"content-type": "multipart/form-data"}
    assert lab.ask("POST", "/deploy/ada", content=b"x", headers=headers).status_code == 400


def test_key_in_the_address_is_refused(lab: Lab) -> None:
    """As at the gateway."""
    answer = lab.ask("POST", f"/deploy/ada?key={key_of('ada')}", content=GOOD)
    assert (answer.status_code, "rotate" in answer.text) == (400, True)


def test_left_behind_files_are_swept_at_start(lab: Lab, tmp_path: Path) -> None:
    """What a killed intake was writing goes; orders stay."""
    other = Lab(tmp_path / "other")
    other.inbox.mkdir(parents=True)
    for name in (".1-a.body", ".1-a.tar", ".x.json.new", "2-b.tar", "keep.tar", "keep.json"):
        (other.inbox / name).touch()
    other.start()
    try:
        assert other.leftovers() == ["keep.json", "keep.tar"]
    finally:
        other.stop()


def test_log_holds_no_key_and_no_word_of_a_build(served: Lab) -> None:
    """Names, numbers and statuses only."""
    served.server.script = [{"stage": Stage.FAILED, "lines": ("secret-of-a-build",)}]
    served.upload(GOOD)
    served.upload(GOOD, headers=basic("ada", key_of("bob")))
    served.ask("GET", f"/deploy/ada?key={key_of('ada')}")
    assert "CANARY" not in served.log.getvalue()
    assert "secret-of-a-build" not in served.log.getvalue()
    assert {"request", "upload"} <= {line["event"] for line in served.logged()}
