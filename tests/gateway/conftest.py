"""A gateway for each test, or one for all tests of a module."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.gateway.fake import FakeThread
from tests.gateway.lab import FAST, Lab, seat, upstream
from workshop.gateway.config import Config
from workshop.gateway.doors import Patience

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LEAVING: deque[Lab] = deque()
"""Gateways that stop while the next test begins: stopping takes a fifth of a second."""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Run a gateway with two participants and one upstream; tests may change it before or while."""
    yield from _lab(tmp_path)


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Lab]:
    """Run a gateway that waits as long as the product does: crowds keep a busy machine waiting."""
    yield from _lab(tmp_path, Patience())


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Run one gateway for all tests of a module that leave it as it is."""
    yield from _lab(tmp_path_factory.mktemp("shared"), replace(FAST, down=0.03, whole=1.0))


def _lab(directory: Path, patience: Patience = FAST) -> Iterator[Lab]:
    upstream_thread = FakeThread()
    config = Config(
        "class",
        seats=(seat("ada"), seat("bob")),
        upstreams=(upstream(upstream_thread.fake.url),),
    )
    found = Lab(directory, upstream_thread, config, patience).start()
    yield found
    found.leave()
    _LEAVING.append(found)
    while _LEAVING and not _LEAVING[0].stopping:
        _LEAVING.popleft().stop()


@pytest.fixture(scope="session", autouse=True)
def _all_have_stopped() -> Iterator[None]:
    yield
    while _LEAVING:
        _LEAVING.popleft().stop()
