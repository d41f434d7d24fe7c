"""A request as part of a trace: what its origin is told, and the spans there are of it in the end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

import pytest
from loopback import GET, OK, Lab

from twisted_kong.errors import NameNotFound
from twisted_kong.proxy.tracing import Tracer
from twisted_kong.telemetry.spans import Exporter, Span

TRACE, SPAN = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
VALID = b"traceparent: 00-%b-%b-01" % (TRACE, SPAN)
ALL = ("request", "balancer", "dns_query")


class Traced(Lab):
    """A gateway that traces, and the spans that it would send."""

    def __init__(self, *targets: str, instrumentations: Sequence[str] = ALL, rate: float = 1.0, seed: int = 1) -> None:
        super().__init__(targets or ("10.0.0.1:80",))
        self.exporter = Exporter(lambda spans: True)
        self.core.tracer = Tracer(instrumentations, rate, Random(seed), self.exporter)

    @property
    def spans(self) -> list[Span]:
        return list(self.exporter._waiting)

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


def ask(*lines: bytes) -> bytes:
    return GET.replace(b"\r\n\r\n", b"\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n")


def told(received: bytes, name: bytes) -> list[bytes]:
    """The values of a field that an origin was sent."""
    return re.findall(rb"(?im)^%b: ([^\r\n]*)\r$" % name, received)


# -- what goes on ----------------------------------------------------------------------------------------------


def test_off() -> None:
    """Without tracing the headers are passed on as they came, whatever they are, and none is made."""
    lab = Lab()
    client = lab.client(ask(b"Traceparent: nonsense", b"tracestate: A"))
    origin = lab.origin()
    assert (told(origin.received, b"traceparent"), told(origin.received, b"tracestate")) == ([b"nonsense"], [b"A"])
    origin.send(OK)
    origin.take()
    client.send(GET)
    assert told(origin.received, b"traceparent") == []


def test_a_trace_of_a_caller() -> None:
    """The trace goes on with a span of ours, recorded if the caller's is; the state goes on as it is."""
    lab = Traced(rate=0.0)
    lab.client(ask(VALID, b"tracestate: a=1", b"TraceState: b=2"))
    origin = lab.origin()
    (value,) = told(origin.received, b"traceparent")
    version, trace, span, flags = value.split(b"-")
    assert (version, trace, flags) == (b"00", TRACE, b"01")
    assert span != SPAN
    assert told(origin.received, b"tracestate") == [b"a=1,b=2"]
    origin.send(OK)
    assert {each.trace_id for each in lab.spans} == {TRACE}
    assert lab.named("kong")[0].parent == SPAN


@pytest.mark.parametrize("lines", [(), (b"traceparent: 00-nonsense",), (VALID, VALID)])
def test_a_trace_that_begins_here(lines: tuple[bytes, ...]) -> None:
    """Without a caller that can be understood a trace begins, and no state of another goes into it."""
    lab = Traced()
    lab.client(ask(*lines, b"tracestate: a=1"))
    origin = lab.origin()
    (value,) = told(origin.received, b"traceparent")
    assert re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-01", value)
    assert TRACE not in value
    assert told(origin.received, b"tracestate") == []
    origin.send(OK)
    assert lab.named("kong")[0].parent == b""


def test_not_recorded() -> None:
    """A trace whose caller does not record it is not recorded here either, and goes on as such."""
    lab = Traced(rate=1.0)
    lab.client(ask(b"traceparent: 00-%b-%b-00" % (TRACE, SPAN)))
    origin = lab.origin()
    assert told(origin.received, b"traceparent")[0].endswith(b"-00")
    origin.send(OK)
    assert lab.spans == []


@pytest.mark.parametrize(("rate", "least", "most"), [(0.0, 0, 0), (1.0, 400, 400), (0.25, 70, 130)])
def test_rate(rate: float, least: int, most: int) -> None:
    """Of traces that begin here, this share is recorded."""
    tracer = Tracer(ALL, rate, Random(7), None)
    head = Lab().core.request_parser.parse(GET[:-4])
    sampled = sum(tracer.begin(head).caller.sampled for _ in range(400))
    assert least <= sampled <= most


# -- spans -----------------------------------------------------------------------------------------------------


def test_spans_of_a_request() -> None:
    """The request, its attempt and the time it was at the origin lie within one another; the origin is told of the
    innermost."""
    lab = Traced()
    lab.client(ask(VALID, b"apikey: secret").replace(b"GET / ", b"GET /a?key=secret "))
    lab.wait(1)
    origin = lab.origin()
    lab.wait(2)
    origin.send(OK)
    request, attempt, upstream = lab.spans
    assert (request.name, attempt.name, upstream.name) == ("kong", "kong.balancer", "kong.upstream")
    assert (request.parent, attempt.parent, upstream.parent) == (SPAN, request.span_id, attempt.span_id)
    assert told(origin.received, b"traceparent")[0].split(b"-")[2] == upstream.span_id
    assert [round(each.ended - each.began, 3) for each in lab.spans] == [3, 3, 2]
    assert (request.kind, attempt.kind, upstream.kind) == ("server", "internal", "client")
    assert request.attributes["url.path"] == "/a"
    assert request.attributes["http.response.status_code"] == 200
    assert attempt.attributes == {"try_count": 1, "server.address": "10.0.0.1", "server.port": 80}
    assert "secret" not in repr(lab.spans)
    assert {each.error for each in lab.spans} == {None}


def test_spans_of_attempts() -> None:
    """Every attempt has a span of its own, that of a failure says why; the origin's are within their attempts."""
    lab = Traced("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
    lab.client(GET)
    lab.dials[0].refuse()
    lab.origin().reset()
    lab.origin().send(OK)
    attempts, upstreams = lab.named("kong.balancer"), lab.named("kong.upstream")
    assert [each.attributes["server.address"] for each in attempts] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert "cannot connect" in (attempts[0].error or "")
    assert [each.error is None for each in attempts] == [False, False, True]
    assert [each.parent for each in upstreams] == [each.span_id for each in attempts[1:]]


def test_spans_of_an_error() -> None:
    """A request that is not answered by anybody is an error, with the status that its client was told."""
    lab = Traced("10.0.0.1:80")
    lab.client(GET)
    for dial in lab.dials:
        dial.refuse()
    (request,) = lab.named("kong")
    assert (request.attributes["http.response.status_code"], request.error) == (502, "answered 502")


def test_spans_of_names() -> None:
    """The time in which a name was asked for has a span, whatever came of it."""
    lab = Traced("n.test:80")
    lab.client(GET)
    lab.wait(0.5)
    lab.names.fail("n.test", NameNotFound())
    lab.wait()
    (lookup,) = lab.named("kong.dns")
    assert lookup.parent == lab.named("kong")[0].span_id
    assert round(lookup.ended - lookup.began, 2) == 0.5


def test_request_alone() -> None:
    """Where there are spans of requests alone, the origin is told of the request's."""
    lab = Traced(instrumentations=("request",))
    lab.client(GET)
    origin = lab.origin()
    origin.send(OK)
    (span,) = lab.spans
    assert told(origin.received, b"traceparent")[0].split(b"-")[2] == span.span_id


def test_a_connection_that_had_died() -> None:
    """Where a kept connection turns out to be dead, the attempt has two spans of origins, and is one attempt."""
    lab = Traced()
    client = lab.client(GET)
    first = lab.origin()
    first.send(OK)
    lab.exporter._waiting.clear()
    lab.wait(1)
    client.send(GET)
    first.reset()
    lab.origin().send(OK)
    assert [len(lab.named(name)) for name in ("kong", "kong.balancer", "kong.upstream")] == [1, 1, 2]
