"""Memory and processors, read from trees of control groups as kernels of both versions make them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from workshop.limits import MIB
from workshop.watching.cgroups import SEARCH_SECONDS, Cgroups, Use

ADA, BOB = "a" * 64, "b" * 64


class Tree:
    """Control groups below a directory, of either version, with any parent."""

    def __init__(self, root: Path, version: int, group: str) -> None:
        self.root = root
        self.version = version
        self.group = group
        """The path of a container's group; ID stands for its id."""
        if version == 2:
            (root / "cgroup.controllers").write_text("cpu memory\n")
        else:
            (root / "memory").mkdir()
            (root / "cpu,cpuacct").mkdir()
            (root / "cpuacct").symlink_to("cpu,cpuacct")

    def path(self, controller: str, container: str) -> Path:
        """Find a container's directory."""
        base = self.root if self.version == 2 else self.root / controller
        return base / self.group.replace("ID", container)

    def write(self, container: str, memory: int, seconds: float, cache: int = 0) -> None:
        """Let the kernel say what a container uses; ``cache`` is what it may drop."""
        total = memory + cache
        files = {
            2: (
                ("memory", "memory.current", f"{total}\n"),
                ("memory", "memory.stat", f"anon 1\ninactive_file {cache}\nactive_file 9\n"),
                ("cpu", "cpu.stat", f"usage_usec {int(seconds * 1e6)}\nuser_usec 1\n"),
            ),
            1: (
                ("memory", "memory.usage_in_bytes", f"{total}\n"),
                ("memory", "memory.stat", f"inactive_file 5\ntotal_inactive_file {cache}\n"),
                ("cpuacct", "cpuacct.usage", f"{int(seconds * 1e9)}\n"),
            ),
        }
        for controller, name, text in files[self.version]:
            path = self.path(controller, container)
            path.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(text)

    def stop(self, container: str) -> None:
        """Take a container's groups away, as its end does."""
        for controller in ("memory", "cpuacct"):
            path = self.path(controller, container)
            if path.is_dir():
                for file in path.iterdir():
                    file.unlink()
                path.rmdir()


@pytest.fixture(
    params=[
        (1, "docker/ID"),
        (1, "system.slice/docker-ID.scope"),
        (1, "wst123x/ID"),
        (2, "docker/ID"),
        (2, "system.slice/docker-ID.scope"),
        (2, "user.slice/user-1000.slice/user@1000.service/app.slice/docker-ID.scope"),
    ],
    ids=lambda item: f"{item[0]}-{item[1].partition('/')[0]}",
)
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    """Make each kind of tree in turn."""
    return Tree(tmp_path, *request.param)


def test_use_is_memory_without_what_may_be_dropped_and_cores_between_two_looks(tree: Tree) -> None:
    """Wherever the engine puts its containers."""
    groups = Cgroups(tree.root)
    tree.write(ADA, 64 * MIB, 10.0, cache=30 * MIB)
    assert groups.look({"ada": ADA}, 100.0)
    first = groups.of("ada")
    tree.write(ADA, 65 * MIB, 11.0)
    assert groups.look({"ada": ADA}, 102.0)

    assert first == Use(64 * MIB, 0.0, 0), "what it used before is not known to be recent"
    assert groups.of("ada") == Use(65 * MIB, 0.5, 1)
    assert groups.trouble == ""


def test_look_at_a_class_that_does_nothing_is_no_news(tree: Tree) -> None:
    """A few bytes more or less are nothing to write down."""
    groups = Cgroups(tree.root)
    tree.write(ADA, 64 * MIB, 10.0)
    groups.look({"ada": ADA}, 100.0)
    tree.write(ADA, 64 * MIB + 4096, 10.004)

    assert not groups.look({"ada": ADA}, 102.0)


def test_seat_that_stopped_uses_nothing_and_keeps_what_it_used(tree: Tree) -> None:
    """Its groups are gone; its time was used."""
    groups = Cgroups(tree.root)
    for clock, seconds in ((100.0, 1.0), (102.0, 4.0)):
        tree.write(ADA, MIB, seconds)
        groups.look({"ada": ADA}, clock)
    tree.stop(ADA)
    assert groups.look({"ada": ADA}, 104.0)
    assert groups.of("ada") == Use(0, 0.0, 3)
    assert not groups.look({}, 106.0)


def test_seat_that_was_started_again_counts_from_where_it_was(tree: Tree) -> None:
    """The kernel begins at nothing; a total never falls."""
    groups = Cgroups(tree.root)
    for clock, seconds in ((100.0, 50.0), (102.0, 52.0), (104.0, 1.0), (106.0, 2.0)):
        tree.write(ADA, MIB, seconds)
        groups.look({"ada": ADA}, clock)

    assert groups.of("ada") == Use(MIB, 0.5, 4)


def test_new_container_of_a_seat_goes_on_with_its_total(tree: Tree) -> None:
    """A deploy replaces the container, not the seat."""
    groups = Cgroups(tree.root)
    for clock, seconds in ((100.0, 50.0), (102.0, 52.0)):
        tree.write(ADA, MIB, seconds)
        groups.look({"ada": ADA}, clock)
    tree.write(BOB, 2 * MIB, 3.0)
    groups.look({"ada": BOB}, 104.0)

    assert groups.of("ada") == Use(2 * MIB, 0.0, 5)


def test_container_that_came_later_is_found_beside_the_others_at_once(tree: Tree) -> None:
    """A tree of thousands of groups is not searched for each."""
    groups = Cgroups(tree.root)
    tree.write(ADA, MIB, 1.0)
    groups.look({"ada": ADA}, 100.0)
    tree.write(BOB, 2 * MIB, 1.0)
    groups.look({"ada": ADA, "bob": BOB}, 100.1)

    assert groups.of("bob").memory == 2 * MIB


def test_container_without_a_group_is_searched_for_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A walk through the whole tree is dear."""
    tree, walks = Tree(tmp_path, 2, "docker/ID"), []
    walk = os.walk

    def counted(base: str) -> object:
        walks.append(base)
        return walk(base)

    monkeypatch.setattr("workshop.watching.cgroups.os.walk", counted)
    groups = Cgroups(tree.root)
    for clock in (100.0, 102.0, 104.0):
        groups.look({"ada": ADA}, clock)
    assert len(walks) == 1
    tree.write(ADA, MIB, 1.0)
    groups.look({"ada": ADA}, 100.0 + SEARCH_SECONDS)

    assert len(walks) == 2
    assert groups.of("ada").memory == MIB


@pytest.mark.parametrize("text", ["", "many\n", "-1\n", "12 34\n"])
def test_garbled_figure_is_none(tmp_path: Path, text: str) -> None:
    """Bob's figures do not suffer from it."""
    tree = Tree(tmp_path, 2, "docker/ID")
    for container in (ADA, BOB):
        tree.write(container, MIB, 1.0)
    (tree.path("memory", ADA) / "memory.current").write_text(text)
    groups = Cgroups(tree.root)
    groups.look({"ada": ADA, "bob": BOB}, 100.0)

    assert groups.of("ada").memory == 0
    assert groups.of("bob").memory == MIB


def test_machine_without_control_groups_is_told(tmp_path: Path) -> None:
    """And nothing falls over."""
    groups = Cgroups(tmp_path / "nothing")
    groups.look({"ada": ADA}, 100.0)

    assert groups.trouble == f"no control groups at {tmp_path}/nothing"
    assert groups.of("ada") == Use()


def test_this_machines_own_groups_can_be_read() -> None:
    """The real files, of this test's own process: no container is there, and no trouble either."""
    groups = Cgroups(Path("/sys/fs/cgroup"))
    began = time.monotonic()
    groups.look({"ada": ADA}, 100.0)

    assert groups.trouble == ""
    assert time.monotonic() - began < 5
