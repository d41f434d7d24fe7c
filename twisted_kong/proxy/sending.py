"""A request as a peer gets it: its head written anew, and its body as fast as the peer takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConnector

from twisted_kong.errors import ProxyError
from twisted_kong.model.entities import Service
from twisted_kong.proxy.client import UpstreamConnection
from twisted_kong.proxy.downstream import Downstream
from twisted_kong.proxy.forwarding import peer_host
from twisted_kong.proxy.framing import LAST_CHUNK, chunk
from twisted_kong.proxy.grpc import PROTOCOLS
from twisted_kong.proxy.headers import RequestHead
from twisted_kong.proxy.http2.calls import Call
from twisted_kong.proxy.http2.client import UpstreamStream
from twisted_kong.proxy.upload import Upload
from twisted_kong.proxy.wire import READ_SIZE
from twisted_kong.runtime.peers import Peer
from twisted_kong.tls import ClientTerms

if TYPE_CHECKING:
    from twisted_kong.proxy.core import ProxyCore
    from twisted_kong.proxy.http2.pool import Waiting
    from twisted_kong.proxy.tracing import Trace
    from twisted_kong.routing.router import Match


NOT_REPEATABLE = frozenset([b"POST", b"PATCH", b"LOCK"])
"""Methods that are never sent twice (nginx's list; RFC 9110 §9.2.2)."""

PIECES_A_TURN = 8
"""How many pieces of `READ_SIZE` bytes of a kept body are sent in one turn of the reactor."""

Connection = UpstreamConnection | UpstreamStream
"""What an attempt has of a peer: all of a connection, or a stream of one."""

_UPGRADE = b"\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"


class Sending:
    """What of an exchange concerns the request on its way to a peer; whether and to whom it is sent does not.

    ``match`` is the request's route, once that is known; ``trace`` the one that it is part of, where there is tracing.
    """

    __slots__ = (
        "_body_ended",
        "_call",
        "_connection",
        "_content_sent",
        "_ended",
        "_forwarded",
        "_held",
        "_host_header",
        "_peer",
        "_received",
        "_terms",
        "_upgrading",
        "_upload",
        "core",
        "downstream",
        "head",
        "match",
        "request_id",
        "trace",
    )

    _peer: Peer  # who gets it

    def __init__(self, core: ProxyCore, downstream: Downstream, head: RequestHead, request_id: bytes) -> None:
        self.core = core
        self.downstream = downstream
        self.head = head
        self.request_id = request_id
        self.match: Match | None = None
        self.trace: Trace | None = None if core.tracer is None else core.tracer.begin(head)
        self._forwarded = b""  # the lines that tell about the client
        self._host_header: bytes | None = None  # what the upstream prescribes
        self._connection: Connection | None = None
        self._call: Call | None = None  # where peers are asked over HTTP/2
        self._terms: ClientTerms | None = None  # of TLS to the peer; None where it is spoken to in the clear
        self._upgrading = False  # WebSocket is asked for
        self._upload: Upload | None = None  # the body, where it is kept
        self._content_sent = 0  # bytes of it
        self._held = b""  # of the body, until there is somebody to send it to
        self._received = 0  # bytes of the body
        self._ended = False  # the exchange is over
        self._body_ended = not head.meaning.has_body

    def _speak(self, service: Service) -> None:
        """Ask peers of ``service`` by its protocol, if that is not HTTP/1 in the clear.

        :raise BadGateway: it is not ours: nothing is sent in the clear that was meant to be encrypted.
        """
        if service.protocol not in ("http", "grpc"):
            self._terms = self.core.outgoing.terms(service)
        if service.protocol in PROTOCOLS:
            self._call = Call(self.core, b"http" if self._terms is None else b"https")

    def goes_once(self) -> bool:
        """Whether the request may reach a peer no more than once: it changes something, or its body is not kept."""
        return self.head.method in NOT_REPEATABLE or (self._upload is None and self.head.meaning.has_body)

    def refuse(self, error: ProxyError) -> None:
        """Tell the client ``error`` instead of an answer."""
        raise NotImplementedError

    def _begin(self) -> None:
        """The body is complete, where it is kept: make the first attempt."""
        raise NotImplementedError

    def body_received(self, content: bytes) -> None:
        """A piece of the body."""
        if self._ended:
            return
        self._received += len(content)
        try:
            self.core.check_body_size(self._received)
            if self._upload is not None:
                self._upload.write(content)
                return
        except (ProxyError, OSError) as error:
            self.refuse(error if isinstance(error, ProxyError) else ProxyError(f"the body cannot be kept: {error}"))
            return
        if self._connection is not None:
            self._send_content(self._connection, content)
        else:
            self._held += content  # what came along with the head; the client is held until there is a connection

    def body_ended(self) -> None:
        """The body is complete."""
        self._body_ended = True
        if self._ended:
            return
        if self._upload is not None:
            self._begin()
        else:
            self.downstream.hold_body(False)  # there is nothing left to hold, and it may leave
            if self._connection is not None:
                self._send_content(self._connection, b"")

    def _request_head(self) -> bytes:
        """The head for the peer leased."""
        head = self.head
        match = self.match
        assert match is not None
        passing = head.passing if self.trace is None else self.trace.pass_on(head.passing, self.core.seconds())
        if self._upload is not None:
            framing = b"Content-Length: %d\r\n" % self._upload.size
        elif head.meaning.length is not None:
            framing = b"Content-Length: %d\r\n" % head.meaning.length
        else:
            framing = b"Transfer-Encoding: chunked\r\n" if head.meaning.chunked else b""
        if self._call is not None and isinstance(self._connection, UpstreamStream):
            lines = self._forwarded + framing + passing
            if self.core.tell_request_id:
                lines += b"X-Kong-Request-Id: %b\r\n" % self.request_id
            return self._call.begin(self._connection, head, self._host(), match.path, lines)
        return b"".join(
            (
                head.method,
                b" ",
                match.path,
                head.query,
                b" HTTP/1.1\r\nHost: ",
                self._host(),
                _UPGRADE if self._upgrading else b"\r\nConnection: keep-alive\r\n",
                self._forwarded,
                *((b"X-Kong-Request-Id: ", self.request_id, b"\r\n") if self.core.tell_request_id else ()),
                framing,
                passing,
                b"\r\n",
            )
        )

    def _host(self) -> bytes:
        """The Host for the peer: the client's own, or the peer's."""
        match, peer, named = self.match, self._peer, self._host_header
        if match is not None and match.route.preserve_host:
            return self.head.host
        if named is None and self._terms is None:
            return peer.authority
        return peer_host(peer.authority, peer.port, named, secure=self._terms is not None)

    def _send_upload(self, connection: Connection, upload: Upload, head: bytes = b"") -> None:
        """Send the kept body, after ``head`` if there is one, for as long as the peer keeps up.

        After `PIECES_A_TURN` pieces others have their turn first.
        """
        for _ in range(PIECES_A_TURN):
            content = upload.read(self._content_sent, READ_SIZE)
            self._content_sent += len(content)
            ended = self._content_sent >= upload.size
            connection.upload(head + content, ended)
            if ended or connection.congested:
                return
            head = b""
        self.core.reactor.callLater(0, self._send_on, connection)

    def _send_on(self, connection: Connection) -> None:
        """The next turn of an upload, if ``connection`` is still the one that it goes to."""
        if connection is self._connection and self._upload is not None:
            self._send_upload(connection, self._upload)

    def _send_content(self, connection: Connection, content: bytes, head: bytes = b"") -> None:
        """Send a piece of the body as it comes, framed the way the client frames it, after ``head`` if there is one."""
        ended = self._body_ended
        if self._call is not None:
            self._call.sends(content, ended)
        elif self.head.meaning.chunked:
            content = (chunk(content) if content else b"") + (LAST_CHUNK if ended else b"")
        connection.upload(head + content, ended)
        if not ended:
            self.downstream.hold_body(connection.congested)

    def body_trailed(self, lines: bytes) -> None:
        """These lines follow the body, which is about to end; HTTP/2 can pass them on."""
        if self._call is not None:
            self._call.trailers = lines

    def trailed(self, lines: bytes) -> None:
        self.downstream.answer_trailers(lines)

    def upload_drained(self) -> None:
        if self._upload is None:
            self.downstream.hold_body(False)
        elif self._connection is not None:
            self._send_upload(self._connection, self._upload)


def let_go(connecting: IConnector | Deferred[Any] | Waiting | None, connection: Connection | None) -> None:
    """Give up the connection of an attempt, or whatever is under way towards one."""
    if connection is not None:
        connection.leave()
    elif isinstance(connecting, Deferred):
        connecting.cancel()
    elif connecting is not None:
        connecting.disconnect()
