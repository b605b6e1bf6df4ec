"""What is documented is tested: no command, option, label, setting, key or target goes unmentioned.

And the other way round: what the pages name must exist, and their links must lead somewhere.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from workshop import labels, operations, roster, starting
from workshop.cli import app, classroom, deploys, handouts, models, seats, secrets, server, watching
from workshop.engines.memory import MemoryEngine
from workshop.errors import InputError
from workshop.settings import Settings
from workshop.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
ADRS = sorted((DOCS / "adr").glob("*.md"))
ADR_HEADINGS = ["Context", "Choice", "Consequences", "What would change our mind"]
NOT_SETTINGS = {"WORKSHOP_ROSTER"}
"""Variables that settings.md describes although they are an option's, not the settings'."""
STRANGE = "qqqqqqqq"
"""A key no section knows and none resembles."""


def text_of(name: str) -> str:
    """Read a page of ``docs``."""
    return (DOCS / name).read_text("utf-8")


def first_cells(text: str) -> set[str]:
    """Collect what stands in backticks in the first column of the tables of ``text``."""
    rows = re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def sections(text: str) -> dict[str, str]:
    """Split a page at its second-level headings."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def without_code(text: str) -> str:
    """Drop fenced blocks: what stands in them is neither a link nor a heading."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


# -- the tour of README ---------------------------------------------------------------------------


def test_plan_of_the_tour_is_what_the_command_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step, its cause and what it waits for; tags change with what images are made of."""
    for name in [name for name in os.environ if name.startswith("WORKSHOP_")]:
        monkeypatch.delenv(name)
    people = tmp_path / "people.csv"
    people.write_text("name\nada\ngrace\nalan\n", "utf-8")
    starting.init(tmp_path / "my-class", name=None, people=people)
    work = Workspace(tmp_path / "my-class/participants.yaml", MemoryEngine)
    readme = (ROOT / "README.md").read_text("utf-8")
    shown = readme.partition("\n$ workshop plan\n")[2].partition("\n```")[0]

    # An engine in memory has no kernel, whose firewall could be looked at.
    planned = str(operations.plan(work)).replace("no rules seen yet", "no rules")
    assert _without_tags(shown) == _without_tags(planned)


def _without_tags(text: str) -> str:
    return re.sub(r":[0-9a-f]{12}:", ":TAG:", text.strip())


# -- commands and options -------------------------------------------------------------------------


def command_line() -> Any:
    """Build the command with every subcommand registered."""
    assert (
        classroom.app
        is deploys.app
        is handouts.app
        is watching.app
        is models.app
        is seats.app
        is secrets.app
        is server.app
        is app.app
    )
    return typer.main.get_command(app.app)


def options(command: Any) -> list[str]:
    """List the options of a command, short forms included."""
    return [
        name
        for parameter in command.params
        if parameter.param_type_name == "option"
        for name in (*parameter.opts, *parameter.secondary_opts)
    ]


COMMANDS = sorted(command_line().commands)
OPTIONS = [(name, option) for name in COMMANDS for option in options(command_line().commands[name])]


def test_commands_and_sections_of_the_page_are_the_same() -> None:
    """Each command has a section of docs/commands.md, and no section has lost its command."""
    headings = re.findall(r"^## `workshop ([a-z-]+)`$", text_of("commands.md"), re.MULTILINE)

    assert sorted(headings) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_section_of_a_command_shows_an_example(command: str) -> None:
    """Whoever looks a command up can copy a line that works."""
    assert f"\nworkshop {command}" in sections(text_of("commands.md"))[f"`workshop {command}`"]


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_option_stands_in_its_commands_section(command: str, option: str) -> None:
    """An option is described where its command is, or among those that are common to all."""
    page = sections(text_of("commands.md"))
    described = first_cells(page[f"`workshop {command}`"]) | first_cells(page["Common options"])

    assert option in {word for cell in described for word in cell.split()}


@pytest.mark.parametrize("option", options(command_line()))
def test_option_of_the_command_itself_is_documented(option: str) -> None:
    """The options before any subcommand are described too."""
    assert option in first_cells(sections(text_of("commands.md"))["Common options"])


@pytest.mark.parametrize("command", COMMANDS)
def test_options_on_the_page_exist(command: str) -> None:
    """No section describes an option its command does not have."""
    described = first_cells(sections(text_of("commands.md"))[f"`workshop {command}`"])
    named = {cell.split()[0] for cell in described if cell.startswith("-")}

    assert named <= set(options(command_line().commands[command]))


@pytest.mark.parametrize("command", COMMANDS)
def test_document_of_a_command_is_described(command: str) -> None:
    """What --json prints is described for every command that prints a document."""
    assert command in first_cells(sections(text_of("commands.md"))["JSON documents"])


# -- labels, settings, roster keys ----------------------------------------------------------------


def test_labels_and_the_page_are_the_same() -> None:
    """Each label has a row of docs/labels.md, and no row has lost its label."""
    found = {cell for cell in first_cells(text_of("labels.md")) if cell.startswith("workshop.")}

    assert found == set(labels.ALL)


def test_roles_and_the_page_are_the_same() -> None:
    """Each role has a row of its own."""
    assert first_cells(sections(text_of("labels.md"))["Roles"]) == {
        role.value for role in labels.Role
    }


def test_settings_and_the_page_are_the_same() -> None:
    """Each setting has a row of docs/settings.md, and no row has lost its setting."""
    found = {cell for cell in first_cells(text_of("settings.md")) if cell.startswith("WORKSHOP_")}

    assert found - NOT_SETTINGS == {f"WORKSHOP_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_default_of_a_setting_is_the_pages(name: str) -> None:
    """A default that changes in the code changes on the page."""
    default = Settings.model_fields[name].default
    row = re.search(rf"^\| `WORKSHOP_{name.upper()}` .*$", text_of("settings.md"), re.MULTILINE)

    assert row is not None
    shown = f"`{default:g}`" if isinstance(default, float | int) else str(default or "")
    assert shown in row[0].split("|")[3]


SECTIONS = {
    "": f"{STRANGE}: 1",
    "workshop.": f"workshop: {{{STRANGE}: 1}}",
    "workshop.limits.": f"workshop: {{limits: {{{STRANGE}: 1}}}}",
    "workshop.edge.": f"workshop: {{edge: {{{STRANGE}: 1}}}}",
    "workshop.tls.": f"workshop: {{url: 'https://x.y', tls: {{{STRANGE}: 1}}}}",
    "workshop.llm.": f"workshop: {{llm: {{{STRANGE}: 1}}}}",
    "workshop.llm.upstreams[].": f"workshop: {{llm: {{upstreams: [{{{STRANGE}: 1}}]}}}}",
    "workshop.llm.upstreams[].models.NAME.": (
        "workshop: {llm: {upstreams: [{name: one, url: 'echo:', models: {m: "
        f"{{{STRANGE}: 1}}}}}}]}}}}"
    ),
    "workshop.llm.embedded.": f"workshop: {{llm: {{embedded: {{{STRANGE}: 1}}}}}}",
    "workshop.llm.budget.": f"workshop: {{llm: {{budget: {{{STRANGE}: 1}}}}}}",
    "workshop.egress.": f"workshop: {{egress: {{{STRANGE}: 1}}}}",
    "workshop.board.": f"workshop: {{board: {{{STRANGE}: 1}}}}",
    "workshop.deploys.": f"workshop: {{deploys: {{{STRANGE}: 1}}}}",
    "workshop.deploys.build.": f"workshop: {{deploys: {{build: {{{STRANGE}: 1}}}}}}",
    "workshop.deploys.build.limits.": (
        f"workshop: {{deploys: {{build: {{limits: {{{STRANGE}: 1}}}}}}}}"
    ),
    "participants[].llm.": f"participants: [{{name: ada, llm: {{{STRANGE}: 1}}}}]",
    "defaults.": f"defaults: {{{STRANGE}: 1}}",
    "participants[].": f"participants: [{{{STRANGE}: 1}}]",
}


def known_keys(text: str) -> list[str]:
    """Ask the reader itself: its answer to an unknown key lists the known ones."""
    with pytest.raises(InputError) as raised:
        roster.parse(text, Path("participants.yaml"))
    found = [
        match[1].split(", ")
        for fault in raised.value.faults
        if (match := re.search(rf"unknown key '{STRANGE}'; expected (.+)$", fault.message))
    ]
    assert len(found) == 1, raised.value.faults
    return found[0]


def test_roster_keys_and_the_page_are_the_same() -> None:
    """Each key of each section has a row of docs/roster.md, and no row has lost its key."""
    keys = {prefix + key for prefix, text in SECTIONS.items() for key in known_keys(text)}
    page = sections(text_of("roster.md"))
    titles = [title for title in page if title.startswith(("`workshop", "`defaults`", "`part"))]

    assert set().union(*(first_cells(page[title]) for title in titles)) == keys


EXAMPLES = [
    block
    for block in re.findall(r"```yaml\n(.*?)```", text_of("models.md"), re.DOTALL)
    if block.startswith("workshop:")
]


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example_of_a_roster_with_models_is_a_good_one(
    number: int, parse: Callable[[str], roster.Roster]
) -> None:
    """Whoever copies it changes nothing but names."""
    block = EXAMPLES[number].replace("workshop:\n", "workshop:\n  name: class\n", 1)
    found = parse(f"{block}\nparticipants: [ada]\n")

    assert found.llm is not None
    assert found.llm.model


# -- make, the decisions, the layers --------------------------------------------------------------


def test_make_targets_and_the_readme_are_the_same() -> None:
    """Each target with a help text has a row, and no row has lost its target."""
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    cells = first_cells((ROOT / "README.md").read_text("utf-8"))

    assert {cell for cell in cells if cell.startswith("make ")} == {f"make {t}" for t in targets}


def test_continuous_integration_runs_the_readmes_test_command() -> None:
    """A reader who types what the README says does what continuous integration does."""
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    development = sections((ROOT / "README.md").read_text("utf-8"))["Development"]
    block = re.search(r"```sh\n(.+?)\n```", development)

    assert block is not None
    assert script.rstrip().endswith(f"exec {block[1]}")


def test_decisions_are_numbered_without_gaps() -> None:
    """0001, 0002, ...: none is missing and none stands twice."""
    assert [path.name[:5] for path in ADRS] == [f"{n:04}-" for n in range(1, len(ADRS) + 1)]


@pytest.mark.parametrize("path", ADRS, ids=lambda path: path.stem)
def test_decision_has_its_number_and_headings(path: Path) -> None:
    """Each decision says why, what, what follows, and what would change our mind."""
    text = path.read_text("utf-8")

    assert text.startswith(f"# {int(path.name[:4])}. ")
    assert list(sections(text)) == ADR_HEADINGS


def test_layers_on_the_page_are_the_contracts() -> None:
    """The diagram of docs/architecture.md is the contract that import-linter checks."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    layers = next(item["layers"] for item in contracts["contracts"] if item["type"] == "layers")

    assert "```text\n" + "\n".join(layers) + "\n```" in text_of("architecture.md")


# -- links ----------------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """Name the headings of a page the way links refer to them."""
    headings = re.findall(r"^#+ (.+)$", without_code(path.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def links() -> list[tuple[str, str]]:
    """List page and target of every link inside the repository."""
    return [
        (str(page.relative_to(ROOT)), target)
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text("utf-8")))
        if not target.startswith(("http://", "https://", "mailto:"))
    ]


@pytest.mark.parametrize(("page", "target"), links())
def test_link_leads_somewhere(page: str, target: str) -> None:
    """The file exists, and so does the heading if one is named."""
    path, _, anchor = target.partition("#")
    file = ROOT / page if not path else (ROOT / page).parent / path

    assert file.exists()
    assert not anchor or anchor in anchors(file)


@pytest.mark.parametrize("path", [DOCS / "adr", *PAGES], ids=lambda path: path.name)
def test_page_is_reached_from_the_readme_or_its_index(path: Path) -> None:
    """No page is written that nobody finds."""
    linked = {
        os.path.normpath((ROOT / page).parent / target.partition("#")[0])
        for page, target in links()
    }

    assert path == ROOT / "README.md" or path.parent == DOCS / "adr" or str(path) in linked


def test_files_named_in_the_code_exist() -> None:
    """A docstring or message that sends the reader to docs/... sends them to a page."""
    sources = [*(ROOT / "platform").rglob("*.py"), *(ROOT / "nginx_templates").rglob("*.j2")]
    named = {
        name
        for path in sources
        for name in re.findall(r"\bdocs/[\w/-]+\.md", path.read_text("utf-8"))
    }

    assert named
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


# -- the source root ------------------------------------------------------------------------------


def test_source_root_is_no_package() -> None:
    """A file platform/__init__.py would stand in front of Python's own module of that name."""
    assert not (ROOT / "platform" / "__init__.py").exists()


def test_pythons_own_platform_is_found_from_the_root() -> None:
    """With the repository on the path, ``import platform`` still finds the standard library's."""
    code = "import platform; print(platform.system())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == os.uname().sysname


def test_promise_of_the_security_page_names_tests_that_exist() -> None:
    """Whoever doubts a promise finds what shows it."""
    directory, named = ROOT, []
    for word in re.findall(r"`((?:tests/)?[\w/]+\.py|tests/[\w/]+)`", text_of("security.md")):
        path = ROOT / word if word.startswith("tests/") else directory / word
        directory = path.parent
        named.append(path)

    assert len(named) > 30
    assert [str(path) for path in named if not path.exists()] == []
