"""The listening sockets of a gateway with workers: made by the process in charge, used by its workers.

Of every address each worker has a socket of its own, and the kernel spreads connections over them (SO_REUSEPORT); what
systemd hands over, and what only an endpoint of Twisted's can make, is one socket for all. The process in charge keeps
all of them open, and every worker has all of them: what waits in the line of a worker that has ended is taken up by
its siblings, and after it by whoever takes its place. None is closed before the gateway stops.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet import tcp
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory

from twisted_kong.errors import StartupError
from twisted_kong.listening import listen
from twisted_kong.settings import Listener


@dataclass(frozen=True)
class Place:
    """A listening socket: for which entry of ``proxy_listen`` (by its index), and for which worker, or all (None).

    ``port`` is Twisted's, where that has made the socket.
    """

    entry: int
    slot: int | None
    socket: socket.socket
    port: Any = None


def open_places(
    reactor: Any, listeners: Sequence[Listener], workers: int, found: Iterable[socket.socket] = ()
) -> list[Place]:
    """The sockets of so many workers; those ``found`` are used where they listen at the right place, else closed.

    :raise StartupError: somebody else listens there, or nobody can.
    """
    left = _distinct(found)
    places: list[Place] = []
    try:
        for entry, listener in enumerate(listeners):
            if listener.endpoint is not None:
                file = next((each for each in left if _is_file_of(each, listener.endpoint)), None)
                if file is None:
                    places.append(_of_endpoint(reactor, entry, listener, workers))
                else:
                    left.remove(file)
                    places.append(Place(entry, None, file))
                continue
            here = [each for each in left if _listens_at(each, listener)]
            left = [each for each in left if each not in here]
            sockets = here or [_bound(listener, alone=True)]
            while len(sockets) < workers:
                sockets.append(_bound(listener, sockets[0].getsockname()[1]))
            places += [Place(entry, slot % workers, each) for slot, each in enumerate(sockets)]
    except OSError as error:
        close(places)
        raise StartupError(f"proxy_listen: cannot listen on {listener}: {error.strerror or error}") from None
    for each in left:
        each.close()
    return places


def close(places: Iterable[Place]) -> None:
    """Listen no more."""
    for place in places:
        place.socket.close()
        if place.port is not None:
            _ = maybeDeferred(place.port.stopListening)


def adopt(reactor: Any, place: Place, factory: IProtocolFactory) -> Any:
    """Listen at ``place``, as soon as somebody tells the port to read.

    Where all workers share one socket, each takes one connection at a time: whoever is busy leaves the next to others.
    """
    found = place.socket
    found.setblocking(False)
    port = leave_file(reactor.adoptStreamPort(found.fileno(), found.family, factory))
    port.stopReading()
    if place.slot is None:
        take = port.doRead

        def take_one() -> None:
            port.numberAccepts = 1
            take()

        port.doRead = take_one
    return port


def leave_file(port: Any) -> Any:
    """The same ``port``, which does not remove the file of a UNIX socket when it listens no more.

    Twisted's does, and fails, without closing the socket, where there is none; siblings may listen at it still.
    """
    if port.addressFamily == socket.AF_UNIX:
        port.connectionLost = partial(tcp.Port.connectionLost, port)
    return port


def _bound(listener: Listener, port: int | None = None, *, alone: bool = False) -> socket.socket:
    """A socket that listens there, or at another ``port``; ``alone``, and there is no other that does."""
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    address = (listener.host, listener.port if port is None else port)
    if alone and not listener.reuseport:
        with socket.socket(family) as trial:
            _prepare(trial, reuse=False)
            trial.bind(address)
    made = socket.socket(family)
    try:
        _prepare(made, reuse=True)
        made.bind(address)
        made.listen(listener.backlog)
    except OSError:
        made.close()
        raise
    return made


def _prepare(made: socket.socket, *, reuse: bool) -> None:
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if made.family == socket.AF_INET6:  # as nginx: `0.0.0.0` and `[::]` may share a port
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if reuse:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _of_endpoint(reactor: Any, entry: int, listener: Listener, workers: int) -> Place:
    """The socket of a port that Twisted makes; what more than that is in such a port could not be shared.

    That of ``tcp:`` could be shared, but not taken over.
    """
    endpoint = listener.endpoint or ""
    if workers > 1 and not endpoint.startswith(("systemd:", "unix:")):
        raise StartupError(
            "proxy_listen: expected addresses such as 127.0.0.1:8000, systemd: or unix: where there are several"
            f" workers, got {endpoint}"
        )
    port: Any = listen(reactor, listener, Factory(), "proxy_listen")
    port.stopReading()
    return Place(entry, None, socket.socket(fileno=os.dup(port.fileno())), port)


def _distinct(sockets: Iterable[socket.socket]) -> list[socket.socket]:
    """Every socket once, whatever number of descriptors lead to it."""
    found: dict[int, socket.socket] = {}
    for each in sockets:
        if found.setdefault(os.fstat(each.fileno()).st_ino, each) is not each:
            each.close()
    return [*found.values()]


def _is_file_of(found: socket.socket, endpoint: str) -> bool:
    kind, _, rest = endpoint.partition(":")
    return kind == "unix" and found.family == socket.AF_UNIX and found.getsockname() == rest.partition(":")[0]


def _listens_at(found: socket.socket, listener: Listener) -> bool:
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    if found.family != family:
        return False
    host, port = found.getsockname()[:2]
    if not listener.port or port != listener.port:
        return False
    (*_, wanted), *_ = socket.getaddrinfo(listener.host, listener.port, family, socket.SOCK_STREAM)
    return bool(host == wanted[0])
