"""What is the same for every request of a proxy: routes, request ids, what origins and clients are told."""

from __future__ import annotations

import re

import pytest
import spoken
from loopback import GET, OK, Lab, post

from twisted_kong.proxy.forwarding import SERVER


def get(target: bytes, *lines: bytes, host: bytes = b"a.test") -> bytes:
    return b"\r\n".join((b"GET %b HTTP/1.1" % target, b"Host: " + host, *lines, b"", b""))


# -- routes ----------------------------------------------------------------------------------------------------


def test_no_route() -> None:
    """A request that no route matches is a 404 in JSON, and the connection is kept."""
    lab = Lab(route={"paths": ["/here"]})
    client = lab.client(get(b"/there"))
    answer = spoken.answer(client.received)
    id = answer.value(b"x-kong-request-id")
    assert id is not None
    assert answer.body == b'{\n  "message":"no Route matched with those values",\n  "request_id":"%b"\n}' % id
    assert answer.value(b"content-type") == b"application/json; charset=utf-8"
    assert answer.value(b"server") == SERVER
    assert (answer.values(b"via"), answer.value(b"connection"), answer.status) == ([], b"keep-alive", 404)
    lab.assert_idle()


def test_no_service() -> None:
    """A route without a service is a 503."""
    lab = Lab(route={"service": None})
    answer = spoken.answer(lab.client(GET).received)
    assert answer.status == 503
    assert b'"message":"no Service found with those values"' in answer.body


@pytest.mark.parametrize("target", [b"/a%zz", b"/a%", b"/%0", b"/../x", b"/a/../../x"])
def test_malformed_paths(target: bytes) -> None:
    """A path with broken escapes, or one that climbs above the root, is refused."""
    lab = Lab()
    client = lab.client(get(target))
    assert spoken.answer(client.received).status == 400
    lab.wait()
    assert client.closed
    lab.assert_idle()


def test_path_and_query() -> None:
    """The stripped path is joined to the service's; the query is passed on as it is."""
    lab = Lab(route={"paths": ["/in"]}, service={"path": "/base"})
    lab.client(get(b"/in/x%20y?a=%20&b"))
    (request,) = spoken.requests(lab.origin().received)
    assert request.target == b"/base/x%20y?a=%20&b"
    assert (request.value(b"x-forwarded-path"), request.value(b"x-forwarded-prefix")) == (b"/in/x%20y", b"/in")


@pytest.mark.parametrize(
    ("route", "host", "sent"),
    [
        ({}, b"a.test:8000", b"10.0.0.1"),
        ({"preserve_host": True}, b"a.test:8000", b"a.test:8000"),
        ({"preserve_host": True}, b"A.Test", b"A.Test"),
    ],
)
def test_host(route: dict[str, object], host: bytes, sent: bytes) -> None:
    """The Host is the peer's, or the client's where the route preserves it."""
    lab = Lab(route=route)
    lab.client(get(b"/", host=host))
    assert spoken.requests(lab.origin().received)[0].value(b"host") == sent


@pytest.mark.parametrize(
    ("target", "host_header", "sent"),
    [
        ("10.0.0.1:80", None, b"10.0.0.1"),
        ("10.0.0.1:8000", None, b"10.0.0.1:8000"),
        ("[::1]:80", None, b"[0000:0000:0000:0000:0000:0000:0000:0001]"),
        ("10.0.0.1:80", "b.test", b"b.test"),
        ("10.0.0.1:8000", "b.test", b"b.test:8000"),
    ],
)
def test_host_of_the_peer(target: str, host_header: str | None, sent: bytes) -> None:
    """The peer's Host is its name, or the upstream's host_header, with the port unless it is http's own."""
    lab = Lab([target], upstream={"host_header": host_header})
    lab.client(GET)
    (request,) = spoken.requests(lab.origin().received)
    assert request.value(b"host") == sent


def test_host_of_an_absolute_form() -> None:
    """The Host that is preserved is the one that was asked for."""
    lab = Lab(route={"preserve_host": True, "hosts": ["b.test"]})
    lab.client(get(b"http://b.test/x", host=b"c.test"))
    (request,) = spoken.requests(lab.origin().received)
    assert (request.target, request.value(b"host")) == (b"/x", b"b.test")


@pytest.mark.parametrize(
    ("status", "field", "value"),
    [
        (426, b"upgrade", b"TLS/1.2, HTTP/1.1"),
        (301, b"location", b"https://a.test/x?y"),
        (302, b"location", b"https://a.test/x?y"),
        (307, b"location", b"https://a.test/x?y"),
        (308, b"location", b"https://a.test/x?y"),
    ],
)
def test_https_required(status: int, field: bytes, value: bytes) -> None:
    """A plain request to a route for https is told to upgrade, or sent there."""
    lab = Lab(route={"protocols": ["https"], "https_redirect_status_code": status})
    answer = spoken.answer(lab.client(get(b"/x?y", host=b"a.test:8000")).received)
    assert (answer.status, answer.value(field)) == (status, value)
    assert b'"message":"Please use HTTPS protocol"' in answer.body


@pytest.mark.parametrize(
    ("scheme", "trusted", "claim", "served"),
    [
        (b"https", "", [], True),
        (b"http", "", [b"X-Forwarded-Proto: https"], False),
        (b"http", "192.0.2.0/24", [b"X-Forwarded-Proto: https"], True),
        (b"http", "192.0.2.0/24", [b"X-Forwarded-Proto: http"], False),
        (b"http", "192.0.2.0/24", [], False),
    ],
)
def test_https_is_believed(scheme: bytes, trusted: str, claim: list[bytes], served: bool) -> None:
    """A request counts as https by its listener, or by the word of a trusted peer."""
    lab = Lab(route={"protocols": ["https"]}, settings={"trusted_ips": trusted}, scheme=scheme)
    client = lab.client(get(b"/", *claim))
    assert bool(lab.dials) is served
    assert client.received.startswith(b"HTTP/1.1 426") is not served
    client.close()
    lab.assert_idle()


# -- what is told ----------------------------------------------------------------------------------------------


def test_request_id() -> None:
    """Every request has an id of its own, which origin and client are told, whatever they claim."""
    lab = Lab()
    ids = set()
    client = lab.client()
    for _ in range(3):
        client.take()
        client.send(get(b"/", b"X-Kong-Request-Id: claimed"))
        origin = (lab.origins() or [lab.origin()])[0]
        told = spoken.requests(origin.take())[0].value(b"x-kong-request-id")
        origin.send(b"HTTP/1.1 200 OK\r\nX-Kong-Request-Id: claimed\r\nContent-Length: 0\r\n\r\n")
        assert spoken.answer(client.received).value(b"x-kong-request-id") == told
        assert told is not None
        assert re.fullmatch(rb"[0-9a-f]{32}", told)
        ids.add(told)
    assert len(ids) == 3
    assert lab.core.requests == 3


def test_origins_are_not_told_the_request_id() -> None:
    """``headers_upstream = off`` keeps the id from origins; a client cannot put its own there."""
    lab = Lab(settings={"headers_upstream": "off"})
    lab.client(get(b"/", b"X-Kong-Request-Id: claimed"))
    assert spoken.requests(lab.origin().received)[0].values(b"x-kong-request-id") == []


def test_latencies() -> None:
    """The origin's time is told apart from ours, in milliseconds."""
    lab = Lab(("n.test:80",))
    client = lab.client(post(length=4))
    lab.wait(0.5)
    client.send(b"body")
    lab.names.answer("n.test", "10.0.0.9")
    lab.wait()
    origin = lab.origin()
    lab.wait(0.25)
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    lab.wait(3)
    origin.send(b"ok")
    answer = spoken.answer(client.received)
    assert (answer.value(b"x-kong-proxy-latency"), answer.value(b"x-kong-upstream-latency")) == (b"500", b"250")
    assert lab.outcomes[0][1].latency == 0.25


@pytest.mark.parametrize(
    ("allowed", "lines", "told"),
    [
        ("on", [b"Kong-Debug: 1"], True),
        ("on", [b"kong-debug:1"], True),
        ("on", [], False),
        ("on", [b"Kong-Debug: 0"], False),
        ("off", [b"Kong-Debug: 1"], False),
    ],
)
def test_debug_header(allowed: str, lines: list[bytes], told: bool) -> None:
    """Where it is allowed, who asks is told the route and the service."""
    lab = Lab(settings={"allow_debug_header": allowed})
    client = lab.client(get(b"/", *lines))
    lab.origin().send(OK)
    answer = spoken.answer(client.received)
    names = [answer.value(b"kong-route-name"), answer.value(b"kong-service-name")]
    assert names == ([b"r", b"s"] if told else [None, None])
    assert (answer.value(b"kong-route-id") is not None) is told


def test_error_default_type() -> None:
    """Failures are told in the setting's type where nobody asked for another."""
    lab = Lab(settings={"error_default_type": "application/xml"})
    answer = spoken.answer(lab.client(b"nonsense\r\n\r\n").received)
    assert answer.value(b"content-type") == b"application/xml; charset=utf-8"
    assert b"<message>Bad request</message>" in answer.body


def test_answer_to_a_head_request() -> None:
    """An answer of the gateway's own to HEAD has the length of the body it does not have."""
    lab = Lab(route={"hosts": ["b.test"]})
    client = lab.client(get(b"/").replace(b"GET", b"HEAD") + get(b"/"))
    head, _, rest = client.received.partition(b"\r\n\r\n")
    assert re.search(rb"\r\nContent-Length: \d\d+\r\n", head)
    assert rest.startswith(b"HTTP/1.1 404 ")


def test_address_and_port() -> None:
    """The origin is told the client's address and the port it came to, which may be one of a forwarder's."""
    lab = Lab(settings={"port_maps": "80:8000"})
    lab.client(GET, address="198.51.100.4")
    (request,) = spoken.requests(lab.origin().received)
    assert request.value(b"x-real-ip") == request.value(b"x-forwarded-for") == b"198.51.100.4"
    assert request.value(b"x-forwarded-port") == b"80"


def test_ipv4_client_of_an_ipv6_socket() -> None:
    """An IPv4 client is told and trusted by its IPv4 address, whatever the socket it came through."""
    lab = Lab(settings={"trusted_ips": "198.51.100.0/24"})
    lab.client(get(b"/", b"X-Forwarded-Host: claimed.test"), address="::ffff:198.51.100.4")
    (request,) = spoken.requests(lab.origin().received)
    assert (request.value(b"x-real-ip"), request.value(b"x-forwarded-host")) == (b"198.51.100.4", b"claimed.test")


def test_charset() -> None:
    """``charset`` is a setting: texts are given it, or left alone."""
    for setting, told in (
        ("", b"text/html; charset=UTF-8"),
        ("koi8-r", b"text/html; charset=koi8-r"),
        ("off", b"text/html"),
    ):
        lab = Lab(settings={"nginx_http_charset": setting})
        client = lab.client(GET)
        lab.origin().send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n")
        assert spoken.answer(client.received).value(b"content-type") == told
