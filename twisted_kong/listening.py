"""How a gateway listens where its settings say."""

from __future__ import annotations

import socket
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.tcp import makeBinding
from twisted.python.failure import Failure

from twisted_kong.errors import StartupError
from twisted_kong.settings import Listener

T = TypeVar("T")


def listen(reactor: Any, listener: Listener, factory: IProtocolFactory, setting: str) -> IListeningPort:
    """Listen where ``listener`` says."""
    try:
        if listener.endpoint is not None:
            # a server's endpoints listen at once; the Deferred is for the client's
            listening: Deferred[IListeningPort] = serverFromString(reactor, listener.endpoint).listen(factory)
            return at_once(listening)
        if ":" in listener.host:
            return listen_on_ipv6(reactor, listener, factory)
        binding = makeBinding(listener.host, listener.port, reuseAddress=True, reusePort=listener.reuseport)
        port: IListeningPort = reactor.listenTCP(binding, factory, listener.backlog)
        return port
    except KeyError as error:  # systemd has handed over no socket of that name
        raise StartupError(f"{setting}: cannot listen on {listener}: systemd has passed no socket {error}") from None
    except (CannotListenError, ValueError, OSError) as error:
        reason = error.socketError if isinstance(error, CannotListenError) else error
        told = getattr(reason, "strerror", None) or reason  # an OSError has its number in its text
        raise StartupError(f"{setting}: cannot listen on {listener}: {told}") from None


def listen_on_ipv6(reactor: Any, listener: Listener, factory: IProtocolFactory) -> IListeningPort:
    """Listen on an IPv6 address for IPv6 alone, as nginx does, so that ``0.0.0.0`` and ``[::]`` may share a port."""
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if listener.reuseport:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind((listener.host, listener.port))
        listening.listen(listener.backlog)
        listening.setblocking(False)
        port: IListeningPort = reactor.adoptStreamPort(listening.fileno(), socket.AF_INET6, factory)
        return port


def at_once(deferred: Deferred[T]) -> T:
    """The result of what waits for nobody."""
    found: list[T | Failure] = []
    _ = deferred.addBoth(found.append)
    if not found:
        raise StartupError("cannot wait for anything before the reactor runs")
    if isinstance(found[0], Failure):
        found[0].raiseException()
    return found[0]
