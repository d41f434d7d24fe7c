"""The proxy inside a ``twisted.web`` site: the same gateway, through somebody else's server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import spoken
import treq
import twisted.internet
from loopback import CLIENT, OK, Lab, Line, Network, post
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.interfaces import IPushProducer, IReactorPluggableNameResolver, ISSLTransport
from twisted.internet.testing import SynchronousResolver
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Request, Site
from zope.interface import directlyProvides, implementer

from twisted_kong.errors import ComponentError
from twisted_kong.model.changes import Change
from twisted_kong.proxy.forwarding import SERVER
from twisted_kong.proxy.resource import ReverseProxyResource
from twisted_kong.proxy.wire import READ_SIZE
from twisted_kong.registry import Registry
from twisted_kong.settings import Settings
from twisted_kong.store.memory import MemoryStore
from twisted_kong.testing import a_pair, an_upstream

README = Path(__file__).parents[2] / "README.md"

GET = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"
UNBUFFERED = {"request_buffering": False}


@implementer(IPushProducer)
class SiteLine(Line):
    """A client's connection to a site."""


class SiteLab(Lab):
    """A gateway whose clients come through a site, with the proxy at its root or wherever ``mounted`` says."""

    def __init__(self, *targets: str, mounted: bytes = b"", **options: Any) -> None:
        super().__init__(targets or ("10.0.0.1:80",), **options)
        proxy: Resource = ReverseProxyResource(self.core, self.settings)
        for segment in reversed(mounted.split(b"/")[1:]):
            parent = Resource()
            parent.putChild(segment, proxy)
            proxy = parent
        self.site = Site(proxy, parsePOSTFormSubmission=False, reactor=self.network)

    def client(
        self,
        data: bytes = b"",
        *,
        address: Any = CLIENT,
        room: int | None = None,
        tls: bool = False,
    ) -> Line:
        peer = IPv4Address("TCP", address, 40000) if isinstance(address, str) else address
        line = SiteLine(self.network, IPv4Address("TCP", "127.0.0.1", 8000), peer)
        if tls:
            directlyProvides(line, IPushProducer, ISSLTransport)
        line.room = room
        line.join(self.site.buildProtocol(peer))
        self.lines.append(line)
        line.send(data)
        self.wait()
        return line


def forwarded(origin: Line) -> spoken.Message:
    """The one request that has come to ``origin``."""
    (request,) = spoken.requests(origin.received)
    return request


# -- answers ---------------------------------------------------------------------------------------------------


def test_answer() -> None:
    """Status, reason, header and body are the origin's; of the site's own defaults nothing is added."""
    lab = SiteLab()
    client = lab.client(GET)
    lab.origin().send(
        b"HTTP/1.1 299 Fine by me\r\nContent-Length: 2\r\nServer: theirs\r\nDate: Mon, 01 Jan 2001 00:00:00 GMT\r\n"
        b"X-One: 1\r\n\r\nok"
    )
    answer = spoken.answer(client.received)
    assert client.received.startswith(b"HTTP/1.1 299 Fine by me\r\n")
    assert (answer.body, answer.complete) == (b"ok", True)
    assert answer.value(b"server") == b"theirs"
    assert answer.value(b"date") == b"Mon, 01 Jan 2001 00:00:00 GMT"
    assert answer.value(b"x-one") == b"1"
    assert answer.value(b"content-type") is None
    assert answer.value(b"content-length") == b"2"
    assert client.lost is None
    lab.assert_idle()


def test_answer_that_says_little() -> None:
    """Where the origin tells neither its name nor the time, the gateway tells its own."""
    lab = SiteLab()
    client = lab.client(GET)
    lab.origin().send(OK)
    answer = spoken.answer(client.received)
    assert answer.value(b"server") == SERVER
    assert answer.value(b"date") == b"Thu, 01 Jan 1970 00:00:00 GMT"
    assert answer.value(b"via") == b"1.1 " + SERVER
    assert len(answer.value(b"x-kong-request-id") or b"") == 32


def test_repeated_fields() -> None:
    """Fields that come several times stay several, in both directions and in their order."""
    lab = SiteLab()
    client = lab.client(b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Two: 1\r\nX-Other: x\r\nX-Two: 2\r\n\r\n")
    origin = lab.origin()
    assert forwarded(origin).values(b"x-two") == [b"1", b"2"]
    origin.send(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\nSet-Cookie: b=2; c, d\r\n\r\n")
    assert spoken.answer(client.received).values(b"set-cookie") == [b"a=1", b"b=2; c, d"]


def test_what_others_put_on_the_answer() -> None:
    """What the site's own code has put on the answer before stays there."""

    class Dressed(ReverseProxyResource):
        def render(self, request: Request) -> int:
            request.setHeader(b"x-frame-options", b"DENY")
            request.addCookie(b"session", b"1")
            return super().render(request)

    lab = SiteLab()
    lab.site.resource = Dressed(lab.core, lab.settings)
    client = lab.client(GET)
    lab.origin().send(OK)
    answer = spoken.answer(client.received)
    assert answer.value(b"x-frame-options") == b"DENY"
    assert answer.value(b"set-cookie") == b"session=1"


def test_unknown_length() -> None:
    """An answer of unknown length comes in chunks, as it comes from the origin."""
    lab = SiteLab()
    client = lab.client(GET)
    origin = lab.origin()
    origin.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
    answer = spoken.answer(client.received)
    assert (answer.body, answer.complete) == (b"one", False)
    origin.send(b"3\r\ntwo\r\n0\r\n\r\n")
    answer = spoken.answer(client.received)
    assert (answer.body, answer.complete) == (b"onetwo", True)
    assert answer.value(b"transfer-encoding") == b"chunked"
    lab.assert_idle()


def test_unknown_length_to_an_old_client() -> None:
    """For a client of HTTP/1.0 the end of such an answer is the end of the connection."""
    lab = SiteLab()
    client = lab.client(b"GET / HTTP/1.0\r\n\r\n")
    lab.origin().send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n")
    lab.wait()
    assert client.received.endswith(b"\r\n\r\none")
    assert client.closed
    lab.assert_idle()


@pytest.mark.parametrize(
    ("request_", "answer", "length"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", b"500"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", None),
        (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", None),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", None),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", b"500"),
    ],
)
def test_no_body(request_: bytes, answer: bytes, length: bytes | None) -> None:
    """HEAD, 204 and 304 are answered with the header alone, and the next request with its own answer."""
    lab = SiteLab()
    client = lab.client(b"%b / HTTP/1.1\r\nHost: a.test\r\n\r\n" % request_)
    origin = lab.origin()
    origin.send(answer)
    head, end, rest = client.take().partition(b"\r\n\r\n")
    found = re.search(rb"\r\nContent-Length: (\d+)", head)
    assert (end, rest) == (b"\r\n\r\n", b"")
    assert (found and found[1]) == length
    assert b"Transfer-Encoding" not in head
    assert b"Content-Type" not in head
    client.send(GET)
    origin.send(OK)
    assert spoken.answer(client.received).body == b"ok"
    lab.assert_idle()


def test_one_after_the_other() -> None:
    """Requests sent at once are answered in order, over one connection to the origin."""
    lab = SiteLab()
    client = lab.client(b"".join(GET.replace(b"/a", b"/%d" % number) for number in range(3)))
    origin = lab.origin()
    for number in range(3):
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
    assert [answer.body for answer in spoken.answers(client.received)] == [b"0", b"1", b"2"]
    assert len(lab.dials) == 1
    lab.assert_idle()


def test_slow_client() -> None:
    """A long answer waits at the origin while the client takes none of it, and comes whole when it does."""
    lab = SiteLab()
    client = lab.client(GET, room=0)
    origin = lab.origin()
    content = bytes(range(256)) * 4096 * 8
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content))
    origin.send(content)
    taken, most = b"", 0
    for _ in range(len(content) // READ_SIZE):
        assert not origin.reading
        client.make_room(READ_SIZE)
        lab.wait()
        taken += client.take()
        most = max(most, client.backlog)
    client.make_room(None)
    assert spoken.answer(taken + client.take()).body == content
    assert most <= READ_SIZE
    lab.assert_idle()


def test_client_that_takes_nothing() -> None:
    """A client that takes nothing of its answer for the ``send_timeout`` is cut off, and the origin with it."""
    lab = SiteLab(settings={"nginx_http_send_timeout": "10s"})
    client = lab.client(GET, room=100)
    origin = lab.origin()
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(50000))
    lab.wait(9)
    assert client.lost is None
    lab.wait(1)
    assert client.aborted
    assert origin.aborted
    lab.assert_idle()


def test_client_that_takes_little() -> None:
    """The time begins anew whenever the client has taken all there was, and ends when there is nothing to take."""
    lab = SiteLab(settings={"nginx_http_send_timeout": "10s"})
    client = lab.client(GET, room=100)
    origin = lab.origin()
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
    for _ in range(4):
        origin.send(bytes(1000))
        lab.wait(9)
        client.make_room(client.backlog)
    client.make_room(None)
    lab.wait(30)
    assert client.lost is None
    origin.send(bytes(1000))
    assert len(spoken.answer(client.received).body) == 5000
    lab.wait(30)
    assert client.lost is None
    lab.assert_idle()


def test_end_of_the_answer() -> None:
    """What is left to be taken of an answer that is complete is the site's concern alone."""
    lab = SiteLab(settings={"nginx_http_send_timeout": "10s"})
    client = lab.client(GET, room=1000)
    origin = lab.origin()
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n")
    origin.send(bytes(50000))
    lab.wait(30)
    assert client.backlog
    assert client.lost is None
    client.make_room(None)
    lab.wait()
    assert len(spoken.answer(client.received).body) == 50000
    lab.assert_idle()


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_gateways_own_answer(method: bytes) -> None:
    """To a HEAD the gateway's own answers have no body either, but tell its length."""
    lab = SiteLab(route={"hosts": ["b.test"]})
    client = lab.client(b"%b / HTTP/1.1\r\nHost: a.test\r\n\r\n" % method)
    head, _, body = client.received.partition(b"\r\n\r\n")
    assert b"\r\nContent-Length: 103" in head
    assert len(body) == (103 if method == b"GET" else 0)


# -- requests --------------------------------------------------------------------------------------------------


def test_request_as_it_came() -> None:
    """Method, target and header are forwarded as they came, with what is known of the client."""
    lab = SiteLab()
    lab.client(
        b"PATCH /a%2Fb/../%e4?x=%20&x HTTP/1.1\r\nhost: a.test:81\r\nx-Thing:  \xe4\r\nContent-Length: 0\r\n\r\n"
    )
    request = forwarded(lab.origin())
    assert (request.method, request.target) == (b"PATCH", b"/%E4?x=%20&x")
    assert request.value(b"x-thing") == b"\xe4"
    assert request.value(b"x-forwarded-for") == CLIENT.encode()
    assert request.value(b"x-forwarded-proto") == b"http"
    assert request.value(b"x-forwarded-host") == b"a.test"
    assert request.value(b"x-forwarded-port") == b"8000"


def test_https() -> None:
    """Over TLS the scheme is https, for the routes and for the origin."""
    lab = SiteLab(route={"protocols": ["https"]})
    assert spoken.answer(lab.client(GET).received).status == 426
    lab.client(GET, tls=True)
    assert forwarded(lab.origin()).value(b"x-forwarded-proto") == b"https"


def test_port_maps() -> None:
    """The port that is told is the one clients see."""
    lab = SiteLab(settings={"port_maps": "80:8000"})
    lab.client(GET)
    assert forwarded(lab.origin()).value(b"x-forwarded-port") == b"80"


def test_unix_socket() -> None:
    """A client on a UNIX socket has no address, and is believed if such clients are."""
    lab = SiteLab(settings={"trusted_ips": "unix:"})
    lab.client(b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Real-IP: 192.0.2.99\r\n\r\n", address=UNIXAddress(None))
    assert forwarded(lab.origin()).value(b"x-real-ip") == b"192.0.2.99"


def test_mounted_below() -> None:
    """Mounted below a path the resource still matches and forwards the whole of it."""
    lab = SiteLab(mounted=b"/shop/v1", route={"paths": ["/shop/v1/orders"], "strip_path": False})
    lab.client(GET.replace(b"/a", b"/shop/v1/orders/%2F7"))
    assert forwarded(lab.origin()).target == b"/shop/v1/orders/%2F7"
    assert spoken.answer(lab.client(GET.replace(b"/a", b"/shop/v1/bills")).received).status == 404


def test_no_route() -> None:
    """Without a route the answer is Kong's 404, and the connection goes on."""
    lab = SiteLab(route={"hosts": ["b.test"]})
    client = lab.client(GET)
    answer = spoken.answer(client.take())
    request_id = (answer.value(b"x-kong-request-id") or b"").decode()
    assert answer.status == 404
    assert answer.value(b"content-type") == b"application/json; charset=utf-8"
    assert answer.body.decode() == (
        f'{{\n  "message":"no Route matched with those values",\n  "request_id":"{request_id}"\n}}'
    )
    assert client.lost is None
    client.send(GET)
    assert spoken.answer(client.received).status == 404
    lab.assert_idle()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET /../.. HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Control: \x01\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: identity\r\n\r\n", 501),
        (b"TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n", 405),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a.test\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Long: " + b"a" * 9000 + b"\r\n\r\n", 431),
    ],
)
def test_refused(request_: bytes, status: int) -> None:
    """What our own server refuses is refused here, and nothing behind it is looked at."""
    lab = SiteLab()
    client = lab.client(request_ + GET)
    answer = spoken.answer(client.received)
    assert answer.status == status
    assert answer.value(b"connection") == b"close"
    assert answer.value(b"server") == SERVER
    assert client.closed
    assert lab.dials == []
    lab.assert_idle()


# -- bodies ----------------------------------------------------------------------------------------------------

SIZES = [1, READ_SIZE - 1, READ_SIZE, READ_SIZE + 1, 5 * READ_SIZE]


def in_chunks(body: bytes) -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(body[at:][:7000]), body[at:][:7000]) for at in range(0, len(body), 7000))
    return b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


@pytest.mark.parametrize("route", [{}, UNBUFFERED], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("size", SIZES)
def test_body(size: int, route: Mapping[str, object]) -> None:
    """A body of any size comes to the origin as it was sent, with its length."""
    lab = SiteLab(route=route)
    body = (b"0123456789abcde" * (size // 15 + 1))[:size]
    client = lab.client(post(body))
    for _ in range(10):
        lab.wait()
    origin = lab.origin()
    for _ in range(10):
        lab.wait()
    request = forwarded(origin)
    assert (request.body, request.complete) == (body, True)
    assert request.value(b"content-length") == b"%d" % size
    origin.send(OK)
    assert spoken.answer(client.received).status == 200
    lab.assert_idle()


@pytest.mark.parametrize("route", [{}, UNBUFFERED], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("size", [0, *SIZES])
def test_body_in_chunks(size: int, route: Mapping[str, object]) -> None:
    """A body that was sent in chunks comes whole, too."""
    lab = SiteLab(route=route)
    body = bytes(size)
    client = lab.client(in_chunks(body))
    for _ in range(10):
        lab.wait()
    origin = lab.origin()
    for _ in range(10):
        lab.wait()
    request = forwarded(origin)
    assert (request.body, request.complete) == (body, True)
    origin.send(OK)
    assert spoken.answer(client.received).status == 200
    lab.assert_idle()


def test_form() -> None:
    """A form that the site has parsed is forwarded all the same."""
    lab = SiteLab()
    lab.site = Site(lab.site.resource, reactor=lab.network)
    form = b"Content-Type: application/x-www-form-urlencoded\r\n"
    lab.client(post(b"a=1&b=2", lines=form))
    assert forwarded(lab.origin()).body == b"a=1&b=2"


def test_slow_origin() -> None:
    """Of a long body no more is read than the origin takes."""
    lab = SiteLab(route=UNBUFFERED)
    body = bytes(20 * READ_SIZE)
    lab.client(post(body))
    origin = lab.origin()
    origin.room = 1000
    for _ in range(50):
        lab.wait()
    assert 0 < origin.backlog <= READ_SIZE
    while len(origin.received) < len(body):
        origin.make_room(READ_SIZE)
        lab.wait()
        assert origin.backlog <= READ_SIZE
    assert forwarded(origin).body == body
    origin.send(OK)
    lab.assert_idle()


def test_answered_before_the_body() -> None:
    """An origin may answer before it has taken the whole body; the rest of it is dropped."""
    lab = SiteLab(route=UNBUFFERED)
    client = lab.client(post(bytes(20 * READ_SIZE)))
    origin = lab.origin()
    origin.room = 1000
    lab.wait()
    origin.send(OK)
    assert spoken.answer(client.take()).status == 200
    client.send(GET)
    lab.origin().send(OK)
    assert spoken.answer(client.received).status == 200
    lab.assert_idle()


@pytest.mark.parametrize("request_", [post(bytes(300_000)), in_chunks(bytes(300_000))], ids=["sized", "chunked"])
def test_body_too_large(request_: bytes) -> None:
    """A body beyond the limit is refused, however it was sent."""
    lab = SiteLab(settings={"nginx_http_client_max_body_size": "200k"})
    client = lab.client(request_)
    for _ in range(10):
        lab.wait()
    assert spoken.answer(client.received).status == 413
    assert client.closed
    lab.assert_idle()


# -- failure ---------------------------------------------------------------------------------------------------


def test_next_peer() -> None:
    """A peer that refuses the connection is replaced by another, with the whole body."""
    lab = SiteLab("10.0.0.1:80", "10.0.0.2:80")
    client = lab.client(post(b"body"))
    lab.dials[0].refuse()
    origin = lab.origin()
    assert forwarded(origin).body == b"body"
    origin.send(OK)
    assert spoken.answer(client.received).status == 200
    lab.assert_idle()


@pytest.mark.parametrize("framing", [b"Content-Length: 10", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_broken_answer(framing: bytes, version: bytes) -> None:
    """A client learns that its answer was broken off: its connection is."""
    lab = SiteLab()
    client = lab.client(GET.replace(b"HTTP/1.1", b"HTTP/" + version))
    origin = lab.origin()
    origin.send(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n3\r\none\r\n" % framing)
    origin.reset()
    lab.wait()
    assert client.aborted
    lab.assert_idle()


def test_client_gone_while_waiting() -> None:
    """When the client leaves before the answer, the origin's connection ends and the lease is back."""
    lab = SiteLab()
    client = lab.client(GET)
    origin = lab.origin()
    client.close()
    lab.wait()
    assert origin.aborted
    lab.assert_idle()


def test_client_gone_amid_the_answer() -> None:
    """The same in the middle of an answer, while the client is not taking any of it."""
    lab = SiteLab()
    client = lab.client(GET, room=10)
    origin = lab.origin()
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(50000))
    client.reset()
    lab.wait()
    assert origin.aborted
    lab.wait(100)
    lab.assert_idle()


def test_client_gone_while_connecting() -> None:
    """The same while the peer is being dialled: the dial is given up, and nobody else is dialled."""
    lab = SiteLab("10.0.0.1:80", "10.0.0.2:80")
    client = lab.client(GET)
    client.close()
    lab.wait()
    assert [(dial.address.host, dial.waiting) for dial in lab.dials] == [("10.0.0.1", False)]
    lab.assert_idle()


def test_client_gone_while_resolving() -> None:
    """The same while the peer's name is being resolved: nobody is dialled when the answer comes."""
    lab = SiteLab("peer.test:80")
    client = lab.client(GET)
    client.close()
    lab.names.answer("peer.test", "10.0.0.1")
    lab.wait()
    assert lab.dials == []
    lab.assert_idle()


def test_client_gone_before_the_body() -> None:
    """The same before anything of the body was brought: nobody is dialled."""
    lab = SiteLab()
    client = lab.client()
    client.send(post(bytes(20 * READ_SIZE)))
    client.close()
    lab.wait()
    assert lab.dials == []
    lab.assert_idle()


def test_client_gone_amid_the_body() -> None:
    """The same while the origin has taken some of the body."""
    lab = SiteLab(route=UNBUFFERED)
    client = lab.client(post(bytes(20 * READ_SIZE)))
    origin = lab.origin()
    origin.room = 3 * READ_SIZE
    lab.wait()
    assert 3 * READ_SIZE < len(origin.received) < 5 * READ_SIZE
    client.close()
    lab.wait()
    assert origin.aborted
    lab.assert_idle()


# -- for strangers ---------------------------------------------------------------------------------------------


@implementer(IReactorPluggableNameResolver)
class WholeNetwork(Network):
    """A reactor that can listen, run and resolve names, too."""

    nameResolver = SynchronousResolver()

    def __init__(self) -> None:
        super().__init__()
        self.sites: dict[int, Site] = {}
        self.ran = False

    def installNameResolver(self, resolver: object) -> Any:
        raise NotImplementedError

    def listenTCP(self, port: int, factory: Site) -> None:
        self.sites[port] = factory

    def run(self) -> None:
        self.ran = True

    def client(self, port: int, data: bytes) -> Line:
        line = SiteLine(self, IPv4Address("TCP", "127.0.0.1", port), IPv4Address("TCP", CLIENT, 40000))
        line.join(self.sites[port].buildProtocol(None))
        line.send(data)
        return line


def test_readme(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of the README does what its text says."""
    section = README.read_text().partition("\n## Inside a twisted.web site\n")[2].partition("\n## ")[0]
    (example,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    network = WholeNetwork()
    monkeypatch.setattr(twisted.internet, "reactor", network, raising=False)
    exec(compile(example, str(README), "exec"), {"__name__": "__main__"})
    assert network.ran
    client = network.client(8080, b"GET /orders/7?full HTTP/1.1\r\nHost: localhost:8080\r\n\r\n")
    (dial,) = network.dials
    origin = dial.accept()
    assert (dial.address.host, dial.address.port) == ("127.0.0.1", 9001)
    assert forwarded(origin).target == b"/7?full"
    origin.send(OK)
    assert spoken.answer(client.received).body == b"ok"
    other = network.client(8080, b"GET /elsewhere HTTP/1.1\r\nHost: localhost:8080\r\n\r\n")
    assert spoken.answer(other.received).value(b"server") != SERVER  # the site's own 404


def test_changes_are_in_force() -> None:
    """What the store is changed to is in force with the next request."""
    network, store = WholeNetwork(), MemoryStore()
    network.listenTCP(
        80,
        Site(
            ReverseProxyResource.from_store(network, store, Registry(), Settings(dns_resolver_plugin="system")),
            reactor=network,
        ),
    )
    assert spoken.answer(network.client(80, GET.replace(b"/a", b"/orders")).received).status == 404
    assert store.apply(Change(puts=a_pair("orders"))).called
    network.client(80, GET.replace(b"/a", b"/orders"))
    assert [dial.address.host for dial in network.dials] == ["127.0.0.1"]


def test_unknown_resolver() -> None:
    """A resolver that is not there is told with the setting, what there is and what was asked for."""
    settings = Settings(dns_resolver_plugin="oracle")
    with pytest.raises(ComponentError, match="dns_resolver_plugin: expected one of dns, system, got 'oracle'"):
        ReverseProxyResource.from_store(WholeNetwork(), MemoryStore(), Registry(), settings)


# -- on real sockets -------------------------------------------------------------------------------------------


class Echo(Resource):
    """Answers a body four times over."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's

    def render(self, request: Request) -> bytes:
        body: Any = request.content
        request.setHeader(b"x-method", request.method)
        return bytes(body.read() * 4)


class LoopbackTests(TestCase):
    """Site, gateway, origin and client on the loopback interface."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor

    async def test_there_and_back(self) -> None:
        """What a client sends comes to the origin, and the other way round, more at once than any buffer holds."""
        reactor = self.reactor
        origin = self.listening(Site(Echo()))
        upstream, targets = an_upstream("orders", f"127.0.0.1:{origin}")
        service, route = a_pair("orders")
        store = MemoryStore()
        service = service.model_copy(update={"host": upstream.name})
        await store.apply(Change(puts=(upstream, *targets, service, route)))
        proxy = ReverseProxyResource.from_store(reactor, store, Registry())
        self.addCleanup(proxy.core.close)
        port = self.listening(Site(proxy, parsePOSTFormSubmission=False))
        body = bytes(range(256)) * 10_000
        for method in ("POST", "PUT"):
            url = f"http://127.0.0.1:{port}/orders/7"
            response = await treq.request(method, url, data=body, reactor=reactor, persistent=False)
            assert response.code == 200
            assert response.headers.getRawHeaders("x-method") == [method]
            assert await response.content() == body * 4
        assert proxy.core.exchanges == 0

    def listening(self, site: Site) -> int:
        port = self.reactor.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number
