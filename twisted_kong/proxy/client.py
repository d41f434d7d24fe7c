"""The HTTP/1.1 client: one connection to a peer, one attempt at a time.

It parses what the peer answers and tells the attempt; it decides nothing. In particular it never retries: what a
failure means is the exchange's business.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import TYPE_CHECKING, Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure

from twisted_kong.errors import BadGateway
from twisted_kong.model.entities import Timeouts
from twisted_kong.proxy.framing import Body, ChunkedBody, MalformedBody, SizedBody, UnsizedBody
from twisted_kong.proxy.headers import ResponseHead, ResponseParser, has_bare_line_feed
from twisted_kong.proxy.trailers import passed_on
from twisted_kong.proxy.wire import Wire
from twisted_kong.tasks import Deadlines

if TYPE_CHECKING:
    from twisted.internet.interfaces import IConnector

    from twisted_kong.proxy.http2.client import UpstreamStream
    from twisted_kong.proxy.pool import Pool

_NO_CONTENT = frozenset([204, 304])
_EMPTY_LINE = re.compile(rb"\n\r?\n")


class Attempt(Protocol):
    """Who a connection works for."""

    def connected(self, connection: UpstreamConnection | UpstreamStream) -> None:
        """The connection is established; nothing has been sent on it."""

    def not_connected(self, reason: Failure) -> None:
        """There will be no connection."""

    def answered(self, head: ResponseHead, content: bytes, ended: bool) -> None:
        """The head of the answer, with as much of its body as came along; ``ended`` says that this is all."""

    def went_on(self, content: bytes, ended: bool) -> None:
        """More of the body; ``ended`` as above."""

    def trailed(self, lines: bytes) -> None:
        """Trailers to be passed on; what ends the body is still to be told."""

    def switched(self, head: ResponseHead, rest: bytes) -> None:
        """The peer speaks WebSocket from now on, beginning with ``rest``; the connection is the attempt's to use."""

    def failed(self, failure: str, reason: str) -> None:
        """The answer will not be completed: ``"tcp"``, ``"timeout"`` or ``"malformed"``, and why in words.

        Or it is ``"refused"``: HTTP/2 tells that nothing has been done about the request.
        """

    def upload_drained(self) -> None:
        """The backlog of the upload is gone."""


class UpstreamConnection(Wire):
    """One connection to a peer."""

    def __init__(
        self, key: Hashable, pool: Pool, deadlines: Deadlines, parser: ResponseParser, attempt: Attempt
    ) -> None:
        super().__init__(deadlines)
        self.key = key
        self.requests = 0
        self._pool = pool
        self._parser = parser
        self._attempt: Attempt | None = attempt
        self._head_only = False
        self._uploading = False
        self._upgrading = False
        self._buffer = b""
        self._body: Body | None = None
        self._reusable = False
        self._timeouts: Timeouts

    # -- what an attempt does ----------------------------------------------------------------------------------

    def begin(self, attempt: Attempt, method: bytes, timeouts: Timeouts) -> None:
        """Work for ``attempt`` until its answer ends; ``timeouts`` bound the pauses between operations."""
        self._upgrading = False
        self._attempt = attempt
        self._head_only = method == b"HEAD"
        self._timeouts = timeouts
        self._uploading = True
        self.requests += 1

    def expect_switch(self) -> None:
        """The peer is going to be asked to speak WebSocket, and may."""
        self._upgrading = True

    def upload(self, data: bytes, ended: bool) -> None:
        """Send a piece of the request; ``ended`` says that it is the last."""
        self._uploading = not ended
        self.send(data)
        if not self.congested:
            self._await_answer()

    def ask(self, data: bytes) -> None:
        """Send a whole request that may be sent again: it need not leave at once, and the peer may be gone by then."""
        self._uploading = False
        self.post(data)
        if not self.congested:
            self._await_answer()

    def clogged(self) -> None:
        self.arm(self._timeouts.write)

    def _await_answer(self) -> None:
        """Something of the answer has to come in time, if the request is complete and we read."""
        if self._uploading or self._paused:
            self.disarm()
        else:
            self.arm(self._timeouts.read)

    def leave(self) -> None:
        """The attempt is no longer interested; the connection cannot be used again."""
        self._attempt = None
        self.abort()

    @property
    def reused(self) -> bool:
        """Whether the current request is not the first one on this connection."""
        return self.requests > 1

    @property
    def silent(self) -> bool:
        """Whether nothing of an answer has come."""
        return not self._buffer

    def pause(self) -> None:
        super().pause()
        if not self.congested:
            self.disarm()  # who is not read from cannot be late

    def resume(self) -> None:
        super().resume()
        if self._attempt is not None and not self.congested:
            self._await_answer()

    # -- what the transport tells ------------------------------------------------------------------------------

    def not_connected(self, reason: Failure) -> None:
        """There is no transport, and will not be."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.not_connected(reason)

    def connectionMade(self) -> None:
        super().connectionMade()
        self._pool.connections += 1
        attempt = self._attempt
        if attempt is None:
            self.abort()
        else:
            attempt.connected(self)

    def dataReceived(self, data: bytes) -> None:
        if self._posted:
            self._fail("tcp", "an answer before anything was asked")
        elif self._body is not None:
            self._read_body(data)
        elif self._attempt is not None:
            self._read_head(self._buffer + data if self._buffer else data)
        else:
            self._pool.forget(self)
            self.abort()  # nobody asked

    def _read_head(self, data: bytes) -> None:
        try:
            while True:
                found = self._split_head(data)
                if found is None:
                    self._await_head(data)
                    return
                head, data = found
                if head.status >= 200:
                    break
                if head.status == 101:
                    self._switch(head, data)
                    return
        except BadGateway as error:
            self._fail("malformed", str(error))
            return
        self._buffer = b""
        self._begin_body(head, data)

    def _switch(self, head: ResponseHead, rest: bytes) -> None:
        if not self._upgrading or (head.meaning.value(b"upgrade") or b"").lower() != b"websocket":
            raise BadGateway("status 101 that nobody asked for")
        attempt, self._attempt = self._attempt, None
        assert attempt is not None
        attempt.switched(head, rest)

    def _split_head(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """The head at the beginning of ``data``, and what follows it; None while it is not complete.

        Lines that end in a line feed alone are understood, as long as there can be only one reading.
        """
        end = data.find(b"\r\n\r\n")
        if end > self._parser.head_limit:
            raise BadGateway(f"a head of more than {self._parser.head_limit} bytes")
        if end >= 0:
            try:
                return self._parser.parse(data[:end]), data[end + 4 :]
            except BadGateway:
                if not has_bare_line_feed(data[:end]):
                    raise
        match = _EMPTY_LINE.search(data, 0, self._parser.head_limit)
        if match is None:
            return None
        return self._parser.parse(data[: match.start()].rstrip(b"\r")), data[match.end() :]

    def _await_head(self, data: bytes) -> None:
        """The head is not complete yet."""
        if len(data) > self._parser.head_limit:
            raise BadGateway(f"a head of more than {self._parser.head_limit} bytes")
        if not data.startswith(b"HTTP/1."[: len(data)]):
            raise BadGateway("the status line is malformed")
        self._buffer = data
        if not self._uploading:
            self.arm(self._timeouts.read)

    def _begin_body(self, head: ResponseHead, rest: bytes) -> None:
        """The head is complete; ``rest`` is what came along with it."""
        meaning = head.meaning
        self._reusable = meaning.persistent  # an unsized body ends with the connection anyway
        attempt = self._attempt
        assert attempt is not None
        length = 0 if self._head_only or head.status in _NO_CONTENT else meaning.length
        if length is not None and len(rest) >= length:
            self._finish(rest[length:])
            attempt.answered(head, rest[:length], True)
            return
        body: Body
        if length is not None:
            body = SizedBody(length)
        else:
            body = ChunkedBody() if meaning.chunked else UnsizedBody()
        try:
            content, rest = body.feed(rest)
        except MalformedBody as error:
            self._fail("malformed", str(error))
            return
        if body.ended:
            self._finish(rest)
            if isinstance(body, ChunkedBody) and body.trailers and (lines := passed_on(body.trailers)):
                attempt.answered(head, content, False)
                attempt.trailed(lines)
                attempt.went_on(b"", True)
            else:
                attempt.answered(head, content, True)
            return
        self._body = body
        if not self._uploading:
            self.arm(self._timeouts.read)
        attempt.answered(head, content, False)

    def _read_body(self, data: bytes) -> None:
        body = self._body
        attempt = self._attempt
        assert body is not None
        assert attempt is not None
        try:
            content, rest = body.feed(data)
        except MalformedBody as error:
            self._fail("malformed", str(error))
            return
        if body.ended:
            self._finish(rest)
            if isinstance(body, ChunkedBody) and body.trailers and (lines := passed_on(body.trailers)):
                attempt.trailed(lines)
            attempt.went_on(content, True)
        else:
            if not self._uploading:
                self.arm(self._timeouts.read)
            if content:
                attempt.went_on(content, False)

    def _finish(self, rest: bytes) -> None:
        """The answer is complete: back to the pool, if the connection is in a known state."""
        self._attempt = None
        self._body = None
        if self._reusable and not rest and not self._uploading and not self.congested:
            if self._paused:
                self.resume()
            self._pool.put(self)
        elif rest or self._uploading or self.congested:
            self.abort()
        else:
            self.close()

    def _fail(self, failure: str, reason: str) -> None:
        attempt = self._attempt
        if attempt is not None:
            self.leave()
            attempt.failed(failure, reason)

    def drained(self) -> None:
        attempt = self._attempt
        if attempt is None:
            return
        if self._uploading:
            self.disarm()
            attempt.upload_drained()
        else:
            self._await_answer()

    def timed_out(self) -> None:
        if self._attempt is None:
            self._pool.forget(self)
            self.close()
        elif self.congested and self.has_progressed():
            self.arm(self._timeouts.write)
        elif self.congested:
            self._fail("timeout", f"nothing could be written for {self._timeouts.write} s")
        else:
            self._fail("timeout", f"nothing came for {self._timeouts.read} s")

    def connectionLost(self, reason: Failure | None = None) -> None:
        super().connectionLost(reason)
        self._pool.connections -= 1
        self._pool.forget(self)
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return
        body, self._body = self._body, None
        if isinstance(body, UnsizedBody) and reason is not None and reason.check(ConnectionDone):
            attempt.went_on(b"", True)
        else:
            attempt.failed("tcp", "closed before the answer was complete")


class Dial(ClientFactory):
    """Opens one connection."""

    noisy = False

    def __init__(
        self, key: Hashable, pool: Pool, deadlines: Deadlines, parser: ResponseParser, attempt: Attempt
    ) -> None:
        self._connections = [UpstreamConnection(key, pool, deadlines, parser, attempt)]

    def buildProtocol(self, addr: object) -> UpstreamConnection:
        # The transport keeps the dial for as long as it lives, and longer; of the attempt the dial knows nothing.
        return self._connections.pop()

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._connections.pop().not_connected(reason)
