"""The platform's own containers, and what they are told: edge, models, deploy loop, board."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workshop.parts import board, deploys, edge, models, wall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workshop.parts.ground import Ground
    from workshop.specs import ContainerSpec, ImageSpec


def parts(ground: Ground) -> Iterator[tuple[ImageSpec, ContainerSpec]]:
    """Yield the platform's own containers, each with the image it is made from."""
    yield edge.part(ground)
    if not ground.networks:
        return
    yield from models.parts(ground)
    yield from deploys.parts(ground)
    yield from board.parts(ground)
    yield from wall.parts(ground)
