"""The list of bad inputs the platform was designed against: each is shown somewhere, or below.

The ids are those of the list. B39 to B42 and B44 to B45 are the services'; their tests are named too.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.shown import is_there
from workshop import doctor, names, roster
from workshop.engines.memory import MemoryEngine
from workshop.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workshop.roster import Roster

ROSTER = "tests/test_roster.py"
HERE = "tests/test_bad_input.py"
BAD = f"{ROSTER}::test_roster_bad_is_refused"
ARCHIVES = "tests/intake/test_archive.py::test_hostile_archive_is_refused_early_with_its_reason"
APIS = "tests/fuzz/test_apis.py"
SHOWN = {
    "B01": [BAD, "tests/fuzz/test_rosters.py::test_roster_without_content_is_refused_at_a_place"],
    "B02": [BAD, f"{HERE}::test_unknown_key_offers_the_nearest"],
    "B03": [BAD],
    "B04": [BAD, f"{HERE}::test_key_that_stands_twice_names_both_lines"],
    "B05": [
        BAD,
        f"{ROSTER}::test_name_yaml_would_convert_stays_text",
        f"{HERE}::test_name_of_another_type_stays_text_or_is_refused",
    ],
    "B06": [BAD],
    "B07": [BAD, f"{HERE}::test_tag_of_any_kind_is_refused"],
    "B08": [BAD, f"{HERE}::test_bomb_of_aliases_or_merge_keys_is_refused_at_once"],
    "B09": [BAD],
    "B10": [
        f"{ROSTER}::test_file_with_ten_thousand_entries_is_refused_quickly",
        f"{ROSTER}::test_file_not_text_is_refused",
    ],
    "B11": [
        f"{ROSTER}::test_file_not_text_is_refused",
        f"{ROSTER}::test_file_with_mark_and_crlf_is_read",
    ],
    "B12": [
        f"{ROSTER}::test_file_with_mark_and_crlf_is_read",
        f"{HERE}::test_odd_line_end_in_a_name_is_refused",
    ],
    "B13": [
        f"{ROSTER}::test_file_that_is_no_file_is_refused_at_once",
        f"{HERE}::test_unreadable_file_is_told",
    ],
    "B14": [f"{ROSTER}::test_roster_many_faults_are_all_named"],
    "B15": [BAD],
    "B16": [f"{ROSTER}::test_names_with_shared_prefix_are_accepted"],
    "B17": [BAD, "tests/test_peers.py::test_different_names_never_make_one_container"],
    "B18": [BAD, f"{HERE}::test_name_beyond_ascii_is_refused_with_its_code_point"],
    "B19": [
        f"{HERE}::test_reserved_name_is_refused",
        "tests/cli/test_cli.py::test_names_lists_what_is_reserved",
    ],
    "B20": [BAD, f"{HERE}::test_name_with_a_character_that_means_something_is_refused"],
    "B21": [BAD, f"{HERE}::test_name_of_any_wrong_length_is_cut_in_the_message"],
    "B22": [BAD],
    "B23": [BAD],
    "B24": [BAD],
    "B25": [
        f"{ROSTER}::test_env_value_odd_stays_as_written",
        "tests/engines/test_docker.py::test_env_value_arrives_unchanged",
    ],
    "B26": [BAD],
    "B27": [BAD],
    "B28": [
        "tests/test_environment.py::test_env_file_is_read_as_documented",
        "tests/test_environment.py::test_env_file_fault_names_its_line",
    ],
    "B29": [f"{ROSTER}::test_secret_in_roster_is_warned_about_without_its_value"],
    "B30": [BAD],
    "B31": [f"{HERE}::test_limits_beyond_the_server_are_told_in_numbers"],
    "B32": [BAD, "tests/test_operations.py::test_taken_port_is_named_before_anything_is_created"],
    "B33": [BAD, f"{ROSTER}::test_url_is_normalised"],
    "B34": [BAD, f"{HERE}::test_image_that_looks_like_an_option_is_refused"],
    "B35": [
        f"{ROSTER}::test_template_link_to_outside_is_refused",
        f"{ROSTER}::test_template_unusable_is_refused",
    ],
    "B36": [
        f"{HERE}::test_host_a_build_may_not_name_is_a_fault_of_its_own",
        "tests/wall/test_options.py::test_entry_that_is_no_host_is_told_what_to_be",
        "tests/wall/test_options.py::test_endless_list_is_refused",
    ],
    "B37": [BAD, "tests/proxy/test_render.py::test_display_name_with_markup_is_escaped"],
    "B38": [
        "tests/cli/test_cli.py::test_init_from_csv_reads_what_spreadsheets_write",
        "tests/cli/test_cli.py::test_init_from_bad_csv_names_the_row",
    ],
    "B39": [ARCHIVES],
    "B40": [
        ARCHIVES,
        "tests/intake/test_archive.py::test_too_many_entries_names_the_needless_ones",
    ],
    "B41": [ARCHIVES, "tests/intake/test_archive.py::test_twenty_thousand_mutations_break_nothing"],
    "B42": [
        "tests/deploys/test_egress.py::test_request_elsewhere_is_denied",
        "tests/deploys/test_build.py::test_step_is_walled_in",
    ],
    "B43": [
        f"{APIS}::test_api_never_fails_and_keeps_its_schema",
        f"{APIS}::test_api_refuses_what_is_no_json_in_its_own_words",
    ],
    "B44": [f"{APIS}::test_api_never_fails_and_keeps_its_schema"],
    "B45": [
        "tests/gateway/test_validate.py::test_bad_chat_is_refused_before_it_is_forwarded",
        f"{APIS}::test_api_refuses_what_is_no_json_in_its_own_words",
    ],
    "B46": [
        "tests/cli/test_cli.py::test_unknown_option_is_exit_2",
        "tests/cli/test_cli.py::test_error_under_json_is_one_document",
        "tests/cli/test_cli.py::test_output_without_a_terminal_has_no_colour",
    ],
    "B47": [
        "tests/engines/test_docker.py::test_absent_engine_is_named_with_the_next_step",
        "tests/cli/test_cli.py::test_absent_engine_is_exit_3_with_the_next_step",
    ],
    "B48": ["tests/test_operations.py::test_state_of_a_newer_version_is_refused"],
    "B49": [
        "tests/faults/test_state_lost.py::test_state_of_another_workshop_is_neither_used_nor_overwritten_nor_removed"
    ],
    "B50": ["tests/test_operations.py::test_same_name_from_another_directory_is_refused"],
}
HEAD = "workshop: {name: class}\n"


@pytest.mark.parametrize("number", [f"B{n:02d}" for n in range(1, 51)])
def test_bad_input_is_shown(number: str) -> None:
    """Every id of the list names tests, and these exist."""
    assert SHOWN[number]
    assert [reference for reference in SHOWN[number] if not is_there(reference)] == []


def refused(parse: Callable[[str], Roster], text: str) -> str:
    """Parse what must be refused; return the faults."""
    with pytest.raises(InputError) as caught:
        parse(text)
    return "\n".join(map(str, caught.value.faults)) or caught.value.message


def named(parse: Callable[[str], Roster], name: str) -> str:
    """Refuse one participant's name."""
    import json

    # YAML, unlike JSON, does not put halves of characters together.
    written = json.dumps(name, ensure_ascii=all(ord(char) < 0x10000 for char in name))
    return refused(parse, f"{HEAD}participants: [{written}]\n")


def test_unknown_key_offers_the_nearest(parse: Callable[[str], Roster]) -> None:
    """B02: a key nobody knows is a fault, wherever it stands."""
    said = refused(
        parse, "workshop: {name: class, titel: x}\nparticipants: [{name: ada, immage: 'a:1'}]\n"
    )

    assert "did you mean 'title'?" in said
    assert "did you mean 'image'?" in said


def test_key_that_stands_twice_names_both_lines(parse: Callable[[str], Roster]) -> None:
    """B04: the second would win silently elsewhere."""
    said = refused(parse, "workshop:\n  name: one\n  name: two\nparticipants: [ada]\n")

    assert "participants.yaml:3:3" in said
    assert "first on line 2" in said


@pytest.mark.parametrize(
    "value", ["0123", "012", "1e3", "1_000", "0x1f", "12:30:45", "2024-01-01", ".inf", "true", "on"]
)
def test_name_of_another_type_stays_text_or_is_refused(
    parse: Callable[[str], Roster], value: str
) -> None:
    """B05: never False, 10, 83 or 45045."""
    text = f"{HEAD}participants:\n  - {value}\n"
    if names.problem(value) is None:
        assert parse(text).participants[0].name == value
    else:
        assert value in refused(parse, text)


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system",
        "!!str",
        "!local",
        "!!binary",
        "!<tag:yaml.org,2002:int>",
        "!",
    ],
)
def test_tag_of_any_kind_is_refused(parse: Callable[[str], Roster], tag: str) -> None:
    """B07: no tag makes anything but text of a text."""
    assert "not" in refused(parse, f"{HEAD}participants: [{tag} ada]\n")


def test_bomb_of_aliases_or_merge_keys_is_refused_at_once(parse: Callable[[str], Roster]) -> None:
    """B08: the first of them ends the parse."""
    import time

    bomb = "a0: &a0 [x, x]\n" + "".join(
        f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 30)
    )
    merges = "a: {<<: {b: c}}\n" * 2000
    begun = time.process_time()

    assert "anchors" in refused(parse, bomb)
    assert "merge keys" in refused(parse, merges)
    assert time.process_time() - begun < 1


@pytest.mark.parametrize("end", ["\\r", "\\r\\n", "\\n", "\\N", "\\L", "\\P"])
def test_odd_line_end_in_a_name_is_refused(parse: Callable[[str], Roster], end: str) -> None:
    """B12: CR, LF, NEL, LS and PS are no part of a name."""
    assert "at position 4" in refused(parse, f'{HEAD}participants: ["ada{end}x"]\n')


def test_unreadable_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """B13: one sentence, whoever asks; root may read everything, so the refusal is the kernel's in play."""
    import os

    path = tmp_path / "participants.yaml"
    path.write_text("x", "utf-8")

    def denied(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(InputError, match=r"participants\.yaml"):
        roster.load(path)


@pytest.mark.parametrize(
    "name",
    [
        "ålice",
        "алиса",
        "a\u200dlice",
        "\u202eada",
        "ａｄａ",
        "ada😀",
        "jose\u0301",
        unicodedata.normalize("NFC", "jose\u0301"),
        "aſk",
        "ﬁx",
        "a\u00adb",
        "a\ufeffb",
    ],
)
def test_name_beyond_ascii_is_refused_with_its_code_point(
    parse: Callable[[str], Roster], name: str
) -> None:
    """B18: look-alikes, joiners, directions, wide forms, pictures, composed and not: none is bent."""
    odd = next(char for char in name if not char.isascii())
    said = named(parse, name)

    assert f"U+{ord(odd):04X}" in said
    assert said.isascii()


WANTED = """
    api static health healthz ready metrics admin dashboard login logout auth oauth gateway llm v1 v2 registry docs
    openapi redoc assets public favicon robots sitemap well-known ws sse www mail ns localhost status internal error
    workshop teacher instructor root docker nginx default null undefined con nul aux prn com1 com9 lpt1 lpt9
"""


@pytest.mark.parametrize("name", WANTED.split())
def test_reserved_name_is_refused(parse: Callable[[str], Roster], name: str) -> None:
    """B19: addresses the platform answers, names of the web and of Windows; in any spelling."""
    assert "reserved" in named(parse, name)
    assert named(parse, name.upper())


@pytest.mark.parametrize(
    "bad",
    [
        ".",
        "..",
        "_",
        "a\tb",
        "a\nb",
        "a\0b",
        "x--y",
        "-x",
        "x-",
        "*",
        "?",
        "#",
        ":",
        "@",
        "a&b",
        "a|b",
        "a>b",
        "a,b",
        "a!b",
        "~",
        "a+b",
        "a=b",
        "a^b",
        "a'b",
        "a%b",
    ],
)
def test_name_with_a_character_that_means_something_is_refused(
    parse: Callable[[str], Roster], bad: str
) -> None:
    """B20: to a shell, a path, a URL, nginx or a spreadsheet."""
    assert re.search(r"at position \d|characters; expected|must st", named(parse, bad))


@pytest.mark.parametrize("length", [1, 33, 63, 64, 255, 10_000])
def test_name_of_any_wrong_length_is_cut_in_the_message(
    parse: Callable[[str], Roster], length: int
) -> None:
    """B21: the message stays a line."""
    said = named(parse, "a" * length)

    assert f"{length} characters; expected 2 to 32" in said
    assert len(said) < 200


def test_limits_beyond_the_server_are_told_in_numbers(parse: Callable[[str], Roster]) -> None:
    """B31: thirty seats of a gigabyte on a server of eight: a warning with both numbers."""
    info = replace(MemoryEngine().info(), memory=8 << 30)
    people = ", ".join(f"p{number:02d}" for number in range(30))
    limits = "limits: {memory: 1g}, llm: false, deploys: false"
    found = doctor._memory(
        parse(f"workshop: {{name: class, {limits}}}\nparticipants: [{people}]\n"), info
    )

    assert found.verdict is doctor.Verdict.WARNING
    assert "30" in found.found
    assert "8" in found.found
    assert "lower workshop.limits.memory" in found.mend


@pytest.mark.parametrize(
    "image", ["--privileged", "-v", "-", "--name=x:1", " a:1", "a:1 ", "a:1\nb", "$(id):1", "a:-x"]
)
def test_image_that_looks_like_an_option_is_refused(
    parse: Callable[[str], Roster], image: str
) -> None:
    """B34: nothing of the roster ever begins an argument."""
    import json

    assert ".image" in refused(
        parse, f"{HEAD}participants: [{{name: ada, image: {json.dumps(image)}}}]\n"
    )


@pytest.mark.parametrize(
    "host",
    [
        "*",
        "http://x.org",
        "10.0.0.1/8",
        "*.com",
        "evil.com:22",
        "",
        "a b.org",
        "-x.org",
        "x..org",
        "x.org/y",
    ],
)
def test_host_a_build_may_not_name_is_a_fault_of_its_own(
    parse: Callable[[str], Roster], host: str
) -> None:
    """B36: each wrong entry is named with its place, beside good ones."""
    said = refused(
        parse,
        f"workshop: {{name: class, deploys: {{build: {{hosts: [a.org, '{host}', b.org]}}}}}}\nparticipants: [ada]\n",
    )

    assert "hosts[1]" in said
    assert "hosts[0]" not in said
