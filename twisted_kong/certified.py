"""What listeners with TLS show, as the settings say or, where they do not, a certificate of our own making."""

from __future__ import annotations

from collections.abc import Collection

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocolFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from twisted_kong import tls
from twisted_kong.proxy.server_names import ServerNames
from twisted_kong.runtime.gateway import Gateway
from twisted_kong.selfsigned import own_identity, utc_now
from twisted_kong.settings import Listener, Settings


def server_names(gateway: Gateway, settings: Settings) -> ServerNames | None:
    """The certificates of the proxy's listeners; None where none of them speaks TLS.

    :raise StartupError: the settings' cannot be used.
    """
    if not any(listener.ssl for listener in settings.proxy_listen):
        return None
    own = tls.identities(settings.ssl_cert, settings.ssl_cert_key, "ssl_cert")
    if not own:
        own = (own_identity(settings.prefix / "ssl", "kong-default", utc_now()),)
    return ServerNames(gateway, tls.server_terms(settings), own)


def over_tls(site: IProtocolFactory, listeners: Collection[Listener], settings: Settings) -> IProtocolFactory:
    """The Admin or the Status API for those of its ``listeners`` that speak TLS; itself where none does.

    :raise StartupError: the certificate of the settings cannot be used.
    """
    if not any(listener.ssl for listener in listeners):
        return site
    own = tls.identities(settings.admin_ssl_cert, settings.admin_ssl_cert_key, "admin_ssl_cert")
    if not own:
        own = (own_identity(settings.prefix / "ssl", "admin-kong-default", utc_now()),)
    creator = ServerConnections(tls.server_context(tls.server_terms(settings), own))
    factory: IProtocolFactory = TLSMemoryBIOFactory(creator, False, site)
    return factory


@implementer(IOpenSSLServerConnectionCreator)
class ServerConnections:
    """Connections of one context, as Twisted wants them."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def serverConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        """One connection in memory."""
        return SSL.Connection(self._context, None)
