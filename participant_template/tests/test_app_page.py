"""The chat page: whose it is, what it may load, and where it sends questions."""

import re

import pytest
from app_helpers import make_settings
from fastapi.testclient import TestClient

from app import main


def test_page_greets_by_name(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Greeting and name come from the settings."""
    settings = make_settings(greeting="Ahoy", display_name="Grace Hopper")
    monkeypatch.setattr(main, "settings", settings)

    page = client.get("/").text

    assert "Ahoy! <small>This app belongs to Grace Hopper.</small>" in page


def test_page_without_display_name_shows_the_seat(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The participant's name stands in for a missing display name."""
    monkeypatch.setattr(main, "settings", make_settings(workshop_participant="ada"))

    assert "belongs to ada." in client.get("/").text


def test_page_hostile_greeting_stays_text(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A greeting with markup is shown, not run."""
    monkeypatch.setattr(main, "settings", make_settings(greeting="<script>x</script>"))

    page = client.get("/").text

    assert "&lt;script&gt;x" in page
    assert "<script>x" not in page


@pytest.mark.parametrize(("key", "hidden"), [(None, False), ("sk-secret", True)])
def test_page_notes_the_echo_only_without_a_key(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, key: str | None, *, hidden: bool
) -> None:
    """The visitor is told when no model answers, and never sees the key."""
    monkeypatch.setattr(main, "settings", make_settings(openai_api_key=key))

    page = client.get("/").text

    assert ('<p class="note" hidden>' in page) == hidden
    assert "sk-secret" not in page


def test_page_loads_nothing_from_outside(client: TestClient) -> None:
    """Everything the page needs is inside it (the one namespace name is not an address)."""
    page = client.get("/").text.replace("http://www.w3.org/2000/svg", "")

    assert "//" not in re.sub(r"^\s*//.*|; // .*", "", page, flags=re.MULTILINE)
    assert not re.findall(r"\b(?:src|action)=|@import|url\(", page)
    assert re.findall(r'href="([^:"]*)', page) == ["data"]


def test_page_uses_relative_addresses(client: TestClient) -> None:
    """Under /ada/ the page must ask /ada/chat, so its address is just `chat`."""
    page = client.get("/").text
    addresses = re.findall(r'call\("([^"]*)"', page)

    assert {address.rstrip("/") for address in addresses} == {
        *("chat", "conversations", "documents", "documents?name="),
    }
    assert re.findall(r"fetch\((\w+)", page) == ["address"]  # inside `call`, and nowhere else


def test_page_never_turns_text_into_markup(client: TestClient) -> None:
    """Answers enter the page as text only."""
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", client.get("/").text
    )


def test_page_policy_admits_only_its_own_script(client: TestClient) -> None:
    """The browser runs what carries this answer's nonce, and each answer has a new one."""
    first, second = client.get("/"), client.get("/")
    policy = first.headers["content-security-policy"]
    nonce = re.findall(r"script-src 'nonce-([^']+)'", policy)

    assert "default-src 'none'" in policy
    assert re.findall(r'<script nonce="([^"]*)"', first.text) == nonce
    assert re.findall(r'<style nonce="([^"]*)"', first.text) == nonce
    assert " style=" not in first.text
    assert nonce[0] not in second.text


def test_page_leaves_no_placeholder(client: TestClient) -> None:
    """Every placeholder of the file is filled in."""
    assert not re.search(r"\$[a-z{]", client.get("/").text)


def test_page_is_usable_without_a_mouse_or_eyes(client: TestClient) -> None:
    """Field and conversation are labelled, and answers are announced."""
    page = client.get("/").text

    assert '<label for="message">' in page
    assert 'role="log" aria-label="Conversation"' in page
    assert 'lang="en"' in page
