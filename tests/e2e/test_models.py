"""An afternoon with models: a class without any key, on the real engine, with a real model.

The class is provisioned once, from the shipped template, with the embedded model behind the
gateway; people talk to it through the edge, from their seats, and from a laptop.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.e2e.room import Class, initialise, provisioned
from tests.waiting import SOON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from workshop.engines.docker import DockerEngine

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(900)]

PEOPLE = ("ada", "bob", "grace")
"""Who chats; hedy's key is bound to her seat."""
TOY = "toy-smollm2-135m"
OUTAGE = """\
  llm:
    model: toy-smollm2-135m
    embedding: all-minilm-l6-v2
    upstreams: [{name: away, url: "http://127.0.0.1:9/v1", models: {class-model: }}]
    outage: [embedded]
"""
ROSTER = """\
workshop:
  name: {name}
  url: http://localhost:{port}
  deploys: false
defaults:
  llm: {{requests_per_minute: 500, tokens_per_minute: 1m}}
participants: [ada, bob, grace, {{name: hedy, llm: {{bound: true}}}}]
"""


@pytest.fixture(scope="module")
def room(docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Class]:
    """Provision a class of three with the embedded model."""
    directory = tmp_path_factory.mktemp("models")
    with provisioned(docker_engine, directory, "e2e-models", ROSTER, initialise) as started:
        yield started


def key_of(room: Class, name: str) -> dict[str, Any]:
    """Ask the command for somebody's key."""
    [shown] = room.json("keys", "show", name)
    found: dict[str, Any] = shown
    return found


def client_of(room: Class, name: str, **options: Any) -> openai.OpenAI:
    """Make the official client, as on somebody's laptop."""
    shown = key_of(room, name)
    return openai.OpenAI(
        api_key=options.pop("api_key", shown["key"]), base_url=shown["base_url"], **options
    )


def ask(client: openai.OpenAI, *said: str, **options: Any) -> str:
    """Ask the class's model; every second message is an answer it gave before."""
    roles = ("user", "assistant")
    messages: Any = [{"role": roles[n % 2], "content": text} for n, text in enumerate(said)]
    answer = client.chat.completions.create(model=TOY, messages=messages, **options)
    return answer.choices[0].message.content or ""


def test_status_shows_gateway_and_model_alive(room: Class) -> None:
    """The instructor sees before the class that the models answer."""
    status = room.json("status")

    assert (status["ok"], status["gateway"], status["embedded"]) == (True, "live", "live")


def test_official_client_talks_to_a_real_model(room: Class) -> None:
    """The answer comes from a model, and says from which."""
    with client_of(room, "ada") as client:
        answer = client.chat.completions.create(
            model=TOY,
            messages=[{"role": "user", "content": "What is the capital of France?"}],
        )

    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.model == TOY
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


def test_stream_arrives_in_pieces(room: Class) -> None:
    """The first word is there before the last."""
    with client_of(room, "ada") as client:
        stream = client.chat.completions.create(
            model=TOY,
            messages=[{"role": "user", "content": "Tell me a story of a small server."}],
            stream=True,
            max_tokens=60,
        )
        times = [time.monotonic() for chunk in stream if chunk.choices[0].delta.content]

    assert len(times) > 10
    assert times[-1] - times[0] > 0.1


def test_embeddings_put_like_beside_like(room: Class) -> None:
    """Retrieval stands on this."""
    with client_of(room, "ada") as client:
        texts = ["How do I stop a container?", "docker stop ends it.", "Cats sleep all day."]
        data = client.embeddings.create(model="all-minilm-l6-v2", input=texts).data
    question, near, far = (item.embedding for item in data)

    def likeness(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert len(question) == 384
    assert likeness(question, near) > likeness(question, far) + 0.2


def test_models_are_listed(room: Class) -> None:
    """What can be asked is told."""
    with client_of(room, "ada") as client:
        assert {model.id for model in client.models.list()} == {TOY, "all-minilm-l6-v2"}


def test_seat_talks_to_its_model_with_its_own_key(room: Class) -> None:
    """The app asks the gateway directly, and no key of anybody else is in its container."""
    before = used(room, "bob")["requests"]
    status, kind, body = chat(room, "bob", "What is the capital of France?")

    assert (status, kind) == (200, "text/event-stream; charset=utf-8")
    assert "event: token" in body
    assert "event: done" in body
    assert used(room, "bob")["requests"] > before


def test_everybody_at_once_gets_an_answer(room: Class) -> None:
    """Thirty questions for four places: all wait their turn, none fails, and waiting is shown."""
    names = [PEOPLE[n % 3] for n in range(30)]
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda name: chat(room, name, "Say hello."), names))

    assert [status for status, _, _ in answers] == [200] * 30
    assert all("event: done" in body and "event: error" not in body for _, _, body in answers)
    assert any("event: queue" in body for _, _, body in answers)


def test_wrong_key_is_refused_in_words(room: Class) -> None:
    """The message names no key."""
    wrong = "wk-" + "A" * 43
    with (
        client_of(room, "ada", api_key=wrong) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.models.list()

    assert caught.value.code == "invalid_api_key"
    assert wrong not in str(caught.value)


def test_bound_key_works_in_its_seat_alone(room: Class) -> None:
    """It is of no use to whoever copied it, nor through a header that lies about the address."""
    address = room.run("exec", "hedy", "--", "hostname", "-i").stdout.split()[0]
    with (
        client_of(room, "hedy", max_retries=0) as client,
        pytest.raises(openai.PermissionDeniedError) as caught,
    ):
        client.models.list(extra_headers={"X-Real-IP": address})

    assert caught.value.code == "key_bound"
    assert "event: done" in chat(room, "hedy", "Say hello.")[2]


def test_rotated_key_stops_within_a_second_and_the_new_one_works(room: Class) -> None:
    """Both the app and the laptop go on with the new one."""
    with client_of(room, "grace", max_retries=0) as old:
        old.models.list()
        room.json("keys", "rotate", "grace", "--yes")
        with pytest.raises(openai.AuthenticationError):
            old.models.list()
    with client_of(room, "grace") as new:
        new.models.list()

    assert "event: done" in chat(room, "grace", "Say hello.")[2]


def test_revoked_key_ends_answers_under_way(room: Class) -> None:
    """Nobody talks on with a key that was taken away, nor keeps a place in the queue with it."""
    with client_of(room, "ada", max_retries=0) as client, ThreadPoolExecutor(12) as pool:
        begun = threading.Event()
        ends = [pool.submit(listen, client, begun) for _ in range(12)]
        assert begun.wait(30)
        room.json("keys", "revoke", "ada", "--yes")
        revoked = time.monotonic()
        errors = [end.result() for end in ends]

    assert time.monotonic() - revoked < SOON
    assert "invalid_api_key" in {error.code for error in errors if error is not None}
    room.json("keys", "restore", "ada")
    with client_of(room, "ada") as again:
        again.models.list()


def listen(client: openai.OpenAI, begun: threading.Event) -> openai.APIError | None:
    """Listen to a long answer to its end, whichever it is."""
    question: Any = [{"role": "user", "content": "Tell me a long story about a lighthouse."}]
    try:
        for _ in client.chat.completions.create(
            model=TOY, messages=question, stream=True, max_tokens=1000
        ):
            begun.set()
    except openai.APIError as error:
        return error
    return None


def test_paused_class_is_told_so(room: Class) -> None:
    """The instructor wants everybody's eyes."""
    room.json("llm", "pause", "--all")
    try:
        with (
            client_of(room, "ada", max_retries=0) as client,
            pytest.raises(openai.PermissionDeniedError) as caught,
        ):
            ask(client, "Hello?")
        assert caught.value.code == "paused"
        assert "event: error" in chat(room, "bob", "Hello?")[2]
    finally:
        room.json("llm", "resume", "--all")
    with client_of(room, "ada") as client:
        assert ask(client, "Hello!", max_tokens=5)


def test_usage_counts_everybody(room: Class) -> None:
    """Tokens and requests stand under the name that used them."""
    with client_of(room, "ada") as client:
        before = used(room, "ada")
        answer = client.chat.completions.create(
            model=TOY, messages=[{"role": "user", "content": "Hi"}], max_tokens=8
        )
        after = used(room, "ada", lambda use: use["requests"] > before["requests"])

    assert answer.usage is not None
    assert after["requests"] == before["requests"] + 1
    assert after["input_tokens"] == before["input_tokens"] + answer.usage.prompt_tokens
    assert after["output_tokens"] == before["output_tokens"] + answer.usage.completion_tokens


def test_outage_of_the_provider_is_bridged_by_the_embedded_model(room: Class) -> None:
    """The class goes on; the answer says who gave it, and nobody's app was restarted."""
    roster = room.directory / "participants.yaml"
    before, text = room.containers(), roster.read_text()
    roster.write_text(text.replace("defaults:", OUTAGE + "defaults:"))
    try:
        assert room.json("provision")["ok"]
        assert room.containers() == before
        with client_of(room, "ada") as client:
            answer = client.chat.completions.with_raw_response.create(
                model="class-model",
                messages=[{"role": "user", "content": "What is the capital of France?"}],
            )
        assert answer.headers["x-workshop-toy"] == "1"
        assert answer.parse().model == TOY
    finally:
        roster.write_text(text)
        room.json("provision")


def test_metrics_are_answered_to_the_server_alone(room: Class) -> None:
    """What everybody uses is nobody else's business."""
    script = (
        "import os, urllib.request, urllib.error\n"
        "url = os.environ['OPENAI_BASE_URL'].replace('/llm/v1', '/metrics')\n"
        "try: print(urllib.request.urlopen(url).status)\n"
        "except urllib.error.HTTPError as error: print(error.code)"
    )
    address = room.run("exec", "ada", "--", "printenv", "OPENAI_BASE_URL").stdout.strip()

    assert room.run("exec", "ada", "--", "python", "-c", script).stdout.strip() == "403"
    assert room.get("/metrics")[0] == 404
    with urllib.request.urlopen(address.replace("/llm/v1", "/metrics")) as answer:
        assert 'seat="ada"' in answer.read().decode()


def test_killed_gateway_comes_back_and_forgets_nothing(room: Class) -> None:
    """The restart policy starts it; what was used is in the books."""
    before = used(room, "ada")["requests"]
    subprocess.run(["docker", "kill", f"{room.name}-gateway"], check=True, capture_output=True)
    assert room.json("status", status=1)["gateway"] != "live"
    room.json("provision")
    with client_of(room, "ada") as client:
        ask(client, "Hello!", max_tokens=5)

    assert used(room, "ada", lambda use: use["requests"] > before)["requests"] == before + 1


def test_no_key_is_found_where_it_does_not_belong(room: Class) -> None:
    """Ada's key is in her own container alone: not in labels, images, logs, state or the edge."""
    key = key_of(room, "ada")["key"]
    listed = ["docker", "ps", "-aq", "--filter", f"label=workshop.name={room.name}"]
    found = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
    holders = []
    for container in found:
        raw = subprocess.run(
            ["docker", "inspect", container], capture_output=True, text=True, check=True
        ).stdout
        logs = subprocess.run(
            ["docker", "logs", container], capture_output=True, text=True, check=True
        )
        if key in raw:
            holders.append(json.loads(raw)[0]["Name"])
        assert key not in logs.stdout + logs.stderr
    state = b"".join(
        path.read_bytes() for path in (room.directory / ".workshop").rglob("*") if path.is_file()
    )

    assert holders == [f"/{room.name}-ada"]
    assert key.encode() not in state


def chat(room: Class, name: str, message: str) -> tuple[int, str, str]:
    """Ask somebody's app a question, as its page does."""
    import http.client

    connection = http.client.HTTPConnection("localhost", room.port, timeout=180)
    try:
        body = json.dumps({"message": message, "conversation": f"c-{time.monotonic_ns()}"})
        connection.request("POST", f"/{name}/chat", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.getheader("content-type", ""), answer.read().decode()
    finally:
        connection.close()


def used(room: Class, name: str, until: Any = lambda _: True) -> dict[str, Any]:
    """Read somebody's usage; the books are written a few times a second."""
    deadline = time.monotonic() + SOON
    while True:
        usage = room.json("usage")
        [use] = [seat for seat in usage["seats"] if seat["name"] == name]
        if until(use) or time.monotonic() > deadline:
            found: dict[str, Any] = use
            return found
        time.sleep(0.1)


# -- in the browser ---------------------------------------------------------------------------


LIBRARY = """# The Lovelace library

The Lovelace library opens at nine o'clock in the morning. It closes at six.
A card costs four euros a year.
"""


class Page:
    """Somebody's chat page in a real browser."""

    def __init__(self, driver: Any, url: str) -> None:
        self.driver = driver
        driver.get(url)

    def find(self, selector: str) -> list[Any]:
        """Find elements by CSS."""
        found: list[Any] = self.driver.find_elements("css selector", selector)
        return found

    def until(self, happened: Any, seconds: float = 90) -> Any:
        """Wait for something on the page."""
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.driver, seconds, 0.05).until(lambda _: happened())

    def ask(self, question: str) -> str:
        """Type a question, send it, and read the whole answer."""
        before = len(self.find("#log .app"))
        self.find("#message")[0].send_keys(question)
        self.find("#send")[0].click()
        self.until(lambda: len(self.find("#log .app")) > before or self.find("#log .trouble"))
        self.until(lambda: self.find("#log")[0].get_attribute("aria-busy") == "false")
        assert not self.find("#log .trouble"), self.find("#log")[0].text
        return str(self.find("#log .app")[-1].text)


@pytest.mark.browser
def test_page_talks_remembers_and_cites(
    room: Class, browser: Callable[[], Any], tmp_path: Path
) -> None:
    """Ask, ask on, upload a text, and get an answer that cites it; usage has it all."""
    before = used(room, "ada")
    page = Page(browser(), f"http://localhost:{room.port}/ada/")

    assert "Paris" in page.ask("What is the capital of France?")
    assert "toy" in page.find("#log .badge")[0].text
    page.ask("My name is Grace.")
    assert page.ask("What is my name?")
    # What a toy makes of it is its own affair, and not the same each time.
    assert "My name is Grace." in sent_to_the_model(page)

    (tmp_path / "library.md").write_text(LIBRARY)
    page.find("#documents")[0].click()
    page.find("#file")[0].send_keys(str(tmp_path / "library.md"))
    page.until(lambda: "library.md" in page.find("#documents-list")[0].text)
    page.find("#tick-none")[0].click()
    tick(page, "library.md")
    page.find("#documents-dialog .close")[0].click()
    page.find("#fresh")[0].click()
    answer = page.ask("When does the Lovelace library open?")

    assert "nine" in answer or "9" in answer
    source = page.find("#log details blockquote b")[0].get_attribute("textContent")
    assert "library.md" in source
    after = used(room, "ada", lambda use: use["requests"] >= before["requests"] + 4)
    assert after["output_tokens"] > before["output_tokens"]


def sent_to_the_model(page: Page) -> str:
    """Unfold what the page shows of the last question's context."""
    found = page.find("#log .foot")[-1].find_elements("css selector", "details")
    return "".join(str(item.get_attribute("textContent")) for item in found)


def tick(page: Page, name: str) -> None:
    """Choose one document to answer from."""
    [box] = [
        item.find_element("css selector", "input")
        for item in page.find("#documents-list li")
        if name in item.text
    ]
    if not box.is_selected():
        box.click()
