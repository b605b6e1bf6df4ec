"""Code that cannot be loaded: syntax, packages that are not there, own files of another name."""

from __future__ import annotations

import difflib
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from workshop.deploys.diagnosis.packages import lists, package_of
from workshop.deploys.diagnosis.words import NEAR, at, crash_lines, finding, last_match, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from workshop.deploys.diagnosis.crash import Crash
    from workshop.deploys.diagnosis.evidence import Evidence
    from workshop.intake.orders import Finding

_NODE_MISSING = ("MODULE_NOT_FOUND", "ERR_MODULE_NOT_FOUND")


def syntax_error(evidence: Evidence, crash: Crash | None) -> Finding | None:
    """Name the cause where a file cannot be parsed."""
    kinds = {"SyntaxError", "IndentationError", "TabError"}
    found = next((item for item in crash.chain if item.kind in kinds), None) if crash else None
    if found is None or not found.places:
        return None
    place = found.places[-1]
    where = at(evidence, place)
    return finding(
        evidence,
        "syntax-error",
        f"{where} cannot be read as a program: {found.message or found.kind}.",
        f"Look at line {place.line} of {where.rpartition(':')[0]} and the one above: a bracket, "
        "quote or colon is missing or one too many, or the line is indented wrongly.",
        [f"{where}    {place.code}", found.last],
    )


def import_error(evidence: Evidence, crash: Crash | None) -> Finding | None:
    """Name the cause where a module or package cannot be found."""
    for item in crash.chain if crash else ():
        if item.kind in {"ModuleNotFoundError", "ImportError"}:
            return _python_import(evidence, item)
        if item.kind in _NODE_MISSING or item.message.startswith("Cannot find module '"):
            return _node_import(evidence, item)
        needed = re.search(r'requires "([\w-]+)" to be installed', item.message)
        if needed:
            return _missing_package(evidence, needed[1], needed[1], crash_lines(evidence, item))
    match = last_match(
        r"Error loading ASGI app\. Could not import module \"([\w.]+)\""
        r"|Could not import '([\w.]+)'"
        r"|python[\d.]*: No module named ([\w.]+)"
        r"|Error while finding module specification for '([\w.]+)'",
        evidence.log,
    )
    if match:
        module = next(filter(None, match.groups()))
        return _not_loaded(evidence, module.removesuffix(".__main__"), match.string)
    return None


def _python_import(evidence: Evidence, crash: Crash) -> Finding | None:
    lines = crash_lines(evidence, crash)
    module = re.search(r"No module named '?([\w.]+)'?", crash.message)
    if module:
        return _missing_module(evidence, module[1], lines)
    library = re.match(r"(\S+\.so[\d.]*): cannot open shared object file", crash.message)
    if library:
        return finding(
            evidence,
            "import-error",
            f"A Python package needs the system library {library[1]}, which the image lacks.",
            "Use a variant of the package that does without, such as opencv-python-headless in "
            "place of opencv-python, or install the library in the Dockerfile.",
            lines,
        )
    name = re.match(
        r"cannot import name '([^']+)' from (?:partially initialized module )?'([^']+)'",
        crash.message,
    )
    if name is None:
        return None
    place = crash.place
    if place and PurePosixPath(place.path).stem == name[2].partition(".")[0]:
        file = PurePosixPath(place.path).name
        message = f"Your file {file} has the name of the package it imports, and hides it."
        advice = f"Give {file} another name, in its imports, too."
    elif "circular import" in crash.message:
        message = f"{name[1]} cannot be imported from {name[2]} yet: two files import each other."
        advice = "Move what both files need into a third one, or import inside the function."
    else:
        message = f"There is no {name[1]} in the module {name[2]}."
        advice = "Check the spelling, and in requirements.txt the version of the package."
    return finding(evidence, "import-error", message, advice, lines)


def _missing_module(evidence: Evidence, module: str, lines: Sequence[str]) -> Finding:
    package = package_of(module)
    listed = evidence.requirements is not None and lists(evidence.requirements, package)
    near = None if listed else _nearest_module(evidence.files, module)
    if near is None:
        return _missing_package(evidence, module, package, lines)
    name, path = near
    return finding(
        evidence,
        "import-error",
        f"The app imports {module}, and there is no such file.",
        f"The nearest of your files is {path}, which is imported as {name}. Make the two the same, "
        "capital letters included, and check that the Dockerfile copies the file. "
        f"If {module} is a package: add a line {package} to requirements.txt.",
        lines,
    )


def _not_loaded(evidence: Evidence, module: str, line: str) -> Finding:
    near = _nearest_module(evidence.files, module)
    offer = f"The nearest of your files is {near[1]}, called {near[0]} there. " if near else ""
    return finding(
        evidence,
        "import-error",
        f"The server is told to load the module {module}, and there is no such file.",
        f"{offer}Compare the name in CMD with your files, seen from WORKDIR, and check that the "
        "Dockerfile copies the file.",
        [line],
    )


def _missing_package(
    evidence: Evidence, module: str, package: str, lines: Sequence[str]
) -> Finding:
    if evidence.requirements is None:
        advice = (
            f"If it is a package: write a line {package} into requirements.txt beside your code, "
            "and install it in the Dockerfile: RUN pip install -r requirements.txt. If it is your "
            "own file: check its name, and that the Dockerfile copies it."
        )
    elif lists(evidence.requirements, package):
        advice = (
            f"requirements.txt asks for {package}, but the Python that starts the app does not "
            "have it: check that the Dockerfile runs pip install -r requirements.txt with the "
            "same Python."
        )
    else:
        advice = (
            f"Add a line {package} to requirements.txt. If it is your own file: check its name, "
            "and that the Dockerfile copies it."
        )
    return finding(
        evidence,
        "import-error",
        f"The app imports {module}, which is not in the image.",
        advice,
        lines,
    )


def _node_import(evidence: Evidence, crash: Crash) -> Finding | None:
    name = re.search(r"Cannot find (?:module|package) '([^']+)'", crash.message)
    if name is None or (name[1].startswith("/") and not crash.place):
        return None
    own = name[1].startswith((".", "/"))
    near = nearest(PurePosixPath(name[1]).name, evidence.files) if own else None
    offer = f"The nearest of your files is {near}. " if near else ""
    return finding(
        evidence,
        "import-error",
        f"The app imports {name[1]}, and "
        + ("there is no such file." if own else "it is not in the image."),
        f"{offer}Make the import and the file's name the same, capital letters included."
        if own
        else f"Run npm install {name[1]}, so that it stands in package.json, and let the "
        "Dockerfile run npm install.",
        crash_lines(evidence, crash),
    )


def _own_modules(files: Iterable[str]) -> dict[str, str]:
    """Map the modules the participant's files make to the files."""
    found: dict[str, str] = {}
    for file in files:
        path = PurePosixPath(file)
        if path.suffix == ".py":
            parts = path.with_suffix("").parts
            found[".".join(parts)] = file
            for length in range(1, len(parts)):
                found.setdefault(".".join(parts[:length]), f"{'/'.join(parts[:length])}/")
    return found


def _nearest_module(files: Iterable[str], module: str) -> tuple[str, str] | None:
    """Find the participant's own module, and its file, that is most like the one asked for."""
    own = _own_modules(files)
    lower = {name.lower(): name for name in own}
    near = difflib.get_close_matches(module.lower(), lower, 1, NEAR)
    nested = [name for name in own if name.endswith(f".{module}")]
    found = lower[near[0]] if near else next(iter(nested), None)
    return (found, own[found]) if found else None
