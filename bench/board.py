"""What the board costs and how quick it is, with a class of real seats.

    python bench/board.py [--seats 300] [--idle 60] [--rounds 5]

A class of small apps is provisioned on the real engine with the real edge. *First paint* is what
Chromium says of the wall, *event* the time from a seat's end to its tile saying so, *idle* what
``serve`` and the board take together while nothing happens and one browser looks: memory as the
kernel shares it out between processes (PSS), processor time of both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT)]

from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from tests.e2e.room import provisioned  # noqa: E402

from workshop.engines.docker import DockerEngine  # noqa: E402

WANTED = {"memory": 150.0, "processor": 5.0, "paint": 1.0, "event": 1.0}
"""MB, percent of one core, seconds, seconds."""
APP = """\
import http.server, json, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        said = {"participant": os.environ["WORKSHOP_PARTICIPANT"], "version": os.environ["WORKSHOP_VERSION"]}
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""
DOCKERFILE = """\
ARG BASE_IMAGE=python:3.12-slim
FROM ${BASE_IMAGE}
COPY app.py /app.py
CMD ["python3", "-S", "/app.py"]
"""
WATCH = """
const tile = document.getElementById(`seat-${arguments[0]}`);
const before = tile.dataset.state;
window.changed = 0;
// The one of the seat before would still see that one's change.
if (window.watcher) window.watcher.disconnect();
window.watcher = new MutationObserver(() => {
  const now = document.getElementById(`seat-${arguments[0]}`);
  if (!window.changed && now && now.dataset.state !== before) window.changed = Date.now() / 1000;
});
window.watcher.observe(document.body, {childList: true, subtree: true, attributes: true, characterData: true});
"""


def fill(directory: Path) -> None:
    """Lay the app that everybody starts from."""
    home = directory / "participant_template"
    home.mkdir()
    (home / "app.py").write_text(APP)
    (home / "Dockerfile").write_text(DOCKERFILE)


def roster(seats: int) -> str:
    """Write a roster of so many people, with room for all of them on one server."""
    people = "".join(f"  - seat-{number:03d}\n" for number in range(1, seats + 1))
    return (
        "workshop:\n  name: {name}\n  url: http://localhost:{port}\n  llm: false\n"
        "  limits: {{memory: 64m, cpus: 0.5, pids: 32}}\nparticipants:\n" + people
    )


def processes(name: str) -> list[int]:
    """List the processes of ``serve`` and the board, as this machine numbers them."""
    found = []
    for part in ("serve", "board"):
        listed = subprocess.run(
            ["docker", "top", f"{name}-{part}", "-eo", "pid"],
            capture_output=True,
            text=True,
            check=True,
        )
        found += [int(line) for line in listed.stdout.split() if line.isdigit()]
    return found


def memory(pids: list[int]) -> float:
    """Add up what processes hold, in MB; what they share counts once."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def processor(pids: list[int]) -> float:
    """Add up the processor time that processes have used, in seconds."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


def browser(directory: Path) -> Any:
    """Start a headless Chromium."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={directory}")
    return webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))


def paint(page: Any, origin: str) -> float:
    """Open the wall anew and read when it was first seen, in seconds."""
    page.get("about:blank")
    page.get(f"{origin}/")
    until = time.monotonic() + 20
    while time.monotonic() < until:
        seen = page.execute_script(
            "return performance.getEntriesByName('first-contentful-paint').map(e => e.startTime)"
        )
        if seen:
            return float(seen[0]) / 1000
        time.sleep(0.05)
    raise TimeoutError("nothing was painted")


def event(page: Any, name: str, seat: str) -> float:
    """End a seat and wait until its tile says so, in seconds."""
    page.execute_script(WATCH, seat)
    time.sleep(1)
    listed = subprocess.run(
        ["docker", "inspect", "-f", "{{.State.Pid}}", f"{name}-{seat}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(listed.stdout) > 0
    begun = time.time()
    subprocess.run(["docker", "kill", f"{name}-{seat}"], check=True, capture_output=True)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        changed = page.execute_script("return window.changed")
        if changed:
            return float(changed) - begun
        time.sleep(0.02)
    raise TimeoutError(f"the tile of {seat} did not change")


def measure(seats: int, idle: int, rounds: int) -> dict[str, float]:
    """Provision, measure, tear down."""
    engine = DockerEngine()
    with (
        tempfile.TemporaryDirectory() as directory,
        tempfile.TemporaryDirectory() as profile,
        provisioned(engine, Path(directory), "bench", roster(seats), fill) as room,
    ):
        page = browser(Path(profile))
        try:
            link = room.json("board")["url"]
            origin = link.partition("/login")[0]
            page.get(link)
            until = time.monotonic() + 20
            while page.current_url.rstrip("/") != origin and time.monotonic() < until:
                time.sleep(0.1)
            time.sleep(5)
            pids = processes(room.name)
            used = processor(pids)
            time.sleep(idle)
            share = 100 * (processor(pids) - used) / idle
            held = memory(pids)
            painted = [paint(page, origin) for _ in range(rounds)]
            time.sleep(3)
            events = [event(page, room.name, f"seat-{7 + n:03d}") for n in range(rounds)]
        finally:
            page.quit()
    return {
        "seats": float(seats),
        "memory": held,
        "processor": share,
        "paint": statistics.median(painted),
        "slowest_paint": max(painted),
        "event": statistics.median(events),
        "slowest_event": max(events),
    }


def main() -> int:
    """Measure and print; 1 when a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seats", type=int, default=300)
    parser.add_argument("--idle", type=int, default=60, help="seconds")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found = measure(options.seats, options.idle, options.rounds)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    missed = [name for name, most in WANTED.items() if found[name] > most]
    sys.stdout.write(f"missed: {', '.join(missed)}\n" if missed else "all figures reached\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
