"""Which system calls a container may make, where the engine's own answer is too generous.

Engines before 25.0 let containers use io_uring, which has been the way out of many a sandbox
(moby/moby#46762). For them the engine's default is sent without it; later ones keep their
own, which knows newer calls.

``seccomp-moby-20.10.json`` is ``profiles/seccomp/default.json`` of Moby 20.10.24, unchanged.
Copyright 2012-2018 Docker, Inc., licensed under the Apache License, Version 2.0.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

SAFE_API = (1, 44)
"""The API of Docker 25.0, whose own profile has no io_uring."""
FORBIDDEN = frozenset({"io_uring_enter", "io_uring_register", "io_uring_setup"})
_DEFAULT = Path(__file__).with_name("seccomp-moby-20.10.json")


def option(api: str) -> list[str]:
    """Give what ``--security-opt`` must say on an engine of this API version."""
    return [] if version(api) >= SAFE_API else [f"seccomp={_profile()}"]


def version(api: str) -> tuple[int, ...]:
    """Read an API version, such as 1.41."""
    return tuple(int(part) for part in api.split("."))


@functools.cache
def _profile() -> str:
    profile: dict[str, Any] = json.loads(_DEFAULT.read_text("utf-8"))
    for rule in profile["syscalls"]:
        rule["names"] = [name for name in rule["names"] if name not in FORBIDDEN]
    return json.dumps(profile, separators=(",", ":"))
