"""Cards of a class: who gets one, what stands on it, and who can read the files."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from workshop import claims, keyring, state
from workshop.board import config
from workshop.boarding import told
from workshop.cards.deck import Word, gather
from workshop.cards.making import make
from workshop.errors import InputError, WorkshopError

if TYPE_CHECKING:
    from collections.abc import Callable

    from workshop.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]


def mode(path: Path) -> int:
    """Give the permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def rows(directory: Path) -> list[dict[str, str]]:
    """Read the table."""
    text = (directory / "cards.csv").read_text("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_everybody_in_the_roster_gets_the_own_key(
    provisioned: Callable[..., Workspace], tmp_path: Path
) -> None:
    """The one that `workshop keys show` prints, beside the own address."""
    work = provisioned()
    made = make(work, tmp_path / "cards", Word.KEY, spares=True)
    keys = {key.name: key.key for key in keyring.show(work, ["ada", "bob", "grace"])}

    assert (made.cards, made.pages, made.warnings) == (3, 1, ())
    assert {row["name"]: row["key"] for row in rows(tmp_path / "cards")} == keys
    assert {row["url"] for row in rows(tmp_path / "cards")} == {
        work.seat_url(name) for name in keys
    }
    assert [row["display_name"] for row in rows(tmp_path / "cards")][2] == "Grace Hopper"


def test_claim_codes_are_those_the_board_is_told_of(
    provisioned: Callable[..., Workspace], tmp_path: Path
) -> None:
    """Its hash of the code is that of what stands on the card; no key stands in the files."""
    work = provisioned()
    make(work, tmp_path / "cards", Word.CLAIM, spares=True)
    known = told(work)
    assert known is not None

    for row in rows(tmp_path / "cards"):
        seat = known.seat(row["name"])
        assert seat is not None
        assert config.hashed(claims.normal(row["claim"])) == seat.claim_hash
        assert row["me"] == f"{known.origins[0]}/me"
    for file in ("cards.html", "cards.csv"):
        assert "wk-" not in (tmp_path / "cards" / file).read_text("utf-8")


def test_used_claim_code_stands_on_no_card(provisioned: Callable[..., Workspace]) -> None:
    """It lets nobody in any more; whose it was is said."""
    work = provisioned()
    claims.mark(work.directories.board / "shown", "bob")
    made = gather(work, Word.CLAIM, spares=True)

    assert [card.name for card in made.cards if not card.word] == ["bob"]
    assert made.warnings == ("bob used their claim code already; their cards carry none",)


def test_revoked_key_stands_on_no_card(
    provisioned: Callable[..., Workspace], next_command: Callable[[Workspace], Workspace]
) -> None:
    """Neither does a code that would be exchanged for it."""
    work = provisioned()
    keyring.revoke(work, ["ada"])

    for kind in Word:
        made = gather(next_command(work), kind, spares=True)
        assert [card.name for card in made.cards if not card.word] == ["ada"]
        assert made.warnings == ("ada had their key revoked; their cards carry none",)


@pytest.mark.parametrize(("spares", "names"), [(True, ["spare-1", "spare-2"]), (False, [])])
def test_spare_seats_get_cards_unless_left_out(
    provisioned: Callable[..., Workspace], *, spares: bool, names: list[str]
) -> None:
    """A latecomer finds one on the table."""
    made = gather(provisioned("  spares: 2\n"), Word.CLAIM, spares=spares)

    assert [card.name for card in made.cards] == ["ada", "bob", "grace", *names]
    assert all(card.word for card in made.cards)


def test_files_are_their_owners_alone(
    provisioned: Callable[..., Workspace], tmp_path: Path
) -> None:
    """Whatever the mask of the shell; a directory that was made for them is closed, and git is told."""
    work, place = provisioned(), tmp_path / "new/cards"
    before = os.umask(0)
    try:
        made = make(work, place, Word.KEY, spares=True)
    finally:
        os.umask(before)

    assert mode(place) == 0o700
    assert [mode(path) for path in made.files] == [0o600] * 3
    assert (place / ".gitignore").read_text("utf-8") == "*\n"
    assert sorted(path.name for path in place.iterdir()) == [
        ".gitignore", "cards.csv", "cards.html", "cards.pdf",
    ]  # fmt: skip


def test_directory_that_was_there_stays_as_it_is(
    provisioned: Callable[..., Workspace], tmp_path: Path
) -> None:
    """Cards of before are replaced and closed; nothing else of it changes."""
    work, place = provisioned(), tmp_path / "shared"
    place.mkdir(mode=0o755)
    (place / "cards.csv").write_text("old", "utf-8")
    (place / "cards.csv").chmod(0o644)
    make(work, place, Word.KEY, spares=True)

    assert mode(place) == 0o755
    assert mode(place / "cards.csv") == 0o600
    assert len(rows(place)) == 3
    assert not (place / ".gitignore").exists()


def test_place_that_is_a_file_is_an_input_error(
    provisioned: Callable[..., Workspace], tmp_path: Path
) -> None:
    """One line says so, and nothing is left behind."""
    (tmp_path / "file").write_text("mine", "utf-8")
    with pytest.raises(InputError, match="cannot write"):
        make(provisioned(), tmp_path / "file", Word.KEY, spares=True)
    with pytest.raises(InputError, match="cannot write"):
        make(provisioned(""), tmp_path / "file/below", Word.KEY, spares=True)

    assert (tmp_path / "file").read_text("utf-8") == "mine"


def test_name_the_fonts_lack_is_told_and_stands_on_the_page(
    provisioned: Callable[..., Workspace], tmp_path: Path
) -> None:
    """The browser has more letters than the PDF."""
    work = provisioned()
    text = work.roster_path.read_text("utf-8").replace("Grace Hopper", "葛麗絲")
    work.roster_path.write_text(text, "utf-8")
    work.read_again()
    made = make(work, tmp_path / "cards", Word.KEY, spares=True)

    assert "short names of grace" in made.warnings[0]
    assert "葛麗絲" in (tmp_path / "cards/cards.html").read_text("utf-8")


def test_before_provision_there_are_no_cards(deploying: Workspace, tmp_path: Path) -> None:
    """Keys are made there; nothing is written without them."""
    with pytest.raises(WorkshopError, match="there are no keys yet") as caught:
        make(deploying, tmp_path / "cards", Word.KEY, spares=True)

    assert "provision" in caught.value.hint
    assert not (tmp_path / "cards").exists()


def test_page_that_participants_cannot_reach_is_left_out(
    provisioned: Callable[..., Workspace], tmp_path: Path
) -> None:
    """The board answers on the server alone: cards say nothing of it, and codes would be useless."""
    work = provisioned()
    text = work.roster_path.read_text("utf-8").replace("//localhost:", "//class.example.org:")
    work.roster_path.write_text(text, "utf-8")
    _tell_url(work, "http://class.example.org:18999")
    work.read_again()
    made = gather(work, Word.KEY, spares=True)

    assert {card.me for card in made.cards} == {""}
    assert "set workshop.board.host" in made.warnings[0]
    with pytest.raises(InputError, match="cannot reach") as caught:
        gather(work, Word.CLAIM, spares=True)
    assert "workshop.board.host" in caught.value.hint


def _tell_url(work: Workspace, url: str) -> None:
    """Let the board know of another address, as the next provision does."""
    known = told(work)
    assert known is not None
    file = work.directories.board / "told/config.json"
    file.write_text(config.dump(replace(known, url=url)), "utf-8")


def test_class_without_keys_gets_cards_with_addresses(work: Workspace, tmp_path: Path) -> None:
    """Neither models nor deploys: the address is what there is to hand out."""
    make(work, tmp_path / "cards", Word.KEY, spares=True)

    assert [row["key"] for row in rows(tmp_path / "cards")] == ["", "", ""]
    assert rows(tmp_path / "cards")[0]["url"] == "http://localhost:18999/ada/"


def test_command_says_what_it_wrote_and_json_lists_it(
    provisioned: Callable[..., Workspace], tmp_path: Path
) -> None:
    """Typed as an instructor types it; no engine is asked, no key printed."""
    work = provisioned()
    said = _type(work.roster_path.parent, "--output", "out")
    listed = _type(work.roster_path.parent, "--output", "out", "--claim", "--no-spares", "--json")

    assert said.returncode == listed.returncode == 0
    assert said.stdout.splitlines() == [f"out/cards.{kind}" for kind in ("pdf", "html", "csv")]
    assert "3 cards on 1 page" in said.stderr
    assert "wk-" not in said.stdout + said.stderr
    assert json.loads(listed.stdout) == {
        "files": ["out/cards.pdf", "out/cards.html", "out/cards.csv"],
        "cards": 3,
        "pages": 1,
        "warnings": [],
    }
    known = state.load(work.state_directory)
    assert known is not None
    assert rows(work.roster_path.parent / "out")[0]["claim"] == claims.code(known.secret, "ada")


def _type(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("WORKSHOP_")}
    nobody = {"DOCKER_HOST": "unix:///run/no-such-engine.sock"}
    return subprocess.run(
        [sys.executable, "-m", "workshop", "cards", *arguments],
        cwd=directory,
        env={**kept, **nobody, "PYTHONPATH": str(ROOT / "platform"), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
