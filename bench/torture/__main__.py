"""Everything that takes long, with a table of figures at the end: `python -m bench.torture`.

Each part prints what it does while it does it; `python -m bench.torture kills edge` runs some of
them, `--list` names them. Needs root: engines are killed and disks filled, in namespaces and on
file systems of their own.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from bench.torture.figure import Figure  # noqa: E402 - the source tree is not installed here

PARTS = {
    "identity": "restarts in every order, kills of the engine: nobody on a wrong seat",
    "kills": "our own processes killed at every side effect",
    "faults": "the engine's answers cut, stalled and falsified; growth over time",
    "disks": "the engine's own disk full, by bytes or by files, at random moments",
    "reach": "who reaches whom, and what, in every egress mode",
    "neighbours": "one seat misbehaves in every way at once",
    "edge": "reloads, slow connections, open streams",
    "secrets": "values round trip, canaries",
    "fuzz": "generated rosters, requests and calls",
}
HEAD = "| figure | wanted | measured | |\n| --- | --- | --- | --- |"


def main() -> int:
    """Run the parts asked for; 1 when any figure was missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all when none is named")
    parser.add_argument("--list", action="store_true", help="name the parts")
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{name:12} {what}" for name, what in PARTS.items()))
        return 0
    figures: list[Figure] = []
    for name in options.parts or PARTS:
        print(f"==> {name}: {PARTS[name]}", flush=True)
        begun = time.monotonic()
        figures += _part(name)
        print(f"    {time.monotonic() - begun:.0f} s", flush=True)
    print(HEAD)
    print("\n".join(map(str, figures)))
    return 0 if figures and all(figure.ok for figure in figures) else 1


def _part(name: str) -> list[Figure]:
    """Run one; what it could not finish is a figure missed, and the others still run."""
    found: list[Figure] = []
    try:
        for figure in importlib.import_module(f"bench.torture.{name}").measure():
            print(f"    {figure}", flush=True)
            found.append(figure)
    except Exception as exc:  # noqa: BLE001 - one part must not take the others down
        found.append(Figure(name, "an end", f"{type(exc).__name__}: {exc}"[:200], ok=False))
        print(f"    {found[-1]}", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
