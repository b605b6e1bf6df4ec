"""A pushed image, from the registry to this engine: looked at first, fetched by digest, made ours.

Nothing is fetched that a look at the registry could have refused, because what the engine unpacks
is on the server's disk before anybody can say no.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from workshop.deploys.failure import DeployFailed
from workshop.deploys.images import policy as image_policy
from workshop.deploys.images.layers import MOST_FILES, TooMuch, Unsound, Weight, weigh
from workshop.deploys.images.remote import Remote, Repository, not_an_image
from workshop.deploys.images.store import NoSuchPlatform, RegistryAway
from workshop.deploys.versions import server_full
from workshop.disk import is_full
from workshop.errors import EngineError, NotFound
from workshop.intake.orders import Finding
from workshop.intake.tokens import REPOSITORY, SERVICE, Access
from workshop.limits import show_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from workshop.deploys.images.policy import Platform
    from workshop.deploys.images.store import ImageStore
    from workshop.deploys.options import DeployOptions
    from workshop.intake.orders import Order
    from workshop.intake.tokens import Signer

T = TypeVar("T")
SUBJECT = "workshop-serve"
"""Who the registry's log says was here."""
PATIENCE = 60.0
"""Seconds in which a registry that is away may come back."""
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 5.0
_STEP = 0.1
"""Seconds between two looks at whether to stop."""


@dataclass(frozen=True)
class Fetched:
    """An image that is here and may go live."""

    tag: str
    digest: str
    volumes: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Fetcher:
    """Fetches pushed images; one for the life of a server, because it remembers layers."""

    registry: str
    """Address and port, such as ``127.86.8.1:5000``."""
    host: str
    """What participants push to, for the commands in messages, such as ``class.example.org``."""
    store: ImageStore
    signer: Signer
    options: DeployOptions
    platform: Platform
    patience: float = PATIENCE
    weighed: dict[str, Weight] = field(default_factory=dict)
    """What layers come to unpacked, by digest: a base image is looked through once."""

    def fetch(
        self,
        order: Order,
        tag: str,
        labels: Mapping[str, str],
        *,
        say: Callable[[str], None] = lambda _line: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Fetched:
        """Make ``tag`` the image that ``order`` names.

        Args:
            order: whose ``repository`` and ``digest`` count.
            tag: what the image is called on this engine.
            labels: what it is marked with; they win over its own.
            say: hears what is done, a line at a time.
            stop: says when waiting for a registry that is away should end.

        Raises:
            DeployFailed: it cannot be had, or may not go live.
            EngineUnreachable: the engine itself is away.

        """
        begun = time.monotonic()
        self._own(order)
        name = f"{self.host}/{order.repository}"
        reference = f"{self.registry}/{order.repository}@{order.digest}"
        with self._explained(order, name):
            remote = self._patiently(lambda: self._look(order, name), say, stop)
            self._allow(remote.facts, name)
            self._weigh(order, remote, say, stop)
            say(f"fetching the image, {show_memory(remote.packed)} packed")
            self._patiently(lambda: self._pull(order, reference), say, stop)
            accepted = self._adopt(reference, tag, labels, name)
        for path in accepted.volumes:
            say(f"VOLUME {path} is an empty directory in memory here; nothing in it is kept")
        return Fetched(tag, order.digest, accepted.volumes, time.monotonic() - begun)

    def _own(self, order: Order) -> None:
        """Refuse an order for one seat that names another's repository, whoever wrote it."""
        if not order.repository.startswith(f"{order.seat}/"):
            own = f"{self.host}/{order.seat}/app"
            raise DeployFailed(
                Finding(
                    "not-your-repository",
                    f"{order.repository} belongs to somebody else; {order.seat}'s app is what is"
                    f" pushed to {order.seat}/...",
                    (f"repository: {order.repository}", f"seat: {order.seat}"),
                    f"Push it under its own name: docker tag IMAGE {own} && docker push {own}",
                )
            )

    def _look(self, order: Order, name: str) -> Remote:
        remote = self._repository(order).look(order.digest, self.platform, name)
        # Unpacked it is larger still.
        image_policy.check_size(remote.packed, self.options)
        return remote

    def _pull(self, order: Order, reference: str) -> None:
        self.store.pull(reference, self._repository(order).token)

    def _repository(self, order: Order) -> Repository:
        """Hold a token for one repository, to be read and no more; a new one for each try."""
        access = Access(REPOSITORY, order.repository, ("pull",))
        token = self.signer.token(SUBJECT, SERVICE, [access])
        return Repository(self.registry, order.repository, token)

    def _allow(self, facts: image_policy.ImageFacts, name: str) -> image_policy.Accepted:
        return image_policy.check(facts, self.platform, self.options, name)

    # -- unpacked size ------------------------------------------------------------------------

    def _weigh(
        self,
        order: Order,
        remote: Remote,
        say: Callable[[str], None],
        stop: Callable[[], bool],
    ) -> None:
        """Refuse what would fill the disk; layers that were seen before are not read again."""
        total = Weight()
        for layer in remote.layers:
            left = Weight(self.options.image_bytes - total.size, MOST_FILES - total.files)
            known = self.weighed.get(layer.digest)
            if known is None:

                def read(digest: str = layer.digest, most: Weight = left) -> Weight:
                    return self._read(order, digest, most)

                known = self.weighed[layer.digest] = self._patiently(read, say, stop)
            total += known
            if total.size > self.options.image_bytes or total.files > MOST_FILES:
                raise self._too_much()

    def _read(self, order: Order, digest: str, most: Weight) -> Weight:
        with self._repository(order).blob(digest) as blob:
            try:
                found = weigh(blob.read, most)
            except Unsound as exc:
                blob.finish()
                raise not_an_image(f"a layer of it cannot be used: {exc}") from exc
            except TooMuch as exc:
                raise self._too_much() from exc
            blob.finish()
        return found

    def _too_much(self) -> DeployFailed:
        limit = show_memory(self.options.image_bytes)
        return image_policy.too_large(f"more than {limit} or {MOST_FILES} files", self.options)

    # -- making it ours -----------------------------------------------------------------------

    def _adopt(
        self, reference: str, tag: str, labels: Mapping[str, str], name: str
    ) -> image_policy.Accepted:
        try:
            facts = self.store.image(reference)
            if facts is None:
                raise EngineError(f"{reference} was fetched, but the engine does not have it")
            accepted = self._allow(facts, name)
            self.store.adopt(reference, tag, labels)
        finally:
            # A second name would keep the image when ours is removed, and a refused one for ever.
            self.store.untag(reference)
        return accepted

    @contextlib.contextmanager
    def _explained(self, order: Order, name: str) -> Iterator[None]:
        """Turn what goes wrong between engine and registry into words for a beginner."""
        try:
            yield
        except NoSuchPlatform as exc:
            raise image_policy.wrong_architecture(
                ["another platform"], self.platform, name
            ) from exc
        except EngineError as exc:
            raise DeployFailed(_finding(exc, order, name)) from exc

    def _patiently(
        self, work: Callable[[], T], say: Callable[[str], None], stop: Callable[[], bool]
    ) -> T:
        """Try again while the registry is away, for as long as patience lasts."""
        deadline, pause = time.monotonic() + self.patience, _FIRST_PAUSE
        while True:
            try:
                return work()
            except RegistryAway:
                if stop() or time.monotonic() + pause > deadline:
                    raise
            say(f"the registry does not answer; trying again in {pause:g} s")
            _wait(pause, stop)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _wait(seconds: float, stop: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while not stop() and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, _STEP))


def _finding(exc: EngineError, order: Order, name: str) -> Finding:
    again, seen = f"docker push {name}", (exc.message,)
    if is_full(exc.message):
        return server_full(exc.message)
    if isinstance(exc, RegistryAway):
        return Finding(
            "registry-away",
            "The workshop's registry does not answer. The version before this one is still live,"
            " and your image is safe.",
            seen,
            f"Wait a minute, then deploy again with: {again}",
        )
    if isinstance(exc, NotFound):
        return Finding(
            "not-in-registry",
            f"The registry does not have {order.repository}@{order.digest[:19]}, or not all of it.",
            seen,
            f"Push it again: {again}",
        )
    return Finding(
        "fetch-failed",
        "The server could not fetch the image from its registry. The version before this one is"
        " still live.",
        seen,
        f"Push it again: {again}. If that fails too, show this to your instructor.",
    )
