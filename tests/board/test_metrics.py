"""The figures' address: for whoever has the token, in the format of Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.board.lab import METRICS

if TYPE_CHECKING:
    from tests.board.lab import Lab


def bearer(token: str) -> dict[str, str]:
    """Send a token as Prometheus does."""
    return {"authorization": f"Bearer {token}"}


def test_figures_with_the_token_are_text_of_prometheus(lab: Lab) -> None:
    """With every seat of the class."""
    answer = lab.visitor().get("/metrics", headers=bearer(METRICS))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text.endswith("\n")
    for name in ("ada", "bob"):
        assert f'"{name}"' in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        bearer("wrong"),
        bearer("\xe4"),
        {"authorization": METRICS},
        {"authorization": f"Basic {METRICS}"},
    ],
)
def test_figures_without_the_token_are_refused(lab: Lab, headers: dict[str, str]) -> None:
    """The words say where the token comes from."""
    raw = {name: text.encode("latin-1") for name, text in headers.items()}
    answer = lab.visitor().get("/metrics", headers=raw)
    assert answer.status_code == 401
    assert "workshop metrics" in answer.json()["error"]


def test_figures_of_a_class_that_has_no_token_are_refused(lab: Lab) -> None:
    """No token is not a token that everybody has."""
    lab.configure(metrics_hash="")
    for token in ("-", "0" * 64, METRICS):
        assert lab.visitor().get("/metrics", headers=bearer(token)).status_code == 401


def test_instructors_cookie_does_not_open_the_figures(lab: Lab) -> None:
    """A page of others could make a browser send it."""
    assert lab.instructor().get("/metrics").status_code == 401
