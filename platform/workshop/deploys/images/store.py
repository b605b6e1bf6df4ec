"""What becomes of pushed images on an engine: the verbs, and what can go wrong with them.

The verbs are few because each is one more thing a test must do without an engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from workshop.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workshop.deploys.images.policy import ImageFacts, Platform


class RegistryAway(EngineError):
    """The registry does not answer, or broke off: worth another try."""

    code = "registry-away"


class PullRefused(EngineError):
    """The registry does not let us have it."""

    code = "pull-refused"


class NoSuchPlatform(EngineError):
    """The image is there, but not for this server."""

    code = "no-such-platform"


class ImageStore(Protocol):
    """Images of an engine, as far as deploys need them."""

    def platform(self) -> Platform:
        """Say what this engine runs."""

    def pull(self, reference: str, token: str) -> None:
        """Fetch ``NAME@DIGEST`` from the registry in the name.

        Raises:
            RegistryAway: it does not answer.
            PullRefused: ``token`` does not allow it.
            NotFound: the registry has no such thing.
            NoSuchPlatform: it has, for other platforms.
            EngineError: anything else, such as a full disk or a damaged layer.

        """

    def image(self, reference: str) -> ImageFacts | None:
        """Look at an image; ``None`` where there is none."""

    def adopt(self, reference: str, tag: str, labels: Mapping[str, str]) -> str:
        """Make ``tag`` an image that is the same but for ``labels``, and return its id.

        Labels it has of the platform's own kind are overwritten, with nothing where ``labels`` has
        none; triggers and health checks for images made from it are dropped.
        """

    def untag(self, reference: str) -> None:
        """Drop one name of an image; the image goes with its last one. None is no fault."""
