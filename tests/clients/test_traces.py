"""Traces of a running gateway: from a caller through it to an origin, and to a collector that speaks OTLP."""

from __future__ import annotations

import json
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from running_gateway import RunningGateway, free_ports, running
from urllib3 import HTTPConnectionPool

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "congo=t61rcWkgMzE"}


class Heard(ThreadingHTTPServer):
    """An HTTP server that keeps what it is sent, and answers ``status``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hearing)
        self.heard: queue.Queue[tuple[str, dict[str, str], bytes]] = queue.Queue()
        self.status = 200


class Hearing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        server = self.server
        assert isinstance(server, Heard)
        server.heard.put((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def hearing() -> Iterator[Heard]:
    server = Heard()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def origin() -> Iterator[Heard]:
    with hearing() as server:
        yield server


@pytest.fixture
def collector() -> Iterator[Heard]:
    with hearing() as server:
        yield server


def traced(collector_port: int, **more: str) -> dict[str, str]:
    """Settings of a gateway that sends everything to the collector on this port."""
    return {
        "tracing_instrumentations": "all",
        "tracing_sampling_rate": "1",
        "tracing_endpoint": f"http://127.0.0.1:{collector_port}/v1/traces",
        "proxy_access_log": "logs/access.log json",
        **more,
    }


def route(gateway: RunningGateway, *ports: int) -> None:
    """Everything goes to these ports, in turn."""
    with gateway.admin() as admin:
        admin.ask("POST", "/upstreams", {"name": "pool"})
        for port in ports:
            admin.ask("POST", "/upstreams/pool/targets", {"target": f"127.0.0.1:{port}"})
        admin.ask("POST", "/services", {"name": "s", "host": "pool"})
        admin.ask("POST", "/services/s/routes", {"name": "r", "paths": ["/"]})


def ask(gateway: RunningGateway, **headers: str) -> int:
    pool = HTTPConnectionPool("127.0.0.1", gateway.proxy_port, timeout=20, retries=False)
    try:
        return pool.request("GET", "/a?key=secret", headers=headers).status
    finally:
        pool.close()


def spans(collector: Heard, count: int) -> list[Any]:
    """So many spans, as the collector was sent them, with what is said of whose they are."""
    found: list[Any] = []
    while len(found) < count:
        path, headers, body = collector.heard.get(timeout=30)
        assert (path, headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        for resource in request.resource_spans:
            told = {each.key: each.value.string_value for each in resource.resource.attributes}
            assert told["service.name"] == "kong"
            found += [span for scope in resource.scope_spans for span in scope.spans]
    return found


def test_a_trace_through_the_gateway(origin: Heard, collector: Heard) -> None:
    """The spans that the collector gets are those that caller and origin know of, with the attempts in between."""
    (nobody,) = free_ports(1)
    with running(settings=traced(collector.server_port)) as gateway:
        route(gateway, nobody, origin.server_port)
        while origin.heard.empty():  # who is asked first is by chance: until it is the one that is not there
            assert ask(gateway, **CALLER) == 200
            _, headers, _ = origin.heard.get(timeout=20)
            found = spans(collector, 3)
            if len([span for span in found if span.name == "kong.balancer"]) == 2:
                break
        gateway.stop()
        line = json.loads((gateway.prefix / "logs" / "access.log").read_text().splitlines()[-1])
    named = {name: [span for span in found if span.name == name] for name in {span.name for span in found}}
    (request,), (upstream,) = named["kong"], named["kong.upstream"]
    failed, answered = named["kong.balancer"]
    assert {span.trace_id.hex() for span in found} == {TRACE, line["trace_id"]}
    assert request.parent_span_id.hex() == SPAN
    assert (failed.parent_span_id, answered.parent_span_id) == (request.span_id, request.span_id)
    assert upstream.parent_span_id == answered.span_id
    assert headers["traceparent"] == f"00-{TRACE}-{upstream.span_id.hex()}-01"
    assert headers["tracestate"] == CALLER["tracestate"]
    assert (failed.status.code, answered.status.code) == (2, 0)
    assert "cannot connect" in failed.status.message
    assert request.start_time_unix_nano <= failed.start_time_unix_nano <= upstream.end_time_unix_nano
    told = {each.key: each.value for each in request.attributes}
    assert told["kong.request.id"].string_value == line["request"]["id"]
    assert told["http.response.status_code"].int_value == 200
    assert (told["kong.service"].string_value, told["kong.route"].string_value) == ("s", "r")
    assert b"secret" not in b"".join(span.SerializeToString() for span in found)


def test_what_is_left_is_sent_in_the_end(origin: Heard, collector: Heard) -> None:
    """A gateway that stops sends the spans that it has."""
    with running(settings=traced(collector.server_port, tracing_instrumentations="request")) as gateway:
        route(gateway, origin.server_port)
        for _ in range(5):
            assert ask(gateway) == 200
        gateway.stop()
    assert len(spans(collector, 5)) == 5


@pytest.mark.parametrize("kind", ["refuses", "never answers", "fails"])
def test_a_collector_that_is_of_no_use(origin: Heard, collector: Heard, kind: str) -> None:
    """Whatever the collector does, requests are answered, and the gateway stops in time."""
    collector.status = 500
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = {
            "refuses": free_ports(1)[0],
            "never answers": silent.getsockname()[1],
            "fails": collector.server_port,
        }[kind]
        with running(settings=traced(port, stall_timeout="0")) as gateway:
            route(gateway, origin.server_port)
            assert [ask(gateway) for _ in range(50)] == [200] * 50
            gateway.stop()
            assert "Traceback" not in gateway.printed()


def test_no_collector(origin: Heard) -> None:
    """Without one traces go on all the same, and the access log has their ids."""
    settings = traced(1, tracing_endpoint="", proxy_access_log="logs/access.log combined")
    with running(settings=settings) as gateway:
        route(gateway, origin.server_port)
        assert ask(gateway, **CALLER) == 200
        assert origin.heard.get(timeout=20)[1]["traceparent"].startswith(f"00-{TRACE}-")
        gateway.stop()
        assert f' trace_id: "{TRACE}"\n' in (gateway.prefix / "logs" / "access.log").read_text()
