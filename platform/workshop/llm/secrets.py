"""Providers' keys: found on this server, handed to the gateway alone, never shown.

A key's file is named after a hash of its content, so a changed key is a changed configuration.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workshop import settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from workshop.llm.options import Provider

_HASH_LENGTH = 12


@dataclass(frozen=True)
class Secrets:
    """What was found, by upstream. The content never enters a message or a label."""

    files: Mapping[str, str] = field(default_factory=dict)
    """Name of the file the gateway reads."""
    content: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What goes into the file; absent where an earlier command has written it already."""
    missing: tuple[str, ...] = ()
    """Sentences about keys that could not be found."""


def find(providers: Sequence[Provider], roster: Path, staged: Path) -> Secrets:
    """Look for every provider's key: environment, ``.env`` beside the roster, file, earlier run.

    Args:
        providers: who needs one.
        roster: the roster's path; ``.env`` is looked for beside it.
        staged: directory of the files an earlier command wrote.

    """
    variables = {**settings.read_env_file(roster.with_name(".env")), **os.environ}
    files, content, missing = {}, {}, []
    for provider in providers:
        name = provider.upstream.name
        if not provider.has_key:
            continue
        key = _key(provider, variables)
        if key:
            files[name] = f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:_HASH_LENGTH]}"
            content[name] = key
            continue
        earlier = sorted(staged.glob(f"{name}-{'[0-9a-f]' * _HASH_LENGTH}"))
        if earlier:
            files[name] = earlier[-1].name
        else:
            where = provider.key_env or str(provider.key_file)
            missing.append(f"the key of upstream {name} is missing: {where} is not set or empty")
    return Secrets(files, content, tuple(missing))


def _key(provider: Provider, variables: Mapping[str, str]) -> str:
    if provider.key_file is not None:
        try:
            return provider.key_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""
    return variables.get(provider.key_env, "").strip()
