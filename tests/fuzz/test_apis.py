"""Every API, asked what its schema allows, what it does not, and what is no JSON at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fuzz.apis import Api, ask, ask_raw
from tests.fuzz.services import RAW, SERVICES

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = 120
"""For each service; `make torture` asks 10,000 times in all."""


@pytest.fixture(scope="module", params=SERVICES)
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Api]]:
    """Run one service."""
    with SERVICES[request.param](tmp_path_factory.mktemp(request.param)) as api:
        yield request.param, api


def test_api_never_fails_and_keeps_its_schema(service: tuple[str, Api]) -> None:
    """B43, B44: right and wrong requests of schemathesis' making; no 5xx, no answer off the schema."""
    name, api = service
    tally = ask(api, CASES)

    assert tally.faults == []
    assert tally.cases > CASES / 2, name
    assert min(tally.statuses) < 300
    assert max(tally.statuses) >= 400


def test_api_refuses_what_is_no_json_in_its_own_words(service: tuple[str, Api]) -> None:
    """B43, B45: broken, deep, huge-numbered and wrongly encoded bodies."""
    name, api = service
    for path, sample in RAW[name]:
        tally = ask_raw(api, path, sample, 100)

        assert tally.faults == []
        assert max(tally.statuses) >= 400
