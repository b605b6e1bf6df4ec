"""Good answers kept for an outage: found again exactly or by the last question, never by its words."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.gateway import fake
from tests.waiting import until
from workshop.gateway.config import Outage, Task
from workshop.gateway.replay import FILE, Replay, keys
from workshop.gateway.tally import Usage
from workshop.gateway.validate import Ask

if TYPE_CHECKING:
    from pathlib import Path

    from tests.gateway.lab import Lab


def ask(question: str, *before: str) -> Ask:
    """Make a request."""
    messages = [{"role": "user", "content": text} for text in (*before, question)]
    return Ask(Task.CHAT, "small", {"messages": messages}, 100)


def answer_of(kept: Replay, request: Ask) -> str | None:
    """Find an answer's text."""
    reply = kept.find(request)

    async def read(chunks: Any) -> bytes:
        return b"".join([chunk async for chunk in chunks])

    if reply is None:
        return None
    import json

    found: str = json.loads(asyncio.run(read(reply.chunks)))["choices"][0]["message"]["content"]
    return found


def test_same_last_question_finds_the_newest_answer(tmp_path: Path) -> None:
    """Case, spaces and the mark at the end do not matter; the same conversation goes first."""
    kept = Replay(tmp_path / FILE)
    kept.keep(ask("What is a seat?", "Hello"), "a place", Usage(1, 1))
    kept.keep(ask("What is a seat?"), "a chair", Usage(1, 1))
    assert answer_of(kept, ask("what  IS a seat", "something else")) == "a chair"
    assert answer_of(kept, ask("What is a seat?", "Hello")) == "a place"
    assert answer_of(kept, ask("What is a key?")) is None
    kept.close()


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    """The record is bounded."""
    kept = Replay(tmp_path / FILE, kept=3)
    for number in range(5):
        kept.keep(ask(f"question {number}"), str(number), Usage(1, 1))
    assert [answer_of(kept, ask(f"question {n}")) for n in range(5)] == [None, None, "2", "3", "4"]
    kept.close()


def test_keys_differ_by_model_and_task() -> None:
    """Another model's answer is another answer."""
    other = replace(ask("x"), model="large")
    assert not set(keys(ask("x"))) & set(keys(other))


def test_broken_file_keeps_and_finds_nothing(tmp_path: Path) -> None:
    """The record is a comfort: without it answers go on."""
    (tmp_path / FILE).write_bytes(b"garbage" * 1000)
    kept = Replay(tmp_path / FILE)
    assert kept.keep(ask("x"), "y", Usage(1, 1)) is False
    assert kept.find(ask("x")) is None
    kept.close()


def test_outage_is_answered_from_the_record(lab: Lab) -> None:
    """Streamed and whole, chat and embeddings; free of charge; what was never asked is a 503."""
    lab.configure(record=True, outage=(Outage.REPLAY,))
    for stream in (True, False):
        lab.fake.script.append(fake.good(text=f"{stream} "))
        assert lab.ask(f"question {stream}", stream=stream).status_code == 200
    vectors = {"model": "vectors", "input": ["a", "b"]}
    first = lab.post(vectors, path="/embeddings").json()
    lab.idle()
    until(lambda: not lab.running.accountant._keeping)
    lab.fake.default = fake.status(500)
    whole = lab.ask("Question True")
    assert whole.headers["x-workshop-upstream"] == "replay"
    assert whole.json()["choices"][0]["message"]["content"] == "True " * 5
    with lab.client() as client:
        pieces = client.chat.completions.create(
            model="small", messages=[{"role": "user", "content": "question False"}], stream=True
        )
        assert "".join(p.choices[0].delta.content or "" for p in pieces) == "False " * 5
    again = lab.post(vectors, path="/embeddings")
    assert again.json()["data"] == first["data"]
    assert lab.ask("never asked").status_code == 503
    replayed = [row for row in lab.rows() if row["upstream"] == "replay"]
    assert [(row["input_tokens"] + row["output_tokens"], row["money"]) for row in replayed] == [
        (12, 0),
        (12, 0),
        (7, 0),
    ]


def test_nothing_is_kept_unless_wanted(lab: Lab) -> None:
    """Without the switch there is no record."""
    lab.ask()
    lab.idle()
    assert not (lab.directory / "data" / FILE).exists()
