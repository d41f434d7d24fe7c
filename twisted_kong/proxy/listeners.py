"""What stands behind each entry of ``proxy_listen``: the server, and before it what the entry says: TLS, and before
that the PROXY protocol."""

from __future__ import annotations

from twisted.internet.protocol import ServerFactory

from twisted_kong.errors import RequestRefused
from twisted_kong.proxy.core import ProxyCore
from twisted_kong.proxy.introduced import IntroducedListener
from twisted_kong.proxy.server import ProxyListener
from twisted_kong.proxy.server_names import ServerNames
from twisted_kong.proxy.tls_server import SecureListener
from twisted_kong.settings import Listener, Settings


class Door:
    """One listener: ``factory`` is for its port, ``proxy`` knows the connections of its clients."""

    def __init__(self, core: ProxyCore, settings: Settings, listener: Listener, names: ServerNames | None) -> None:
        self.proxy = ProxyListener(core, settings, b"https" if is_secure(listener) else b"http", http2=listener.http2)
        self.factory: ServerFactory = self.proxy
        self._secure: SecureListener | None = None
        self._introduced: IntroducedListener | None = None
        if listener.ssl:
            assert names is not None
            self.factory = self._secure = SecureListener(
                names,
                self.proxy,
                core.deadlines,
                settings.nginx_http_client_header_timeout,
                lambda: plain_answer(core),
                (b"h2", b"http/1.1") if listener.http2 else (b"http/1.1",),
            )
        if listener.proxy_protocol:
            patience = settings.nginx_http_client_header_timeout
            self.factory = self._introduced = IntroducedListener(self.factory, core.deadlines, patience, core.refusals)

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
    error = RequestRefused("a plain HTTP request to a port for TLS")
    request_id = core.new_request_id()
    lines, body = core.made_up(error, None, request_id)
    lines += core.tokens.decided(request_id, 0.0)
    return b"HTTP/1.1 400 Bad Request\r\n%bContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
        lines,
        len(body),
        body,
    )
