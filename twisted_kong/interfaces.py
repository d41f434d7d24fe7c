"""The seams: what a component is asked. Nothing but interfaces lives here.

A component answers one question; the core owns time, state, caching, retries and concurrency. A component is
found by the ``name`` of its factory (`twisted_kong.registry`), and a contract suite for each interface is in
`twisted_kong.testing`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from twisted.internet.interfaces import IProtocol
from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface

from twisted_kong.model.changes import Change
from twisted_kong.model.entities import Upstream
from twisted_kong.model.snapshot import Snapshot
from twisted_kong.model.traffic import Answer, Outcome, Pick
from twisted_kong.settings import Settings


class IPeer(Interface):
    """One address that can be dialled, as an algorithm sees it. Compared and hashed by identity."""

    address: str = Attribute("Host and port, ``10.0.0.1:8000``; the same in every process and after a restart.")
    weight: int = Attribute("Its share of the traffic, at least 1; 0 is given to an `ISessionAlgorithm` alone.")
    leases: int = Attribute(
        "The attempts it carries. The one it is picked for is counted once `IAlgorithm.pick` has returned, the one that"
        " has ended no more when `IAlgorithm.done` is called."
    )
    memory: dict[str, Any] = Attribute(
        "What algorithms remember of it, each under its own name. Survives every change of the configuration, a change"
        " of the algorithm and back included."
    )


class IAlgorithm(Interface):
    """Chooses among the peers of one upstream. Synchronous, without I/O; all calls come from one thread."""

    def update(peers: Iterable[IPeer]) -> None:
        """From now on exactly these peers may be picked. Called again whenever one joins, leaves or is re-weighted."""

    def pick(pick: Pick) -> IPeer | None:
        """The peer for an attempt: never one in ``pick.tried``; None when there is no other."""

    def done(peer: IPeer, outcome: Outcome) -> None:
        """An attempt that `pick` chose ``peer`` for has ended. Called exactly once for each peer picked."""


class IIncrementalAlgorithm(IAlgorithm):
    """An algorithm that need not look at all its peers when something is new of one. Nobody has to provide this.

    Where it is provided, `IAlgorithm.update` is called for the beginning and for large changes, these for small ones.
    Each is to cost no more than the logarithm of the number of peers.
    """

    def add(peer: IPeer) -> None:
        """This one may be picked as well. It may not until now."""

    def remove(peer: IPeer) -> None:
        """This one, of those that may be picked, may not from now on."""

    def changed(peer: IPeer) -> None:
        """One that may be picked has another weight, or its `IPeer.leases` changed without `pick` and `done`."""


class ISessionAlgorithm(IAlgorithm):
    """An algorithm that knows who belongs to whom. It is given peers of weight 0 as well.

    Those may be picked for requests that belong to them already, and for no others.
    """


class IAlgorithmFactory(IPlugin):
    """Makes the algorithm of an upstream whose ``algorithm`` is this factory's name."""

    name: str = Attribute("The value of ``algorithm``: ``round-robin``.")

    def build(upstream: Upstream) -> IAlgorithm:
        """A new algorithm without peers; it shares no state with any other."""


class IResolver(Interface):
    """Finds the addresses of a name. It need not cache, share questions or try again: the core does."""

    def resolve(name: str) -> Awaitable[Answer]:
        """The addresses of ``name``, which is in lower case. Some of them may be names: see `Address`.

        :raise twisted_kong.errors.NameNotFound: the name does not exist or has no address.
        :raise twisted_kong.errors.NameNotResolved: nobody could tell; the last answer serves on.
        """


class IHostResolver(IResolver):
    """A resolver that finds the names in its own answers in a way of their own: by their address records alone.

    Of any other resolver they are asked with `resolve`.
    """

    def resolve_host(name: str) -> Awaitable[Answer]:
        """As `resolve`, for a ``name`` that was a host in an answer; its addresses are IP addresses."""


class IResolverFactory(IPlugin):
    """Makes the resolver that the setting ``dns_resolver_plugin`` names."""

    name: str = Attribute("The value of the setting: ``system``.")

    def build(reactor: object, settings: Settings) -> IResolver:
        """A resolver working on ``reactor`` under these settings."""


class IProbe(Interface):
    """One probe of one peer, as its checker sees it. The core measures its time and ends it, connection and all."""

    name: str = Attribute("The host that the peer goes by: a name, or an IP address without brackets.")
    host: str = Attribute("The IP address to ask, where it is known, without brackets; else the name.")
    port: int = Attribute("The port to ask.")

    def connect(protocol: IProtocol) -> None:
        """Let ``protocol`` speak to the peer. Called at most once; failing to connect ends the probe by itself."""

    def connect_tls(protocol: IProtocol, server_name: str, verify: bool, alpn: Sequence[bytes]) -> None:
        """The same under TLS, with the client certificate of the upstream and the authorities that are trusted.

        ``server_name`` is told the peer (SNI) and, where asked to ``verify``, what its certificate must be for.
        """


class IHealthChecker(Interface):
    """Finds out whether a peer is well right now. It has neither timers nor thresholds: they are the core's."""

    def check(probe: IProbe) -> Awaitable[Outcome]:
        """Ask once. The outcome has the status of an answer, or tells how it failed; neither means that all is well.

        Whoever waits for the answer is cancelled when the time is up. A connection that cannot be made, or is lost
        before there is an outcome, is a failure ``"tcp"`` without anything said here.
        """


class IHealthCheckerFactory(IPlugin):
    """Makes the checker of an upstream whose ``healthchecks.active.type`` is this factory's name."""

    name: str = Attribute("The value of ``type``: ``http``.")

    def build(upstream: Upstream) -> IHealthChecker:
        """A checker for the peers of ``upstream``, under its ``healthchecks.active``."""


class IConfigStore(Interface):
    """Keeps the desired configuration."""

    def snapshot() -> Snapshot:
        """The configuration as of the last change applied."""

    def apply(change: Change) -> Awaitable[Snapshot]:
        """Make ``change`` durable, tell every listener, and answer the new snapshot. All of it or nothing.

        A change that changes nothing answers the snapshot there is, and nobody is told.

        :raise twisted_kong.errors.AdminError: the change breaks a uniqueness or a reference.
        """

    def reachable() -> Awaitable[bool]:
        """Whether it is still where it was, and can be read. Never fails."""

    def subscribe(listener: Callable[[Snapshot, Snapshot], None]) -> None:
        """Call ``listener(old, new)`` after every change, before `apply` answers."""

    def close() -> Awaitable[None]:
        """Answer the changes under way and let go of everything; nothing may be asked any more."""
