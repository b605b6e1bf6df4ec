"""The wall as text: firewall rules of one workshop, and how to tell whether they stand.

Pure text in the form that ``iptables-save`` prints and ``iptables-restore`` reads. All names begin
with the prefix of the workshop's bridges. Who may do what is matched by a seat's source address:
addresses are static, and a seat has no capability to send from another one
(``docs/adr/0012-one-bridge-egress-by-address.md``).
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workshop.wall.options import Mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TypeAlias

    _Run: TypeAlias = tuple[str, str]

CLOSED_RANGES = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
)
"""Private and special: neighbours, the server's own networks, metadata services of clouds."""
MAIL_PORTS = "25,465,587"
MOST_CONNECTIONS = 256
"""Of one seat to the internet at a time. A scan's unanswered attempts count for two minutes, so it
fills neither this server's table of connections nor anybody's log."""
FORWARD, INPUT, OPEN, REFUSE = "forward", "input", "open", "refuse"
_DNS = (("udp", 53), ("tcp", 53))
_USER_CHAIN = "DOCKER-USER"
_ANY_JUMP = re.compile(r"-A (?:DOCKER-USER|INPUT) -i wsp[0-9a-f]{8}\+ -j wsp[0-9a-f]{8}-\w+")


@dataclass(frozen=True)
class Shard:
    """One bridge: the server's own address on it, and the addresses of its seats by mode."""

    bridge: str
    """The server's address on the bridge."""
    seats: tuple[tuple[str, Mode], ...]


@dataclass(frozen=True)
class Wall:
    """Everything the rules follow from."""

    workshop: str
    prefix: str
    """What the names of the workshop's bridges begin with."""
    shards: tuple[Shard, ...]
    nameservers: tuple[str, ...] = ()
    """The server's own, which open seats may ask wherever they are."""
    gateway_port: int = 0
    """TCP port of the class's models on each bridge's own address; 0 where there are none."""
    outbound_port: int = 0
    """The same of the proxy of approved seats."""

    @property
    def rules(self) -> str:
        """Write the rules down, as ``iptables-restore`` takes them."""
        chains = (FORWARD, INPUT, OPEN, REFUSE)
        lines = [
            f"# The wall of the workshop {self.workshop}. Generated, do not edit.",
            f"# prefix {self.prefix}",
            "*filter",
            *(f":{self._chain(name)} - [0:0]" for name in chains),
            *self._forward(),
            *self._input(),
            *self._open(),
            *self._refuse(),
            "COMMIT",
        ]
        return "\n".join(lines) + "\n"

    def _forward(self) -> Iterator[str]:
        """Let open seats out; everything else that a bridge sends elsewhere is refused."""
        chain = self._chain(FORWARD)
        yield f"-A {chain} -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"
        for source in self._sources(Mode.OPEN):
            yield _rule(chain, f"-g {self._chain(OPEN)}", source)
        yield _rule(chain, f"-g {self._chain(REFUSE)}")

    def _input(self) -> Iterator[str]:
        """Let seats reach the parts that are made for them, each on its own bridge's address."""
        chain = self._chain(INPUT)
        yield f"-A {chain} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
        for port, modes in (
            (self.gateway_port, (Mode.OPEN, Mode.APPROVED, Mode.LLM)),
            (self.outbound_port, (Mode.APPROVED,)),
        ):
            for shard in self.shards if port else ():
                for source in _sources(shard.seats, *modes):
                    yield _rule(chain, "-j ACCEPT", source, shard.bridge, ("tcp", port))
        for source in self._sources(Mode.OPEN):
            for address in self.nameservers:
                for service in _DNS:
                    yield _rule(chain, "-j ACCEPT", source, address, service)
        yield _rule(chain, f"-g {self._chain(REFUSE)}")

    def _open(self) -> Iterator[str]:
        """Let a seat reach the internet: names, and every public address."""
        chain, refuse = self._chain(OPEN), f"-g {self._chain(REFUSE)}"
        for address in self.nameservers:
            for service in _DNS:
                yield _rule(chain, "-j RETURN", address=address, service=service)
        for network in CLOSED_RANGES:
            yield f"-A {chain} -d {network} {refuse}"
        yield f"-A {chain} -p tcp -m multiport --dports {MAIL_PORTS} {refuse}"
        most = f"--connlimit-above {MOST_CONNECTIONS} --connlimit-mask 32 --connlimit-saddr"
        yield f"-A {chain} -m connlimit {most} {refuse}"

    def _refuse(self) -> Iterator[str]:
        """Refuse at once, so that an app is told instead of waiting.

        A reset for TCP: the kernel sends only a few ICMP errors a second to one address.
        """
        chain = self._chain(REFUSE)
        yield f"-A {chain} -p tcp -j REJECT --reject-with tcp-reset"
        yield f"-A {chain} -j REJECT --reject-with icmp-port-unreachable"

    def _sources(self, mode: Mode) -> Iterator[_Run]:
        return _sources([seat for shard in self.shards for seat in shard.seats], mode)

    def _chain(self, name: str) -> str:
        return f"{self.prefix}-{name}"


def _rule(
    chain: str,
    target: str,
    source: _Run | None = None,
    address: str = "",
    service: tuple[str, int] | None = None,
) -> str:
    """Write one rule, its parts in the order of ``iptables-save``."""
    parts = [f"-A {chain}"]
    if source is not None and source[0] == source[1]:
        parts.append(f"-s {source[0]}/32")
    if address:
        parts.append(f"-d {address}/32")
    if service is not None:
        parts.append(f"-p {service[0]}")
    if source is not None and source[0] != source[1]:
        parts.append(f"-m iprange --src-range {source[0]}-{source[1]}")
    if service is not None:
        parts.append(f"-m {service[0]} --dport {service[1]}")
    return " ".join([*parts, target])


def _sources(seats: Iterable[tuple[str, Mode]], *modes: Mode) -> Iterator[_Run]:
    """Find the addresses of ``modes``, as few runs as possible: slots stand side by side."""
    numbers = sorted(int(ipaddress.IPv4Address(ip)) for ip, mode in seats if mode in modes)
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    for first, last in runs:
        yield str(ipaddress.IPv4Address(first)), str(ipaddress.IPv4Address(last))


# -- what stands ------------------------------------------------------------------------------


def expected(rules: str, prefix: str) -> tuple[str, ...]:
    """List what :func:`standing` finds where ``rules`` hold, ways into them included."""
    lines = rules.splitlines()
    return (
        *(line.partition(" ")[0] for line in lines if line.startswith(":")),
        f"-A FORWARD -j {_USER_CHAIN}",
        f"-A {_USER_CHAIN} -i {prefix}+ -j {prefix}-{FORWARD}",
        f"-A INPUT -i {prefix}+ -j {prefix}-{INPUT}",
        *(line for line in lines if line.startswith("-A ")),
    )


def standing(saved: str, saved6: str | None, prefix: str) -> tuple[str, ...]:
    """List the lines of ``iptables-save`` that make the wall of ``prefix``.

    A way in that is not the first rule of its chain is no way in: what stands before it decides.
    Rules of other workshops match other bridges and may stand before it.

    Args:
        saved: what ``iptables-save -t filter`` prints.
        saved6: the same of ``ip6tables-save``; ``None`` where this machine has no IPv6.
        prefix: of the workshop's bridges.

    """
    lines = [line.rstrip() for line in saved.splitlines()]
    found = [line.partition(" ")[0] for line in lines if line.startswith(f":{prefix}-")]
    found += _way_to_user_chain(lines, prefix)
    for chain in (_USER_CHAIN, "INPUT"):
        rules = [line for line in lines if line.startswith(f"-A {chain} ")]
        found += _ways_in(rules, prefix)
    found += [line for line in lines if line.startswith(f"-A {prefix}-")]
    if found == [f"-A FORWARD -j {_USER_CHAIN}"]:
        found = []
    if saved6 is not None and found:
        found += _six(saved6, prefix)
    return tuple(found)


def _way_to_user_chain(lines: Sequence[str], prefix: str) -> list[str]:
    """Find the engine's jump, unless its own rules for our bridges stand before it and accept."""
    jump = f"-A FORWARD -j {_USER_CHAIN}"
    for line in lines:
        if line == jump:
            return [jump]
        if line.startswith("-A FORWARD ") and f" {prefix}" in line:
            return []
    return []


def _ways_in(rules: Sequence[str], prefix: str) -> Iterator[str]:
    foreign = ""
    for line in rules:
        if f" {prefix}+ " in line:
            yield f"{line} (after {foreign})" if foreign else line
        elif not _ANY_JUMP.fullmatch(line):
            foreign = foreign or line


def _six(saved6: str, prefix: str) -> Iterator[str]:
    """Name what lets a seat's IPv6 pass, if anything does."""
    lines = {line.rstrip() for line in saved6.splitlines()}
    for chain in ("FORWARD", "INPUT"):
        if f"-A {chain} -i {prefix}+ -j DROP" not in lines:
            yield f"IPv6 passes {chain}"


def difference(wanted: Sequence[str], found: Sequence[str] | None) -> str:
    """Say in few words how what stands differs; empty where it does not."""
    if found is None:
        return "no rules seen yet"
    if list(wanted) == list(found):
        return ""
    if not found:
        return "no rules"
    missing = (Counter(wanted) - Counter(found)).total()
    strange = (Counter(found) - Counter(wanted)).total()
    if not missing and not strange:
        return "rules in another order"
    parts = [f"{missing} rules missing"] if missing else []
    return ", ".join([*parts, f"{strange} not ours"] if strange else parts)
