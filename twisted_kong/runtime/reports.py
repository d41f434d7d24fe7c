"""What is told of the health of an upstream: plain values, and the sums and rules over them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from twisted_kong.health.counters import checked
from twisted_kong.model.entities import Target
from twisted_kong.model.records import HealthChecks
from twisted_kong.runtime.health import PeerHealth
from twisted_kong.runtime.peers import Peer


@dataclass(frozen=True, slots=True)
class AddressReport:
    """One address that a target stands for; ``host`` is a name where the TTL is 0, IPv6 has no brackets."""

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
        """Whether the upstream as a whole is."""
        return available_enough(self.weights.total, self.weights.available, self.threshold)


@dataclass(frozen=True, slots=True)
class History:
    """The addresses of a target, by its id, and what is known of the health of each; to be read, not kept."""

    target: str
    addresses: tuple[tuple[tuple[str, int], PeerHealth], ...]


def available_enough(total: int, available: int, threshold: float) -> bool:
    """Whether an upstream as a whole is healthy: Kong's rule, but that a threshold of 100 asks for all, no more."""
    return total > 0 and (available * 100 > total * threshold or available == total)


class Told(Protocol):
    """What a target is told of: `twisted_kong.runtime.upstreams.LiveTarget`."""

    target: Target

    @property
    def dns(self) -> str: ...

    @property
    def peers(self) -> tuple[Peer, ...]: ...


def make_report(settings: HealthChecks, targets: Iterable[Told]) -> Report:
    """The report of an upstream with these health checks and these targets."""
    is_checked = checked(settings)
    return Report(is_checked, settings.threshold, tuple(_target(told, is_checked) for told in targets))


def _target(told: Told, checked: bool) -> TargetReport:
    addresses = tuple(
        AddressReport(peer.host, peer.port, peer.whole, peer.healthy or not checked) for peer in told.peers
    )
    target = told.target
    return TargetReport(target.host, target.port, target.weight, told.dns, addresses)
