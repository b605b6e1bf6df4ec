"""A fake of Pinecone's data service, at the level of HTTP: what the official client talks to.

It keeps to what the service does: ids and metadata are checked on upsert, numbers come back as
floats, `list` comes in pages, a filter is applied before the nearest are taken.
"""

import json
import math
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PAGE = 10  # ids in one answer of `list`; the real service sends up to 100
KEY = "secret"
LONGEST_ID = 512


class Refused(Exception):
    """The service does not accept a request."""


class FakePinecone(ThreadingHTTPServer):
    """One index with its namespaces."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Service)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.spaces: dict[str, dict[str, dict[str, Any]]] = {}


class Service(BaseHTTPRequestHandler):
    """Answers one request."""

    server: FakePinecone

    def do_GET(self) -> None:
        """List ids."""
        address = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        self.answer_with({"/vectors/list": self.list_ids}, address.path, asked)

    def do_POST(self) -> None:
        """Change or search."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        methods = {
            "/vectors/upsert": self.upsert,
            "/vectors/delete": self.delete,
            "/query": self.query,
        }
        self.answer_with(methods, self.path, body)

    def answer_with(self, methods: dict[str, Any], path: str, asked: dict[str, Any]) -> None:
        """Call the method of this path, for those who have the key."""
        try:
            if self.headers["Api-Key"] != KEY:
                self.send(HTTPStatus.UNAUTHORIZED, {"message": "Unauthorized"})
            elif path not in methods:
                self.send(HTTPStatus.NOT_FOUND, {"message": "Not Found"})
            else:
                space = self.server.spaces.setdefault(asked.get("namespace", ""), {})
                self.send(HTTPStatus.OK, methods[path](asked, space))
        except Refused as error:
            self.send(HTTPStatus.BAD_REQUEST, {"code": 3, "message": str(error), "details": []})

    def upsert(self, asked: dict[str, Any], space: dict[str, Any]) -> dict[str, Any]:
        """Keep records; one with the same id is replaced."""
        for record in asked["vectors"]:
            check(record, space)
            space[record["id"]] = record
        return {"upsertedCount": len(asked["vectors"])}

    def delete(self, asked: dict[str, Any], space: dict[str, Any]) -> dict[str, Any]:
        """Forget records; unknown ids do not matter."""
        for name in asked["ids"]:
            space.pop(name, None)
        return {}

    def query(self, asked: dict[str, Any], space: dict[str, Any]) -> dict[str, Any]:
        """Return the nearest records that pass the filter."""
        allowed = asked.get("filter") or {}
        passing = [record for record in space.values() if passes(record["metadata"], allowed)]
        scored = [
            {
                "id": record["id"],
                "score": cosine(asked["vector"], record["values"]),
                "values": [],
                "metadata": {
                    name: float(value) if isinstance(value, int) else value
                    for name, value in record["metadata"].items()
                },
            }
            for record in passing
        ]
        scored.sort(key=lambda match: -match["score"])
        found = scored[: asked["topK"]]
        if not asked.get("includeMetadata"):
            found = [{**match, "metadata": None} for match in found]
        return {"matches": found, "namespace": asked.get("namespace", ""), "usage": {}}

    def list_ids(self, asked: dict[str, Any], space: dict[str, Any]) -> dict[str, Any]:
        """Return a page of the ids that begin as wanted."""
        names = sorted(name for name in space if name.startswith(asked.get("prefix", "")))
        start = int(asked.get("paginationToken", 0))
        page = {"vectors": [{"id": name} for name in names[start : start + PAGE]]}
        if start + PAGE < len(names):
            page["pagination"] = {"next": str(start + PAGE)}
        return {**page, "namespace": asked.get("namespace", ""), "usage": {}}

    def send(self, status: int, body: dict[str, Any]) -> None:
        """Send an answer."""
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def check(record: dict[str, Any], space: dict[str, Any]) -> None:
    """Refuse what the real service refuses."""
    name, values = record["id"], record["values"]
    if not name.isascii() or not 1 <= len(name) <= LONGEST_ID:
        raise Refused("Vector ID must be ASCII and at most 512 characters")
    if not any(values):
        raise Refused("Dense vectors must contain at least one non-zero value")
    if any(len(other["values"]) != len(values) for other in space.values()):
        raise Refused("Vector dimension does not match the dimension of the index")
    for value in record["metadata"].values():
        if not isinstance(value, str | int | float | bool):
            raise Refused("Metadata value must be a string, number, boolean or list of strings")


def passes(metadata: dict[str, Any], allowed: dict[str, Any]) -> bool:
    """Apply a filter; only `$in` is played."""
    return all(metadata.get(name) in condition["$in"] for name, condition in allowed.items())


def cosine(a: list[float], b: list[float]) -> float:
    """Return the cosine of the angle between two vectors."""
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))
