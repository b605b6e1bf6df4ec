"""What the model is sent, and how much of the past."""

from pathlib import Path

import pytest
from app_helpers import make_settings

from app import prompts
from app.errors import ChatError
from app.events import Source
from app.prompts import Exchange, estimate_tokens, fill, latest, make_prompt

SOURCE = Source(1, "tea.md", "Green", "Eighty degrees.")


def test_prompt_shipped_templates_use_their_placeholders() -> None:
    """Question and sources reach the model, whichever template is used."""
    plain = make_prompt(make_settings(), "How hot?", [], [])
    sourced = make_prompt(make_settings(), "How hot?", [], [SOURCE])

    assert plain.messages[-1]["content"] == "How hot?"
    assert "[1] (tea.md, Green) Eighty degrees." in sourced.messages[-1]["content"]
    assert "How hot?" in sourced.messages[-1]["content"]


def test_prompt_edited_file_works_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Templates are read for each question, and may use the name."""
    monkeypatch.setattr(prompts, "FOLDER", tmp_path)
    (tmp_path / "question.txt").write_text("Q: {question}", "utf-8")
    (tmp_path / "instructions.txt").write_text("You belong to {name}.", "utf-8")

    prompt = make_prompt(make_settings(display_name="Ada"), "hi", [], [])

    assert [m["content"] for m in prompt.messages] == ["You belong to Ada.", "Q: hi"]


def test_prompt_setting_beats_the_file() -> None:
    """An instructor may set the instructions from outside."""
    prompt = make_prompt(make_settings(instructions="Be a pirate, {name}."), "hi", [], [])

    assert prompt.messages[0]["content"] == "Be a pirate, you."


def test_prompt_braces_of_visitors_are_just_braces() -> None:
    """Only the template has placeholders; questions and documents have none."""
    source = Source(1, "a{name}.md", "", "{question.__class__}")

    content = make_prompt(make_settings(), "{name} {0}", [], [source]).messages[-1]["content"]

    assert "{name} {0}" in content
    assert "(a{name}.md) {question.__class__}" in content


@pytest.mark.parametrize("template", ["{nmae}", "{", "{0}", "{name!z}", "{name.nothing}", "{}"])
def test_fill_wrong_placeholder_is_explained(template: str) -> None:
    """The error names the placeholders that exist."""
    with pytest.raises(ChatError) as caught:
        fill(template, {"name": "Ada"})

    assert "{question}" in caught.value.problem.hint


def test_prompt_missing_file_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deleted template is named."""
    monkeypatch.setattr(prompts, "FOLDER", tmp_path)

    with pytest.raises(ChatError, match=r"prompts/instructions\.txt"):
        make_prompt(make_settings(), "hi", [], [])


def test_latest_keeps_whole_exchanges_from_the_end() -> None:
    """The oldest go first; an exchange is sent whole or not at all."""
    past = [Exchange("q" * 40, "a" * 40), Exchange("q" * 20, "a" * 20), Exchange("q" * 8, "a" * 8)]

    assert latest(past, 14) == tuple(past[1:])
    assert latest(past, 13) == (past[2],)
    assert latest(past, 3) == ()
    assert latest(past, 1000) == tuple(past)


def test_estimate_rounds_up() -> None:
    """Four characters to a token; an empty text has none."""
    assert [estimate_tokens(text) for text in ("", "a", "abcd", "abcde")] == [0, 1, 1, 2]
