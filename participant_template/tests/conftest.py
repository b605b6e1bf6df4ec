"""What every test starts with: a clean app, and a fake model where one is needed."""

import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that `app` is found from any folder

from app_helpers import Upstream, make_settings
from fastapi.testclient import TestClient

from app import echo, main, parts
from app.echo import Echo
from app.settings import Settings


@pytest.fixture(autouse=True)
def clean_app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Give each test an app without a key, without memories, and with a quick echo."""
    monkeypatch.chdir(tmp_path)  # away from your own .env, and from your own data
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(main, "settings", make_settings())
    monkeypatch.setattr(echo, "Echo", lambda: Echo(seconds_per_word=0))
    forget_parts()
    yield
    forget_parts()


def forget_parts() -> None:
    """Let each part be made anew when it is next needed."""
    if parts.load_library.cache_info().currsize:
        parts.load_library(main.settings).close()  # its thread would outlive the test
    for load in (parts.load_model, parts.load_history, parts.load_library):
        load.cache_clear()


@pytest.fixture
def client() -> TestClient:
    """Talk to the app without a network."""
    return TestClient(main.app, raise_server_exceptions=False)


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    """Start the fake model and point the app at it."""
    fake = Upstream()
    Thread(target=fake.serve_forever, args=(0.01,), daemon=True).start()
    settings = make_settings(
        openai_api_key="sk-secret", openai_base_url=fake.url, openai_model="fake"
    )
    monkeypatch.setattr(main, "settings", settings)
    yield fake
    fake.never_ends = ""
    fake.shutdown()
    fake.server_close()
