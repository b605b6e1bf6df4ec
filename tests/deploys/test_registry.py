"""A real registry with the product's own configuration: who may do what, and what it announces."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import random
import socket
import subprocess
import uuid
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from tests.deploys import registry_lab
from tests.deploys.registry_lab import (
    EMPTY_DIGEST,
    INDEX,
    KEY,
    MANIFEST,
    Answer,
    Registry,
    layer_of,
)
from tests.small_disk import PAGE, fill, make_room, small_disk
from workshop.deploys import registry as registries
from workshop.intake.quota import usage
from workshop.intake.tokens import ISSUER, SERVICE, Access, Signer, make_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# The first test may have to make the base image.
pytestmark = pytest.mark.timeout(300)
ACCEPT = {"Accept": f"{MANIFEST}, {INDEX}"}


def test_configuration_is_the_golden_one(golden: Callable[[str, str], None]) -> None:
    """The whole text is compared: nothing goes into it unseen."""
    said = registries.Registry(
        listen="127.86.8.1:5000",
        intake="127.86.8.1:8012",
        url="https://class.example.org/",
        secret='a "word" with: # everything\n',  # noqa: S106 - no secret
    )

    golden("deploys/registry.yml", registries.config(said))


# -- with a real one --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def registry(docker_engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Run one registry for this module, on a disk that can be filled where that may be mounted."""
    place = tmp_path_factory.mktemp("registry")
    with contextlib.ExitStack() as stack:
        if os.geteuid() == 0:
            stack.enter_context(small_disk(place, 64 << 20, 10_000))
        yield stack.enter_context(registry_lab.running(place))


@pytest.fixture(scope="module")
def bobs(registry: Registry) -> str:
    """Push an image of Bob's, and return its digest."""
    return registry.image("bob/app", [layer_of({"app": b"bob's"})])


@pytest.fixture(scope="module")
def bobs_layer() -> str:
    """Name the layer of Bob's image."""
    return registry_lab.digest_of(layer_of({"app": b"bob's"}))


def _refused(answer: Answer) -> None:
    assert answer.status == 401
    assert answer.codes == ["UNAUTHORIZED"]
    assert 'error="insufficient_scope"' in answer.headers["Www-Authenticate"]
    assert "/v2/token" in answer.headers["Www-Authenticate"]


@pytest.mark.engine
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/bob/app/manifests/1"),
        ("HEAD", "/v2/bob/app/manifests/1"),
        ("GET", "/v2/bob/app/manifests/{digest}"),
        ("GET", "/v2/bob/app/blobs/{layer}"),
        ("GET", "/v2/bob/app/tags/list"),
        ("POST", "/v2/bob/app/blobs/uploads/"),
        ("POST", "/v2/bob/app/blobs/uploads/?mount={layer}&from=ada/app"),
        ("POST", "/v2/ada/app/blobs/uploads/?mount={layer}&from=bob/app"),
        ("PUT", "/v2/bob/app/manifests/1"),
        ("DELETE", "/v2/bob/app/manifests/{digest}"),
        ("DELETE", "/v2/bob/app/blobs/{layer}"),
        ("DELETE", "/v2/ada/app/manifests/{digest}"),
        ("GET", "/v2/_catalog"),
        ("GET", "/v2/ada/app/../../bob/app/tags/list"),
        ("GET", "/v2/ada/other/tags/list"),
    ],
)
def test_adas_token_is_refused_elsewhere(
    registry: Registry, bobs: str, bobs_layer: str, method: str, path: str
) -> None:
    """Pull, push, mount, delete and catalogue: the registry itself says no."""
    token = registry.token(("ada/app", "pull,push"))
    answer = registry.ask(method, path.format(digest=bobs, layer=bobs_layer), token, b"{}")
    if method == "HEAD":
        assert (answer.status, answer.body) == (401, b"")
    elif ".." in path:
        # The path is cleaned by a redirect; whoever follows it is refused as above.
        assert (answer.status, answer.headers["Location"]) == (301, "/v2/bob/app/tags/list")
    else:
        _refused(answer)


@pytest.mark.engine
def test_bobs_image_is_still_bobs(registry: Registry, bobs: str) -> None:
    """After all that was tried, his token finds what he pushed."""
    token = registry.token(("bob/app", "pull"), subject="bob")
    answer = registry.ask("GET", "/v2/bob/app/manifests/1", token, headers=ACCEPT)

    assert (answer.status, registry_lab.digest_of(answer.body)) == (200, bobs)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.engine
def test_deletion_is_switched_off_even_with_the_right_to_it(registry: Registry, bobs: str) -> None:
    """Versions to roll back to do not vanish under the platform."""
    token = registry.token(("bob/app", "pull,push,delete"))
    answer = registry.ask("DELETE", f"/v2/bob/app/manifests/{bobs}", token)

    assert (answer.status, answer.codes) == (405, ["UNSUPPORTED"])


def _forged(registry: Registry, **changes: Any) -> dict[str, Any]:
    claims = jwt.decode(registry.token(("bob/app", "pull")), options={"verify_signature": False})
    return {**claims, **changes}


def _x5c(token: str) -> dict[str, Any]:
    return {"x5c": jwt.get_unverified_header(token)["x5c"]}


@pytest.mark.engine
@pytest.mark.parametrize(
    "kind",
    [
        "none at all",
        "garbage",
        "expired",
        "not yet",
        "another audience",
        "another issuer",
        "another key",
        "another key with the right certificate",
        "algorithm none",
        "HS256 with the certificate as secret",
        "changed after signing",
    ],
)
def test_token_that_is_not_right_opens_nothing(
    registry: Registry, bobs: str, tmp_path: Path, kind: str
) -> None:
    """Whatever is wrong with it, the answer is 401."""
    right = registry.token(("bob/app", "pull"))
    now = jwt.decode(right, options={"verify_signature": False})["iat"]
    access = [Access("repository", "bob/app", ("pull",))]
    key, certificate = make_pair()
    (tmp_path / "token.key").write_text(key, "utf-8")
    (tmp_path / "token.crt").write_text(certificate, "utf-8")
    header, claims, signature = right.split(".")
    pem = (registry.directory / "registry" / "token.crt").read_text("utf-8")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    ours = registry.signer._key
    wrong: dict[str, str | None] = {
        "none at all": None,
        "garbage": "a.b.c",
        "expired": registry.token(("bob/app", "pull"), seconds=-61),
        "not yet": jwt.encode(_forged(registry, nbf=now + 90), ours, "ES256", _x5c(right)),
        "another audience": registry.signer.token("bob", "another-registry", access),
        "another issuer": jwt.encode(_forged(registry, iss="me"), ours, "ES256", _x5c(right)),
        "another key": Signer.load(tmp_path).token("bob", SERVICE, access),
        "another key with the right certificate": jwt.encode(
            _forged(registry), Signer.load(tmp_path)._key, "ES256", _x5c(right)
        ),
        "algorithm none": f"{none}.{claims}.",
        "HS256 with the certificate as secret": _hs256(pem, _forged(registry), _x5c(right)),
        "changed after signing": f"{header}.{_changed(claims)}.{signature}",
    }
    answer = registry.ask("GET", "/v2/bob/app/manifests/1", wrong[kind], headers=ACCEPT)

    assert (answer.status, answer.codes) == (401, ["UNAUTHORIZED"])
    assert registry.ask("GET", "/v2/bob/app/manifests/1", right, headers=ACCEPT).status == 200


def _changed(claims: str) -> str:
    raw = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    raw["access"][0]["actions"] = ["pull", "push"]
    assert raw["iss"] == ISSUER
    return base64.urlsafe_b64encode(json.dumps(raw).encode()).rstrip(b"=").decode()


def _hs256(secret: str, claims: dict[str, Any], header: dict[str, Any]) -> str:
    """Sign by hand, because the library refuses to use a certificate as a secret."""
    import hashlib
    import hmac

    parts = ({"alg": "HS256", "typ": "JWT", **header}, claims)
    text = b".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts
    )
    mark = hmac.new(secret.encode(), text, hashlib.sha256).digest()
    return (text + b"." + base64.urlsafe_b64encode(mark).rstrip(b"=")).decode()


# -- docker itself ----------------------------------------------------------------------------


def _docker(home: Path, *words: str, said: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", "--config", str(home), *words],
        input=said,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.engine
def test_docker_logs_in_pushes_and_pulls_its_own_and_no_other(
    registry: Registry, tmp_path: Path
) -> None:
    """The real client with Ada's key: hers goes through, Bob's repository does not."""
    with registry_lab.images() as (api, prefix):
        registry_lab.busybox(api, f"{prefix}/base:1")
        own, other = (f"{registry.address}/{who}/app:mine" for who in ("ada", "bob"))
        api.tag(f"{prefix}/base:1", *own.rsplit(":", 1))
        api.tag(f"{prefix}/base:1", *other.rsplit(":", 1))
        wrong = _docker(
            tmp_path, "login", "-u", "ada", "--password-stdin", registry.address, said="x"
        )
        login = _docker(
            tmp_path, "login", "-u", "ada", "--password-stdin", registry.address, said=KEY
        )
        pushed = _docker(tmp_path, "push", own)
        refused = _docker(tmp_path, "push", other)
        api.remove_image(own)
        pulled = _docker(tmp_path, "pull", own)
        peeked = _docker(tmp_path, "pull", f"{registry.address}/bob/app:1")

    assert (wrong.returncode, login.returncode) == (1, 0)
    assert (pushed.returncode, pulled.returncode) == (0, 0), pushed.stderr + pulled.stderr
    assert (refused.returncode, peeked.returncode) == (1, 1)
    assert "denied" in refused.stderr + peeked.stderr


# -- announcements ----------------------------------------------------------------------------


@pytest.mark.engine
def test_two_pushes_are_two_announcements_of_digests(registry: Registry) -> None:
    """Who, where, what: one announcement for each manifest and none for layers."""
    registry.forget_announcements()
    digests = [
        registry.image("ada/app", [layer_of({"app": bytes([number])})]) for number in range(2)
    ]
    heard = [registry.next_push() for _ in digests]

    assert [item["target"]["digest"] for item in heard] == digests
    assert {item["action"] for item in heard} == {"push"}
    assert {item["target"]["repository"] for item in heard} == {"ada/app"}
    assert {item["target"]["tag"] for item in heard} == {"1"}
    assert {item["actor"]["name"] for item in heard} == {"ada"}


@pytest.mark.engine
def test_pulls_are_not_announced(registry: Registry, bobs: str) -> None:
    """What the platform itself fetches must not look like news."""
    registry.forget_announcements()
    token = registry.token(("bob/app", "pull"))
    registry.ask("GET", f"/v2/bob/app/manifests/{bobs}", token, headers=ACCEPT)
    digest = registry.image("ada/app", [layer_of({"app": b"after a pull"})])

    assert registry.next_push()["target"]["digest"] == digest


@pytest.mark.engine
def test_parts_of_an_index_are_announced_without_a_tag(registry: Registry) -> None:
    """Only what was pushed by name is a wish to deploy; the tag tells it."""
    registry.forget_announcements()
    token = registry.token(("ada/app", "pull,push"))
    part = registry.image("ada/app", [layer_of({"app": b"part"})], tag="")
    content = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [
            {
                "mediaType": MANIFEST,
                "digest": part,
                "size": int(registry.next_push()["target"]["size"]),
                "platform": {"architecture": "amd64", "os": "linux"},
            }
        ],
    }
    index = registry.manifest("ada/app", content, token, "latest", INDEX)
    registry.forget_announcements()
    whole = registry.manifest("ada/app", content, token, "latest", INDEX)
    alone = registry.image("ada/app", [layer_of({"app": b"part"})], tag="")
    heard = [registry.next_push()["target"] for _ in range(2)]

    assert index == whole
    assert [(item["digest"], item.get("tag")) for item in heard] == [
        (whole, "latest"),
        (alone, None),
    ]


@pytest.mark.engine
def test_announcement_waits_for_an_intake_that_is_away(registry: Registry) -> None:
    """A push while the intake restarts is heard when it is back."""
    registry.forget_announcements()
    registry.deaf.set()
    digest = registry.image("ada/app", [layer_of({"app": b"while you were out"})])
    with pytest.raises(queue.Empty):
        registry.announced.get(timeout=1.5)
    registry.deaf.clear()

    assert registry.next_push()["target"]["digest"] == digest


@pytest.mark.engine
@pytest.mark.parametrize("cut", ["in layer 1", "in layer 2", "before the manifest", "in it"])
def test_interrupted_push_announces_nothing_and_the_next_one_works(
    registry: Registry, cut: str
) -> None:
    """A laptop that is closed in the middle of a push deploys nothing, and breaks nothing."""
    registry.forget_announcements()
    files = [layer_of({name: uuid.uuid4().bytes * 2000}) for name in ("one", "two")]
    token = registry.token(("ada/app", "pull,push"))
    if cut == "in layer 1":
        _cut_short(registry, files[0], token)
    else:
        registry.blob("ada/app", files[0], token)
    if cut == "in layer 2":
        _cut_short(registry, files[1], token)
    elif cut != "in layer 1":
        registry.blob("ada/app", files[1], token)
    if cut == "in it":
        _send_half(registry, "PUT", "/v2/ada/app/manifests/1", b'{"schemaVersion": 2}', token)
    digest = registry.image("ada/app", files)

    # Announcements keep their order: had the first push been announced, it would be heard here.
    assert registry.next_push()["target"]["digest"] == digest


@pytest.mark.engine
def test_uploads_that_broke_off_are_on_their_owners_account(registry: Registry) -> None:
    """At the start, in the middle, before the end: what takes room counts until it is purged."""
    storage, token = registry.directory / "data", registry.token(("ada/half", "pull,push"))
    before, content = usage(storage, "ada").bytes, random.randbytes(200_000)
    begun = [
        registry.ask("POST", "/v2/ada/half/blobs/uploads/", token).headers["Location"]
        for _ in range(3)
    ]
    _send_half(registry, "PATCH", begun[1], content, token)
    whole = registry.ask("PATCH", begun[2], token, content)
    uploads = storage / "docker/registry/v2/repositories/ada/half/_uploads"

    assert whole.status == 202
    assert len(list(uploads.iterdir())) == len(begun)
    # The registry keeps nothing of a part that it did not get whole.
    assert usage(storage, "ada").bytes == before + len(content)
    purging = json.loads((registry.directory / "registry/config.yml").read_text("utf-8"))["storage"]
    assert purging["maintenance"]["uploadpurging"] == {
        "enabled": True,
        "age": "1h",
        "interval": "10m",
        "dryrun": False,
    }


def _cut_short(registry: Registry, content: bytes, token: str) -> None:
    place = registry.ask("POST", "/v2/ada/app/blobs/uploads/", token).headers["Location"]
    _send_half(registry, "PATCH", place, content, token)


def _send_half(registry: Registry, method: str, path: str, body: bytes, token: str) -> None:
    host, _, port = registry.address.partition(":")
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {registry.address}\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: {MANIFEST}\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(head.encode() + body[: len(body) // 2])


@pytest.mark.engine
def test_upload_goes_on_after_a_restart_of_the_registry(registry: Registry) -> None:
    """Its secret is in the configuration, so a half-done upload is still known."""
    content = layer_of({"app": b"half before, half after"})
    token = registry.token(("ada/app", "pull,push"))
    place = registry.ask("POST", "/v2/ada/app/blobs/uploads/", token).headers["Location"]
    half = len(content) // 2
    placed = registry.ask("PATCH", place, token, content[:half])
    registry.stop()
    registry.start()
    digest = registry_lab.digest_of(content)
    last = f"{placed.headers['Location']}&digest={digest}"
    done = registry.ask("PUT", last, token, content[half:])

    assert (placed.status, done.status) == (202, 201)
    found = registry.ask("GET", f"/v2/ada/app/blobs/{digest}", token)
    assert (found.status, found.body) == (200, content)


@pytest.mark.engine
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_push_onto_a_full_disk_leaves_what_was_there_and_goes_on_later(registry: Registry) -> None:
    """F40: nothing that was refused is there or announced; what was there can be pulled."""
    earlier = registry.image("ada/full", [layer_of({"app": b"there before"})])
    registry.forget_announcements()
    content = layer_of({"app": random.randbytes(3 << 20)})
    statuses = []
    try:
        for room in (0, PAGE, 8 * PAGE, 1 << 20):
            fill(registry.directory, room)
            statuses.append(_push_blob(registry, content))
        pulled = registry.ask("GET", "/v2/ada/full/manifests/1", _ada(registry), headers=ACCEPT)
        lost = registry.ask(
            "GET", f"/v2/ada/full/blobs/{registry_lab.digest_of(content)}", _ada(registry)
        )
    finally:
        make_room(registry.directory)
    registry.wait()
    later = registry.image("ada/full", [content])

    assert all(status >= 500 for status in statuses), statuses
    assert (pulled.status, registry_lab.digest_of(pulled.body)) == (200, earlier)
    assert (lost.status, lost.codes) == (404, ["BLOB_UNKNOWN"])
    assert registry.next_push()["target"]["digest"] == later


def _ada(registry: Registry) -> str:
    return registry.token(("ada/full", "pull,push"))


def _push_blob(registry: Registry, content: bytes) -> int:
    """Push a blob as docker does; the status it ends with."""
    begun = registry.ask("POST", "/v2/ada/full/blobs/uploads/", _ada(registry))
    if begun.status != 202:
        return begun.status
    address = f"{begun.headers['Location']}&digest={registry_lab.digest_of(content)}"
    return registry.ask("PUT", address, _ada(registry), content).status


@pytest.mark.engine
def test_what_is_not_there_is_not_found(registry: Registry) -> None:
    """The registry's own words for an unknown digest."""
    token = registry.token(("ada/app", "pull"))
    answer = registry.ask("GET", f"/v2/ada/app/manifests/{EMPTY_DIGEST}", token, headers=ACCEPT)

    assert (answer.status, answer.codes) == (404, ["MANIFEST_UNKNOWN"])
