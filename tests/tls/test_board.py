"""A board that gets a host of its own while an authority's certificate is live without it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.conftest import again
from workshop import host
from workshop.errors import CertificateRefused
from workshop.tls import acme, certificates, renewal

if TYPE_CHECKING:
    from workshop.tls.acme import Order
    from workshop.tls.certificates import Pair
    from workshop.workspace import Workspace

HOST = "class.example.org"
BOARD = f"board.{HOST}"
ROSTER = f"""
workshop:
  name: class
  url: https://{HOST}
  port: 18999
  llm: false
  tls: {{acme: you@example.org, http_port: 18998}}
participants: [ada]
"""


class Issuer:
    """An authority that certifies whatever it is asked for, unless it refuses."""

    def __init__(self) -> None:
        self.orders: list[tuple[str, ...]] = []
        self.refuses = False
        self._pair = certificates.make_authority("Issuer", [HOST], datetime.now(UTC))

    def obtain(self, order: Order) -> Pair:
        """Stand in for the conversation with an authority."""
        self.orders.append(order.names)
        if self.refuses:
            raise CertificateRefused("no address for the name", hint="add a DNS record")
        return certificates.make_leaf(self._pair, order.names, datetime.now(UTC))


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Issuer:
    """Let that authority be the one which is asked."""
    found = Issuer()
    monkeypatch.setattr(acme, "obtain", found.obtain)
    monkeypatch.setattr(host, "resolves", lambda _: ())
    return found


@pytest.fixture
def certified(work: Workspace, issuer: Issuer) -> Workspace:
    """Provision a class that has its certificate, and give the board a host afterwards."""
    work.roster_path.write_text(ROSTER, "utf-8")
    assert renewal.provision(again(work)).ok
    assert issuer.orders == [(HOST,)]
    text = ROSTER.replace("  llm: false\n", f"  llm: false\n  board: {{host: {BOARD}}}\n")
    work.roster_path.write_text(text, "utf-8")
    return again(work)


def names(work: Workspace) -> tuple[str, ...]:
    """Say what the edge's certificate is good for."""
    found = again(work).certificate
    assert found is not None
    assert not found.placeholder
    return found.facts.names


def test_provision_has_the_boards_host_certified(certified: Workspace, issuer: Issuer) -> None:
    """Once, and then no more."""
    assert renewal.provision(certified).ok
    assert names(certified) == (HOST, BOARD)
    assert renewal.provision(again(certified)).plan.is_empty
    assert issuer.orders == [(HOST,), (HOST, BOARD)]


def test_refusal_leaves_the_class_its_certificate(certified: Workspace, issuer: Issuer) -> None:
    """A name without a DNS record costs nobody's app its trust, and is not asked for at once again."""
    issuer.refuses = True
    report = renewal.provision(certified)

    assert "no address for the name" in report.failed["certificate"]
    assert names(certified) == (HOST,)
    renewal.provision(again(certified))
    assert len(issuer.orders) == 2
