"""One running edge for every test which only asks it something."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lab as laboratory
import pytest
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def ports() -> Iterator[dict[str, int]]:
    """Run the stand-in apps."""
    with laboratory.apps() as found:
        yield found


@pytest.fixture(scope="session", params=["blue", "green"])
def lab(
    ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[laboratory.Lab]:
    """Run the edge in front of them, with one more seat behind which nobody listens.

    Everything holds twice: for seats with one address, and for seats moved to their second one,
    where nobody listens at the first.
    """
    directory = tmp_path_factory.mktemp("edge")
    edge = laboratory.edge_for({**ports, "down": free_port()}, directory)
    if request.param == "green":
        edge = laboratory.moved(edge)
    with laboratory.running(edge, directory) as started:
        if request.param == "green":
            started.switch.settle(frozenset(route.name for route in edge.routes))
        yield started
