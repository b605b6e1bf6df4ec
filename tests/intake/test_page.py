"""The page in a real browser: it uploads, it shows, and nobody else of its host can look in."""

from __future__ import annotations

import contextlib
import http.server
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.intake import crafted
from tests.intake.lab import Lab, key_of
from tests.waiting import PATIENCE, until
from workshop.intake.orders import Escape, Finding, Proof, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.browser

SPY = """<!doctype html><title>bob's app</title><p id="said"></p>
<iframe id="frame" src="/deploy/"></iframe>
"""


class _OneHost(http.server.ThreadingHTTPServer):
    """What the edge does: the deploy page and participants' apps under one host and port."""

    daemon_threads = True
    intake = ""


class _Edge(http.server.BaseHTTPRequestHandler):
    server: _OneHost
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if not self.path.startswith("/deploy"):
            return self._answer(200, {"content-type": "text/html"}, SPY.encode())
        return self._forward()

    do_POST = do_OPTIONS = do_GET  # noqa: N815 - the library looks for these names

    def _forward(self) -> None:
        import httpx2

        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        url = f"http://{self.server.intake}{self.path}"
        headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
        answer = httpx2.request(
            self.command, url, content=body, headers=headers, timeout=20, trust_env=False
        )
        kept = {
            k: v
            for k, v in answer.headers.items()
            if k not in {"transfer-encoding", "content-length"}
        }
        self._answer(answer.status_code, kept, answer.content)

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        pass


@pytest.fixture
def host(served: Lab) -> Iterator[str]:
    """Put the intake and another participant's app on one origin."""
    edge = _OneHost(("127.0.0.1", 0), _Edge)
    edge.intake = served.address
    thread = threading.Thread(target=edge.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{edge.server_port}"
    served.configure(url=url)
    yield url
    edge.shutdown()
    edge.server_close()
    thread.join(PATIENCE)


def fill(page: Any, archive: Path, name: str = "ada") -> None:
    """Do what a participant does, up to the button."""
    page.find_element("id", "name").send_keys(name)
    page.find_element("id", "key").send_keys(key_of(name))
    page.find_element("id", "file").send_keys(str(archive))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Have an app to send."""
    path = tmp_path / "app.zip"
    path.write_bytes(crafted.plain_zip())
    return path


def test_page_uploads_and_shows_the_answer_as_it_comes(
    served: Lab, host: str, browser: Callable[[], Any], archive: Path
) -> None:
    """Name, key, file, button; then lines, the end, and the list of deploys with the proof."""
    proof = Proof(1, (Escape("link", "/index.html:3", "/about", "about"),), 0.04)
    served.server.script = [
        {"stage": Stage.BUILDING, "lines": ("Step 1/1",), "number": 1},
        {"stage": Stage.LIVE, "version": "v1", "proof": proof},
    ]
    served.server.pace = 0.3
    page = browser()
    page.get(f"{host}/deploy/")
    fill(page, archive)
    page.find_element("id", "send").click()

    until(lambda: page.find_element("id", "answer").get_attribute("class") == "live")
    text = page.find_element("id", "answer").text
    assert text.splitlines()[:2] == ["Sending app.zip ...", "Received 5 files, 78 kB."]
    assert "  | Step 1/1" in page.find_element("id", "answer").get_attribute("textContent")
    assert f"Live: {host}/ada/ (version v1" in text
    item = until(lambda: page.find_elements("css selector", "#list li.live"), 10)[0]
    assert "#1 live" in item.text
    assert "Leaves the app's address: link /about" in item.text
    (order,) = until(lambda: served.server.taken)
    assert order.seat == "ada"
    assert [line for line in page.get_log("browser") if line["level"] == "SEVERE"] == []


def test_page_shows_refusals_and_the_doctors_words(
    served: Lab, host: str, browser: Callable[[], Any], archive: Path, tmp_path: Path
) -> None:
    """A wrong archive and a broken app are explained where they were sent from."""
    finding = Finding("exits", "Your app <b>ends</b> at once.", ("app.py:3",), "Mend line 3.")
    served.server.script = [{"stage": Stage.FAILED, "finding": finding}]
    wrong = tmp_path / "notes.txt"
    wrong.write_text("just a text\n" * 100, "utf-8")
    page = browser()
    page.get(f"{host}/deploy/")
    fill(page, wrong)
    page.find_element("id", "send").click()
    answer = page.find_element("id", "answer")
    until(lambda: answer.get_attribute("class") == "failed")
    assert "a text, not an archive" in answer.text

    page.find_element("id", "file").send_keys(str(archive))
    until(page.find_element("id", "send").is_enabled)
    page.find_element("id", "send").click()
    until(lambda: "Mend line 3." in answer.text)
    assert "Your app <b>ends</b> at once." in answer.text
    until(lambda: "Mend line 3." in page.find_element("id", "list").text)


def test_page_refuses_to_be_read_by_its_neighbours(
    served: Lab, host: str, browser: Callable[[], Any]
) -> None:
    """Another app of the same host opens the page, in a window and in a frame, and sees nothing."""
    page = browser()
    page.get(f"{host}/bob/")
    opened = page.execute_script("window.other = window.open('/deploy/'); return !!window.other")
    assert opened
    spy, form = page.window_handles
    page.switch_to.window(form)
    until(lambda: page.find_elements("id", "key"))
    page.find_element("id", "key").send_keys(key_of("ada"))
    assert page.execute_script("return window.origin") == "null"
    assert page.execute_script("return document.getElementById('key').value") == key_of("ada")

    page.switch_to.window(spy)
    read = """
        const tries = {
          window: () => window.other.document.getElementById('key').value,
          location: () => String(window.other.location.href),
          global: () => window.other.eval('1'),
          frame: () => document.getElementById('frame').contentDocument.getElementById('key').value,
          reverse: () => { window.other.document.body.onkeyup = () => {}; return 'hooked'; },
        };
        const found = {};
        for (const [name, look] of Object.entries(tries)) {
          try { found[name] = String(look()); } catch (error) { found[name] = error.name; }
        }
        return found;
    """
    found = page.execute_script(read)
    assert {found[name] for name in ("window", "location", "global", "reverse")} == {
        "SecurityError"
    }
    assert found["frame"] == "TypeError"
    assert key_of("ada") not in str(found)


def test_neighbour_without_the_headers_could_read_it(
    served: Lab, host: str, browser: Callable[[], Any]
) -> None:
    """The spy's means are good: a page of this host without a sandbox is an open book."""
    page = browser()
    page.get(f"{host}/bob/")
    page.execute_script("window.other = window.open('/ada/')")
    until(lambda: page.execute_script("return window.other.document.readyState === 'complete'"))
    assert page.execute_script("return window.other.document.title") == "bob's app"


def test_page_keeps_nothing_and_has_no_storage(
    served: Lab, host: str, browser: Callable[[], Any]
) -> None:
    """An opaque origin has neither cookies nor storage, so no key can stay behind."""
    page = browser()
    page.get(f"{host}/deploy/")
    for look in ("localStorage.length", "sessionStorage.length", "document.cookie"):
        said = page.execute_script(f"try {{ return String({look}) }} catch (e) {{ return e.name }}")
        assert said == "SecurityError", look


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_a_phone(served: Lab, host: str, browser: Callable[[], Any], scheme: str) -> None:
    """Nothing is cut off at 360 pixels, in light and in dark, and text stands out."""
    page = browser()
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True},
    )
    page.get(f"{host}/deploy/")
    assert page.execute_script("return document.documentElement.scrollWidth") <= 360
    colours = page.execute_script(
        "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
    )
    light, dark = (sum(map(int, c[c.index("(") + 1 : -1].split(",")[:3])) for c in colours)
    assert abs(light - dark) > 500
    assert (light < dark) == (scheme == "light")


def test_page_is_whole_in_itself(served: Lab) -> None:
    """No outside asset, no inline handler, and the policy names its own script by hash."""
    answer = served.ask("GET", "/deploy/")
    policy = answer.headers["content-security-policy"]
    assert "allow-same-origin" not in policy
    assert policy.startswith(
        "sandbox allow-scripts allow-forms; default-src 'none'; script-src 'sha256-"
    )
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy
    assert "unsafe" not in policy
    for foreign in ("src=", "http:", "https:", "@import", "onclick", "style="):
        with contextlib.suppress(ValueError):
            assert answer.text.index(foreign) < 0, foreign


def test_key_in_the_pages_address_is_refused(served: Lab) -> None:
    """A link with a key in it is worse than none."""
    answer = served.ask("GET", f"/deploy/?key={key_of('ada')}")
    assert (answer.status_code, "rotate" in answer.text) == (400, True)
