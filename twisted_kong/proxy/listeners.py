"""What stands behind each entry of ``proxy_listen``: the server, and before it what the entry says: TLS, and before
that the PROXY protocol."""

from __future__ import annotations

from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import ServerFactory

from twisted_kong.errors import RequestRefused
from twisted_kong.proxy.admission import guard
from twisted_kong.proxy.core import ProxyCore
from twisted_kong.proxy.forwarding import Client
from twisted_kong.proxy.http2.choice import Undecided
from twisted_kong.proxy.http2.server import Http2Connection
from twisted_kong.proxy.introduced import IntroducedListener, introduced, peer_address
from twisted_kong.proxy.patience import Patience
from twisted_kong.proxy.refusing import last_answer
from twisted_kong.proxy.server import ServerConnection
from twisted_kong.proxy.server_names import ServerNames
from twisted_kong.proxy.staying import StayingConnection
from twisted_kong.proxy.tls_server import SecureListener
from twisted_kong.settings import Listener, Settings


class ProxyListener(ServerFactory):
    """Makes the connections of one listener; ``scheme`` is ``b"http"`` or ``b"https"``, ``http2`` whether clients
    may speak HTTP/2.

    ``port_maps`` are the ports clients see, where they are not those we listen on.
    """

    noisy = False

    def __init__(self, core: ProxyCore, settings: Settings, scheme: bytes = b"http", *, http2: bool = False) -> None:
        self.core = core
        self.http2 = http2
        self.patience = Patience(settings)
        self.draining = False
        self.accepted = 0
        self.connections: set[ServerConnection | Http2Connection | Undecided] = set()
        self.port_maps = settings.port_maps
        self._scheme = scheme
        self._http1 = StayingConnection if settings.nginx_http_proxy_ignore_client_abort else ServerConnection

    def buildProtocol(self, addr: IAddress | None) -> ServerConnection | Undecided:
        return Undecided(self, lambda: self._http1(self)) if self.http2 else self._http1(self)

    def joined(self, connection: ServerConnection | Http2Connection) -> Client:
        """``connection`` has begun; who it comes from."""
        self.connections.add(connection)
        self.accepted += 1
        transport = connection.transport
        here = getattr(transport.getHost(), "port", 443 if self._scheme == b"https" else 80)
        http2 = isinstance(connection, Http2Connection)
        sni = getattr(transport, "server_name", None)  # of our own TLS
        port = self.port_maps.get(here, here)
        told = introduced(transport)
        return Client(peer_address(transport), port, self._scheme, self.core.trust, http2=http2, sni=sni, told=told)

    def left(self, connection: ServerConnection | Http2Connection | Undecided) -> None:
        """``connection`` has ended."""
        self.connections.discard(connection)

    def drain(self) -> None:
        """From now on a connection ends with its next answer."""
        self.draining = True

    def close_idle(self) -> None:
        """Close what is idle; what is busy closes after its answer."""
        for connection in list(self.connections):
            connection.close_idle()

    def busy(self) -> bool:
        """Whether a client has not taken all of its answer yet."""
        return any(connection.unsent for connection in self.connections)

    def abort(self) -> None:
        """Close whatever is still open."""
        for connection in list(self.connections):
            connection.abort()


class Door:
    """One listener: ``factory`` is for its port, ``proxy`` knows the connections of its clients."""

    def __init__(self, core: ProxyCore, settings: Settings, listener: Listener, names: ServerNames | None) -> None:
        self.proxy = ProxyListener(core, settings, b"https" if is_secure(listener) else b"http", http2=listener.http2)
        self.factory: ServerFactory = self.proxy
        self._most = listener.max_connections
        self._secure: SecureListener | None = None
        self._introduced: IntroducedListener | None = None
        if listener.ssl:
            assert names is not None
            self.factory = self._secure = SecureListener(
                names,
                self.proxy,
                core.deadlines,
                settings.nginx_http_client_header_timeout,
                core.refusals,
                lambda: plain_answer(core),
                settings.max_tls_handshakes,
                (b"h2", b"http/1.1") if listener.http2 else (b"http/1.1",),
            )
        if listener.proxy_protocol:
            patience = settings.nginx_http_client_header_timeout
            self.factory = self._introduced = IntroducedListener(
                self.factory, core.deadlines, patience, core.refusals, core.admission.introduced
            )

    def guard(self, port: IListeningPort) -> IListeningPort:
        """``port``, which this door listens at, with its connections counted."""
        guard(port, self.proxy.core.admission, self._most, self.proxy.core.reactor)
        return port

    def renew(self, settings: Settings) -> None:
        """What clients that come from now on find."""
        self.proxy.patience = Patience(settings)
        self.proxy.port_maps = settings.port_maps
        if self._secure is not None:
            self._secure.patience = settings.nginx_http_client_header_timeout
            self._secure.most = settings.max_tls_handshakes
        if self._introduced is not None:
            self._introduced.patience = settings.nginx_http_client_header_timeout

    def close_idle(self) -> None:
        """Whoever has no request under way is let go of, and so is whoever has not come as far as that."""
        self.proxy.close_idle()
        if self._introduced is not None:
            self._introduced.abort()
        if self._secure is not None:
            self._secure.abort()


def is_secure(listener: Listener) -> bool:
    """Whether what comes there comes over TLS, ours or Twisted's."""
    return listener.ssl or (listener.endpoint or "").startswith(("ssl:", "tls:"))


def plain_answer(core: ProxyCore) -> bytes:
    """What a client is told, in the clear, that speaks plain HTTP where TLS is spoken (nginx's status)."""
    return last_answer(core, RequestRefused("a plain HTTP request to a port for TLS"))[0]
