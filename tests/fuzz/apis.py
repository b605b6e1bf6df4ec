"""Asks every API what its schema allows and what it does not: no answer is a fault of the server's.

The services run as they do in production, behind real sockets; the participant's app and the embedded
model's server run in a uvicorn of their own. schemathesis makes the requests from the schemas.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from ruamel.yaml import YAML
from schemathesis import GenerationMode
from schemathesis.core.failures import Failure, FailureGroup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemathesis import Case

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "docs" / "api"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)


@dataclass
class Api:
    """One service that runs, and how it is asked."""

    url: str
    schema: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)
    """What opens it."""
    fixed: dict[str, dict[str, str]] = field(default_factory=dict)
    """Other headers for single addresses."""
    known: frozenset[int] = frozenset()
    """Statuses of 500 and more that are no fault: an upstream that is not there."""

    def keys(self, path: str) -> dict[str, str]:
        """Give what opens one address."""
        return self.fixed.get(path, self.headers)


@dataclass
class Tally:
    """What came of asking."""

    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def cases(self) -> int:
        """How many requests were answered."""
        return self.statuses.total()

    def __str__(self) -> str:
        return f"{self.cases} cases, {len(self.faults)} faults"


def read_schema(name: str) -> dict[str, Any]:
    """Read one of the schemas in docs/api."""
    found: dict[str, Any] = YAML(typ="safe", pure=True).load(SCHEMAS / f"{name}.yaml")
    return found


@contextlib.contextmanager
def serving(app: Any) -> Iterator[str]:
    """Run an ASGI app behind a real socket."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    end = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < end, "the app did not start"
        time.sleep(0.02)
    yield "http://{}:{}".format(*listener.getsockname())
    server.should_exit = True
    thread.join(30)


def ask(api: Api, count: int, start: int = 0) -> Tally:
    """Ask every operation of an API, right and wrong, ``count`` requests in all."""
    tally, session = Tally(), requests.Session()
    session.trust_env = False
    schema = schemathesis.openapi.from_dict(api.schema)
    operations = [found.ok() for found in schema.get_all_operations()]
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    share = max(1, count // (len(operations) * 2))
    checks = schemathesis.checks.CHECKS.get_by_names(list(CHECKS))
    for operation in operations:
        for mode in modes:
            # An operation without parameters cannot be asked wrongly.
            with contextlib.suppress(Unsatisfiable):
                _many(
                    api,
                    operation.as_strategy(generation_mode=mode),
                    share,
                    start,
                    tally,
                    session,
                    checks,
                )
    return tally


def _many(  # noqa: PLR0913, PLR0917 - what a run of requests shares
    api: Api,
    strategy: Any,
    count: int,
    start: int,
    tally: Tally,
    session: requests.Session,
    checks: Any,
) -> None:
    @seed(start)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def each(case: Case) -> None:
        _one(api, case, tally, session, checks)

    each()


def _one(api: Api, case: Case, tally: Tally, session: requests.Session, checks: Any) -> None:
    keys = api.keys(case.operation.path)
    try:
        answer = case.call(base_url=api.url, session=session, headers=keys, timeout=60)
    except (ValueError, UnicodeError, requests.RequestException) as exc:
        if isinstance(exc, requests.ConnectionError | requests.Timeout):
            tally.faults.append(f"{case.operation.label}: no answer: {exc!r:.200}")
        return
    tally.statuses[answer.status_code] += 1
    if answer.status_code in api.known:
        return
    try:
        case.validate_response(answer, checks=checks)
    except (Failure, FailureGroup) as exc:
        found = [str(one) for one in getattr(exc, "exceptions", [exc])]
        body = json.dumps(case.body, default=repr) if case.body is not None else ""
        tally.faults.append(
            f"{case.operation.label} {body[:200]}: {answer.status_code} {' | '.join(found)[:600]}"
        )


# -- bodies that are no JSON at all, B43 and B45 --------------------------------------------------


def raw_bodies(  # noqa: C901, PLR0911 - a table
    chance: random.Random, sample: bytes
) -> bytes:
    """Break a good body: bytes, structure, numbers, depth, size, encoding."""
    kind = chance.randrange(12)
    if kind == 0:
        return chance.randbytes(chance.randrange(300))
    if kind == 1:
        return b'{"a":' * chance.choice((10, 65, 1000, 20_000)) + b"1"
    if kind == 2:
        return b"[" * 20_000 + b"]" * 20_000
    if kind == 3:
        return sample.replace(b'"', b"", chance.randrange(1, 6))
    if kind == 4:
        return sample.decode().encode(chance.choice(("utf-16", "utf-32", "utf-8-sig")))
    if kind == 5:
        return (
            sample[:-1]
            + b',"'
            + chance.choice((b"n", b"model", b"x", b"\xff", b"\\ud800"))
            + b'":'
            + chance.choice(NUMBERS)
            + b"}"
        )
    if kind == 6:
        return b"{" + sample[1:-1] + b"," + sample[1:]
    if kind == 7:
        return sample.replace(b":", b":" + chance.choice(NUMBERS) + b",", 1)
    found = bytearray(sample)
    for _ in range(chance.choice((1, 2, 5))):
        at = chance.randrange(len(found))
        if chance.random() < 0.5:
            found[at] = chance.choice(b'{}[]",:\\\0\xff\x80nNt-+.eE0')
        else:
            found[at:at] = chance.choice(
                (b"\\u0000", b"\\ud83d", b"\xed\xa0\x80", b"null", b"\0", b"//", b",,")
            )
    return bytes(found)


NUMBERS = (
    *(
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        b"-0",
        b"1e400",
        b"0x1",
        b"01",
        b"1.",
        b"9" * 5000,
        b"1e-999999",
    ),
    *(
        b"true",
        b"null",
        b'"yes"',
        b"1000",
        b"[]",
        b"{}",
        b'"\\ud800"',
        b"-1",
        b"1.5",
        b"18446744073709551616",
    ),
)


def ask_raw(api: Api, path: str, sample: bytes, count: int, start: int = 0) -> Tally:
    """Send broken bodies: each is answered with 200 or a refusal in the API's own words."""
    chance, tally, session = random.Random(start), Tally(), requests.Session()
    session.trust_env = False
    types = (
        "application/json",
        "application/json; charset=utf-16",
        "text/plain",
        "multipart/form-data",
        "",
    )
    for number in range(count):
        body = raw_bodies(chance, sample)
        headers = {**api.keys(path), "content-type": chance.choice(types)}
        answer = session.post(api.url + path, data=body, headers=headers, timeout=60)
        tally.statuses[answer.status_code] += 1
        if answer.status_code >= 500 and answer.status_code not in api.known:
            tally.faults.append(f"{path} {number}: {answer.status_code} for {body[:200]!r}")
        if answer.status_code >= 400 and not answer.content:
            tally.faults.append(
                f"{path} {number}: {answer.status_code} without a word for {body[:200]!r}"
            )
    return tally
