"""A request as part of a trace: which one, what the origin is told of it, and the spans that are recorded in the end.

Nothing of this happens unless `tracing_instrumentations` is on. While a request is under way only moments are noted;
spans are made of them, and of what the exchange knows of its attempts, when it has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from twisted_kong.proxy.headers import RequestHead
from twisted_kong.telemetry import traceparent
from twisted_kong.telemetry.spans import Exporter, Span

if TYPE_CHECKING:
    from twisted_kong.proxy.exchange import Exchange


class Tracer:
    """Begins traces, or goes on with those of callers.

    ``instrumentations`` says of what there are spans: see the setting. ``rate`` is the share of traces begun here that
    are recorded, from 0 to 1. Without an ``exporter`` none is, but origins are told all the same.
    """

    def __init__(
        self, instrumentations: Collection[str], rate: float, random: Random, exporter: Exporter | None = None
    ) -> None:
        self.exporter = exporter
        self.attempts = "balancer" in instrumentations
        self.lookups = "dns_query" in instrumentations
        self._bits = random.getrandbits
        self._below = round(rate * (1 << 63))

    def begin(self, head: RequestHead) -> Trace:
        """The trace of a request."""
        caller = traceparent.caller(head.values(b"traceparent"))
        if caller is not None:
            return Trace(self, caller, traceparent.state(head.values(b"tracestate")))
        bits = self._bits(128) or 1
        sampled = (bits & (1 << 63) - 1) < self._below
        return Trace(self, traceparent.Caller(b"%032x" % bits, b"", sampled), b"")

    def new_span(self) -> bytes:
        """The id of a span."""
        return b"%016x" % (self._bits(64) or 1)


class Trace:
    """A request's part of one trace; ``caller`` is the span that called, its id empty where there is none."""

    __slots__ = ("_failures", "_lookups", "_passing", "_sent", "_state", "_tracer", "caller", "span_id")

    def __init__(self, tracer: Tracer, caller: traceparent.Caller, state: bytes) -> None:
        self.caller = caller
        self.span_id = tracer.new_span()
        self._tracer = tracer
        self._state = state
        self._passing: bytes | None = None
        self._failures = 0
        self._sent: list[tuple[int, float, bytes]] = []  # failures before, when, and the span that the origin was told
        self._lookups: list[list[float]] = []  # from when, and once it is known until when

    def pass_on(self, passing: bytes, now: float) -> bytes:
        """Header lines for an origin in the place of those that came: now it is sent them."""
        if self._passing is None:
            self._passing = traceparent.without(passing)
        span = self.span_id
        if self._tracer.attempts:
            span = self._tracer.new_span()
            self._sent.append((self._failures, now, span))
        caller = self.caller
        return traceparent.lines(caller.trace_id, span, caller.sampled, self._state) + self._passing

    def attempt_failed(self) -> None:
        """What is sent from now on belongs to another attempt."""
        self._failures += 1

    def looks_up(self, waiting: Deferred[Any], seconds: Callable[[], float]) -> None:
        """Names are asked for from now on, until ``waiting`` is over for better or worse."""
        lookup = [seconds()]
        self._lookups.append(lookup)

        def over(result: Any) -> Any:
            lookup.append(seconds())
            return result

        _ = waiting.addBoth(over)

    def ended(self, exchange: Exchange, status: int, now: float, names: Sequence[str]) -> None:
        """``exchange`` has ended; ``names`` are its service, route and upstream."""
        exporter = self._tracer.exporter
        if exporter is not None and self.caller.sampled:
            exporter.offer(list(self._spans(exchange, status, now, names)))

    def _spans(self, exchange: Exchange, status: int, now: float, names: Sequence[str]) -> Iterator[Span]:
        trace_id, began, root = self.caller.trace_id, exchange.started, self.span_id
        head = exchange.head
        attributes: dict[str, Any] = {
            "http.request.method": head.method.decode("latin-1"),
            "url.path": head.path.decode("latin-1"),  # without the query, in which there may be a key
            "url.scheme": exchange.client.scheme.decode(),
            "server.address": head.hostname.decode("latin-1"),
            "client.address": exchange.client.real(head) or "unix:",
            "http.response.status_code": status,
            "kong.request.id": exchange.request_id.decode(),
        }
        attributes |= {
            f"kong.{kind}": name for kind, name in zip(("service", "route", "upstream"), names, strict=True) if name
        }
        error = f"answered {status}" if status >= 500 else None
        yield Span("kong", trace_id, root, self.caller.span_id, began, now, "server", attributes, error)
        if self._tracer.lookups:
            for lookup in self._lookups:
                end = lookup[1] if len(lookup) > 1 else now
                yield Span("kong.dns", trace_id, self._tracer.new_span(), root, lookup[0], end, "internal", {}, None)
        if self._tracer.attempts:
            yield from self._attempts(exchange, now)

    def _attempts(self, exchange: Exchange, now: float) -> Iterator[Span]:
        trace_id, began, root = self.caller.trace_id, exchange.started, self.span_id
        for number, each in enumerate(exchange.tries()):
            start = began + each.began
            end = start + each.took if each.failure is not None else now
            own = self._tracer.new_span()
            host, _, port = each.peer.rpartition(":")
            peer = {"server.address": host.strip("[]"), "server.port": int(port)}
            error = None if each.failure is None else each.error or each.failure
            yield Span(
                "kong.balancer", trace_id, own, root, start, end, "internal", {"try_count": number + 1, **peer}, error
            )
            for attempt, when, span in self._sent:
                if attempt == number:  # more than one, where a connection that had been kept had died
                    yield Span("kong.upstream", trace_id, span, own, when, end, "client", peer, error)
