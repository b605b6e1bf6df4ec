"""What brings a workshop back after a reboot: systemd units for one roster, as text and as files.

The engine's restart policy is not enough: it starts seats in any order, without the wall, and not
at all after some crashes. Rendering is pure; ``install`` and ``remove`` write and tell systemd.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workshop import state
from workshop.errors import InputError, WorkshopError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SYSTEM_DIRECTORY = Path("/etc/systemd/system")
RUNNING = Path("/run/systemd/system")
"""Exists where systemd is this machine's first process."""
ENVIRONMENT_FILE = "service.env"
WALL = "wall"
"""Directory in the state directory: a script, and the rules it applies."""
_HANDED_ON = ("DOCKER_HOST", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_KEPT_OUT = ("WORKSHOP_ROSTER", "WORKSHOP_SECRETS_KEY")
"""The key of the store must not lie beside it."""
_OURS = "# Written by `workshop install-service` for "
_CONTROL = re.compile(r"[\x00-\x1f\x7f]|\\$")
_NO_PROGRAM = re.compile(r"[\x00-\x1f\x7f'\"\\]")

_BOOT = """\
{head}
[Unit]
Description=Workshop {name}: everybody's app is up, each on the own seat
Wants=network-online.target
After=network-online.target docker.service {name_wall}
RequiresMountsFor={mounts}
ConditionPathExists={provisioned}
StartLimitIntervalSec=30min
StartLimitBurst=20

[Service]
Type=oneshot
{user}{environment}WorkingDirectory={directory}
# An engine that starts puts rules of its own before those it finds; first of all that is undone.
ExecStartPre=-+/bin/sh {wall_script} apply {wall_rules_word}
ExecStart={command} provision --roster {roster}
# The engine may answer late. What is wrong in the roster stays wrong, so it is not tried again.
Restart=on-failure
RestartSec=20s
RestartPreventExitStatus=2
TimeoutStartSec=30min

[Install]
WantedBy=multi-user.target
"""

_WALL = """\
{head}
[Unit]
Description=Workshop {name}: the firewall around seats, before the engine starts any
RequiresMountsFor={mounts}
ConditionPathExists={wall_rules}
# Others load their own rules first, so that none of them flushes these.
After=nftables.service netfilter-persistent.service firewalld.service ufw.service
Before=docker.service

[Service]
Type=oneshot
ExecStart=/bin/sh {wall_script} apply {wall_rules_word}
TimeoutStartSec=1min

[Install]
WantedBy=docker.service multi-user.target
"""

_REPAIR = """\
{head}
[Unit]
Description=Workshop {name}: what was lost is put back, the certificate is renewed in time
After=docker.service {name_boot}
RequiresMountsFor={mounts}
ConditionPathExists={provisioned}

[Service]
Type=oneshot
{user}{environment}WorkingDirectory={directory}
ExecStart={command} provision --repair --roster {roster}
# Another command is at work; the next turn comes soon.
SuccessExitStatus=75
TimeoutStartSec=30min
"""

_TIMER = """\
{head}
[Unit]
Description=Workshop {name}: look every few minutes whether anything was lost

[Timer]
OnBootSec=5min
OnUnitInactiveSec=5min
RandomizedDelaySec=30s

[Install]
WantedBy=timers.target
"""


@dataclass(frozen=True)
class Service:
    """What the units of one workshop need to know."""

    workshop: str
    roster: Path
    """Absolute."""
    interpreter: str
    user: str = ""
    """Whose the state directory is; empty: root."""

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.roster.parent / state.DIRECTORY


@dataclass(frozen=True)
class Done:
    """What ``workshop install-service`` did."""

    workshop: str
    written: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    """What systemd was told, or is still to be told by hand."""
    told: bool = False
    """Whether it was told here."""


def describe(workshop: str, roster: Path) -> Service:
    """Find out what the units need: this interpreter, the roster, and whose workshop it is.

    Raises:
        InputError: a path cannot stand in a unit.

    """
    path = roster.resolve()
    for text, refused in ((str(path), _CONTROL), (sys.executable, _NO_PROGRAM)):
        if refused.search(text):
            raise InputError(
                f"{text!a} cannot stand in a systemd unit",
                hint="move it to a path without quotes, backslashes or line ends",
            )
    home = path.parent / state.DIRECTORY
    owner = (home if home.is_dir() else path.parent).stat().st_uid
    return Service(workshop, path, sys.executable, _login(owner) if owner else "")


def _login(number: int) -> str:
    import pwd  # noqa: PLC0415 - there is none where there is no systemd either

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


# -- text -----------------------------------------------------------------------------------------


def units(service: Service) -> dict[str, str]:
    """Render the units, by name."""
    name, home = service.workshop, service.state
    names = unit_names(name)
    values = {
        "head": f"{_OURS}{_raw(str(service.roster))}. `--remove` takes it away.",
        "name": name,
        "name_boot": names[0],
        "name_wall": names[1],
        "mounts": quoted(str(service.roster.parent)),
        "provisioned": _raw(str(home / state.PROVISIONED)),
        "user": f"User={service.user}\n" if service.user else "",
        # Without it the log would come late.
        "environment": "Environment=PYTHONUNBUFFERED=1\n"
        f"EnvironmentFile=-{_raw(str(home / ENVIRONMENT_FILE))}\n",
        "directory": _raw(str(service.roster.parent)),
        # The program itself is the one word in which systemd replaces no variables.
        "command": f"{quoted(service.interpreter)} -m workshop",
        "roster": word(str(service.roster)),
        "wall_script": word(str(home / WALL / "wall")),
        "wall_rules": _raw(str(home / WALL / "rules")),
        "wall_rules_word": word(str(home / WALL / "rules")),
    }
    texts = (_BOOT, _WALL, _REPAIR, _TIMER)
    return {unit: text.format_map(values) for unit, text in zip(names, texts, strict=True)}


def unit_names(workshop: str) -> tuple[str, str, str, str]:
    """Name the units of a workshop: boot, wall, repair and the repair's timer."""
    base = f"workshop-{workshop}"
    return (
        f"{base}.service",
        f"{base}-wall.service",
        f"{base}-repair.service",
        f"{base}-repair.timer",
    )


def word(text: str) -> str:
    """Write one argument of a command so that systemd hands it on as it stands."""
    return quoted(text).replace("$", "$$")


def quoted(text: str) -> str:
    """Write one item of a list, where only commands replace variables."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _raw(text: str) -> str:
    """Write a path where systemd takes the rest of the line and only looks for ``%``."""
    return text.replace("%", "%%")


def environment(variables: Mapping[str, str]) -> str:
    """Render the settings of the command that installs, so that the units have them too."""
    chosen = {
        name: value
        for name, value in sorted(variables.items())
        if (name.startswith("WORKSHOP_") and name not in _KEPT_OUT) or name in _HANDED_ON
    }
    escaped = {
        name: value.replace("\\", "\\\\")
        .replace('"', '\\"')
        .replace("$", "\\$")
        .replace("`", "\\`")
        for name, value in chosen.items()
    }
    return "".join(f'{name}="{value}"\n' for name, value in escaped.items())


# -- files ----------------------------------------------------------------------------------------


def install(service: Service, directory: Path | None = None) -> Done:
    """Write the units where they differ, and let systemd know.

    Raises:
        InputError: this user may not, or a unit of that name belongs to another roster.

    """
    directory, wanted = directory or SYSTEM_DIRECTORY, units(service)
    _refuse(directory, service)
    home = state.open_directory(service.roster)
    settings = environment(os.environ)
    if settings:
        state.write_atomically(home / ENVIRONMENT_FILE, settings)
        _give_back(home / ENVIRONMENT_FILE, home)
    else:
        (home / ENVIRONMENT_FILE).unlink(missing_ok=True)
    written = [name for name, text in wanted.items() if _text(directory / name) != text]
    for name in written:
        state.write_atomically(directory / name, wanted[name], 0o644)
        (directory / name).chmod(0o644)
    boot, wall, _, timer = wanted
    commands = (
        "systemctl daemon-reload",
        f"systemctl enable {boot} {wall}",
        f"systemctl enable --now {timer}",
    )
    return Done(
        workshop=service.workshop,
        written=tuple(str(directory / name) for name in written),
        unchanged=tuple(str(directory / name) for name in wanted if name not in written),
        commands=commands,
        told=_tell(directory, commands),
    )


def remove(workshop: str, roster: Path, directory: Path | None = None) -> Done:
    """Take the units of this roster away; those of another one stay.

    Raises:
        InputError: this user may not.

    """
    directory = directory or SYSTEM_DIRECTORY
    found = installed(workshop, roster, directory)
    if not found:
        return Done(workshop)
    if not os.access(directory, os.W_OK):
        raise _not_allowed(directory, "--remove")
    names = " ".join(path.name for path in found if path.name != unit_names(workshop)[2])
    # Only then the files: systemd finds what it is to end by them.
    before = (f"systemctl disable --now {names}",) if names else ()
    told = _tell(directory, before)
    for path in found:
        path.unlink(missing_ok=True)
    told = _tell(directory, ("systemctl daemon-reload",)) and told
    return Done(
        workshop=workshop,
        removed=tuple(map(str, found)),
        commands=(*before, "systemctl daemon-reload"),
        told=told,
    )


def installed(workshop: str, roster: Path, directory: Path) -> list[Path]:
    """List the units that were written for this roster."""
    mark = f"{_OURS}{_raw(str(roster.resolve()))}."
    paths = [directory / name for name in unit_names(workshop)]
    return [path for path in paths if _text(path).startswith(mark)]


def _refuse(directory: Path, service: Service) -> None:
    if not directory.is_dir():
        raise InputError(
            f"there is no {directory}: this machine has no systemd",
            hint="--print shows the units; let your own init system run `workshop provision`",
        )
    if not os.access(directory, os.W_OK):
        raise _not_allowed(directory, f"--roster {service.roster}")
    mark = f"{_OURS}{_raw(str(service.roster))}."
    for name in unit_names(service.workshop):
        text = _text(directory / name)
        if text and not text.startswith(mark):
            raise InputError(
                f"{directory / name} belongs to something else",
                hint="give this workshop another name, or remove that unit",
            )


def _not_allowed(directory: Path, words: str) -> InputError:
    program = shutil.which("workshop") or f"{sys.executable} -m workshop"
    return InputError(
        f"only root may write {directory}", hint=f"sudo {program} install-service {words}"
    )


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _give_back(path: Path, home: Path) -> None:
    """Leave a file to whom the state directory belongs: the units run as that user."""
    owner = home.stat()
    if os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid)


def _tell(directory: Path, commands: Sequence[str]) -> bool:
    """Tell systemd, where it runs and looks into ``directory``."""
    if directory != SYSTEM_DIRECTORY or not RUNNING.is_dir():
        return False
    for command in commands:
        done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise WorkshopError(
                f"`{command}` ended with {done.returncode}: {done.stderr.strip()[:300]}",
                hint="the units are written; run the command by hand",
            )
    return True
