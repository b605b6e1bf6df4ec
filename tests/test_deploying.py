"""The instructor's orders: what is handed over, what is refused, and how they are followed."""

from __future__ import annotations

import ast
import os
import re
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.deployed import LOCALHOST, Desk
from workshop import deploying, operations
from workshop.errors import InputError, WorkshopError
from workshop.intake import orders
from workshop.intake.orders import Order, Stage, What
from workshop.status import status
from workshop.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop.deploying import DeployMoved
    from workshop.roster import Roster

ROOT = Path(__file__).resolve().parents[1]
CAUSE = re.compile(r"[a-z]+(?:-[a-z0-9]+)*")


@pytest.fixture
def work(work: Workspace) -> Workspace:
    """Make a workshop of three in which people deploy."""
    return deploying_on(work)


def deploying_on(work: Workspace) -> Workspace:
    """Switch deploys on; the roster is read again."""
    text = work.roster_path.read_text("utf-8").replace("  deploys: false\n", "")
    work.roster_path.write_text(text, "utf-8")
    return Workspace(work.roster_path, lambda: work.engine, work.probe, work.emit)


@pytest.fixture
def desk(work: Workspace) -> Desk:
    """Make a class whose server of deploys is at work."""
    return Desk(work)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Make a directory somebody wants deployed."""
    path = tmp_path / "source"
    (path / "app").mkdir(parents=True)
    (path / "Dockerfile").write_text("FROM base\n")
    (path / "app" / "main.py").write_text("print('hello')\n")
    return path


def ignore(moved: DeployMoved) -> None:
    """Listen to nothing."""
    del moved


def members(archive: Path) -> dict[str, str]:
    """Read the archive of an order: every member is a plain file."""
    with tarfile.open(archive) as opened:
        assert all(member.isreg() for member in opened)
        return {item.name: opened.extractfile(item).read().decode() for item in opened}  # type: ignore[union-attr]


# -- handing over ---------------------------------------------------------------------------------


def test_source_for_three_is_packed_once(work: Workspace, desk: Desk, source: Path) -> None:
    """Each seat has an order of its own; all of them share one file on the disk."""
    made = deploying.submit_source(work, ["ada", "bob", "grace"], source)
    archives = [desk.orders / f"{order.id}.tar" for order in made]

    assert desk.taken() == made
    assert [(order.seat, order.what, order.actor) for order in made] == [
        ("ada", What.SOURCE, "instructor"),
        ("bob", What.SOURCE, "instructor"),
        ("grace", What.SOURCE, "instructor"),
    ]
    assert len({path.stat().st_ino for path in archives}) == 1
    assert members(archives[0]) == {"Dockerfile": "FROM base\n", "app/main.py": "print('hello')\n"}
    assert list(desk.orders.glob(".*")) == []


def test_disk_without_links_gets_copies(
    work: Workspace, desk: Desk, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that cannot link costs disk, and nothing else."""

    def refused(path: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(path), None, str(target))

    monkeypatch.setattr("pathlib.Path.hardlink_to", refused)
    made = deploying.submit_source(work, ["ada", "bob"], source)

    assert [len(members(desk.orders / f"{order.id}.tar")) for order in made] == [2, 2]
    assert desk.taken() == made


def test_source_leaves_out_what_dockerignore_names(
    work: Workspace, desk: Desk, source: Path
) -> None:
    """Secrets stay out without being named; what is named stays out too."""
    (source / ".dockerignore").write_text("*.log\n")
    (source / "big.log").write_text("x")
    (source / ".env").write_text("OPENAI_API_KEY=secret\n")
    (made,) = deploying.submit_source(work, ["ada"], source)

    assert sorted(members(desk.orders / f"{made.id}.tar")) == [
        ".dockerignore",
        "Dockerfile",
        "app/main.py",
    ]


def test_other_dockerfile_takes_the_usual_name(work: Workspace, desk: Desk, source: Path) -> None:
    """The server looks for one name only."""
    (source / "Dockerfile.streamlit").write_text("FROM other\n")
    (made,) = deploying.submit_source(work, ["ada"], source, "Dockerfile.streamlit")
    found = members(desk.orders / f"{made.id}.tar")

    assert found == {"Dockerfile": "FROM other\n", "app/main.py": "print('hello')\n"}


def test_links_inside_become_the_files_they_lead_to(
    work: Workspace, desk: Desk, source: Path
) -> None:
    """The server takes no links, neither soft nor hard ones; the operator may have both."""
    (source / "soft.py").symlink_to("app/main.py")
    (source / "hard.py").hardlink_to(source / "app" / "main.py")
    (made,) = deploying.submit_source(work, ["ada"], source)
    found = members(desk.orders / f"{made.id}.tar")

    assert found["soft.py"] == found["hard.py"] == found["app/main.py"] == "print('hello')\n"


@pytest.mark.parametrize("make", ["link", "pipe"])
def test_what_is_no_file_is_refused_by_name(
    work: Workspace, desk: Desk, source: Path, make: str
) -> None:
    """A link out of the directory could carry any file of the server into an image."""
    if make == "link":
        (source / "odd").symlink_to("/etc/passwd")
    else:
        os.mkfifo(source / "odd")
    with pytest.raises(InputError, match="odd is no plain file"):
        deploying.submit_source(work, ["ada"], source)

    assert list(desk.orders.iterdir()) == []


def test_image_is_handed_over(work: Workspace, desk: Desk) -> None:
    """The order names the image and carries no archive."""
    (made,) = deploying.submit_image(work, ["bob"], "registry.example.org/team/app:1")

    assert desk.taken() == [made]
    assert (made.what, made.image) == (What.IMAGE, "registry.example.org/team/app:1")
    assert [path.name for path in desk.orders.iterdir()] == [f"{made.id}.json"]


def test_name_given_twice_is_one_order(work: Workspace, desk: Desk) -> None:
    """Nobody waits for a deploy that their own second order replaced."""
    assert len(deploying.submit_image(work, ["ada", "ada"], "app:1")) == 1
    assert len(desk.taken()) == 1


@pytest.mark.parametrize(
    ("wanted", "version"),
    [
        ("", ""),
        ("2", "v00000000002"),
        ("v00000000001", "v00000000001"),
        ("3", "v00000000003"),
        ("template", "template"),
    ],
)
def test_rollback_takes_a_number_a_version_or_a_word(
    work: Workspace, desk: Desk, wanted: str, version: str
) -> None:
    """A number becomes the version it stands for."""
    desk.runs("ada", 3, 2, 1)
    (made,) = deploying.submit_rollback(work, ["ada"], wanted)

    assert (made.what, made.version) == (What.VERSION, version)


def test_number_of_a_rollback_stands_for_what_it_brought_back(work: Workspace, desk: Desk) -> None:
    """The table shows it as a deploy of its own, so it can be typed like one."""
    order = Order(orders.new_id(), "ada", What.VERSION, "instructor", 1.0, version="2")
    desk.tell(order, Stage.LIVE, number=6, version="v00000000002")
    desk.runs("ada", 5, 2)
    (made,) = deploying.submit_rollback(work, ["ada"], "6")

    assert made.version == "v00000000002"


def test_rollback_to_what_is_gone_lists_what_is_there(work: Workspace, desk: Desk) -> None:
    """The operator reads what to type instead."""
    desk.runs("ada", 3, 2)
    with pytest.raises(InputError, match="no version '1' any more") as raised:
        deploying.submit_rollback(work, ["ada"], "1")

    assert "3 (v00000000003), 2 (v00000000002) and template" in raised.value.hint
    assert desk.taken() == []


def test_rollback_of_one_without_deploys_takes_nobody_back(work: Workspace, desk: Desk) -> None:
    """All names are looked at before the first order is written."""
    desk.runs("ada", 2, 1)
    with pytest.raises(InputError, match="bob runs what the roster says"):
        deploying.submit_rollback(work, ["ada", "bob"])

    assert desk.taken() == []
    assert deploying.deployed(work) == ["ada"]


# -- what cannot be -------------------------------------------------------------------------------


def test_unknown_participant_is_refused_with_the_nearest(work: Workspace, desk: Desk) -> None:
    """Nothing is handed over for the others either."""
    with pytest.raises(InputError, match="nobody in") as raised:
        deploying.submit_image(work, ["bob", "adda"], "app:1")

    assert raised.value.hint == "did you mean ada?"
    assert desk.taken() == []


@pytest.mark.parametrize(
    ("name", "message"), [("nowhere", "is no directory"), ("", "has no Dockerfile")]
)
def test_source_that_cannot_be_built_is_refused(
    work: Workspace, desk: Desk, tmp_path: Path, name: str, message: str
) -> None:
    """No directory, or no Dockerfile in it."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message) as raised:
        deploying.submit_source(work, ["ada"], tmp_path / (name or "empty"))

    assert raised.value.hint
    assert desk.taken() == []


@pytest.mark.parametrize("reference", ["", "app one", "-app", "a" * 300, "app\n"])
def test_image_that_cannot_be_one_is_refused(work: Workspace, desk: Desk, reference: str) -> None:
    """An order the server would not even read must not be written."""
    with pytest.raises(InputError, match="cannot be an image"):
        deploying.submit_image(work, ["ada"], reference)

    assert desk.taken() == []


def test_class_without_deploys_is_told_so(work: Workspace, desk: Desk) -> None:
    """The roster decides, and the message says which key."""
    text = work.roster_path.read_text("utf-8").replace("llm: false", "llm: false\n  deploys: false")
    work.roster_path.write_text(text, "utf-8")
    with pytest.raises(InputError, match="deploys: false"):
        deploying.submit_image(Workspace(work.roster_path), ["ada"], "app:1")

    assert desk.taken() == []


def test_deploy_before_provision_says_what_comes_first(work: Workspace) -> None:
    """A roster alone cannot deploy, and no state directory is made for it."""
    with pytest.raises(WorkshopError, match="nothing runs yet") as raised:
        deploying.submit_image(work, ["ada"], "app:1")

    assert "workshop provision" in raised.value.hint
    assert not work.state_directory.exists()


def test_newcomer_without_a_seat_is_refused_by_name(work: Workspace, desk: Desk) -> None:
    """Somebody who was written into the roster a moment ago has nothing to be deployed to."""
    with work.roster_path.open("a") as file:
        file.write("  - joan\n")
    with pytest.raises(WorkshopError, match="joan: no seat yet"):
        deploying.submit_image(Workspace(work.roster_path), ["ada", "joan"], "app:1")

    assert desk.taken() == []


def test_order_needs_a_server_at_work(work: Workspace, desk: Desk) -> None:
    """Ten seconds without a word, and nobody would take the order."""
    desk.beat(11)
    with pytest.raises(WorkshopError, match="not at work") as raised:
        deploying.submit_image(work, ["ada"], "app:1")

    assert raised.value.hint == "`workshop provision` starts it"
    assert desk.taken() == []
    desk.beat(9)
    assert deploying.submit_image(work, ["ada"], "app:1") == desk.taken()


def test_full_disk_says_how_many_orders_are_on_their_way(
    work: Workspace, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some seats get the new version; the operator must know."""
    place, left = orders.place, [2]

    def full(directory: Path, order: Order, source: Path | None = None) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        place(directory, order, source)

    monkeypatch.setattr(orders, "place", full)
    with pytest.raises(WorkshopError, match=r"2 of 3 orders .* No space left"):
        deploying.submit_image(work, ["ada", "bob", "grace"], "app:1")

    assert len(desk.taken()) == 2


# -- following ------------------------------------------------------------------------------------


def test_follow_tells_each_change_once_until_all_is_over(work: Workspace, desk: Desk) -> None:
    """Waiting, building, live: three events for each; then it returns the last words."""
    made = deploying.submit_image(work, ["ada", "bob"], "app:1")
    ada, bob = made
    story: list[Callable[[], object]] = [
        lambda: desk.tell(ada, Stage.FETCHING, number=4),
        lambda: None,
        lambda: desk.tell(bob, Stage.WAITING, ahead=1),
        lambda: desk.tell(ada, Stage.LIVE, number=4, version="abc"),
        lambda: desk.tell(bob, Stage.FAILED, number=1, finding=LOCALHOST),
    ]
    told: list[tuple[str, Stage, int]] = []

    def listen(moved: DeployMoved) -> None:
        item = moved.progress
        told.append((item.seat, item.stage, item.ahead))

    def pause() -> None:
        story.pop(0)()

    found = deploying.follow(work, made, listen, 60, pause)

    assert told == [
        ("ada", Stage.WAITING, 0),
        ("bob", Stage.WAITING, 0),
        ("ada", Stage.FETCHING, 0),
        ("bob", Stage.WAITING, 1),
        ("ada", Stage.LIVE, 0),
        ("bob", Stage.FAILED, 0),
    ]
    assert [(item.seat, item.stage) for item in found] == [
        ("ada", Stage.LIVE),
        ("bob", Stage.FAILED),
    ]
    assert found[1].finding == LOCALHOST
    assert story == []


def test_follow_ends_when_its_time_is_over(work: Workspace, desk: Desk) -> None:
    """The orders go on; what is known of them is returned."""
    made = deploying.submit_image(work, ["ada"], "app:1")
    (found,) = deploying.follow(work, made, ignore, -1)

    assert found.stage is Stage.WAITING
    assert desk.taken() == made


def test_follow_gives_up_on_a_server_that_stopped(work: Workspace, desk: Desk) -> None:
    """Half a minute without a word; the orders lie there for the next one."""
    made = deploying.submit_image(work, ["ada"], "app:1")
    with pytest.raises(WorkshopError, match="has stopped; 1 orders wait") as raised:
        deploying.follow(work, made, ignore, 60, lambda: desk.beat(31))

    assert "workshop provision" in raised.value.hint
    assert desk.taken() == made


def test_interrupted_follow_leaves_the_orders(work: Workspace, desk: Desk) -> None:
    """Ctrl+C ends the watching, not the deploys."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    made = deploying.submit_image(work, ["ada"], "app:1")
    with pytest.raises(KeyboardInterrupt):
        deploying.follow(work, made, ignore, 60, interrupt)

    assert desk.taken() == made


# -- looking --------------------------------------------------------------------------------------


def test_history_is_of_one_or_of_everybody(work: Workspace, desk: Desk) -> None:
    """Oldest first; somebody who never deployed has none, and nobody at all is refused."""
    desk.past("ada", Stage.LIVE, 1)
    desk.past("bob", Stage.FAILED, 1, finding=LOCALHOST)
    desk.past("ada", Stage.FAILED, 2, finding=LOCALHOST)

    assert [item.seat for item in deploying.history(work)] == ["ada", "bob", "ada"]
    assert [item.number for item in deploying.history(work, "ada")] == [1, 2]
    assert deploying.history(work, "grace") == []
    with pytest.raises(InputError, match="adda"):
        deploying.history(work, "adda")


def test_history_of_somebody_who_left_can_still_be_read(work: Workspace, desk: Desk) -> None:
    """Who deployed what is asked most when somebody is gone."""
    desk.past("joan", Stage.LIVE, 1)

    assert len(deploying.history(work, "joan")) == 1


def test_live_is_the_last_that_went_live(work: Workspace, desk: Desk) -> None:
    """A later failure changes nothing; a seat without a record runs what the roster says."""
    desk.past("ada", Stage.LIVE, 1)
    second = desk.past("ada", Stage.LIVE, 2)
    desk.past("ada", Stage.FAILED, 3, finding=LOCALHOST)
    desk.past("bob", Stage.LIVE, 1)
    desk.runs("ada", 2, 1)

    assert deploying.live_ids(work, deploying.history(work)) == {second.id}


def test_under_way_is_what_is_not_over(work: Workspace, desk: Desk) -> None:
    """Orders nobody took up yet count as waiting, the intake's too."""
    ada, bob, grace = deploying.submit_image(work, ["ada", "bob", "grace"], "app:1")
    desk.tell(ada, Stage.BUILDING)
    desk.tell(grace, Stage.LIVE)
    digest = f"sha256:{1:064x}"
    pushed = Order(
        orders.new_id(grace.received + 1),
        "bob",
        What.PUSH,
        "bob",
        1.0,
        repository="bob/app",
        digest=digest,
    )
    orders.place(work.directories.inbox, pushed)

    assert [(item.id, item.stage) for item in deploying.under_way(work)] == [
        (ada.id, Stage.BUILDING),
        (bob.id, Stage.WAITING),
        (pushed.id, Stage.WAITING),
    ]


# -- status ---------------------------------------------------------------------------------------


@pytest.fixture
def provisioned(work: Workspace) -> Workspace:
    """Hand out a workshop of three that runs, in which people may deploy from now on."""
    text = work.roster_path.read_text("utf-8")
    work.roster_path.write_text(text.replace("llm: false", "llm: false\n  deploys: false"), "utf-8")
    report = operations.provision(
        Workspace(work.roster_path, lambda: work.engine, work.probe, work.emit)
    )
    assert report.ok, report.failed
    return deploying_on(work)


def test_failed_deploy_stands_beside_a_seat_that_is_live(provisioned: Workspace) -> None:
    """The version before it still answers, so the seat is well; the cause is in few words."""
    desk = Desk(provisioned)
    desk.past("ada", Stage.FAILED, 1, finding=LOCALHOST)
    desk.past("ada", Stage.SUPERSEDED, 2)
    ada = next(seat for seat in status(provisioned).seats if seat.name == "ada")

    assert ada.state == "live"
    assert ada.detail.endswith("; deploy 1 failed: listens-on-localhost; `workshop deploys ada`")
    assert ada.deploy is not None
    assert ada.deploy.number == 0
    assert ada.deploy.failed is not None
    assert ada.deploy.failed.message == LOCALHOST.message


def test_status_counts_the_queue_and_marks_who_is_in_it(provisioned: Workspace) -> None:
    """The instructor sees what is going on without following it."""
    desk = Desk(provisioned)
    ada, _, _ = deploying.submit_image(provisioned, ["ada", "bob", "grace"], "app:1")
    desk.tell(ada, Stage.BUILDING)
    found = status(provisioned)
    seats = {seat.name: seat for seat in found.seats}

    assert found.deploys == "live"
    assert found.queue == {"waiting": 2, "building": 1}
    assert seats["ada"].detail.endswith("; deploy under way: building")
    assert seats["ada"].deploy is not None
    assert seats["bob"].deploy is not None
    assert seats["bob"].deploy.under_way == "waiting"


@pytest.mark.parametrize(("ago", "said"), [(1.0, "live"), (11.0, "not answering")])
def test_status_goes_by_the_servers_own_word(provisioned: Workspace, ago: float, said: str) -> None:
    """It has no port to ask at; its file is ten seconds fresh or it is not there."""
    Desk(provisioned).beat(ago)

    assert status(provisioned).deploys == said


# -- the page -------------------------------------------------------------------------------------


def causes() -> set[str]:
    """Collect every cause a deploy can fail for: what the code makes findings of."""
    makers = {"Finding", "finding", "_finding", "_failed"}
    found = set()
    for path in (ROOT / "platform" / "workshop" / "deploys").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in makers:
                words = [*node.args[:2], *(k.value for k in node.keywords if k.arg == "cause")]
                found |= {word.value for word in words if isinstance(word, ast.Constant)}
        found |= set(re.findall(r'End\.[A-Z]+: \(\s*"([a-z-]+)"', path.read_text("utf-8")))
    return {word for word in found if isinstance(word, str) and CAUSE.fullmatch(word)}


def test_causes_and_the_page_are_the_same() -> None:
    """Each cause has a row of docs/deploys.md, and no row has lost its cause."""
    text = (ROOT / "docs" / "deploys.md").read_text("utf-8")
    section = text.partition("## When a deploy fails")[2].partition("\n## ")[0]

    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", section, re.MULTILINE)) == causes()


def test_example_of_a_roster_with_deploys_is_a_good_one(
    parse: Callable[[str], Roster],
) -> None:
    """Whoever copies it from docs/deploys.md changes nothing but numbers."""
    text = (ROOT / "docs" / "deploys.md").read_text("utf-8")
    block = re.findall(r"```yaml\n(workshop:\n  deploys:.*?)```", text, re.DOTALL)[0]
    found = parse(
        block.replace("workshop:\n", "workshop:\n  name: class\n") + "participants: [ada]\n"
    )

    assert found.deploys is not None
    assert (found.deploys.keep, found.deploys.build.seconds) == (5, 600)
    assert found.deploys.build.hosts == (".example.org",)


def test_keys_of_deploys_and_the_page_are_the_same(parse: Callable[[str], Roster]) -> None:
    """The reader's own answer to an unknown key lists what the page must describe."""
    page = (ROOT / "docs" / "deploys.md").read_text("utf-8")
    section = page.partition("## Keys of the roster")[2].partition("\n## ")[0]
    known = {"workshop.deploys"}
    for prefix, text in (
        ("workshop.deploys.", "deploys: {qqqqqqqq: 1}"),
        ("workshop.deploys.build.", "deploys: {build: {qqqqqqqq: 1}}"),
    ):
        with pytest.raises(InputError) as raised:
            parse(f"workshop: {{name: class, {text}}}\nparticipants: [ada]\n")
        (fault,) = raised.value.faults
        known |= {prefix + key for key in fault.message.partition("expected ")[2].split(", ")}

    assert set(re.findall(r"^\| `(workshop\.deploys[a-z_.]*)` \|", section, re.MULTILINE)) == (
        known - {"workshop.deploys.build"}
    )
