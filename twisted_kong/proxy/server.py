"""The HTTP/1 server: one connection of a client, its requests answered one after the other, in order.

It reads heads and bodies and writes answers; what the answer is, is the exchange's business. A pipelined request
is read only when the one before it has been answered; until then at most one read of it is kept. What is malformed
or ambiguous is answered once, and nothing behind it is looked at.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from twisted.python.failure import Failure

from twisted_kong.errors import ProxyError, RequestRefused, RequestTimedOut
from twisted_kong.proxy.exchange import Exchange
from twisted_kong.proxy.forwarding import Client
from twisted_kong.proxy.framing import LAST_CHUNK, Body, ChunkedBody, MalformedBody, SizedBody, chunk, last_chunk
from twisted_kong.proxy.headers import RequestHead, has_bare_line_feed
from twisted_kong.proxy.patience import BEGINNING, LINGER, Pace
from twisted_kong.proxy.recording import Unreadable
from twisted_kong.proxy.refusing import last_answer
from twisted_kong.proxy.trailers import passed_on
from twisted_kong.proxy.wire import READ_SIZE, Wire

if TYPE_CHECKING:
    from twisted_kong.proxy.listeners import ProxyListener

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_STATUS_LINES = {
    (status, given): b"HTTP/1.1 %d %b\r\n" % (status, reason)
    for status, reason in _REASONS.items()
    for given in (b"", reason)
}
"""Those of the usual reasons, given or not."""
_NO_CONTENT = frozenset([204, 304])

REQUESTS_A_TURN = 64
"""How many pipelined requests of one client that can be answered at once are answered in one turn of the reactor."""


class ServerConnection(Wire):
    """One connection of a client."""

    # What few connections ever change is the class's: Python shares the names of up to 29 attributes among the objects
    # of a class, and beyond that every connection would be larger and slower (tests/proxy/test_work.py).
    switching = True
    _blank_after = 0  # how many requests there were when empty lines came last
    _pace: Pace | None = None  # at which the current body has to come

    def __init__(self, listener: ProxyListener) -> None:
        super().__init__(listener.core.deadlines)
        self._listener = listener
        self._core = listener.core
        self._patience = listener.patience
        self._client: Client  # set once the transport is there
        self._exchange: Exchange | None = None
        self._head: RequestHead | None = None
        self._body: Body | None = None  # of the current request, while it is not complete
        self._buffer = b""
        self._scanned = 0  # bytes of the buffer known not to end a head
        self._requests = 0
        self._reading = False
        self._expecting = False  # the client waits for 100 Continue
        self._chunking = False  # the answer is sent in chunks
        self._trailers = b""  # what follows the answer's chunks
        self._delimited = True  # the answer's end does not depend on the connection's
        self._keep = False
        self._closing = False  # nothing the client sends counts any more
        self._lingering = False  # and it is given a while to read the last answer

    # -- requests ----------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        super().connectionMade()
        self._client = self._listener.joined(self)
        self.arm(self._patience.head)

    def dataReceived(self, data: bytes) -> None:
        if self._closing:
            return
        if self._body is not None:
            self._read_body(data)
            return
        self._buffer = self._buffer + data if self._buffer else data
        if self._exchange is None and not self.congested:
            self._read()
        elif len(self._buffer) >= READ_SIZE:
            self.pause()

    def _read(self) -> None:
        """Begin with the requests in the buffer, one by one; a loop, because many may be answered at once.

        The first may begin. After `REQUESTS_A_TURN` of them others have their turn first.
        """
        left = REQUESTS_A_TURN
        self._reading = True
        try:
            while self._read_head() and self._buffer and self._is_free():
                left -= 1
                if not left:
                    self.disarm()  # if anybody is late it is us
                    self._core.reactor.callLater(0, self._read_on)
                    return
        finally:
            self._reading = False
        if self._paused and self._is_free():
            self.resume()

    def _read_on(self) -> None:
        """The next turn; what has come or happened meanwhile may have gone ahead."""
        if self._buffer and not self._reading and self._is_free():
            self._read()

    def _is_free(self) -> bool:
        """Whether the next request may begin: the last one is over, and its answer has been taken."""
        return self._exchange is None and self._body is None and not self.congested and not self._closing

    def _read_head(self) -> bool:
        """Begin with one request; False while its head is not complete."""
        data = self._buffer
        if data[0] <= 0x0D:
            self._buffer = data = data.lstrip(b"\r\n")  # RFC 9112 §2.2: empty lines before a request
            if not data:
                self._read_nothing()
                return False
        scanned = self._scanned
        end = data.find(b"\r\n\r\n", scanned - 3 if scanned > 3 else 0)
        try:
            if end < 0:
                self._await_head(data)
                return False
            head = self._core.request_parser.parse(data[:end])
        except RequestRefused as error:
            self._refuse(error)
            return False
        self._buffer = data[end + 4 :]
        self._scanned = 0
        self._begin(head)
        return True

    def _read_nothing(self) -> None:
        """Nothing but empty lines has come: after an answer the connection is as idle as without, and no longer."""
        if self._blank_after < self._requests:
            self._blank_after = self._requests
            self.arm(self._patience.idle)

    def _await_head(self, data: bytes) -> None:
        """The head is not complete; find out early if it never will be."""
        if has_bare_line_feed(data, self._scanned):
            raise RequestRefused("a line that ends in a line feed alone")
        parser = self._core.request_parser
        if parser.may_exceed(self._scanned, len(data)):
            first, *lines = data.rstrip(b"\r\n").split(b"\r\n")
            parser.check_size(first, lines, len(data))
        if not self._scanned:
            self.arm(self._patience.head)
        self._scanned = len(data)

    def _begin(self, head: RequestHead) -> None:
        meaning = head.meaning
        self._requests += 1
        self._head = head
        self._keep = meaning.persistent and self._requests < self._patience.requests and not self._listener.draining
        self._chunking = False
        if meaning.has_body:
            self._body = ChunkedBody() if meaning.length is None else SizedBody(meaning.length)
            self._expecting = head.minor == 1 and (meaning.value(b"expect") or b"").lower() == b"100-continue"
            if self._patience.body_rate:
                self._pace = self._patience.for_body(self._now())
            self.arm(self._patience.body)
            self.resume()  # the pipeline may have filled up, but this body has to come
        self._exchange = exchange = Exchange(self._core, self, head, self._client)
        exchange.start()
        if self._body is not None and self._buffer and not self._closing:
            data, self._buffer = self._buffer, b""
            self._read_body(data)

    def _read_body(self, data: bytes) -> None:
        """A piece of the current body; nobody may be interested in it any more."""
        body = self._body
        assert body is not None
        try:
            content, rest = body.feed(data)
        except MalformedBody as error:
            self._spoilt(RequestRefused(str(error)))
            return
        self._expecting = False
        exchange = self._exchange
        if not body.ended:
            if not self._paused:
                self.arm(self._patience.body if self._pace is None else self._pace.wait(len(data), self._now()))
            if content and exchange is not None:
                exchange.body_received(content)
            return
        self._body = None
        self._buffer = rest
        if exchange is not None:
            if content:
                exchange.body_received(content)
            if isinstance(body, ChunkedBody) and body.trailers:
                exchange.body_trailed(passed_on(body.trailers))
            exchange.body_ended()
        if self._exchange is None and not self._reading and not self._closing:
            if rest:
                self._read_on()
            else:
                self._rest()

    def _spoilt(self, error: RequestRefused) -> None:
        """The body of the current request is broken off or cannot be read; whatever follows means nothing."""
        if self._exchange is not None:
            self._exchange.refuse(error)
        else:
            self._linger()

    # -- what the exchange wants -------------------------------------------------------------------------------

    def expect_body(self) -> None:
        if self._expecting and not self._buffer:
            self._expecting = False
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def hold_body(self, hold: bool) -> None:
        if hold:
            self.pause()
            self.disarm()  # who is not read from cannot be late
            if self._pace is not None:
                self._pace.hold(self._now())
        else:
            self.resume()
            if self._body is not None:
                self._await_body()

    def _await_body(self) -> None:
        """More of the body has to come in time."""
        self.arm(self._patience.body if self._pace is None else self._pace.wait(0, self._now()))

    def answer(self, status: int, reason: bytes, lines: bytes, length: int | None, content: bytes, ended: bool) -> None:
        head = self._head
        assert head is not None
        if self._expecting:
            self._keep = False  # the client may or may not send the body nobody asked for
        framing = b""
        self._delimited = True
        if status in _NO_CONTENT or head.method == b"HEAD":
            content = b""
            if length is not None and status != 204:
                framing = b"Content-Length: %d\r\n" % length
        elif length is not None:
            framing = b"Content-Length: %d\r\n" % length
        elif head.minor == 1:
            self._chunking = True
            framing = b"Transfer-Encoding: chunked\r\n"
            content = self._framed(content, ended)
        else:
            self._delimited = self._keep = False
        data = b"".join(
            (
                _STATUS_LINES.get((status, reason)) or b"HTTP/1.1 %d %b\r\n" % (status, reason or b"Unknown"),
                lines,
                framing,
                b"Connection: keep-alive\r\n\r\n" if self._keep else b"Connection: close\r\n\r\n",
                content,
            )
        )
        if ended:
            self.post(data)
            self._finish()
        else:
            self.send(data)

    def answer_more(self, content: bytes, ended: bool) -> None:
        data = self._framed(content, ended) if self._chunking else content
        if data:
            self.send(data)
        if ended:
            self._finish()

    def answer_trailers(self, lines: bytes) -> None:
        head = self._head
        assert head is not None
        if self._chunking and head.takes_trailers:
            self._trailers = lines

    def switch(self, lines: bytes) -> tuple[Wire, bytes]:
        self.send(b"HTTP/1.1 101 Switching Protocols\r\n%bConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" % lines)
        return self, self._buffer

    def close_after(self) -> None:
        self._keep = False

    def answer_broken(self) -> None:
        self._exchange = None
        self._closing = True
        if self._delimited:
            self.close()  # it ends before its announced end
        else:
            self.abort()

    def _framed(self, content: bytes, ended: bool) -> bytes:
        if ended and self._trailers:
            trailers, self._trailers = self._trailers, b""
            return (chunk(content) if content else b"") + last_chunk(trailers)
        return (chunk(content) if content else b"") + (LAST_CHUNK if ended else b"")

    def _finish(self) -> None:
        """The current request has been answered."""
        self._exchange = None
        if not self._keep:
            self._linger()
        elif self._body is not None:
            self.resume()  # the rest of a body nobody wants is read and dropped
            self._await_body()
        elif self._buffer:
            self._read_on()
        else:
            self._rest()

    def _rest(self) -> None:
        """Wait for the next request, once the answer has been taken."""
        if not self.congested:
            if self._paused:
                self.resume()
            self.arm(self._patience.idle)

    # -- the end -----------------------------------------------------------------------------------------------

    def _refuse(self, error: ProxyError) -> None:
        """Answer a request that could not be read."""
        core = self._core
        answer, request_id, size = last_answer(core, error)
        self.send(answer)
        beginning = self._buffer[:BEGINNING]
        core.recorder.refused(Unreadable(self._client.known, beginning, request_id, error.status, size, core.seconds()))
        self._linger()

    def _linger(self) -> None:
        """Say no more, and drop what still comes: a connection closed over unread data would take the answer along."""
        self.send_posted()
        self._closing = True
        if self._body is None and not self._buffer:
            self.close()
            return
        self._body = None
        self._buffer = b""
        self._lingering = True
        self.resume()
        if not self.congested:
            self._end_answers()

    def _end_answers(self) -> None:
        """Everything has been written: say so, and give the client a while to read it."""
        self.arm(LINGER)
        self.transport.loseWriteConnection()

    def close_idle(self) -> None:
        """Close, after the current answer if there is one to come."""
        if self._exchange is not None:
            self._keep = False
        else:
            self._closing = True
            self.close()

    def clogged(self) -> None:
        self.arm(self._patience.send)

    def drained(self) -> None:
        self.disarm()
        if self._closing:
            if self._lingering:
                self._end_answers()
            return
        if self._body is not None:
            self._await_body()
        if self._exchange is not None:
            self._exchange.drained()
        elif self._buffer:
            self._read()
        elif self._body is None:
            self._rest()

    def timed_out(self) -> None:
        """Which deadline it was follows from what the connection is doing."""
        cut_off = self._core.refusals.cut_off
        if self.congested:
            if self.has_progressed():
                self.arm(self._patience.send)
            else:
                cut_off("send_timeout")
                self.abort()
        elif self._closing:
            self.close()  # what the system has not sent yet it goes on sending
        elif self._exchange is not None and self._body is None:
            pass  # nothing is expected of the client: it waits for us
        elif self._body is not None:
            cut_off("body_timeout")
            self._spoilt(RequestTimedOut(self._patience.told_of_body))
        elif self._buffer:
            cut_off("head_timeout")
            self._refuse(RequestTimedOut(f"no complete head within {self._patience.head} s"))
        else:
            if not self._requests:
                cut_off("head_timeout")
            self._closing = True
            self.close()

    def connectionLost(self, reason: Failure | None = None) -> None:
        super().connectionLost(reason)
        self._closing = True
        self._listener.left(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_gone()
