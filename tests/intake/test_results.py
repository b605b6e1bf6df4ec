"""What became of deploys: the list, the following, and every other address."""

from __future__ import annotations

import json
import queue
import threading
import time
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from tests.intake import crafted
from tests.intake.lab import DIGEST, Lab, basic, bearer, begun
from tests.intake.test_announcements import event
from tests.waiting import PATIENCE, until
from workshop.intake import orders
from workshop.intake.orders import Escape, Finding, Order, Proof, Stage, What
from workshop.intake.watch import fresh

FINDING = Finding("exits", "Your app ends as soon as it starts.", ("app.py:3",), "Mend line 3.")


def order(number: int, name: str = "ada") -> Order:
    """Make an old order."""
    return Order(
        orders.new_id(1_700_000_000 + number),
        name,
        What.PUSH,
        name,
        1_700_000_000.0 + number,
        f"{name}/app",
        DIGEST,
    )


def live(lab: Lab, number: int, name: str = "ada", **changes: Any) -> None:
    """Log a deploy that went live."""
    made = replace(
        begun(order(number, name)),
        number=number,
        version=f"v{number}",
        stage=Stage.LIVE,
        ended=1_700_000_001.0 + number,
    )
    lab.server.log(replace(made, **changes))


def test_list_shows_newest_first_with_the_doctors_words(lab: Lab) -> None:
    """Only the own ones, as text."""
    live(lab, 1)
    live(lab, 1, "bob")
    live(lab, 2, stage=Stage.FAILED, finding=FINDING)
    live(lab, 3, actor="instructor", proof=Proof(1, (Escape("fetch", "/app.js:7", "/api", "api"),)))
    answer = lab.ask("GET", "/deploy/ada", headers=bearer("ada"))

    assert answer.status_code == 200
    assert answer.text == (
        "  #3  2023-11-14 22:13:23 UTC  push by instructor  v3  live\n"
        "      Leaves the app's address: fetch /api in /app.js:7; write api\n"
        "  #2  2023-11-14 22:13:22 UTC  push  v2  failed\n"
        "      Not live: Your app ends as soon as it starts.\n"
        "          app.py:3\n"
        "      What to do: Mend line 3.\n"
        "  #1  2023-11-14 22:13:21 UTC  push  v1  live\n"
    )


def test_list_as_json_has_everything(lab: Lab) -> None:
    """For programs and for the page."""
    live(lab, 1)
    headers = {**basic("ada"), "accept": "application/json"}
    (item,) = lab.ask("GET", "/deploy/ada", headers=headers).json()["deploys"]
    assert (item["number"], item["stage"], item["version"]) == (1, "live", "v1")
    assert item["text"][-1] == "deployed"


def test_list_without_deploys_says_how_to_make_one(lab: Lab) -> None:
    """An empty answer would leave a beginner alone."""
    text = lab.ask("GET", "/deploy/ada/", headers=bearer("ada")).text
    assert "Nothing was deployed for ada yet" in text
    assert f"{lab.url}/deploy/ada" in text


def test_log_that_grows_or_is_replaced_is_read_on(lab: Lab) -> None:
    """Broken and half-written lines cost nothing but themselves."""

    def count() -> int:
        headers = {**bearer("ada"), "accept": "application/json"}
        return len(lab.ask("GET", "/deploy/ada", headers=headers).json()["deploys"])

    live(lab, 1)
    assert count() == 1
    with (lab.deploys / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"broken\n[]\n{}\n')
    live(lab, 2)
    assert count() == 2
    path = lab.deploys / "log.jsonl"
    text = path.read_text("utf-8")
    with path.open("a", encoding="utf-8") as file:
        file.write(text.splitlines()[0][:50])
    assert count() == 2
    path.write_text(text.splitlines()[0] + "\n", "utf-8")
    assert count() == 1


def test_follow_waits_for_a_push_to_appear_and_end(lab: Lab) -> None:
    """What one runs after `docker push`."""
    object.__setattr__(lab.service.options, "appear", 20.0)
    live(lab, 1)
    lines: queue.Queue[str] = queue.Queue()

    def follow() -> None:
        url = f"{lab.url}/deploy/ada?follow=1"
        with httpx2.stream(
            "GET", url, headers=bearer("ada"), timeout=PATIENCE, trust_env=False
        ) as found:
            lines.put(f"{found.status_code}")
            for line in found.iter_lines():
                lines.put(line)

    thread = threading.Thread(target=follow)
    thread.start()
    lab.events(event())
    assert lines.get(timeout=PATIENCE) == "200"
    (placed,) = lab.orders()
    fetching = replace(begun(placed), stage=Stage.FETCHING)
    orders.tell(lab.deploys / "progress", fetching)
    assert lines.get(timeout=PATIENCE) == "Fetching the image ..."
    orders.tell(lab.deploys / "progress", replace(fetching, stage=Stage.LIVE, version="v2"))
    assert "(version v2" in lines.get(timeout=PATIENCE)
    assert lines.get(timeout=PATIENCE) == "deployed"
    thread.join(PATIENCE)


def test_follow_with_nothing_under_way_tells_the_last_end(lab: Lab) -> None:
    """A deploy may be over before anybody asks."""
    live(lab, 1)
    lines = lab.ask("GET", "/deploy/ada?follow=1", headers=bearer("ada")).text.splitlines()
    assert lines == [f"Live: {lab.url}/ada/ (version v1, 1.0 s)", "deployed"]


def test_follow_with_no_deploy_at_all_is_not_found(lab: Lab) -> None:
    """There is nothing to wait for."""
    answer = lab.ask("GET", "/deploy/ada?follow=1", headers=bearer("ada"))
    assert (answer.status_code, "Nothing was deployed" in answer.text) == (404, True)


@pytest.mark.parametrize(
    ("stage", "status", "code"),
    [(Stage.LIVE, 200, 0), (Stage.FAILED, 422, 22), (Stage.SUPERSEDED, 422, 22)],
)
def test_strict_follow_fails_curl_for_a_failed_deploy(
    lab: Lab, stage: Stage, status: int, code: int
) -> None:
    """`curl -f` gives a script its exit code; the text is the same."""
    live(lab, 1, stage=stage, finding=FINDING)
    url = f"{lab.url}/deploy/ada?follow=1&strict=1"
    key = bearer("ada")["authorization"]
    done = lab.curl("-f", "-H", f"Authorization: {key}", url)
    answer = lab.ask("GET", "/deploy/ada?follow=1&strict=1", headers=bearer("ada"))

    assert done.returncode == code
    assert answer.status_code == status
    plain = lab.ask("GET", "/deploy/ada?follow=1", headers=bearer("ada"))
    assert answer.text == plain.text


def test_results_of_somebody_else_are_not_shown(lab: Lab) -> None:
    """Build output may hold what its owner would not show."""
    live(lab, 1, "bob")
    assert lab.ask("GET", "/deploy/bob", headers=bearer("ada")).status_code == 401
    assert lab.ask("GET", "/deploy/bob", headers=basic("ada")).status_code == 403
    assert lab.ask("GET", "/deploy/bob").status_code == 401


def test_lines_come_as_they_are_written(lab: Lab) -> None:
    """Nothing on the way collects them: the first is read before the last is made."""
    lab.server.script = [{"stage": Stage.BUILDING, "lines": ("first",)}]
    lab.server.start()
    content = crafted.plain_tgz()
    stream = httpx2.stream(
        "POST",
        f"{lab.url}/deploy/ada",
        content=content,
        headers=bearer("ada"),
        timeout=10,
        trust_env=False,
    )
    with stream as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("Received")
        assert next(lines) == "Building ..."
        assert next(lines) == "  | first"
        (taken,) = until(lambda: lab.server.taken)
        ended = replace(
            begun(taken), stage=Stage.FAILED, lines=("first", "second"), finding=FINDING
        )
        orders.tell(lab.deploys / "progress", ended)
        assert next(lines) == "  | second"
        assert list(lines)[-1] == "failed"


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ((), ("a",), ("a",)),
        (("a",), ("a", "b"), ("b",)),
        (("a", "b"), ("b", "c"), ("c",)),
        (("a", "a"), ("a", "a", "a"), ("a",)),
        (("a", "b"), ("x", "y"), ("x", "y")),
        (("a", "b"), ("a", "b"), ()),
        (("a", "b"), (), ()),
    ],
)
def test_new_lines_of_a_moving_window(before: Any, now: Any, new: Any) -> None:
    """Progress holds the last lines only; each is told once."""
    assert fresh(before, now) == new


# -- all other addresses ------------------------------------------------------------------------


def test_health_names_the_configuration(lab: Lab) -> None:
    """The command waits for the fingerprint it wrote."""
    answer = lab.ask("GET", "/healthz")
    assert answer.json() == {"status": "ok", "config": lab.config.fingerprint}


def test_garbled_configuration_leaves_the_old_one(lab: Lab) -> None:
    """And says so once."""
    (lab.directory / "config/config.json").write_text("{", "utf-8")
    until(lambda: any("refused" in line["event"] for line in lab.logged()))
    assert lab.ask("GET", "/healthz").json()["config"] == lab.config.fingerprint


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/", 404, "There is nothing at this address"),
        ("GET", "/v2/", 404, "There is nothing"),
        ("DELETE", "/deploy/ada", 405, "This address takes GET, HEAD, OPTIONS, POST, PUT"),
        ("PUT", "/v2/token", 405, "takes GET, HEAD, OPTIONS, POST"),
        ("GET", "/events", 405, "takes OPTIONS, POST"),
        ("POST", "/deploy/", 405, "takes GET, HEAD, OPTIONS"),
        ("PROPFIND", "/deploy/ada", 405, "This address takes"),
    ],
)
def test_wrong_address_or_method_is_explained(
    lab: Lab, method: str, path: str, status: int, words: str
) -> None:
    """As text, and as JSON for who asks for it; docker gets its own form."""
    answer = lab.ask(method, path)
    assert (answer.status_code, words in answer.text) == (status, True), answer.text
    as_json = lab.ask(method, path, headers={"accept": "application/json"})
    assert words in json.dumps(as_json.json())


def test_head_and_options_are_sane(lab: Lab) -> None:
    """No body for one, the methods and the permissions for the other."""
    head = lab.ask("HEAD", "/deploy/")
    assert (head.status_code, head.text) == (200, "")
    assert lab.ask("HEAD", "/deploy/ada", headers=bearer("ada")).status_code == 200
    options = lab.ask("OPTIONS", "/deploy/ada", headers={"origin": "null"})
    assert options.status_code == 204
    assert options.headers["access-control-allow-origin"] == "*"
    assert "authorization" in options.headers["access-control-allow-headers"]


def test_no_answer_is_a_page_of_this_host(lab: Lab) -> None:
    """Foreign words never run as somebody's page."""
    for path in ("/deploy/ada", "/deploy/<b>", "/nothing", "/v2/token"):
        answer = lab.ask("GET", path)
        assert "sandbox" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "html" not in answer.headers["content-type"]


def test_address_without_slash_leads_to_the_page(lab: Lab) -> None:
    """People type it so."""
    answer = lab.ask("GET", "/deploy")
    assert (answer.status_code, answer.headers["location"]) == (308, "/deploy/")


def test_edge_is_believed_when_it_names_the_caller(lab: Lab) -> None:
    """The log has the address of whoever asked."""
    lab.ask("GET", "/deploy/", headers={"x-real-ip": "203.0.113.7"})
    until(lambda: any(line["event"] == "request" for line in lab.logged()))
    assert (
        next(line for line in lab.logged() if line["event"] == "request")["peer"] == "203.0.113.7"
    )


def test_three_hundred_followers_are_cheap(lab: Lab) -> None:
    """A look at an unchanged order reads no file."""
    import asyncio

    from workshop.intake.watch import follow

    made = begun(order(1))
    orders.tell(lab.deploys / "progress", made)

    async def one() -> int:
        return len(
            [1 async for item in follow(lab.deploys, made.id, every=0.05, longest=1) if item]
        )

    async def all_of_them() -> list[int]:
        return await asyncio.gather(*(one() for _ in range(300)))

    began = time.process_time()
    assert asyncio.run(all_of_them()) == [1] * 300
    assert time.process_time() - began < 1.0
