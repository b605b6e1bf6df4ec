"""What the registry is told: its whole configuration, as the text of one file.

The text is JSON, which every YAML parser reads: no value can break out of its quotes, and no
library is needed to write it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from workshop.intake import config as intake
from workshop.intake import issuer

FILE = "config.yml"
MOUNT = "/registry"
"""Where its directory is mounted, read-only: :data:`FILE` and the certificate of the tokens."""
DATA = "/var/lib/registry"
"""Where its blobs are mounted."""
USER = "10005:10005"
COMMAND = ("docker-registry", "serve", f"{MOUNT}/{FILE}")
HEALTH = "/"
"""What it answers with 200 and no token."""
BLOBS = "application/octet-stream"
"""What the registry calls every layer and configuration in its announcements."""


@dataclass(frozen=True)
class Registry:
    """What differs from one workshop's registry to another's."""

    listen: str
    """Address and port, such as ``127.86.8.1:5000``."""
    intake: str
    """Address and port of who hears its announcements."""
    url: str
    """How people reach the workshop: scheme, host and perhaps a port."""
    secret: str
    """The word announcements carry; see :data:`workshop.intake.config.EVENTS_SECRET`."""


def config(registry: Registry) -> str:
    """Write the registry's configuration; equal settings give equal text."""
    return json.dumps(_config(registry), indent=1) + "\n"


def _config(registry: Registry) -> dict[str, Any]:
    return {
        "version": 0.1,
        "log": {
            # Each push begins with a refusal, which would fill a log of warnings.
            "level": "error",
            "formatter": "json",
            # The edge has one already.
            "accesslog": {"disabled": True},
        },
        "storage": {
            "filesystem": {"rootdirectory": DATA},
            "delete": {"enabled": False},
            "maintenance": {
                "uploadpurging": {
                    "enabled": True,
                    "age": "1h",
                    "interval": "10m",
                    "dryrun": False,
                }
            },
        },
        "auth": {
            "token": {
                "realm": registry.url.rstrip("/") + intake.TOKEN,
                "service": issuer.SERVICE,
                "issuer": issuer.ISSUER,
                "rootcertbundle": f"{MOUNT}/{intake.CERTIFICATE}",
            }
        },
        "http": {
            "addr": registry.listen,
            # People come through the edge, the platform directly: no one name is right for both.
            "relativeurls": True,
            # Derived, so that an upload survives a restart of the registry.
            "secret": hashlib.sha256(f"uploads {registry.secret}".encode()).hexdigest(),
            "draintimeout": "5s",
            "headers": {"X-Content-Type-Options": ["nosniff"]},
        },
        "notifications": {"endpoints": [_endpoint(registry)]},
        "health": {"storagedriver": {"enabled": True, "interval": "10s", "threshold": 3}},
    }


def _endpoint(registry: Registry) -> dict[str, Any]:
    return {
        "name": "intake",
        "url": f"http://{registry.intake}{intake.EVENTS}",
        "headers": {"Authorization": [f"Bearer {registry.secret}"]},
        "timeout": "2s",
        # After five failures in a row it waits a second before each next attempt, and never gives
        # up: an announcement waits for as long as the intake is away.
        "threshold": 5,
        "backoff": "1s",
        "ignore": {"mediatypes": [BLOBS], "actions": ["pull", "mount", "delete"]},
    }
