"""One client request with all its attempts.

The exchange decides: which route, which peer, whether a failure is worth another attempt, what the client is told.
It knows neither sockets nor framing: a *downstream* (`Downstream`) takes its answer, an upstream connection works
for it (`twisted_kong.proxy.client.Attempt`). Whatever happens, it ends in `_end`, once.

When an attempt has failed (`failed`): Kong's and nginx's rules, with one of our own. A request is sent again
while nothing of an answer came and its method allows, or while nothing of it had been sent; never once an answer
has begun. A connection that had waited in the pool and died under the request is replaced without counting as
an attempt. Peers that were tried are tried again only when no other is left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IConnector
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_kong.errors import (
    BadGateway,
    GatewayTimeout,
    ProxyError,
    RequestRefused,
)
from twisted_kong.model.entities import Consumer, Service
from twisted_kong.model.traffic import Outcome
from twisted_kong.proxy.binding import bind
from twisted_kong.proxy.client import UpstreamConnection
from twisted_kong.proxy.dialling import Key, dial, dial_stream
from twisted_kong.proxy.downstream import Downstream
from twisted_kong.proxy.forwarding import Client, asks_for_websocket, forwarded, server_name
from twisted_kong.proxy.headers import RequestHead, ResponseHead, has_date
from twisted_kong.proxy.lookups import Lookups, told
from twisted_kong.proxy.sending import NOT_REPEATABLE, Connection, Sending, let_go
from twisted_kong.proxy.trailers import announced
from twisted_kong.proxy.tunnel import Tunnel
from twisted_kong.proxy.upload import Upload
from twisted_kong.runtime.balancer import Balancer, Lease
from twisted_kong.runtime.hashkeys import Bond
from twisted_kong.runtime.peers import Peer
from twisted_kong.telemetry.accesslog import Latencies, Try

if TYPE_CHECKING:
    from twisted_kong.proxy.core import ProxyCore
    from twisted_kong.proxy.http2.pool import Waiting

log = Logger()

CLIENT_GONE = 499
"""The status of a request whose client did not wait for an answer (nginx's)."""


class Exchange(Sending):
    """One request; see the module.

    ``started`` is when it came, in seconds since the epoch; ``consumer`` who asks, where that was found out; ``before``
    how many seconds went by before the first attempt, the arrival of a body aside: negative until there is one.
    """

    __slots__ = (
        "_attempts",
        "_balancer",
        "_began",
        "_bond",
        "_connecting",
        "_failures",
        "_latency",
        "_lease",
        "_lookups",
        "_picked",
        "_sent",
        "_service",
        "_status",
        "_tried",
        "before",
        "client",
        "consumer",
        "started",
    )

    _service: Service
    _balancer: Balancer
    _picked: float  # when the first attempt began
    _began: float  # the latest attempt
    _latency: float  # from the pick to the head of the answer

    def __init__(self, core: ProxyCore, downstream: Downstream, head: RequestHead, client: Client) -> None:
        Sending.__init__(self, core, downstream, head, core.new_request_id())
        self.client = client
        seconds = core.seconds  # see Waiter.arm
        self.started = seconds()
        self.consumer: Consumer | None = None
        self.before = -1.0
        self._status = 0  # of the answer, once it has begun
        self._attempts = 0
        self._tried: tuple[Peer, ...] = ()
        self._failures: tuple[Try, ...] = ()  # of the attempts before
        self._lease: Lease | None = None
        self._bond: Bond | None = None
        self._connecting: IConnector | Deferred[Any] | Waiting | None = None
        self._lookups: Lookups | None = None
        self._sent = 0  # bytes of the answer's body

    # -- the request -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Find the route; then either wait for the body or make the first attempt."""
        core = self.core
        core.exchanges += 1
        head = self.head
        try:
            self.match = match = core.match(head, self.client)
            if match.demanding:
                self.consumer = core.check(head, self.client, match)
                self._speak(match.service)  # type: ignore[arg-type]  # there is one, or it does not pass the check
            if head.meaning.length is not None:
                core.check_body_size(head.meaning.length)
        except ProxyError as error:
            self.refuse(error)
            return
        self._service = match.service  # type: ignore[assignment]  # as above
        if head.meaning.websocket and self._call is None and self.downstream.switching:
            self._upgrading = asks_for_websocket(head)
        self._forwarded = forwarded(head, self.client, match.prefix)
        if self._body_ended:
            self._begin()
        elif match.route.route.request_buffering and self._call is None:  # a call of gRPC may talk for ever
            self._upload = Upload(core.body_memory)
            self.before = core.seconds() - self.started
            self.downstream.expect_body()
        else:
            self.downstream.expect_body()
            self.downstream.hold_body(True)
            self._begin()

    def client_gone(self) -> None:
        """Nobody waits for the answer any more."""
        if not self._ended:
            self._end(self._status or CLIENT_GONE)
            self._give_up()

    # -- attempts ----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Find out who may serve the request; wait, where their addresses are still being asked for."""
        core = self.core
        seconds = core.seconds
        self._picked = self._began = now = seconds()
        if self._upload is None:
            self.before = now - self.started
        self._balancer, self._host_header = core.gateway.balancer(self._service)
        before = self._balancer.before
        waiting = None if before is None else before()
        if waiting is None:
            self._attempt()
        else:
            self._await(waiting, self._known, self._unknown)

    def _await(self, waiting: Deferred[Any], known: Callable[[Any], None], unknown: Callable[[Failure], None]) -> None:
        self._connecting = waiting
        if self.trace is not None:
            self.trace.looks_up(waiting, self.core.seconds)
        _ = waiting.addTimeout(self._service.timeouts.connect, self.core.reactor)
        _ = waiting.addCallbacks(known, unknown)

    def _known(self, _: object) -> None:
        self._connecting = None
        if not self._ended:  # the configuration may be another by now
            self._balancer, self._host_header = self.core.gateway.balancer(self._service)
            self._attempt()

    def _unknown(self, reason: Failure) -> None:
        self._connecting = None
        if not self._ended:
            self.refuse(told(reason, self._service.host))

    def _attempt(self, unresolved: ProxyError | None = None) -> None:
        """Pick a peer and send it the request; where the last one's name was ``unresolved``, an untried one."""
        try:
            if self._attempts:
                self._began = self.core.seconds()
            elif unresolved is None and self._balancer.keys is not None:
                self._bond = bind(self._balancer.keys, self.head, self.client, self.consumer, self.match)
            bond = self._bond
            lease = self._balancer.lease(self._tried, None if bond is None else bond.key, again=unresolved is None)
            if lease is None:
                raise unresolved or self._balancer.nobody(retry=bool(self._attempts))
        except ProxyError as error:
            self.refuse(error)
            return
        if unresolved is None:
            self._attempts += 1
        self._lease = lease
        self._connect(lease.peer)

    def _connect(self, peer: Peer, *, fresh: bool = False) -> None:
        """Get a connection to ``peer``; ``fresh`` tells not to take one that has been used before."""
        self._peer = peer
        if peer.resolved:
            self._dial(peer.key, fresh)
        else:
            self._lookups = self._lookups or Lookups(self.core.names)
            self._await(self._lookups.next(peer), self._connect, self._not_resolved)

    def _not_resolved(self, reason: Failure) -> None:
        """The name of the leased peer has no address: somebody else's turn, while there is anybody."""
        self._connecting = None
        if self._ended:
            return
        error = told(reason, self._service.host)
        self._log_failure(f"cannot be resolved: {error}", "dns", "resolve")
        self._release(Outcome("dns", error=str(error)))
        self._tried += (self._peer,)
        self._attempt(error)

    def _dial(self, key: tuple[str, int], fresh: bool) -> None:
        self._connecting = None
        if self._ended:
            return
        core = self.core
        whole: Key = key if self._terms is None else (*key, server_name(self._host()), self._terms)
        if self._call is not None:
            self._connecting = dial_stream(core, whole, self, self._service.timeouts.connect) or self._connecting
            return
        connection = None if fresh else core.pool.take(whole, once=self.goes_once())
        if connection is not None:
            self.connected(connection)
        else:
            self._connecting = dial(core, whole, self, self._service.timeouts.connect)

    def not_connected(self, reason: Failure) -> None:
        self._connecting = None
        if not self._ended:
            failure = "timeout" if reason.check(ConnectTimeout) else "tcp"
            self._attempt_failed(failure, f"cannot connect: {reason.getErrorMessage()}", "connect", repeatable=True)

    def connected(self, connection: Connection) -> None:
        self._connecting = None
        self._connection = connection
        connection.begin(self, self.head.method, self._service.timeouts)
        if self._upgrading and isinstance(connection, UpstreamConnection):
            connection.expect_switch()
        if self._upload is not None:
            self._content_sent = 0
            self._send_upload(connection, self._upload, self._request_head())
        elif not self.head.meaning.has_body:
            if self.head.method in NOT_REPEATABLE:
                connection.upload(self._request_head(), True)
            else:
                connection.ask(self._request_head())
        else:
            held, self._held = self._held, b""
            self._send_content(connection, held, self._request_head())

    # -- the answer --------------------------------------------------------------------------------------------

    def _heard(self, head: ResponseHead) -> bytes:
        """The answer has begun: its header lines for the client."""
        core = self.core
        self._status = head.status
        seconds = core.seconds
        now = seconds()
        self._latency = latency = now - self._picked
        lines = head.passing if has_date(head.passing) else head.passing + core.date_line(now)
        lines += core.tokens.proxied(head, self.request_id, latency, self._picked - self.started, self.client.http2)
        if core.debug_allowed and self.match is not None:
            lines += core.debug_lines(self.head, self.match)
        meaning = head.meaning
        if meaning.trailer is not None and meaning.length is None and self.head.takes_trailers:
            lines += announced(meaning.trailer)
        return lines if self._bond is None else self._bond.mark(lines, self._peer)

    def answered(self, head: ResponseHead, content: bytes, ended: bool) -> None:
        lines = self._heard(head)
        self._sent = len(content)
        if ended:
            self._complete()
        downstream = self.downstream
        downstream.answer(head.status, head.reason, lines, head.meaning.length, content, ended)
        if not ended and downstream.congested and self._connection is not None:
            self._connection.pause()

    def went_on(self, content: bytes, ended: bool) -> None:
        self._sent += len(content)
        if ended:
            self._complete()
        self.downstream.answer_more(content, ended)
        if self.downstream.congested and self._connection is not None:
            self._connection.pause()

    def switched(self, head: ResponseHead, rest: bytes) -> None:
        peer, self._connection = self._connection, None
        assert isinstance(peer, UpstreamConnection)
        client, early = self.downstream.switch(self._heard(head))
        Tunnel(client, peer, self._service.timeouts, self.core.deadlines, self._tunnel_over).start(early, rest)

    def _tunnel_over(self, received: int, sent: int) -> None:
        """The client's connection is no more, after so many bytes either way."""
        self._received, self._sent = received, sent
        self._complete()

    def _complete(self) -> None:
        self._connection = None
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release(Outcome(None, self._status, self._latency - (self._began - self._picked)))
        self._end(self._status)

    def drained(self) -> None:
        """The client keeps up again."""
        if self._connection is not None:
            self._connection.resume()

    # -- failure -----------------------------------------------------------------------------------------------

    def failed(self, failure: str, reason: str) -> None:
        connection, self._connection = self._connection, None
        if self._ended or connection is None:
            return
        if self._status:
            self._log_failure(f"broke off its answer: {reason}", failure, "body")
            self._release(Outcome("tcp" if failure == "malformed" else failure, self._status, error=reason))
            self._end(self._status)
            self.downstream.answer_broken()
            return
        if self._call is not None and failure == "refused":  # whatever of it has gone, nobody has looked at it
            kept = self._call.refused()
            self._held = kept or b""
            if kept is not None and connection.reused and self._call.may_replace():
                self._connect(self._peer, fresh=True)
            else:
                self._attempt_failed("tcp", reason, repeatable=kept is not None)
            return
        repeatable = not self.goes_once()
        if failure == "tcp" and repeatable and connection.reused and connection.silent:
            self._connect(self._peer, fresh=True)
        else:
            self._attempt_failed(failure, reason, repeatable=repeatable and failure != "malformed")

    def _attempt_failed(self, failure: str, reason: str, phase: str = "answer", *, repeatable: bool) -> None:
        """The attempt is over without an answer: make another, or tell the client."""
        peer = self._peer
        self._log_failure(f"failed: {reason}", failure, phase)
        self._release(Outcome("tcp" if failure == "malformed" else failure, error=reason))
        if peer not in self._tried:
            self._tried += (peer,)
        if repeatable and self._attempts < self._service.attempts and self._balancer.may_retry():
            self._attempt()
        else:
            self.refuse(GatewayTimeout(reason) if failure == "timeout" else BadGateway(reason))

    def _log_failure(self, what: str, failure: str, phase: str) -> None:
        """The latest attempt ended in ``failure`` in this ``phase``; ``what`` says it in words."""
        lasted = self.core.seconds() - self._began
        if self.trace is not None:
            self.trace.attempt_failed()
        self._failures += (Try(self._peer.address, self._began - self.started, lasted, failure, phase, what),)
        log.warn(
            "attempt {attempt} of {request_id} on {peer} of {name} {what}",
            attempt=self._attempts,
            request_id=self.request_id.decode(),
            peer=self._peer.address,
            name=self._balancer.name,
            what=what,
        )

    def refuse(self, error: ProxyError) -> None:
        """Tell the client ``error`` instead of an answer; a request under way to a peer is given up."""
        if self._status:
            self._end(self._status)
            self._give_up()
            self.downstream.answer_broken()
            return
        if isinstance(error, RequestRefused):
            self.downstream.close_after()
        elif error.status >= 500 and not self._attempts and not error.logged:  # failed attempts have told already
            log.warn(
                "{request_id} is answered {status}: {reason}",
                request_id=self.request_id.decode(),
                status=error.status,
                reason=str(error),
            )
        core = self.core
        lines, body = core.made_up(error, self.head, self.request_id)
        now = core.seconds()
        if self._attempts and not error.decided:
            lines += core.tokens.failed(self.request_id, now - self._picked, self._picked - self.started)
            lines = lines if self._bond is None else self._bond.mark(lines, None)
        else:
            lines += core.tokens.decided(self.request_id, now - self.started)
        self._sent = len(body)
        self._end(error.status)
        self._give_up()
        self.downstream.answer(error.status, b"", lines, len(body), body, True)

    def _give_up(self) -> None:
        """Let go of the attempt under way, if there is one; it teaches nothing about its peer.

        What is let go of says at once that it has failed, so the exchange must have ended by then.
        """
        connecting, self._connecting = self._connecting, None
        connection, self._connection = self._connection, None
        let_go(connecting, connection)
        self._release(Outcome())

    def _release(self, outcome: Outcome) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release(outcome)

    def tries(self) -> Sequence[Try]:
        """The attempts so far, in order; the last one is still under way, or has been answered."""
        failures = self._failures
        if self._lease is None and not self._status:
            return failures
        unresolved = sum(each.failure == "dns" for each in failures)  # who took their turn was not counted
        if len(failures) >= self._attempts + unresolved:
            return failures
        answered = self._picked + self._latency if self._status else self.core.seconds()
        return *failures, Try(self._peer.address, self._began - self.started, answered - self._began, None)

    def latencies(self, ended: float) -> Latencies:
        """Where the time went, for an exchange that ended then."""
        before = ended - self.started if self.before < 0 else self.before
        answered = (self._latency, ended - self._picked - self._latency) if self._status else (None, None)
        return Latencies(before, *answered)

    @property
    def destination(self) -> str:
        """The upstream that attempts were made on, or the host where there is none; empty before the first."""
        return self._balancer.name if self._attempts else ""

    def _end(self, status: int) -> None:
        """The one exit; the client has been told ``status``, or would have been."""
        self._ended = True
        core = self.core
        core.exchanges -= 1
        if self._upload is not None:
            self._upload.close()
        upstream = self._latency if self._status else None
        seconds = core.seconds
        core.recorder.ended(self, status, upstream, seconds(), self._received, self._sent)
