"""Who holds the address that a container was to have, where the engine will not give it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workshop import labels
from workshop.errors import EngineError

if TYPE_CHECKING:
    import docker

TAKEN = "Address already in use"


def taken(api: docker.APIClient, container_id: str) -> EngineError:
    """Say whose the address of ``container_id`` is now, and how it becomes free."""
    raw = api.inspect_container(container_id)
    own = (raw["Config"]["Labels"] or {}).get(labels.NAME)
    for network, wanted in raw["NetworkSettings"]["Networks"].items():
        address = (wanted.get("IPAMConfig") or {}).get("IPv4Address")
        for member in (api.inspect_network(network)["Containers"] or {}).values():
            if address and member["IPv4Address"].partition("/")[0] == address:
                name = member["Name"]
                marks = api.inspect_container(name)["Config"]["Labels"] or {}
                whose = "" if marks.get(labels.NAME) == own else ", which is not of this workshop"
                return EngineError(
                    f"{TAKEN}: {address} is held by the container {name}{whose}",
                    hint=f"docker network disconnect --force {network} {name}, "
                    "then the same command again",
                )
    return EngineError(f"{TAKEN}, and the engine does not say by whom", hint="the same once more")
