"""What every part is made from, gathered once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.resources import RECIPES
from workshop.specs import ImageSpec
from workshop.subnets import own_loopback

if TYPE_CHECKING:
    from workshop.labels import Role
    from workshop.roster import Roster
    from workshop.specs import Directories, NetworkSpec, Owner, Server, Sources
    from workshop.state import State


@dataclass(frozen=True)
class Ground:
    """Roster, state, sources and server, as far as parts need to know them."""

    owner: Owner
    roster: Roster
    state: State
    sources: Sources
    directories: Directories
    networks: tuple[NetworkSpec, ...]
    server: Server

    @property
    def loopback(self) -> str:
        """The workshop's own loopback address, for what only this server may reach."""
        return own_loopback(self.state.network)

    def image(self, role: Role) -> ImageSpec:
        """Specify the image of a part."""
        tag = f"{self.roster.name}/{role}:{self.sources.parts[role]}"
        recipe = RECIPES.get(role.value)
        if recipe is not None:
            return ImageSpec(tag, role, self.sources.package, recipe, self.sources.base)
        return ImageSpec(tag, role, self.sources.images / role.value, base=self.sources.base)

    def version(self, role: Role) -> str:
        """Name the version of a part by what its image is made of."""
        return self.sources.parts[role]
