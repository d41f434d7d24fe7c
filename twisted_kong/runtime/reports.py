"""What is told of the health of an upstream: plain values, and the sums and rules over them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from twisted_kong.model.records import HealthChecks
from twisted_kong.runtime.peers import Peer


@dataclass(frozen=True, slots=True)
class AddressReport:
    """One address that a target stands for; ``host`` is a name where that is what is dialled, IPv6 has no brackets."""

    host: str
    port: int
    weight: int
    healthy: bool


@dataclass(frozen=True, slots=True)
class Weights:
    """How much weight there is, and how much of it is with the healthy. Both are sums over addresses."""

    total: int
    available: int


@dataclass(frozen=True, slots=True)
class TargetReport:
    """A target with its addresses; ``dns`` tells the type of the records that led to them, or why none did."""

    host: str
    port: int
    weight: int
    dns: str
    addresses: tuple[AddressReport, ...]

    @property
    def weights(self) -> Weights:
        return Weights(
            sum(address.weight for address in self.addresses),
            sum(address.weight for address in self.addresses if address.healthy),
        )


@dataclass(frozen=True, slots=True)
class Report:
    """An upstream with its targets, in the order of their creation.

    Where health is not ``checked`` everybody counts as healthy. ``threshold`` is the percentage of available weight up
    to which the upstream as a whole is not.
    """

    checked: bool
    threshold: float
    targets: tuple[TargetReport, ...]

    @property
    def weights(self) -> Weights:
        each = [target.weights for target in self.targets]
        return Weights(sum(one.total for one in each), sum(one.available for one in each))

    @property
    def healthy(self) -> bool:
        """Whether the upstream as a whole is: Kong's rule, but that a threshold of 100 asks for all, not for more."""
        total, available = self.weights.total, self.weights.available
        return total > 0 and (available * 100 > total * self.threshold or available == total)


def checks(settings: HealthChecks) -> bool:
    """Whether anything can ever take a peer out: a probe that is sent, or a failure that is counted (Kong)."""
    active, failures = settings.active, settings.passive.unhealthy
    intervals = active.healthy.interval, active.unhealthy.interval
    return any((*intervals, failures.tcp_failures, failures.timeouts, failures.http_failures))


def make_report(settings: HealthChecks, peers: Iterable[Peer]) -> Report:
    """The report of an upstream with these health checks and these peers, one for each target."""
    checked = checks(settings)
    targets = tuple(_target(peer, healthy=peer.healthy or not checked) for peer in peers)
    return Report(checked, settings.threshold, targets)


def _target(peer: Peer, *, healthy: bool) -> TargetReport:
    address = AddressReport(peer.host, peer.port, peer.weight, healthy)
    dns = ("AAAA" if ":" in peer.host else "A") if peer.resolved else "unknown"
    return TargetReport(peer.host, peer.port, peer.weight, dns, (address,))
