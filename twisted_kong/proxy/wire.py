"""What both sides of the proxy share: writing at once, knowing when the other end does not keep up, one timer.

A transport writes on the next turn of the reactor, which costs a turn and two changes of the poll set for every
message. While nothing is queued the socket can be written to directly, by its number, and the transport sees only what
the socket did not take. Whatever it did not take is a backlog: `congested` until it is gone, which the transport tells
as it tells any producer. Who feeds a congested wire stops reading its own source, so at most one read is ever buffered.

Reading goes the short way too: a reactor that has something to read for the transport calls the wire itself.

A short message that is complete may be *posted*: it leaves with all that was posted in the same turn of the reactor,
one right after the other. Whoever they are for is woken up once, and not by each (docs/decisions/0019).
"""

from __future__ import annotations

from socket import MSG_PEEK
from types import FunctionType
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection as TCPConnection
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_kong.proxy.accelerator import receive, send
from twisted_kong.tasks import Deadlines, Waiter

if TYPE_CHECKING:
    from twisted_kong.reactor import Posting

READ_SIZE = 131072
"""Bytes read from a socket at once."""
POSTABLE = 16384
"""Bytes above which a message is better sent at once: whoever it is for has enough to do with it."""


@implementer(IPullProducer)
class _Drain:
    """Told by a plain transport when its buffer has run empty."""

    def __init__(self, wire: Wire) -> None:
        self._wire: Wire | None = wire
        self._registered = False

    def resumeProducing(self) -> None:
        if not self._registered:  # registering a pull producer asks it at once
            self._registered = True
        elif self._wire is not None:
            self._wire._empty()

    def stopProducing(self) -> None:
        self._wire = None


@implementer(IPushProducer)
class _Flow:
    """Told by any other transport (TLS, an in-memory one) to pause and to go on."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def pauseProducing(self) -> None:
        self._wire.congested = True
        self._wire._left = self._wire.backlog
        self._wire.clogged()

    def resumeProducing(self) -> None:
        if self._wire.congested:
            self._wire.congested = False
            self._wire.drained()

    def stopProducing(self) -> None:
        self._wire.congested = True


class Wire(Waiter, Protocol):
    """One connection of the proxy."""

    _left = 0  # of the backlog, when somebody asked last
    transport: Any  # an ITransport that is an IConsumer and an IPushProducer as well; no interface says all three

    def __init_subclass__(cls) -> None:
        """Give each kind of wire what is called most as functions of its own.

        Python remembers in the code of a function where it has found an attribute, of objects of one class.
        """
        super().__init_subclass__()
        for name in {"arm", "_read_socket", "post", "send", "send_posted"} - vars(cls).keys():
            shared = getattr(cls, name)
            code, closure = shared.__code__.replace(), shared.__closure__
            own = FunctionType(code, shared.__globals__, name, shared.__defaults__, closure)
            own.__kwdefaults__ = shared.__kwdefaults__
            setattr(cls, name, own)

    def __init__(self, deadlines: Deadlines) -> None:
        super().__init__(deadlines)
        self.congested = False
        self._paused = False
        self._socket = -1  # its number, where it can be written to at once
        self._outbox: list[Posting] | None = None  # the reactor's, where it has one and the socket can be written to
        self._posted = b""  # what leaves at the end of the turn

    def connectionMade(self) -> None:
        transport = self.transport
        if isinstance(transport, TCPConnection) and not transport.TLS:
            transport.setTcpNoDelay(True)  # or the end of a message waits for the other side's delayed ACK
            self._socket = transport.fileno()
            self._outbox = getattr(transport.reactor, "outbox", None)
            self.transport.doRead = self._read_socket
        else:
            transport.registerProducer(_Flow(self), True)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._deadlines.forget(self)
        self._leave_socket()

    def _leave_socket(self) -> None:
        if self._socket >= 0:
            self._socket = -1
            self._outbox = None
            self._posted = b""
            del self.transport.doRead

    def hand_over(self, successor: Wire) -> None:
        """Let ``successor`` have the transport from now on, and be its protocol, in whatever state it is."""
        self.send_posted()
        transport = self.transport
        successor.transport = transport
        successor._socket, successor._paused, successor.congested = self._socket, self._paused, self.congested
        successor._left = self._left
        self._deadlines.forget(self)
        if self._socket < 0:
            transport.unregisterProducer()
            transport.registerProducer(_Flow(successor), True)
        else:
            self._socket = -1
            successor._outbox, self._outbox = self._outbox, None
            transport.doRead = successor._read_socket
            if self.congested:
                transport.unregisterProducer()
                transport.registerProducer(_Drain(successor), False)
        self.congested = False
        transport.protocol = successor

    # -- writing -----------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Write ``data``, at once if possible; `congested` afterwards where the other end does not keep up."""
        if self._socket < 0 or self.congested:
            self.transport.write(data)
            return
        if self._posted:
            data, self._posted = self._posted + data, b""
        sent = send(self._socket, data)  # what does not go now the transport sends, or finds out why it cannot
        if sent != len(data):
            self.congested = True
            self._left = len(data) - sent
            self.transport.write(data[sent:] if sent else data)
            self.transport.registerProducer(_Drain(self), False)
            self.clogged()

    def post(self, data: bytes) -> None:
        """Send a whole message: at the end of the reactor's turn, where it has an outbox and the message is short.

        Only then it is known whether that makes the wire congested; `clogged` tells.
        """
        outbox = self._outbox
        if outbox is None or self.congested or len(data) + len(self._posted) > POSTABLE:
            self.send(data)
        elif self._posted:
            self._posted += data
        else:
            self._posted = data
            outbox.append(self)

    def send_posted(self) -> None:
        """The turn is over, or something else is to be sent: send what was posted, if anything was."""
        if self._posted:
            self.send(b"")

    def clogged(self) -> None:
        """The wire is congested from now on. Called from within `send`, and not to send anything."""

    def _empty(self) -> None:
        self.transport.unregisterProducer()
        self.congested = False
        self.drained()

    def drained(self) -> None:
        """The backlog is gone: `send` will be at once again."""

    @property
    def backlog(self) -> int:
        """How many bytes wait for the socket; 0 for any number where the transport does not tell."""
        transport = self.transport
        if isinstance(transport, TCPConnection) and not transport.TLS:
            return len(transport.dataBuffer) - transport.offset + transport._tempDataLen
        backlog: int = getattr(transport, "backlog", 0)
        return backlog

    def has_progressed(self) -> bool:
        """Whether something of the backlog has gone since it began, or since this was asked last."""
        before, self._left = self._left, self.backlog
        return self._left < before

    @property
    def unsent(self) -> bool:
        """Whether something is still to be sent."""
        return self.congested or bool(self._posted)

    # -- reading -----------------------------------------------------------------------------------------------

    def _read_socket(self) -> object:
        """There is something to read, says the reactor; it is told why the connection is to end, if it is."""
        try:
            data = receive(self._socket, READ_SIZE)
        except OSError:
            return CONNECTION_LOST
        if data:
            self.dataReceived(data)
        elif data is not None:
            self.send_posted()  # the other end may have said all it has to say, and listen
            return CONNECTION_DONE
        return None

    def pause(self) -> None:
        """Read nothing more until `resume`."""
        if not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()

    def has_heard_nothing(self) -> bool:
        """Whether the other end has neither closed nor said anything that nobody has read yet; asks the system."""
        transport = self.transport
        if self._socket < 0:
            return transport.has_heard_nothing() if isinstance(transport, Wire) else True
        try:
            transport.socket.recv(1, MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    # -- closing -----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close once everything has been written."""
        self.send_posted()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close now, dropping what has not been written."""
        self._posted = b""
        self.transport.abortConnection()
