"""TLS between a socket and a protocol of ours, whichever side we are.

What lives here: the handshake; what comes is decrypted, what goes is encrypted. What must not: who is above, and who is
told that there will be nobody, which `tls_server` and `dialling` know; HTTP; and the choice of certificates and
authorities (`server_names`, `outgoing`).

A layer is a protocol to the socket and a transport to the protocol above, which need not know of it; ``protocol`` is
the one above, as with any transport. Twisted's own layer costs about twice as much for every message, and writes a
turn of the reactor later: this one is a `Wire`, and tells the one above at once when the socket does not keep up.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import alsoProvides

from twisted_kong import tls
from twisted_kong.proxy.tls_records import records
from twisted_kong.proxy.wire import Wire
from twisted_kong.tasks import Deadlines

log = Logger()

EVERYTHING = 1 << 30
"""All records there are."""


class Layer(Wire):
    """Either side. `shaken` and `not_shaken` are how the handshake can end; it has as long as the layer is armed for.

    ``told`` says that the protocol above knows of the end, ``deaf`` that it knows that the other side says no more,
    ``silent`` that we have said that we say no more.
    """

    def __init__(self, connection: SSL.Connection, deadlines: Deadlines) -> None:
        super().__init__(deadlines)
        self.tls = connection
        self._records = records(connection)
        self._above: Any = None
        self._producer: IPushProducer | None = None
        self._missing = 0  # bytes of the last record that have not come yet
        self._header = b""  # or what has come of its header
        self._silent = False
        self._deaf = False
        self._told = False
        self._half_closing = False

    @property
    def protocol(self) -> Any:
        """The protocol above; None before the handshake is over."""
        return self._above

    @protocol.setter
    def protocol(self, protocol: Any) -> None:
        self._above = protocol
        if IHalfCloseableProtocol.providedBy(protocol):
            alsoProvides(self, IHalfCloseableProtocol)

    @property
    def alpn(self) -> bytes:
        """The protocol agreed on for what is above, empty where nothing was."""
        return self.tls.get_alpn_proto_negotiated()

    # -- the handshake -----------------------------------------------------------------------------------------

    def shake(self) -> bool:
        """Go on with the handshake; True once it is over and there is a protocol above."""
        try:
            self.tls.do_handshake()
        except SSL.WantReadError:
            self.flush()
            return False
        except SSL.Error as error:
            self.flush()
            self._told = True
            self.close()  # the alert that was sent tells the other side why, if it takes it in time
            self.not_shaken(Failure(ConnectionLost(f"no TLS handshake: {tls.told(error)}")))
            return False
        self.flush()
        self.disarm()
        self.protocol = self.shaken()
        self.protocol.makeConnection(self)
        return True

    def shaken(self) -> Any:
        """The protocol above, now that the handshake is over."""
        raise NotImplementedError

    def not_shaken(self, reason: Failure) -> None:
        """There will be none: the handshake has failed, or the connection or the time ended before it was over."""

    def timed_out(self) -> None:
        if not self._told:
            self._told = True
            self.not_shaken(Failure(ConnectTimeout("no TLS handshake in time")))
        self.abort()

    # -- what comes --------------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        if self._told or self._deaf:
            return
        count = self._complete(data)
        self._records.arrived(data)
        if self._above is None:
            if not self.shake():
                return
            count = EVERYTHING  # the first records of the other side may have come along
        if count:
            self._receive(count)

    def _complete(self, data: bytes) -> int:
        """How many records are complete with ``data``: asking OpenSSL for one too many costs as much as a record."""
        if self._header:
            data = self._header + data
            self._header = b""
        size = len(data)
        position = self._missing
        if position > size:
            self._missing = position - size
            return 0
        count = 1 if position else 0
        while position + 5 <= size:
            position += 5 + (data[position + 3] << 8 | data[position + 4])
            count += 1
        if position > size:
            self._missing = position - size
            return count - 1
        self._missing = 0
        self._header = data[position:]
        return count

    def _receive(self, count: int) -> None:
        """Pass on what is in the next ``count`` records, or in all there are."""
        pieces: list[bytes] = []
        content = self._records.content
        end: Failure | None = None
        try:
            for _ in range(count):
                pieces.append(content())
        except SSL.WantReadError:
            self.flush()  # what was not content may have been answered
        except SSL.ZeroReturnError:
            end = Failure(ConnectionDone())
        except SSL.Error as error:
            self.flush()
            end = Failure(ConnectionLost(f"TLS: {tls.told(error)}"))
        if pieces:
            self._above.dataReceived(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if end is not None and not self._told:
            self._ended(end)

    def _ended(self, reason: Failure) -> None:
        """The other side says no more: it has said so, or what it says cannot be understood."""
        if reason.check(ConnectionDone) and IHalfCloseableProtocol.providedBy(self._above):
            self._deaf = True
            self._above.readConnectionLost()
            return
        self._told = True
        self._above.connectionLost(reason)
        self._say_goodbye()
        if self.congested:
            self.abort()  # nobody is left who would mind that the rest is never taken
        else:
            self.close()

    def readConnectionLost(self) -> None:
        """The socket has ended; of interest only where the other side has not said so before."""
        if not self._told and not self._deaf:
            self.abort()

    def writeConnectionLost(self) -> None:
        """What we asked for."""

    def connectionLost(self, reason: Failure | None = None) -> None:
        super().connectionLost(reason)
        self.tls.set_app_data(None)
        if not self._told:
            self._told = True
            self._tell_end(reason)
        # Or we and the one above would keep each other, and all that OpenSSL has of the connection, in memory until
        # the garbage collector comes by: it counts objects of Python alone, and sees no reason to.
        self._above = self._producer = None

    def _tell_end(self, reason: Failure | None) -> None:
        if reason is None or reason.check(ConnectionDone):
            # Anybody on the way could have ended the connection: what is over only then is not complete.
            reason = Failure(ConnectionLost("closed without a word in TLS"))
        if self._above is not None:
            self._above.connectionLost(reason)
        else:
            self.not_shaken(reason)

    # -- what goes ---------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what OpenSSL has to say by itself."""
        data = self._records.unsent()
        if data:
            self.send(data)

    def write(self, data: bytes) -> None:
        """Encrypt and send."""
        if self._silent or not data:
            return
        try:
            encrypted = self._records.encrypt(data)
        except SSL.Error as error:
            log.debug("cannot encrypt: {error}", error=tls.told(error))
            self.abort()
            return
        self.send(encrypted)
        if self.congested and self._producer is not None:
            self._producer.pauseProducing()

    def drained(self) -> None:
        if self._half_closing:
            self.transport.loseWriteConnection()
        if self._producer is not None:
            self._producer.resumeProducing()

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """Tell ``producer`` to pause and to go on; it is told at once where that is news."""
        assert streaming
        self._producer = producer
        if self.congested:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        self._producer = None

    def _say_goodbye(self) -> None:
        if not self._silent:
            self._silent = True
            try:
                self.tls.shutdown()
            except SSL.Error:
                return  # there is nobody to say it to
            self.flush()

    def loseConnection(self) -> None:
        self._say_goodbye()
        self.close()

    def loseWriteConnection(self) -> None:
        self._say_goodbye()
        if self.congested:
            self._half_closing = True
        else:
            self.transport.loseWriteConnection()

    def abortConnection(self) -> None:
        self._silent = True
        self.abort()

    # -- what is the socket's ----------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        self.pause()

    def resumeProducing(self) -> None:
        self.resume()

    def stopProducing(self) -> None:
        self.loseConnection()

    def getHost(self) -> IAddress:
        host: IAddress = self.transport.getHost()
        return host

    def getPeer(self) -> IAddress:
        peer: IAddress = self.transport.getPeer()
        return peer

    @property
    def introduced_source(self) -> str | None:
        """The client's address as a PROXY header before the handshake has told it."""
        source: str | None = getattr(self.transport, "introduced_source", None)
        return source
