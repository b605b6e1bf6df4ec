"""Pushed images on their way to the engine: real registry, real engine, hostile images."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tests.deploys import registry_lab
from tests.deploys.registry_lab import (
    CONFIG,
    EMPTY_DIGEST,
    INDEX,
    LAYER,
    MANIFEST,
    Registry,
    digest_of,
    layer_of,
)
from tests.waiting import SOON
from workshop.deploys.failure import DeployFailed
from workshop.deploys.images.fetch import Fetcher
from workshop.deploys.images.layers import Unsound, Weight, weigh
from workshop.deploys.images.remote import Blob, Repository
from workshop.deploys.images.store import NoSuchPlatform, PullRefused, RegistryAway
from workshop.deploys.options import DeployOptions
from workshop.engines.store import DockerStore
from workshop.errors import NotFound
from workshop.intake.orders import Finding, Order, What, new_id
from workshop.limits import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from workshop.deploys.images.policy import ImageFacts

# The first test may have to make the base image.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

HERE = ("linux", "amd64")
HOST = "class.example.org"
OURS = {"workshop.name": "class", "workshop.role": "app"}


@pytest.fixture(scope="module")
def registry(docker_engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Run one registry for this module."""
    with registry_lab.running(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture(scope="module")
def lab(docker_engine: Any) -> Iterator[tuple[Any, str]]:
    """Hand out a client of the engine and the beginning of every name; a small base is there."""
    with registry_lab.images() as (api, prefix):
        registry_lab.busybox(api, f"{prefix}/base:1")
        yield api, prefix


@pytest.fixture(scope="module")
def store(docker_engine: Any) -> Iterator[DockerStore]:
    """Hand out the engine's images."""
    found = DockerStore()
    yield found
    found.close()


@dataclass
class NoStore:
    """A store that must not be asked for anything."""

    asked: list[str] = field(default_factory=list)

    def platform(self) -> tuple[str, str]:
        """Say nothing of interest."""
        return HERE

    def pull(self, reference: str, token: str) -> None:
        """Remember that it was asked."""
        del token
        self.asked.append(reference)

    def image(self, reference: str) -> ImageFacts | None:
        """Have nothing."""
        del reference
        return None

    def adopt(self, reference: str, tag: str, labels: Mapping[str, str]) -> str:
        """Remember that it was asked."""
        del reference, labels
        self.asked.append(tag)
        return ""

    def untag(self, reference: str) -> None:
        """Do nothing."""
        del reference


def _fetcher(registry: Registry, store: Any, **options: Any) -> Fetcher:
    limits = DeployOptions(**options)
    return Fetcher(registry.address, HOST, store, registry.signer, limits, HERE, patience=0.5)


def _order(digest: str, repository: str = "ada/app") -> Order:
    return Order(new_id(), "ada", What.PUSH, "ada", time.time(), repository, digest)


def _refusal(registry: Registry, digest: str, **options: Any) -> Finding:
    """Fetch what must be refused before the engine hears of it."""
    store = NoStore()
    with pytest.raises(DeployFailed) as caught:
        _fetcher(registry, store, **options).fetch(_order(digest), "nowhere:1", {})
    assert store.asked == []
    return caught.value.finding


# -- what goes live ---------------------------------------------------------------------------


def test_pushed_image_becomes_ours(
    registry: Registry, store: DockerStore, lab: tuple[Any, str]
) -> None:
    """The same layers and settings under our tag and labels, and no other name of it stays."""
    api, prefix = lab
    pushed = registry_lab.build(
        api,
        f"{prefix}/pushed:1",
        f"FROM {prefix}/base:1\n"
        "USER 0\nWORKDIR /srv\nENV A=1 LD_PRELOAD=/x.so\nEXPOSE 22\nVOLUME /data\n"
        "LABEL workshop.role=edge workshop.slot=7 workshop.config-hash=x mine=kept\n"
        'ENTRYPOINT ["/bin/busybox"]\nCMD ["env"]\nSTOPSIGNAL SIGUSR1\n'
        "HEALTHCHECK CMD wget -q evil\nONBUILD RUN touch /owned\n",
    )
    digest = registry_lab.push(api, registry, f"{prefix}/pushed:1", "ada/app")
    said: list[str] = []
    volumes = _volumes(api)
    fetched = _fetcher(registry, store).fetch(
        _order(digest), f"{prefix}/ada:v1", OURS, say=said.append
    )
    before, after = (api.inspect_image(name) for name in (pushed, f"{prefix}/ada:v1"))

    assert (fetched.tag, fetched.digest, fetched.volumes) == (
        f"{prefix}/ada:v1",
        digest,
        ("/data",),
    )
    assert 0 < fetched.seconds < 60
    assert said[0].startswith("fetching the image, ")
    assert said[1:] == ["VOLUME /data is an empty directory in memory here; nothing in it is kept"]
    assert after["RootFS"] == before["RootFS"]
    assert after["Config"]["Labels"] == {
        **OURS,
        "workshop.slot": "",
        "workshop.config-hash": "",
        "mine": "kept",
    }
    assert after["Config"]["Healthcheck"] == {"Test": ["NONE"]}
    assert not after["Config"]["OnBuild"]
    same = ("Cmd", "Entrypoint", "Env", "ExposedPorts", "StopSignal", "User", "Volumes")
    for key in (*same, "WorkingDir"):
        assert after["Config"].get(key) == before["Config"].get(key), key
    assert store.image(f"{registry.address}/ada/app@{digest}") is None
    assert _volumes(api) == volumes
    assert not [item for item in api.containers(all=True) if "workshop-adopt" in item["Names"][0]]


def _volumes(api: Any) -> set[str]:
    return {item["Name"] for item in api.volumes()["Volumes"] or ()}


def test_same_image_can_be_fetched_again_and_removed(
    registry: Registry, store: DockerStore, lab: tuple[Any, str]
) -> None:
    """Its tag is its only name, so removing that removes the image; one it replaced is gone."""
    _, prefix = lab
    digest = registry.image("ada/app", [layer_of({"app": b"again"})])
    fetcher = _fetcher(registry, store)
    made = []
    for _ in range(2):
        fetcher.fetch(_order(digest), f"{prefix}/again:1", OURS)
        found = store.image(f"{prefix}/again:1")
        assert found is not None
        made.append(found.id)

    assert store.image(made[0]) is None
    store.untag(f"{prefix}/again:1")
    assert store.image(made[1]) is None
    store.untag(f"{prefix}/again:1")


def test_index_with_attestation_is_resolved_to_this_server(
    registry: Registry, store: DockerStore, lab: tuple[Any, str]
) -> None:
    """What buildx pushes: an index of the image, one for another machine, and a statement."""
    _, prefix = lab
    wanted = registry.image("ada/app", [layer_of({"app": b"amd64"})], tag="")
    other = registry.image(
        "ada/app", [layer_of({"app": b"arm64"})], tag="", changes={"architecture": "arm64"}
    )
    statement = registry.image(
        "ada/app",
        [layer_of({"in-toto": b"{}"})],
        tag="",
        changes={"architecture": "unknown", "os": "unknown"},
    )
    digest = _index(registry, [(other, "arm64"), (statement, "unknown"), (wanted, "amd64")])
    fetched = _fetcher(registry, store).fetch(_order(digest), f"{prefix}/index:1", OURS)

    assert fetched.digest == digest
    found = store.image(f"{prefix}/index:1")
    assert found is not None
    assert (found.architecture, found.layers) == ("amd64", 1)


def _index(registry: Registry, entries: list[tuple[str, str]]) -> str:
    token = registry.token(("ada/app", "pull,push"))
    content = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [
            {
                "mediaType": MANIFEST,
                "digest": digest,
                "size": _size(registry, digest),
                "platform": {
                    "architecture": architecture,
                    "os": "unknown" if architecture == "unknown" else "linux",
                },
            }
            for digest, architecture in entries
        ],
    }
    return registry.manifest("ada/app", content, token, "index", INDEX)


def _size(registry: Registry, digest: str) -> int:
    token = registry.token(("ada/app", "pull"))
    path = f"/v2/ada/app/manifests/{digest}"
    return len(registry.ask("GET", path, token, headers={"Accept": MANIFEST}).body)


def test_layer_is_looked_through_once(
    registry: Registry,
    store: DockerStore,
    lab: tuple[Any, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second version of an app costs its own layer and not its base's."""
    _, prefix = lab
    base = layer_of({"base": b"b" * 100_000})
    read: list[str] = []
    begin = Blob.__init__

    def count(self: Blob, answer: Any, digest: str) -> None:
        read.append(digest)
        begin(self, answer, digest)

    monkeypatch.setattr(Blob, "__init__", count)
    fetcher = _fetcher(registry, store)
    tops = [layer_of({"app": bytes([number])}) for number in range(2)]
    for top in tops:
        digest = registry.image("ada/app", [base, top])
        fetcher.fetch(_order(digest), f"{prefix}/once:1", OURS)

    assert read == [digest_of(layer) for layer in (base, *tops)]


# -- what is refused before the engine hears of it --------------------------------------------


SMALL = layer_of({"app": b"small"})


@pytest.mark.parametrize(
    ("config", "changes", "cause"),
    [
        ({"Volumes": {"/": {}}}, {}, "volume"),
        ({"Volumes": {"/data": {}, "/proc/1": {}}}, {}, "volume"),
        ({"Volumes": {f"/{n}": {} for n in range(5)}}, {}, "volume"),
        ({"WorkingDir": "/srv/app", "Volumes": {"/srv": {}}}, {}, "volume"),
        ({"Cmd": None}, {}, "no-command"),
        ({"Cmd": [], "Entrypoint": [""]}, {}, "no-command"),
        ({"Cmd": None, "Entrypoint": ["", "-c", "evil"]}, {}, "no-command"),
        ({}, {"architecture": "arm64", "variant": "v8"}, "wrong-architecture"),
        ({}, {"architecture": ""}, "wrong-architecture"),
        ({}, {"os": "windows"}, "wrong-architecture"),
        ({}, {"config": ["a list"]}, "not-an-image"),
        ({}, {"rootfs": None}, "not-an-image"),
        ({"Cmd": "a string"}, {}, "not-an-image"),
        ({"Volumes": ["/data"]}, {}, "not-an-image"),
        ({}, {"rootfs": {"diff_ids": [EMPTY_DIGEST] * 2}}, "not-an-image"),
    ],
)
def test_hostile_configuration_is_refused_unfetched(
    registry: Registry, config: dict[str, Any], changes: dict[str, Any], cause: str
) -> None:
    """A look at the registry is enough to say no."""
    digest = registry.image("ada/app", [SMALL], changes=changes, **config)

    assert _refusal(registry, digest).cause == cause


@pytest.mark.parametrize(
    ("config", "volumes"),
    [
        ({"User": "0"}, ()),
        ({"Volumes": {"/data": {}, "/tmp": {}}}, ("/data",)),
        ({"Entrypoint": ["/bin/sh", "-c", "exec /app"], "Cmd": None}, ()),
        ({"Entrypoint": [""], "Cmd": ["/app"]}, ()),
        ({"Labels": {"workshop.role": "edge", "workshop.name": "class"}}, ()),
        ({"Healthcheck": {"Test": ["CMD", "/app"], "Interval": 1}}, ()),
        ({"OnBuild": ["RUN evil"], "Env": ["LD_PRELOAD=/x"], "StopSignal": "SIGKILL"}, ()),
    ],
)
def test_cunning_configuration_is_accepted_and_made_ours(
    registry: Registry,
    store: DockerStore,
    lab: tuple[Any, str],
    config: dict[str, Any],
    volumes: tuple[str, ...],
) -> None:
    """What the container overrides does no harm, and the labels are ours."""
    _, prefix = lab
    digest = registry.image("ada/app", [SMALL], **config)
    fetched = _fetcher(registry, store).fetch(_order(digest), f"{prefix}/cunning:1", OURS)
    found = store.image(f"{prefix}/cunning:1")

    assert fetched.volumes == volumes
    assert found is not None
    assert {name: value for name, value in found.labels.items() if value} == OURS


def test_image_of_120_layers_is_refused_unfetched(registry: Registry) -> None:
    """The engine itself would give up at 127, in words of its own."""
    found = _refusal(registry, registry.image("ada/app", [SMALL] * 120))

    assert (found.cause, found.evidence) == ("too-many-layers", ("layers: 120", "limit: 100"))


def test_huge_image_of_zeros_is_refused_unfetched(registry: Registry) -> None:
    """300 MB that are 300 KB on the wire: found out by unpacking into nothing."""
    packed = layer_of({"zeros": bytes(300 * MIB)})
    digest = registry.image("ada/app", [packed], plain=[b"not looked at"])
    assert len(packed) < 2 * MIB
    found = _refusal(registry, digest, image_bytes=64 * MIB)

    assert found.cause == "image-too-large"
    assert "limit: 64 MiB" in found.evidence


def test_layers_are_summed(registry: Registry) -> None:
    """Three of 30 MB are 90, even where it is the same one thrice."""
    packed = layer_of({"zeros": bytes(30 * MIB)})
    digest = registry.image("ada/app", [packed] * 3)

    assert _refusal(registry, digest, image_bytes=80 * MIB).cause == "image-too-large"


def test_packed_size_alone_can_be_too_much(registry: Registry) -> None:
    """Then nothing is read at all."""
    import random

    digest = registry.image("ada/app", [layer_of({"noise": random.Random(1).randbytes(3 * MIB)})])
    found = _refusal(registry, digest, image_bytes=2 * MIB)

    assert (found.cause, found.evidence[0]) == ("image-too-large", "size: 3.001 MiB")


def test_damaged_layer_is_refused_unfetched(registry: Registry) -> None:
    """The registry stores any bytes; the engine is not asked to unpack them."""
    packed = layer_of({"app": b"0123456789" * 1000})[:-20]
    digest = registry.image("ada/app", [packed], plain=[b"?"])

    assert "ends too early" in _refusal(registry, digest).message


def test_index_for_other_machines_names_them_all(registry: Registry) -> None:
    """An index without this server's kind says which kinds it has."""
    names = ("arm64", "s390x")
    entries = [
        (registry.image("ada/app", [SMALL], tag="", changes={"architecture": name}), name)
        for name in names
    ]
    found = _refusal(registry, _index(registry, entries))

    assert found.cause == "wrong-architecture"
    assert found.message == (
        "The image was built for linux/arm64 and linux/s390x; this server runs linux/amd64."
    )
    assert f"docker build --platform linux/amd64 -t {HOST}/ada/app ." in found.next


def test_index_that_lies_about_its_image_is_found_out(registry: Registry) -> None:
    """It says amd64, the image itself says otherwise."""
    image = registry.image("ada/app", [SMALL], tag="", changes={"architecture": "arm64"})
    digest = _index(registry, [(image, "amd64")])

    assert _refusal(registry, digest).cause == "wrong-architecture"


@pytest.mark.parametrize(
    ("config_kind", "layer_kind"),
    [
        ("application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.v1"),
        (CONFIG, "application/vnd.oci.image.layer.v1.tar+zstd"),
        (CONFIG, "application/vnd.in-toto+json"),
    ],
)
def test_what_is_no_image_is_refused(registry: Registry, config_kind: str, layer_kind: str) -> None:
    """Registries hold charts, models and statements as well."""
    token = registry.token(("ada/app", "pull,push"))
    config = json.dumps({"architecture": "amd64", "os": "linux"}).encode()
    parts = [
        {
            "mediaType": kind,
            "size": len(content),
            "digest": registry.blob("ada/app", content, token),
        }
        for kind, content in ((config_kind, config), (layer_kind, SMALL))
    ]
    content = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": parts[0],
        "layers": parts[1:],
    }
    found = _refusal(registry, registry.manifest("ada/app", content, token, "x"))

    assert found.cause == "not-an-image"
    assert "docker build" in found.next


def test_index_of_an_index_is_no_image(registry: Registry) -> None:
    """Neither are turtles all the way down."""
    image = registry.image("ada/app", [SMALL], tag="")
    inner = _index(registry, [(image, "amd64")])

    assert _refusal(registry, _index(registry, [(inner, "amd64")])).cause == "not-an-image"


def test_configuration_of_another_kind_than_json_is_refused(registry: Registry) -> None:
    """The registry does not look into it."""
    token = registry.token(("ada/app", "pull,push"))
    digest = registry.blob("ada/app", b"[" * 100_000, token)
    content = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "size": 100_000, "digest": digest},
        "layers": [
            {
                "mediaType": LAYER,
                "size": len(SMALL),
                "digest": registry.blob("ada/app", SMALL, token),
            }
        ],
    }
    found = _refusal(registry, registry.manifest("ada/app", content, token, "x"))

    assert (found.cause, "no JSON" in found.message) == ("not-an-image", True)


@pytest.mark.parametrize("repository", ["bob/app", "adam/app", "ada-2/app"])
def test_order_for_anothers_repository_is_refused(registry: Registry, repository: str) -> None:
    """Even if the intake were to write one: the seat and the repository must belong together."""
    store = NoStore()
    with pytest.raises(DeployFailed) as caught:
        _fetcher(registry, store).fetch(_order(EMPTY_DIGEST, repository), "nowhere:1", {})

    assert store.asked == []
    assert caught.value.finding.cause == "not-your-repository"
    assert f"docker push {HOST}/ada/app" in caught.value.finding.next


# -- registries that are away, and digests that are not there ---------------------------------


def test_digest_that_is_not_there_is_named(registry: Registry) -> None:
    """Nothing was pushed under it."""
    assert _refusal(registry, EMPTY_DIGEST) == Finding(
        "not-in-registry",
        f"The registry does not have ada/app@{EMPTY_DIGEST[:19]}, or not all of it.",
        (f"the registry has no ada/app@{EMPTY_DIGEST}",),
        f"Push it again: docker push {HOST}/ada/app",
    )


def test_registry_that_stays_away_ends_in_words(registry: Registry) -> None:
    """After patience is over; the beginner reads that nothing is lost."""
    digest = registry.image("ada/app", [SMALL])
    registry.stop()
    said: list[str] = []
    try:
        with pytest.raises(DeployFailed) as caught:
            _fetcher(registry, NoStore()).fetch(_order(digest), "nowhere:1", {}, say=said.append)
    finally:
        registry.start()
    found = caught.value.finding

    assert found.cause == "registry-away"
    assert "still live, and your image is safe" in found.message
    assert found.next.endswith(f"docker push {HOST}/ada/app")
    assert said == ["the registry does not answer; trying again in 0.25 s"]


def test_registry_that_comes_back_is_found(
    registry: Registry, store: DockerStore, lab: tuple[Any, str]
) -> None:
    """A restart of the registry in the middle of a deploy costs seconds, not the deploy."""
    _, prefix = lab
    digest = registry.image("ada/app", [SMALL])
    registry.stop()
    missed = threading.Event()

    def bring_back() -> None:
        missed.wait(10)
        registry.start()

    helper = threading.Thread(target=bring_back)
    helper.start()
    fetcher = replace(_fetcher(registry, store), patience=30)
    fetched = fetcher.fetch(
        _order(digest),
        f"{prefix}/back:1",
        OURS,
        say=lambda line: missed.set() if "again" in line else None,
    )
    helper.join()

    assert missed.is_set()
    assert store.image(fetched.tag) is not None


def test_server_that_stops_does_not_wait(registry: Registry) -> None:
    """A minute of patience must not hold up the end of the server."""
    fetcher = Fetcher(
        "127.199.199.1:5000", HOST, NoStore(), registry.signer, DeployOptions(), HERE, patience=60
    )
    begun = time.monotonic()
    stops = iter([False, True])
    with pytest.raises(DeployFailed) as caught:
        fetcher.fetch(_order(EMPTY_DIGEST), "nowhere:1", {}, stop=lambda: next(stops, True))

    assert caught.value.finding.cause == "registry-away"
    assert time.monotonic() - begun < SOON


def test_blob_that_breaks_off_is_not_taken_for_a_damaged_one() -> None:
    """A registry that dies in the middle of a layer is away; the image is not to blame."""
    whole = layer_of({"app": b"0123456789" * 10_000})

    class Half(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            self.wfile.write(whole[: len(whole) // 2])

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Half)
    helper = threading.Thread(target=server.handle_request)
    helper.start()
    repository = Repository(f"127.0.0.1:{server.server_port}", "ada/app", "")
    with repository.blob(digest_of(whole)) as blob:
        with pytest.raises(Unsound, match="too early"):
            weigh(blob.read, Weight(MIB, 10))
        with pytest.raises(RegistryAway, match="broke off"):
            blob.finish()
    helper.join()
    server.server_close()


# -- the engine's own words -------------------------------------------------------------------


@pytest.mark.parametrize("repository", ["ada/app", "ada/denied", "ada/timeout"])
def test_pull_of_what_is_not_there_is_not_found(
    registry: Registry, store: DockerStore, repository: str
) -> None:
    """Also where the repository is called like another fault."""
    token = registry.token((repository, "pull"))
    with pytest.raises(NotFound):
        store.pull(f"{registry.address}/{repository}@{EMPTY_DIGEST}", token)


def test_pull_with_another_ones_token_is_refused(registry: Registry, store: DockerStore) -> None:
    """The token says which repository."""
    digest = registry.image("bob/app", [layer_of({"app": b"bob"})])
    with pytest.raises(PullRefused):
        store.pull(f"{registry.address}/bob/app@{digest}", registry.token(("ada/app", "pull")))


def test_pull_from_a_registry_that_is_away_can_be_tried_again(store: DockerStore) -> None:
    """A refused connection is worth another try."""
    with pytest.raises(RegistryAway):
        store.pull(f"127.199.199.1:5000/ada/app@{EMPTY_DIGEST}", "")


def test_pull_for_another_machine_has_no_platform(registry: Registry, store: DockerStore) -> None:
    """The engine resolves an index by itself and finds nothing."""
    image = registry.image("ada/app", [SMALL], tag="", changes={"architecture": "s390x"})
    digest = _index(registry, [(image, "s390x")])
    with pytest.raises(NoSuchPlatform):
        store.pull(f"{registry.address}/ada/app@{digest}", registry.token(("ada/app", "pull")))


def test_layer_that_is_not_what_it_says_leaves_no_image(
    registry: Registry, store: DockerStore
) -> None:
    """The engine checks what it unpacks; the fetch ends in words and nothing stays."""
    digest = registry.image("ada/app", [layer_of({"app": b"1"})], plain=[b"something else"])
    with pytest.raises(DeployFailed) as caught:
        _fetcher(registry, store).fetch(_order(digest), "nowhere:1", {})

    assert caught.value.finding.cause == "fetch-failed"
    assert store.image(f"{registry.address}/ada/app@{digest}") is None


def test_image_refused_after_the_pull_does_not_stay(registry: Registry, store: DockerStore) -> None:
    """Should registry and engine disagree, the engine's word counts and the image goes."""
    digest = registry.image("ada/app", [layer_of({"app": b"7" * 70_000})])
    reference = f"{registry.address}/ada/app@{digest}"
    fetcher = _fetcher(registry, store)
    store.pull(reference, registry.token(("ada/app", "pull")))
    found = store.image(reference)
    assert found is not None
    small = replace(fetcher, options=DeployOptions(image_bytes=found.size - 1))
    with pytest.raises(DeployFailed) as caught:
        small._adopt(reference, "nowhere:1", {}, "ada/app")

    assert caught.value.finding.cause == "image-too-large"
    assert store.image(found.id) is None


def test_adoption_of_nothing_is_not_found(store: DockerStore) -> None:
    """An engine that lost the image meanwhile says so."""
    with pytest.raises(NotFound):
        store.adopt("nobody/nothing:1", "nowhere:1", {})


def test_engine_says_what_it_runs(store: DockerStore, lab: tuple[Any, str]) -> None:
    """In the same words as the images it builds."""
    api, prefix = lab
    built = api.inspect_image(f"{prefix}/base:1")

    assert store.platform() == (built["Os"], built["Architecture"])
