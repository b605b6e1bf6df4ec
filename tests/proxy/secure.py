"""HTTPS and HTTP/2 for the edge's tests: a certificate, and clients that normalise nothing.

httpx and curl correct a path before they send it; the frames here are put together by hand from
whatever bytes the test wants, with h2 for the protocol's own bookkeeping.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import socket
import ssl
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import h2.config
import h2.connection
import h2.events
import lab as laboratory
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lab import PATIENCE, Lab, Reply
from tests.ports import free_port

from workshop.proxy.routes import Edge, Tls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "workshop.example"
AT_ONCE = 64
"""Streams of one connection in flight; nginx allows 128."""


def certificate(directory: Path, *names: str) -> Tls:
    """Make a certificate that signs itself, for ``names``, and say where it lies."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    digest = hashlib.sha256(chain + private).hexdigest()[:16]
    home = directory / "tls" / digest
    home.mkdir(parents=True)
    (home / "fullchain.pem").write_bytes(chain)
    (home / "key.pem").write_bytes(private)
    return Tls(str(home / "fullchain.pem"), str(home / "key.pem"), digest)


def secured(edge: Edge, directory: Path, tls: Tls, *, redirect: bool = False) -> Edge:
    """Give the same edge with HTTPS, its platform's way in beside it."""
    return replace(
        edge,
        url=f"https://{HOST}:{edge.listen}",
        tls=replace(tls, redirect_port=free_port() if redirect else 0),
        inner=f"127.0.0.1:{free_port()}",
        acme=str(directory / "acme"),
    )


def context(*protocols: str) -> ssl.SSLContext:
    """Speak TLS to anybody; whose certificate it is, is looked at where it matters."""
    made = ssl.create_default_context()
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if protocols:
        made.set_alpn_protocols(protocols)
    return made


def connect(
    lab: Lab,
    name: str | None = "localhost",
    *protocols: str,
    client: ssl.SSLContext | None = None,
    session: ssl.SSLSession | None = None,
) -> ssl.SSLSocket:
    """Open a TLS connection; ``name`` is the one that is asked for in the clear."""
    plain = socket.create_connection(("127.0.0.1", lab.port), timeout=PATIENCE)
    try:
        speaks = client or context(*protocols)
        return speaks.wrap_socket(plain, server_hostname=name, session=session)
    finally:
        plain.close()


@dataclass(frozen=True)
class SecureLab(Lab):
    """A running edge that is asked over HTTPS, in HTTP/1.1."""

    def connect(self) -> ssl.SSLSocket:
        """Open a connection to the edge."""
        return connect(self, "localhost")


@contextlib.contextmanager
def running(edge: Edge, directory: Path) -> Iterator[SecureLab]:
    """Run nginx on an edge that speaks TLS."""
    with laboratory.running(edge, directory) as lab:
        yield SecureLab(lab.edge, lab.port, lab.directory, lab.process)


@dataclass
class Http2:
    """One connection of a client that sends any bytes as a path."""

    lab: Lab
    replies: dict[int, Reply] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(
        self, targets: list[bytes], *headers: tuple[bytes, bytes], **more: bytes
    ) -> list[Reply]:
        """GET every target, many at a time; a stream that is reset counts as a refusal."""
        waiting = list(enumerate(targets))
        for start in range(0, len(waiting), AT_ONCE):
            self._batch(waiting[start : start + AT_ONCE], headers, **more)
        return [self.replies[number] for number in range(len(targets))]

    def get(self, target: bytes | str, *headers: tuple[bytes, bytes], **more: bytes) -> Reply:
        """GET one target."""
        raw = target.encode() if isinstance(target, str) else target
        return self.ask([raw], *headers, **more)[0]

    def _open(self) -> None:
        with contextlib.suppress(AttributeError):
            self._socket.close()
        self._socket = connect(self.lab, "localhost", "h2")
        assert self._socket.selected_alpn_protocol() == "h2"
        settings = h2.config.H2Configuration(
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=False,
        )
        self._wire = h2.connection.H2Connection(settings)
        self._wire.initiate_connection()
        self._flush()

    def _flush(self) -> None:
        self._socket.sendall(self._wire.data_to_send())

    def _batch(
        self,
        batch: list[tuple[int, bytes]],
        headers: tuple[tuple[bytes, bytes], ...],
        *,
        host: bytes = b"localhost",
        method: bytes = b"GET",
    ) -> None:
        streams: dict[int, int] = {}
        for number, target in batch:
            stream = self._wire.get_next_available_stream_id()
            head = [
                (b":method", method),
                (b":scheme", b"https"),
                (b":authority", host),
                (b":path", target),
            ]
            self._wire.send_headers(stream, [*head, *headers], end_stream=True)
            streams[stream] = number
        self._flush()
        self._collect(streams)

    def _collect(self, streams: dict[int, int]) -> None:
        heads: dict[int, list[tuple[bytes, bytes]]] = {}
        bodies: dict[int, bytes] = dict.fromkeys(streams, b"")
        left = set(streams)
        while left:
            data = self._socket.recv(65536)
            if not data:
                break
            for event in self._wire.receive_data(data):
                self._take(event, heads, bodies, left)
            self._flush()
        for stream, number in streams.items():
            pairs = heads.get(stream, [(b":status", b"400")])
            lines = [b"HTTP/2 " + dict(pairs)[b":status"]]
            lines += [name + b": " + value for name, value in pairs if name[:1] != b":"]
            status = int(dict(pairs)[b":status"])
            self.replies[number] = Reply(status, b"\r\n".join(lines), bodies[stream])
        if left:
            self._open()

    def _take(
        self,
        event: object,
        heads: dict[int, list[tuple[bytes, bytes]]],
        bodies: dict[int, bytes],
        left: set[int],
    ) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            heads[event.stream_id] = [(_raw(n), _raw(v)) for n, v in event.headers]
        elif isinstance(event, h2.events.DataReceived):
            bodies[event.stream_id] += event.data
            self._wire.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
            left.discard(event.stream_id)


def _raw(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def batches(targets: list[bytes], size: int) -> Iterator[list[bytes]]:
    """Cut a long list; nginx closes a connection after a thousand requests."""
    for start in range(0, len(targets), size):
        yield targets[start : start + size]
