"""Tokens: who gets one, for what, and what docker prints when somebody gets none."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography import x509

from tests.intake.lab import Lab, basic, key_of, seat
from tests.small_disk import small_disk
from workshop.intake.issuer import ISSUER, SERVICE

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2


def get(lab: Lab, *scopes: str, name: str = "ada", **more: Any) -> httpx2.Response:
    """Ask as `docker push` does."""
    params = [("service", SERVICE), ("account", name), *(("scope", scope) for scope in scopes)]
    return lab.ask("GET", "/v2/token", params=params, headers=basic(name), **more)


def access(lab: Lab, answer: httpx2.Response) -> list[dict[str, Any]]:
    """Decode a token as the registry does: by the certificate it was told to trust."""
    assert answer.status_code == 200, answer.text
    key: Any = x509.load_pem_x509_certificate(lab.certificate.encode()).public_key()
    token = answer.json()["token"]
    claims = jwt.decode(token, key, ["ES256"], audience=SERVICE, issuer=ISSUER)
    assert claims["sub"] == "ada"
    found: list[dict[str, Any]] = claims["access"]
    return found


def denied(answer: httpx2.Response, status: int = 403, code: str = "DENIED") -> str:
    """Read the error the way docker does."""
    assert answer.status_code == status, answer.text
    (error,) = answer.json()["errors"]
    assert error["code"] == code
    message: str = error["message"]
    return message


def test_login_without_scope_gets_a_token_for_nothing(lab: Lab) -> None:
    """`docker login` only asks whether name and key are right."""
    answer = get(lab)
    assert access(lab, answer) == []
    assert answer.json()["access_token"] == answer.json()["token"]
    assert answer.json()["expires_in"] == 300
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("scopes", "granted"),
    [
        (["repository:ada/app:pull,push"], {"ada/app": ["pull", "push"]}),
        (["repository:ada/app:pull"], {"ada/app": ["pull"]}),
        (["repository:ada/deep/er/app:push"], {"ada/deep/er/app": ["push"]}),
        (["repository:ada/a:pull repository:ada/b:push"], {"ada/a": ["pull"], "ada/b": ["push"]}),
        (["repository:ada/app:pull,push,delete,*"], {"ada/app": ["pull", "push"]}),
        (["repository:ada/app:delete"], {}),
        (["repository:ada/app:*"], {}),
        (["repository:bob/app:delete"], {}),
        (["registry:catalog:*"], {}),
        (["registry:catalog:pull,push"], {}),
        (["repository(plugin):ada/app:pull,push"], {}),
        (["nonsense", "", ":::", "repository::pull,"][:2], {}),
        (
            ["repository:ada/app:pull,push", "repository:bob/app:pull"],
            {"ada/app": ["pull", "push"]},
        ),
    ],
)
def test_own_repositories_are_granted_and_nothing_else(
    lab: Lab, scopes: list[str], granted: dict[str, list[str]]
) -> None:
    """Pull and push below the own name; the pull of a mount is left out; deleting is never there."""
    found = access(lab, get(lab, *scopes))
    assert {item["name"]: item["actions"] for item in found} == granted


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ("bob/app:pull,push", "belongs to bob, and you are ada. Push to HOST/ada/app instead; rename the image first: docker tag HOST/bob/app HOST/ada/app"),
        ("bob/app:pull", "belongs to bob, and you are ada. Pull from HOST/ada/app instead."),
        ("app:pull,push", "has no owner in its name. Push to HOST/ada/app instead"),
        ("ada:push", "has no owner in its name. Push to HOST/ada/app instead"),
        ("zed/app:push", "belongs to nobody here"),
        ("adab/app:push", "belongs to nobody here"),
        ("ada-b/app:push", "belongs to nobody here"),
        ("bob/x/ada/app:push", "Push to HOST/ada/x/ada/app"),
        ("ada/../bob/app:push", "not a good name"),
        ("ada//app:push", "not a good name"),
        ("ADA/app:push", "belongs to nobody here"),
        ("/ada/app:push", "belongs to nobody here"),
        ("other.host:5000/ada/app:push", "belongs to nobody here"),
    ],
)  # fmt: skip
def test_foreign_repository_is_denied_in_words_docker_prints(
    lab: Lab, scope: str, words: str
) -> None:
    """The message says whose it is and what to push to instead."""
    message = denied(get(lab, f"repository:{scope}"))
    assert words.replace("HOST", lab.address) in message


def test_push_to_two_with_one_foreign_is_denied(lab: Lab) -> None:
    """Pushing in the own name does not excuse pushing in another."""
    answer = get(lab, "repository:ada/app:pull,push", "repository:bob/app:pull,push")
    assert "belongs to bob" in denied(answer)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "Your key is missing"),
        (basic("ada", key_of("bob")), "the key of bob, and the name given is 'ada'"),
        (basic("zed", key_of("ada")), "the key of ada, and the name given is 'zed'"),
        (basic("ada", "wk-" + "x" * 40), "This key is not ada's, or no longer"),
        (basic("ada", "hunter2"), "those begin with 'wk-'"),
        (basic("zed", "wk-" + "x" * 40), "There is no 'zed'"),
        (basic("carol", ""), "Your key is missing"),
    ],
)
def test_wrong_login_is_refused_with_the_way_out(
    lab: Lab, headers: dict[str, str], words: str
) -> None:
    """Docker prints the message; clients are asked for a login."""
    answer = lab.ask("GET", "/v2/token", headers=headers)
    assert words in denied(answer, 401, "UNAUTHORIZED")
    assert answer.headers["www-authenticate"].startswith("Basic")


def test_revoked_key_is_refused(lab: Lab) -> None:
    """A seat without a hash has no key; not even the empty one."""
    lab.configure(seats=(seat("ada", key_hash=""), seat("bob")))
    denied(get(lab), 401, "UNAUTHORIZED")
    denied(lab.ask("GET", "/v2/token", headers=basic("ada", "")), 401, "UNAUTHORIZED")


def test_rotated_key_works_within_a_second(lab: Lab) -> None:
    """The configuration is read again while the intake runs."""
    lab.configure(seats=(*lab.config.seats, seat("carol")))
    answer = lab.ask("GET", "/v2/token", headers=basic("carol"))
    assert answer.status_code == 200


def test_form_of_newer_clients_gets_the_same_token(lab: Lab) -> None:
    """The OAuth2 form with grant_type=password, scopes separated by spaces."""
    form = {
        "grant_type": "password",
        "service": SERVICE,
        "client_id": "docker",
        "access_type": "offline",
        "username": "ada",
        "password": key_of("ada"),
        "scope": "repository:ada/app:pull,push repository:bob/app:pull",
    }
    answer = lab.ask("POST", "/v2/token", data=form)
    assert [item["name"] for item in access(lab, answer)] == ["ada/app"]


def test_form_with_a_refresh_token_is_told_to_log_in_anew(lab: Lab) -> None:
    """No such tokens are given out."""
    answer = lab.ask(
        "POST", "/v2/token", data={"grant_type": "refresh_token", "refresh_token": "x"}
    )
    assert "docker login" in denied(answer, 401, "UNAUTHORIZED")


def test_key_in_the_address_is_refused(lab: Lab) -> None:
    """It would stand in every log on the way."""
    answer = lab.ask("GET", "/v2/token", params={"password": key_of("ada")})
    assert "rotate" in denied(answer, 400, "UNSUPPORTED")


def test_guessing_is_slowed_and_the_right_key_still_passes(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class may share one address with whoever guesses."""
    monkeypatch.setattr(lab.service.guesses, "PER_MINUTE", 3)
    answers = [lab.ask("GET", "/v2/token", headers=basic("ada", f"wk-{n:040}")) for n in range(5)]
    assert [answer.status_code for answer in answers] == [401] * 3 + [429] * 2
    assert "wrong keys" in denied(answers[-1], 429, "TOOMANYREQUESTS")
    assert get(lab).status_code == 200


def store(lab: Lab, repository: str, digest: str, size: int) -> None:
    """Put a layer where the registry puts it."""
    root = lab.directory / "storage/docker/registry/v2"
    link = root / "repositories" / repository / "_layers/sha256" / digest
    link.mkdir(parents=True)
    (link / "link").write_text(f"sha256:{digest}", "utf-8")
    blob = root / "blobs/sha256" / digest[:2] / digest
    blob.mkdir(parents=True, exist_ok=True)
    with (blob / "data").open("wb") as file:
        file.truncate(size)


def test_full_quota_denies_pushing_with_numbers(lab: Lab) -> None:
    """Distinct layers count once, whoever else has them; pulling goes on; bob is not touched."""
    lab.limit(repository_bytes=10_000_000)
    store(lab, "ada/app", "a" * 64, 6_000_000)
    store(lab, "ada/other/deep", "a" * 64, 6_000_000)
    store(lab, "bob/app", "b" * 64, 1_000_000)
    store(lab, "adaline/app", "c" * 64, 9_000_000)
    assert get(lab, "repository:ada/app:pull,push").status_code == 200

    store(lab, "ada/app2", "d" * 64, 5_000_000)
    message = denied(get(lab, "repository:ada/app:pull,push"))

    assert "11.0 MB in 2 layers, and 10.0 MB are yours" in message
    assert get(lab, "repository:ada/app:pull").status_code == 200
    assert get(lab, "repository:bob/app:pull,push", name="bob").status_code == 200


def test_abandoned_uploads_count(lab: Lab) -> None:
    """Bytes that were never made a layer lie on the disk as well."""
    lab.limit(repository_bytes=1000)
    upload = lab.directory / "storage/docker/registry/v2/repositories/ada/app/_uploads/x"
    upload.mkdir(parents=True)
    (upload / "data").write_bytes(bytes(2000))
    assert "2 kB in 0 layers" in denied(get(lab, "repository:ada/app:push"))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize(
    ("size", "files", "left"), [(40 << 20, 1000, "41.9 MB"), (200 << 20, 150, "149 more files")]
)
def test_push_onto_a_full_disk_is_denied_before_it_begins(
    tmp_path: Path, size: int, files: int, left: str
) -> None:
    """F40: the registry would break off in the middle with a number; docker prints these words."""
    storage = tmp_path / "storage"
    storage.mkdir()
    with small_disk(storage, size, files):
        lab = Lab(tmp_path).start()
        try:
            message = denied(get(lab, "repository:ada/app:pull,push"))
            pulled = get(lab, "repository:ada/app:pull").status_code
            subprocess.run(["mount", "-o", "remount,size=900M,nr_inodes=9000", storage], check=True)
            pushed = get(lab, "repository:ada/app:pull,push").status_code
        finally:
            lab.stop()

    assert f"no room for another image, only for {left}" in message
    assert "tell your instructor" in message.lower()
    assert (pulled, pushed) == (200, 200)


def test_log_has_names_and_no_secret(lab: Lab) -> None:
    """Whoever reads the log learns who did what, never with which key."""
    get(lab, "repository:ada/app:push")
    get(lab, "repository:bob/app:push")
    lab.ask("GET", "/v2/token", headers=basic("ada", key_of("bob")))
    lab.ask("GET", f"/v2/token?key={key_of('ada')}")

    assert "CANARY" not in lab.log.getvalue()
    (token,) = (line for line in lab.logged() if line["event"] == "token")
    assert (token["seat"], token["access"]) == ("ada", ["ada/app:push"])
    statuses = [line["status"] for line in lab.logged() if line["event"] == "request"]
    assert statuses == [200, 403, 401, 400]
