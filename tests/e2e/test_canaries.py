"""A canary in each place where the class keeps something secret, found nowhere else.

`tests/e2e/afternoon.py` is what happens; here is the table of what may stand where.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.e2e.afternoon import Afternoon, Provider, live_through

if TYPE_CHECKING:
    from workshop.engines.docker import DockerEngine

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(900)]

ALLOWED = {
    # what:             where it may stand, as regular expressions of places
    "provider key": [
        r"directory secrets/provider\.key",
        r"state gateway/secrets/main-[0-9a-f]{12}",
    ],
    "env value": [
        r"directory secrets/ada\.env",
        r"state deploys/config\.json",
        r"inspect \S+-ada(\.green)?",
        r"variables ada",
    ],
    "virtual key": [
        r"state deploys/config\.json",
        r"inspect \S+-ada(\.green)?",
        r"variables ada",
        r"output keys show",
    ],
    "seat secret": [r"memory \S+/ada/[0-9a-f]{24}/SEAT_TOKEN"],
    "workshop secret": [r"memory \S+/(ada|bob)/[0-9a-f]{24}/CLASS_TOKEN"],
    "build secret": [r"directory secrets/build\.token"],
    "store key": [r"config workshop/secrets\.key"],
    "wrong key": [],
}
"""Everything else is a leak. `env` values stand in that seat's own inspect: the page says so."""


@pytest.fixture(scope="module")
def afternoon(docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Afternoon:
    """Live through it once."""
    directory, outside = tmp_path_factory.mktemp("canaries"), tmp_path_factory.mktemp("operator")
    return live_through(docker_engine, directory, outside, ALLOWED, everything=False)


@pytest.mark.parametrize("name", ALLOWED)
def test_canary_is_found_in_its_own_place_alone(afternoon: Afternoon, name: str) -> None:
    """0 hits outside the place that the table allows."""
    found = afternoon.hunt.seen.get(name, set())

    assert {at for at in found if not any(re.fullmatch(ok, at) for ok in ALLOWED[name])} == set()


@pytest.mark.parametrize(
    ("name", "place"), [(name, place) for name in ALLOWED for place in ALLOWED[name]]
)
def test_search_finds_a_canary_where_it_is(afternoon: Afternoon, name: str, place: str) -> None:
    """A search that finds nothing anywhere would prove nothing."""
    assert any(re.fullmatch(place, at) for at in afternoon.hunt.seen.get(name, set()))


def test_every_kind_of_place_was_searched(afternoon: Afternoon) -> None:
    """And processes were looked at all the time."""
    assert afternoon.hunt.searched == {
        *("answer", "arguments", "config", "directory", "image", "inspect", "layer", "log"),
        *("memory", "network", "output", "state", "variables"),
    } | ({"temporary"} & afternoon.hunt.searched)
    assert afternoon.hunt.samples > 50


def test_values_arrived_where_they_belong(afternoon: Afternoon) -> None:
    """The same class, seen from inside: what should be there is there, exactly and read-only."""

    def mark(name: str) -> str:
        return hashlib.sha256(afternoon.planted[name].encode()).hexdigest()

    ada, bob = afternoon.facts["ada"], afternoon.facts["bob"]
    assert ada["setting"] == mark("env value")
    assert ada["secrets"] == {
        "CLASS_TOKEN": mark("workshop secret"),
        "SEAT_TOKEN": mark("seat secret"),
    }
    assert bob["secrets"] == {"CLASS_TOKEN": mark("workshop secret")}
    assert (ada["written"], bob["written"]) == ("Read-only file system",) * 2
    assert ada["modes"] == (["0o400"] if os.geteuid() == 0 else ["0o444"])
    assert Provider.keys == {f"Bearer {afternoon.planted['provider key']}"}


def test_afternoon_went_as_it_should(afternoon: Afternoon) -> None:
    """Each step did what it is for, so that each had something to leak."""
    facts = afternoon.facts

    assert facts["chat"][:3] == [200, 400, 401]
    assert {*facts["chat"][3:]} <= {400, 401}
    assert facts["deploys"] == ["live", "failed"]
    assert facts["built"] == ["live"]
    assert facts["refused"] in {401, 403}
    assert facts["replaced"] == {"ada", "bob"}
    assert [item["name"] for item in facts["listed"]] == ["CLASS_TOKEN", "SEAT_TOKEN"]


def test_nothing_is_left_in_memory_or_in_temporary_files(afternoon: Afternoon) -> None:
    """Teardown takes the files of secrets along."""
    assert afternoon.facts["left in memory"] == []
    assert afternoon.facts["left in temporary"] == []


def test_services_run_nothing_at_the_start_that_nobody_wrote(afternoon: Afternoon) -> None:
    """T57: no `.pth` file in the parts that hold keys, where a compromised package would stay."""
    assert afternoon.facts["pth"] == ["looked\n"] * 4
