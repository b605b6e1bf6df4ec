"""What the template's files for local work and CI say, read as their tools read them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "participant_template"
COMPOSE = TEMPLATE / "compose.yaml"
DEVCONTAINER = TEMPLATE / ".devcontainer" / "devcontainer.json"
WORKFLOW = TEMPLATE / ".github" / "workflows" / "deploy.yml"
EXPRESSION = re.compile(r"\$\{\{ *(.+?) *\}\}")


class Breakage(NamedTuple):
    """One line of the README's table: what to change, and what the server then says."""

    file: str
    old: str
    new: str
    says: str

    def apply(self, app: Path) -> None:
        """Break the app in ``app``."""
        path = app / self.file
        text = path.read_text("utf-8")
        assert text.count(self.old) == 1, (
            f"{self.file} holds {self.old!r} {text.count(self.old)} times"
        )
        path.write_text(text.replace(self.old, self.new), "utf-8")


def read_yaml(path: Path) -> Any:
    """Read a YAML file into plain dictionaries and lists."""
    return YAML(typ="safe").load(path)


def read_jsonc(path: Path) -> Any:
    """Read JSON whose comments have lines of their own."""
    lines = path.read_text("utf-8").splitlines()
    return json.loads("\n".join("" if line.lstrip().startswith("//") else line for line in lines))


def job(path: Path = WORKFLOW) -> dict[str, Any]:
    """Find the one job of a workflow."""
    (found,) = read_yaml(path)["jobs"].values()
    return dict(found)


def steps(path: Path = WORKFLOW) -> list[str]:
    """Give the shell of each ``run:`` step, in order.

    They expect what :func:`environment` gives.
    """
    return [step["run"] for step in job(path)["steps"] if "run" in step]


def environment(path: Path = WORKFLOW, **values: str) -> dict[str, str]:
    """Give the variables a workflow's steps see, its expressions filled in from ``values``.

    ``values`` are secrets and variables alike, by their names at GitHub.
    """
    found = job(path)
    sets = [found.get("env", {}), *(step.get("env", {}) for step in found["steps"])]
    return {
        name: EXPRESSION.sub(lambda m: _evaluate(m[1], values), text)
        for variables in sets
        for name, text in variables.items()
    }


def _evaluate(expression: str, values: dict[str, str]) -> str:
    """Evaluate ``vars.NAME``, ``secrets.NAME``, or one of them ``|| 'a default'``."""
    name, _, default = expression.partition(" || ")
    return values.get(name.partition(".")[2], "") or default.strip("'")


def breakages() -> list[Breakage]:
    """Read the README's table of things to break."""
    text = (TEMPLATE / "README.md").read_text("utf-8").partition("### Break it on purpose")[2]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return [Breakage(*(cell.strip().strip("`") for cell in row)) for row in rows[:5]]


def copy_app(directory: Path) -> Path:
    """Copy the template as a participant has it, without what others' tests left in it."""
    leave = shutil.ignore_patterns("__pycache__", ".env", "data", ".pytest_cache", ".venv")
    return shutil.copytree(TEMPLATE, directory / "my-app", ignore=leave)
