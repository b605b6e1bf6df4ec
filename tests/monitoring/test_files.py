"""What Prometheus and Grafana are given: loads, fires when it should, and names what exists."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

from tests.seen import TOKEN, watched
from workshop import monitoring
from workshop.board import exposition
from workshop.errors import InputError, WorkshopError
from workshop.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN = {"up", "ALERTS"}
"""Series of Prometheus itself."""


@pytest.fixture
def written(directory: Path) -> Path:
    """Write the files for a class that was watched."""
    watched(directory)
    monitoring.write(Workspace(directory / "participants.yaml"), directory / "out")
    return directory / "out"


def promtool(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``promtool`` in a directory."""
    if not (program := shutil.which("promtool")):
        pytest.skip("promtool is missing; Debian's package prometheus has it")
    return subprocess.run(
        [program, *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def rules() -> list[dict[str, Any]]:
    """Read every alert."""
    text = (monitoring.FILES / "alerts.yml").read_text()
    return [rule for group in YAML(typ="safe").load(text)["groups"] for rule in group["rules"]]


def dashboard_expressions() -> Iterator[str]:
    """Yield what the dashboard asks Prometheus for, whole numbers of its variables included."""
    board = json.loads((monitoring.FILES / "dashboard.json").read_text())
    for panel in board["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]
    yield from (item["expr"] for item in board["annotations"]["list"])


def series(expression: str) -> set[str]:
    """Name the series of an expression."""
    return set(re.findall(r"\b(?:workshop_[a-z_]+|up|ALERTS)(?=\{)|\bworkshop_[a-z_]+", expression))


def test_prometheus_accepts_what_is_written(written: Path) -> None:
    """Configuration, rules, and the file with the token."""
    done = promtool(written, "check", "config", "prometheus.yml")

    assert done.returncode == 0, done.stderr
    assert "11 rules found" in done.stdout


def test_every_alert_fires_when_it_should(written: Path) -> None:
    """``promtool test rules`` plays the series of ``alerts_test.yml``."""
    done = promtool(written, "test", "rules", "alerts_test.yml")

    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@pytest.mark.parametrize("name", [rule["alert"] for rule in rules()])
def test_test_of_an_alert_fails_without_its_rule(written: Path, name: str) -> None:
    """Each has a test that sees it fire: with its expression made false, that test fails."""
    path = written / "alerts.yml"
    content = YAML(typ="safe").load(path.read_text())
    for group in content["groups"]:
        for rule in group["rules"]:
            if rule["alert"] == name:
                rule["expr"] = "vector(0) > 1"
    with path.open("w") as file:
        YAML(typ="safe").dump(content, file)
    done = promtool(written, "test", "rules", "alerts_test.yml")

    assert done.returncode != 0
    assert name in done.stdout + done.stderr


def test_series_of_alerts_and_dashboard_exist() -> None:
    """A name that is misspelt would never fire, and draw nothing."""
    asked = set().union(*(series(rule["expr"]) for rule in rules()))
    drawn = set().union(*map(series, dashboard_expressions()))

    assert asked - OWN <= exposition.names()
    assert drawn - OWN <= exposition.names()
    assert len(drawn - OWN) > 15


def test_series_of_the_alerts_own_test_exist() -> None:
    """Nor may the test play what nobody sends."""
    text = (monitoring.FILES / "alerts_test.yml").read_text()
    played = set(re.findall(r"series: '([a-z_]+)", text))

    assert played - OWN <= exposition.names()


@pytest.mark.parametrize("expression", sorted(set(dashboard_expressions())))
def test_expression_of_the_dashboard_is_one(tmp_path: Path, expression: str) -> None:
    """Each panel asks something that Prometheus can parse."""
    if expression.startswith("label_values("):
        expression = expression.removeprefix("label_values(").rpartition(",")[0]
    rule = {"groups": [{"name": "x", "rules": [{"record": "x", "expr": expression}]}]}
    (tmp_path / "rule.yml").write_text(json.dumps(rule))
    done = promtool(tmp_path, "check", "rules", "rule.yml")

    assert done.returncode == 0, done.stderr


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    """Each has an id, a title and a place of its own on a grid of 24 columns."""
    panels = json.loads((monitoring.FILES / "dashboard.json").read_text())["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert (
        len({panel["id"] for panel in panels})
        == len({panel["title"] for panel in panels})
        == len(panels)
    )


def test_token_is_its_owners_alone_and_stands_in_one_file(written: Path) -> None:
    """Everything else may be shown to anybody."""
    assert stat.S_IMODE((written / "metrics.token").stat().st_mode) == 0o600
    assert (written / "metrics.token").read_text() == f"{TOKEN}\n"
    others = [path for path in written.iterdir() if path.name != "metrics.token"]
    assert len(others) == 6
    assert all(TOKEN not in path.read_text() for path in others)


def test_board_of_this_class_is_asked(written: Path) -> None:
    """Its own loopback address, and its name on every series."""
    told = YAML(typ="safe").load((written / "prometheus.yml").read_text())
    (job,) = told["scrape_configs"]

    (static,) = job["static_configs"]
    assert static == {"targets": ["127.86.8.1:8013"], "labels": {"workshop": "class"}}
    assert job["authorization"]["credentials_file"] == "metrics.token"
    assert "$" not in (written / "README.md").read_text().replace("$(cat metrics.token)", "")


def test_written_again_replaces_its_own(written: Path, directory: Path) -> None:
    """After a teardown there is another token."""
    (directory / ".workshop" / "metrics.token").write_text("other\n")
    monitoring.write(Workspace(directory / "participants.yaml"), written)

    assert (written / "metrics.token").read_text() == "other\n"
    assert [path.name for path in written.iterdir() if "new" in path.name] == []


def test_configuration_of_somebody_else_is_left_alone(directory: Path) -> None:
    """Whoever says ``--output /etc/prometheus`` keeps what is there."""
    watched(directory)
    (directory / "etc").mkdir()
    (directory / "etc" / "prometheus.yml").write_text("global: {}\n")

    with pytest.raises(InputError, match="would be overwritten"):
        monitoring.write(Workspace(directory / "participants.yaml"), directory / "etc")

    assert [path.name for path in (directory / "etc").iterdir()] == ["prometheus.yml"]


def test_class_that_was_never_provisioned_has_no_token(directory: Path) -> None:
    """The error says which command makes it, and nothing is written."""
    watched(directory)
    (directory / ".workshop" / "metrics.token").unlink()

    with pytest.raises(WorkshopError, match="no token yet") as caught:
        monitoring.write(Workspace(directory / "participants.yaml"), directory / "out")

    assert "workshop provision" in caught.value.hint
    assert not (directory / "out").exists()


def test_page_and_files_name_the_same_figures_and_alerts() -> None:
    """Whoever looks one up finds it, and none is described that does not exist."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "monitoring.md").read_text()
    cells = [row.split("|")[1] for row in page.splitlines() if row.startswith("| `")]
    named = {word for cell in cells for word in re.findall(r"`([A-Za-z_]+)`", cell)}
    ends = re.compile(r"_(?:bucket|sum|count)$")
    figures = {ends.sub("", name) if "duration" in name else name for name in exposition.names()}

    assert {name for name in named if name.startswith("workshop_")} == figures
    assert {name for name in named if name.startswith("Workshop")} == {
        rule["alert"] for rule in rules()
    }
