"""Neither a prompt, nor an answer, nor a key stands in a log, a database, an error or a metric."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import httpx2

from tests.gateway import fake
from tests.gateway.fake import FakeThread
from tests.gateway.lab import PROVIDER_KEY, key_of, seat, upstream
from tests.waiting import until
from workshop.gateway.config import SECRETS, Budget

if TYPE_CHECKING:
    from tests.gateway.lab import Lab

PROMPT = "CANARY-prompt-4711"
ANSWER = "CANARY-answer-0815 "
OTHER_KEY = "sk-other-CANARY-fedcba9876543210"


def test_canaries_are_found_nowhere(lab: Lab) -> None:
    """After good answers, refusals, faults and a record, only hashes of questions remain."""
    lab.configure(record=True)
    lab.fake.default = fake.good(text=ANSWER)
    answers = [lab.ask(PROMPT, stream=stream) for stream in (True, False)]
    answers.append(lab.ask(PROMPT, name="eve"))
    answers.append(lab.ask(PROMPT, model="no"))
    answers.append(lab.ask(PROMPT, temperature=9))
    answers.append(lab.post({}, path=f"/chat/completions?key={key_of('ada')}"))
    lab.fake.script.extend(
        [fake.status(400, f"bad key {PROVIDER_KEY}"), fake.cut(2), fake.status(401, PROVIDER_KEY)]
    )
    answers += [lab.ask(PROMPT, stream=True), lab.ask(PROMPT, stream=True)]
    until(lambda: lab.running.forwarder.breaker.worth("main"))
    answers.append(lab.ask("other"))
    lab.configure(seats=(seat("ada", budget=Budget(tokens=1)),))
    answers.append(lab.ask(PROMPT))
    rows = str(lab.rows())
    until(lambda: not lab.running.accountant._keeping)
    metrics = httpx2.get(f"http://{lab.address}/metrics", trust_env=False).text
    said = "".join(a.text for a in answers[2:]) + metrics + rows + lab.log.getvalue()
    stored = b"".join(path.read_bytes() for path in (lab.directory / "data").iterdir())
    assert [a.status_code for a in answers] == [200, 200, 401, 404, 400, 400, 400, 200, 502, 429]
    for canary in (PROMPT, PROVIDER_KEY, key_of("ada"), key_of("eve")):
        assert canary not in said
        assert canary.encode() not in stored
    assert ANSWER not in said
    assert ANSWER.encode() in stored, (
        "the record holds answers, and this test reads the right files"
    )


def test_internal_fault_tells_its_place_and_no_words(lab: Lab) -> None:
    """Even a fault of ours does not spill what was asked."""
    broken = replace(lab.running.forwarder)
    object.__setattr__(broken, "queue", None)
    lab.running.forwarder = broken
    answer = lab.ask(PROMPT)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "forward.py" in lab.log.getvalue()
    assert PROMPT not in lab.log.getvalue() + answer.text


def test_provider_hears_its_own_key_and_nobody_elses(lab: Lab) -> None:
    """Not where another one stands in for it, not where it sends the caller on, and a toy hears none."""
    other = FakeThread()
    try:
        (lab.directory / "config" / SECRETS / "other.key").write_text(OTHER_KEY, "utf-8")
        toy = upstream(f"{lab.fake.url}/toy", "toy", secret="", toy=True)
        second = upstream(other.fake.url, "second", secret="other.key")  # noqa: S106 - a file
        lab.configure(upstreams=(*lab.config.upstreams, second))
        elsewhere = fake.status(302, location=f"{other.fake.url}/chat/completions")
        lab.fake.script.extend([elsewhere, *[fake.status(500)] * 3])
        answers = [lab.ask(), lab.ask()]
        first = {seen.headers["authorization"] for seen in lab.fake.seen}
        heard = {seen.headers["authorization"] for seen in other.fake.seen}
        lab.configure(upstreams=(toy,))
        answers.append(lab.ask())
    finally:
        other.stop()

    told = [answer.headers["x-workshop-upstream"] for answer in answers]
    assert told == ["second", "second", "toy"]
    assert first == {f"Bearer {PROVIDER_KEY}"}
    assert heard == {f"Bearer {OTHER_KEY}"}
    assert "authorization" not in lab.fake.seen[-1].headers
