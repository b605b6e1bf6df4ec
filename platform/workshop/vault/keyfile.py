"""Where the key lives: a setting, or a file of the operator's apart from every state directory."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from workshop.errors import InputError
from workshop.vault.cipher import new_key, read_key

if TYPE_CHECKING:
    from workshop.settings import Settings
    from workshop.vault.cipher import Key

SETTING = "WORKSHOP_SECRETS_KEY"
_CLOSED = 0o077


def path() -> Path:
    """Name the operator's key file; it need not exist."""
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "workshop" / "secrets.key"


def find(settings: Settings) -> Key | None:
    """Find the key; ``None`` where there is none yet.

    Raises:
        InputError: what is there is no key, or others can read it.

    """
    given = settings.secrets_key.get_secret_value()
    if given:
        return read_key(given, SETTING)
    file = path()
    try:
        mode = file.stat().st_mode
        text = file.read_text("ascii")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"cannot read {file}: {exc}", hint=f"mend it, or set {SETTING}") from None
    if mode & _CLOSED:
        raise InputError(f"{file} can be read by others on this machine", hint=f"chmod 600 {file}")
    return read_key(text, str(file))


def make() -> Key:
    """Make the operator's key file.

    Raises:
        InputError: it cannot be written.

    """
    file, text = path(), new_key()
    unfinished = file.with_name(f".{file.name}.{os.getpid()}.new")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as to:
            to.write(text + "\n")
            to.flush()
            os.fsync(to.fileno())
        # A link, not a rename: of two first commands at once, both take the key of the first.
        with contextlib.suppress(FileExistsError):
            file.hardlink_to(unfinished)
        return read_key(file.read_text("ascii"), str(file))
    except OSError as exc:
        raise InputError(
            f"cannot make {file}: {exc.strerror}", hint=f"mend it, or set {SETTING}"
        ) from exc
    finally:
        unfinished.unlink(missing_ok=True)
