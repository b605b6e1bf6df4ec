"""Every address of the app, and its errors."""

from pathlib import Path

import pytest
from app_helpers import make_settings
from fastapi.testclient import TestClient

from app import main
from app.settings import Settings


def test_healthz_running_app_is_ok(client: TestClient) -> None:
    """A running app says that it is ready."""
    response = client.get("/healthz")

    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_whoami_on_the_server_names_seat_and_version(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The identity comes from the variables the server sets."""
    monkeypatch.setenv("WORKSHOP_PARTICIPANT", "ada")
    monkeypatch.setenv("WORKSHOP_VERSION", "v7")
    monkeypatch.setattr(main, "settings", make_settings())

    assert client.get("/whoami").json() == {"participant": "ada", "version": "v7"}


def test_whoami_at_home_is_you(client: TestClient) -> None:
    """Without the server's variables the app still knows what to say."""
    assert client.get("/whoami").json() == {"participant": "you", "version": "local"}


def test_settings_env_file_is_read_and_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file `.env` in the current folder is read; a real variable beats it."""
    (tmp_path / ".env").write_text("GREETING=Ahoy\nOPENAI_MODEL=small\nOTHER=1\n")
    monkeypatch.setenv("OPENAI_MODEL", "large")

    settings = Settings()

    assert (settings.greeting, settings.openai_model) == ("Ahoy", "large")


def test_settings_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """`OPENAI_API_KEY=` means that there is no key."""
    monkeypatch.setenv("OPENAI_API_KEY", "")

    assert make_settings().openai_api_key is None


def test_settings_printed_hide_the_key() -> None:
    """A key does not end up in a log by accident."""
    assert "sk-secret" not in repr(make_settings(openai_api_key="sk-secret"))


def test_env_example_names_only_real_settings() -> None:
    """Each variable in `.env.example` is one the app reads."""
    lines = (Path(main.__file__).parents[1] / ".env.example").read_text().splitlines()
    names = {line.lstrip("# ").split("=")[0] for line in lines if "=" in line}

    assert names
    assert names <= {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"message": "  "}, "field message is not right: string should have at least 1"),
        ({"message": "x" * 4001}, "at most 4000 characters"),
        ({}, "field message is not right: field required"),
        ({"message": "hi", "conversation": "x" * 65}, "field conversation"),
    ],
)
def test_chat_bad_question_is_explained(
    client: TestClient, body: dict[str, str], words: str
) -> None:
    """A question outside the bounds gets a sentence, not a stack of data."""
    response = client.post("/chat", json=body)

    assert response.status_code == 422
    assert words in response.json()["error"]["message"]


def test_chat_question_at_the_bounds_is_answered(client: TestClient) -> None:
    """4000 characters are allowed; blanks around them do not count."""
    assert client.post("/chat", json={"message": " " + "x" * 4000 + " "}).status_code == 200


def test_chat_broken_json_is_explained(client: TestClient) -> None:
    """A body that is not JSON gets a sentence."""
    response = client.post("/chat", content="{", headers={"Content-Type": "application/json"})

    assert response.status_code == 422
    assert response.json()["error"]["message"] == "The body is not valid JSON."


def test_unknown_address_is_explained() -> None:
    """A 404 repeats the address and points to the docs, both under the seat's prefix."""
    client = TestClient(main.app, root_path="/ada")

    response = client.get("/ada/nowhere")

    assert response.status_code == 404
    assert response.json() == {
        "error": {
            "message": "There is nothing at /ada/nowhere.",
            "hint": "See /ada/docs for what this app understands.",
        }
    }


def test_wrong_method_is_explained(client: TestClient) -> None:
    """A 405 keeps the header that says what is allowed."""
    response = client.get("/chat")

    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.json()["error"]["message"] == "/chat does not answer GET."


def test_crash_is_hidden_from_the_visitor(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected error shows a sentence and none of its details."""
    monkeypatch.setattr(main, "settings", None)

    response = client.get("/whoami")

    assert response.status_code == 500
    assert set(response.json()["error"]) == {"message", "hint"}
    assert "NoneType" not in response.text


def test_crash_reaches_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server, which writes the traceback, still gets the error."""
    monkeypatch.setattr(main, "settings", None)

    with pytest.raises(AttributeError):
        TestClient(main.app).get("/whoami")


def test_docs_under_prefix_load_everything_from_the_seat() -> None:
    """The docs page needs no internet and keeps to the seat's prefix."""
    client = TestClient(main.app, root_path="/ada")

    docs = client.get("/ada/docs").text

    assert "url: '/ada/openapi.json'" in docs
    assert 'src="/ada/static-offline-docs/swagger-ui-bundle.js"' in docs
    assert "://" not in docs
    assert client.get("/ada/static-offline-docs/swagger-ui-bundle.js").status_code == 200
    schema = client.get("/ada/openapi.json").json()
    assert schema["servers"] == [{"url": "/ada"}]
    assert {"/chat", "/conversations", "/documents", "/healthz", "/whoami"} <= set(schema["paths"])


def test_address_of_the_readme_works_as_it_is_printed(client: TestClient) -> None:
    """Step 3 says "add this at the end of app/main.py"; whoever does gets what step 3 promises."""
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    code = readme.split("```python\n")[1].split("```")[0]
    before = list(main.app.router.routes)
    try:
        exec(code, vars(main).copy())  # noqa: S102 - the README's own words
        assert client.get("/dice").json()["rolled"] in range(1, 7)
        assert client.get("/dice?sides=many").status_code == 422
    finally:
        main.app.router.routes[:] = before
