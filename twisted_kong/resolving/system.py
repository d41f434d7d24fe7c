"""The resolver ``system``: the reactor's own, that is the operating system's with everything nsswitch knows."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHostResolution, IReactorPluggableNameResolver, IResolutionReceiver
from zope.interface import implementer

from twisted_kong.errors import NameNotFound
from twisted_kong.interfaces import IResolver, IResolverFactory
from twisted_kong.model.traffic import Address, Answer

LIFETIME = 5.0
"""Seconds an answer holds. The operating system does not tell, and keeps what it knows itself."""


@implementer(IResolutionReceiver)
class _Receiver:
    """Collects the addresses of one resolution."""

    def __init__(self) -> None:
        self.done: Deferred[Answer] = Deferred()
        self._name = ""
        self._found: list[Address] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        self._name = resolutionInProgress.name

    def addressResolved(self, address: IAddress) -> None:
        found = Address(address.host)  # type: ignore[attr-defined]  # IPv4Address or IPv6Address: TCP asks for no other
        if found not in self._found:
            self._found.append(found)

    def resolutionComplete(self) -> None:
        if self._found:
            self.done.callback(Answer(tuple(self._found), LIFETIME))
        else:
            self.done.errback(NameNotFound(f"the system knows no address of {self._name!r}"))


@implementer(IResolver)
class SystemResolver:
    """Asks ``reactor``'s name resolver."""

    def __init__(self, reactor: IReactorPluggableNameResolver) -> None:
        self._reactor = reactor

    async def resolve(self, name: str) -> Answer:
        receiver = _Receiver()
        self._reactor.nameResolver.resolveHostName(receiver, name)
        return await receiver.done


@implementer(IResolverFactory)
class SystemResolverFactory:
    """Makes ``dns_resolver_plugin=system``."""

    name = "system"

    def build(self, reactor: object, settings: object) -> IResolver:
        return SystemResolver(IReactorPluggableNameResolver(reactor))
