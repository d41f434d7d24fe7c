"""What becomes of an exchange that has ended: it is counted, and gets its line in the access log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted.logger import Logger

from twisted_kong.model.entities import Service
from twisted_kong.proxy.accelerator import values_of
from twisted_kong.proxy.headers import RequestHead
from twisted_kong.telemetry.accesslog import AccessLog, Latencies, Logged, Try, escaped
from twisted_kong.telemetry.traffic import BATCH, RouteTraffic, Traffic

if TYPE_CHECKING:
    from twisted_kong.proxy.exchange import Exchange
    from twisted_kong.routing.candidates import CompiledRoute

log = Logger()

KNOWN_ROUTES = 16384
"""How many routes are known by themselves; what goes beyond is found again by name."""


class Record:
    """An exchange as the access log sees it: see `twisted_kong.telemetry.accesslog.Logged`."""

    __slots__ = ("_exchange", "ended", "sent", "status")

    def __init__(self, exchange: Exchange, status: int, sent: int, ended: float) -> None:
        self._exchange = exchange
        self.status = status
        self.sent = sent
        self.ended = ended

    @property
    def started(self) -> float:
        return self._exchange.started

    @property
    def address(self) -> str:
        exchange = self._exchange
        return exchange.client.real(exchange.head)

    @property
    def request_line(self) -> tuple[bytes, bytes, bytes]:
        head = self._exchange.head
        return head.method, head.path + head.query, protocol(head)

    def field(self, name: bytes) -> bytes:
        # of what is passed on: a key that the plugin hides is not in it
        values = values_of(b"\n" + self._exchange.head.passing, name)
        return values[0] if values else b""

    @property
    def request_id(self) -> bytes:
        return self._exchange.request_id

    @property
    def trace_id(self) -> bytes:
        trace = self._exchange.trace
        return b"" if trace is None else trace.caller.trace_id

    @property
    def latencies(self) -> Latencies:
        return self._exchange.latencies(self.ended)

    @property
    def tries(self) -> Sequence[Try]:
        return self._exchange.tries()

    @property
    def names(self) -> tuple[str, str, str]:
        match = self._exchange.match
        if match is None:
            return "", "", ""
        return *_names(match.route, match.service), self._exchange.destination


class Unreadable:
    """A request whose head could not be read, as the access log sees it."""

    __slots__ = (
        "address",
        "ended",
        "latencies",
        "names",
        "request_id",
        "request_line",
        "sent",
        "started",
        "status",
        "trace_id",
        "tries",
    )

    def __init__(self, address: str, beginning: bytes, request_id: bytes, status: int, sent: int, now: float) -> None:
        first = beginning.split(b"\n", 1)[0].rstrip(b"\r").split(b" ", 2)
        method, target, version = (escaped(part) for part in (*first, b"", b"")[:3])
        self.request_line = method, target, version
        self.address = address
        self.request_id = request_id
        self.trace_id = b""
        self.status = status
        self.sent = sent
        self.started = self.ended = now
        self.latencies = Latencies(0.0, None, None)
        self.tries: Sequence[Try] = ()
        self.names = "", "", ""

    def field(self, name: bytes) -> bytes:
        return b""


_PROTOCOLS = (b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0")


def protocol(head: RequestHead) -> bytes:
    """The version of a request, as it came."""
    return _PROTOCOLS[head.minor]


class Recorder:
    """Hears of every exchange's end. Without an ``access_log`` they are only counted."""

    def __init__(self, traffic: Traffic, access_log: AccessLog | None = None) -> None:
        self.traffic = traffic
        self.access_log = access_log
        self._known: dict[CompiledRoute, tuple[Service | None, RouteTraffic]] = {}
        self._unmatched = traffic.of("", "")

    def ended(
        self, exchange: Exchange, status: int, upstream: float | None, now: float, received: int, sent: int
    ) -> None:
        """``exchange`` ended at ``now`` with ``status`` and so many bytes of bodies.

        ``upstream`` is how many seconds an origin took to answer, None where none did.
        """
        before = exchange.before
        total = now - exchange.started
        if before < 0:  # nobody was to be asked
            before = total
        match = exchange.match
        if match is None:
            counted = self._unmatched
        else:
            known = self._known.get(match.route)
            if known is not None and known[0] is match.service:
                counted = known[1]
            else:
                counted = self._look_up(match.route, match.service)
        pending = self.traffic.pending
        pending.append((counted, status, before, upstream, total, received, sent))
        if len(pending) >= BATCH:
            self.traffic.settle()
        if self.access_log is None and exchange.trace is None:
            return
        record = Record(exchange, status, sent, now)
        if self.access_log is not None:
            self._write(record)
        if exchange.trace is not None:
            with log.failuresHandled("recording a trace"):
                exchange.trace.ended(exchange, status, now, record.names)

    def refused(self, unreadable: Unreadable) -> None:
        """A request was refused before it could be read."""
        self._unmatched.record(unreadable.status, 0.0, None, 0.0, 0, unreadable.sent)
        self._write(unreadable)

    def _write(self, logged: Logged) -> None:
        if self.access_log is not None:
            try:
                self.access_log.record(logged)
            except Exception:  # `failuresHandled` would cost a third as much as the line
                log.failure("writing the access log failed")

    def _look_up(self, route: CompiledRoute, service: Service | None) -> RouteTraffic:
        counted = self.traffic.of(*_names(route, service))
        if len(self._known) >= min(KNOWN_ROUTES, 2 * len(self.traffic.routes())):
            self._known.clear()  # most are of configurations that have been replaced
        self._known[route] = service, counted
        return counted


def _names(route: CompiledRoute, service: Service | None) -> tuple[str, str]:
    """The service and the route, by name where they have one; an api is both."""
    if route.api is not None:
        return route.api.name, route.api.name
    return "" if service is None else service.name or service.id, route.route.name or route.route.id
