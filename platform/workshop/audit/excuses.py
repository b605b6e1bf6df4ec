"""Where a part of the platform needs what a seat must not have, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workshop.labels import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

_ANYTHING = frozenset({"*"})
_ON_THE_HOST = (
    *(Role.EDGE, Role.GATEWAY, Role.REGISTRY, Role.INTAKE, Role.SERVE, Role.EGRESS),
    *(Role.OUTBOUND, Role.WALL, Role.BOARD),
)
EXCUSES: Mapping[tuple[str, Role | None], frozenset[str]] = {
    # They reach seats by address, listen on addresses that only the server has, or set its rules.
    **{("5.10", role): frozenset({"host"}) for role in _ON_THE_HOST},
    # Only root may open a port below 1024; nginx gives root up with the last two.
    ("5.4", Role.EDGE): frozenset({"CHOWN", "NET_BIND_SERVICE", "SETGID", "SETUID"}),
    ("W.1", Role.EDGE): frozenset({"root"}),
    # It is process 1 and reaps its own workers, or it could not be told to reload.
    ("W.12", Role.EDGE): frozenset({"none"}),
    # Every visitor is two open files; the engine's own limit is the bound.
    ("W.13", Role.EDGE): frozenset({"the engine's own"}),
    # The one process that deploys is a user of the engine: whoever rules it, rules the server.
    ("5.32", Role.SERVE): frozenset({"/var/run/docker.sock"}),
    # It reads there what each seat uses, for the board.
    ("5.6", Role.SERVE): frozenset({"/sys/fs/cgroup"}),
    # It writes the state directory as the directory's owner, who may be root.
    ("W.1", Role.SERVE): frozenset({"root"}),
    # Its group is the one that may use the engine's socket.
    ("W.18", Role.SERVE): frozenset({"GroupAdd *"}),
    # It keeps blobs for its owner, who may be root.
    ("W.1", Role.REGISTRY): frozenset({"root"}),
    # It sets the server's firewall, which takes root, and is over.
    ("5.4", Role.WALL): frozenset({"NET_ADMIN", "NET_RAW"}),
    ("W.1", Role.WALL): frozenset({"root"}),
    ("W.14", Role.WALL): frozenset({"no"}),
    # A step of a build makes an image, for seconds, as whoever the recipe names: behind walls of
    # its own (engines/steps.py), with a bound of its own on what it writes.
    ("5.4", Role.BUILD): frozenset(
        {"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID"}
    ),
    # It shares the network of its relay, or has none at all.
    ("5.10", Role.BUILD): frozenset({"container:*"}),
    ("W.8", Role.BUILD): _ANYTHING,
    ("5.13", Role.BUILD): frozenset({"writable"}),
    **{
        (rule, Role.BUILD): _ANYTHING
        for rule in ("W.1", "W.2", "W.3", "W.5", "W.11", "W.12", "W.14")
    },
}
"""Which words of a rule are right for a role, as patterns, each with its reason."""
