"""A whole class asks the embedded model at once: who gets an answer, when, and is told what meanwhile.

    python bench/embedded.py [--seats 30] [--rounds 3]

Everything is real: the class is provisioned, each question goes through the edge to the seat's own
app, from there with the seat's key to the gateway, and waits there for one of the model's places.
In each round everybody asks at the same moment, in a conversation of their own, and asks on.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.ports import free_port  # noqa: E402 - after the path

QUESTIONS = ("What is the capital of France?", "What did I just ask you?")


@dataclass
class Heard:
    """What one visitor saw of one answer; times in seconds since the question."""

    first_word: float = 0.0
    whole: float = 0.0
    words: int = 0
    places: list[int] = field(default_factory=list)
    """How many questions went before, each time the page was told."""
    ended: str = "nothing"


def ask(port: int, name: str, message: str, conversation: str) -> Heard:
    """Ask somebody's app as its page does, and listen to the end."""
    heard, begun = Heard(), time.monotonic()
    connection = http.client.HTTPConnection("localhost", port, timeout=600)
    body = json.dumps({"message": message, "conversation": conversation})
    connection.request("POST", f"/{name}/chat", body, {"Content-Type": "application/json"})
    event = ""
    for raw in connection.getresponse():
        key, _, value = raw.decode().rstrip("\n").partition(": ")
        if key == "event":
            event = value
        elif key == "data" and event == "token":
            heard.words += 1
            heard.first_word = heard.first_word or time.monotonic() - begun
        elif key == "data" and event == "queue":
            heard.places.append(json.loads(value)["before"])
        elif key == "data" and event in {"done", "error"}:
            heard.ended = event if event == "done" else f"error: {value}"
    heard.whole = time.monotonic() - begun
    connection.close()
    return heard


def asking(port: int, message: str, name: str) -> Heard:
    """Ask in a conversation of one's own."""
    return ask(port, name, message, f"bench-{name}")


def report(number: int, answers: list[Heard]) -> None:
    """Print one round."""
    good = [heard for heard in answers if heard.ended == "done" and heard.words]
    firsts = sorted(heard.first_word for heard in good)
    told = sum(bool(heard.places) for heard in answers)
    seconds = max(heard.whole for heard in answers)
    words = sum(heard.words for heard in answers)
    print(
        f"round {number}: {len(good)} of {len(answers)} answered, "
        f"first word after {statistics.median(firsts):.1f} s (median), {firsts[-1]:.1f} s (last), "
        f"{told} were told their place, {words / seconds:.0f} words a second over all"
    )
    for heard in answers:
        if heard not in good:
            print(f"  not answered: {heard.ended}")


def main() -> None:
    """Provision, ask, print, tear down."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seats", type=int, default=30)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    names = [f"p{number:03d}" for number in range(chosen.seats)]
    port = free_port()
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        workshop(directory, "init", ".", "--name", "bench-embedded")
        people = "".join(f"  - {name}\n" for name in names)
        (directory / "participants.yaml").write_text(
            f"workshop:\n  name: bench-embedded\n  url: http://localhost:{port}\n  deploys: false\n"
            f"participants:\n{people}"
        )
        try:
            workshop(directory, "provision")
            for number in range(chosen.rounds):
                message = QUESTIONS[number % len(QUESTIONS)]
                with ThreadPoolExecutor(len(names)) as pool:
                    answers = list(pool.map(partial(asking, port, message), names))
                report(number + 1, answers)
            usage = json.loads(workshop(directory, "usage", "--json"))["total"]
            print(
                f"the books: {usage['requests']} requests, {usage['output_tokens']} tokens answered,"
                f" {usage['errors']} errors"
            )
        finally:
            workshop(directory, "teardown", "--yes")


def workshop(directory: Path, *arguments: str) -> str:
    """Run the command and return what it wrote."""
    done = subprocess.run(
        [sys.executable, "-m", "workshop", *arguments],
        cwd=directory,
        env={"PYTHONPATH": str(ROOT / "platform"), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    main()
