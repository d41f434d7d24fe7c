"""What listeners with TLS show, as the settings say or, where they do not, a certificate of our own making."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocolFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from twisted_kong import tls
from twisted_kong.errors import StartupError
from twisted_kong.proxy.server_names import ServerNames
from twisted_kong.renewal import Prepared, Renewals
from twisted_kong.runtime.gateway import Gateway
from twisted_kong.selfsigned import own_identity, utc_now
from twisted_kong.settings import Listener, Settings


def server_names(gateway: Gateway, settings: Settings) -> ServerNames | None:
    """The certificates of the proxy's listeners; None where none of them speaks TLS.

    :raise StartupError: the settings' cannot be used.
    """
    if not any(listener.ssl for listener in settings.proxy_listen):
        return None
    return ServerNames(gateway, tls.server_terms(settings), _shown(settings))


def prepared(names: ServerNames, settings: Settings) -> Prepared:
    """What ``names`` become under other settings.

    :raise StartupError: the settings' certificates cannot be used.
    """
    return Prepared(names.prepare(tls.server_terms(settings), _shown(settings)))


def _shown(settings: Settings) -> tuple[tls.Identity, ...]:
    own = tls.identities(settings.ssl_cert, settings.ssl_cert_key, "ssl_cert")
    return own or (own_identity(settings.prefix / "ssl", "kong-default", utc_now()),)


Contexts = Callable[[Settings], SSL.Context]
"""Makes what is shown and demanded of settings, or raises `StartupError`."""


def over_tls(
    site: IProtocolFactory, listeners: Collection[Listener], settings: Settings, renewals: Renewals, contexts: Contexts
) -> IProtocolFactory:
    """The Admin or the Status API for those of its ``listeners`` that speak TLS; itself where none does.

    What clients are shown, and what is demanded of them, ``contexts`` makes of these settings, then of ``renewals``'.

    :raise StartupError: the certificates of the settings cannot be used.
    """
    if not any(listener.ssl for listener in listeners):
        return site
    creator = ServerConnections(contexts(settings))

    def prepare(settings: Settings) -> Prepared:
        return Prepared(partial(creator.renew, contexts(settings)))

    renewals.add(prepare)
    factory: IProtocolFactory = TLSMemoryBIOFactory(creator, False, site)
    return factory


def status_context(settings: Settings) -> SSL.Context:
    """For the Status API, which shows the certificate of the Admin API to anybody."""
    return tls.server_context(tls.server_terms(settings), _shown_by_admin(settings))


def admin_context(settings: Settings) -> SSL.Context:
    """For the Admin API, whose clients may have to show a certificate as well."""
    context = status_context(settings)
    wanted = settings.nginx_admin_ssl_verify_client
    if wanted != "off":
        setting = "nginx_admin_ssl_client_certificate"
        authorities = tls.authorities(settings.nginx_admin_ssl_client_certificate, setting)
        if not authorities:
            raise StartupError(f"{setting}: expected authorities beside nginx_admin_ssl_verify_client, got none")
        tls.demand_certificate(context, authorities, settings.nginx_admin_ssl_verify_depth, wanted == "on")
    return context


def _shown_by_admin(settings: Settings) -> tuple[tls.Identity, ...]:
    own = tls.identities(settings.admin_ssl_cert, settings.admin_ssl_cert_key, "admin_ssl_cert")
    return own or (own_identity(settings.prefix / "ssl", "admin-kong-default", utc_now()),)


def identities_in_force(settings: Settings) -> dict[str, tuple[tls.Identity, ...]]:
    """What is shown as the settings say, to clients and to origins, by the setting that would name it.

    :raise StartupError: one cannot be used.
    """
    found = {}
    if any(listener.ssl for listener in settings.proxy_listen):
        found["ssl_cert"] = _shown(settings)
    if any(listener.ssl for listener in (*settings.admin_listen, *settings.status_listen)):
        found["admin_ssl_cert"] = _shown_by_admin(settings)
    client = tls.client_defaults(settings).identity
    if client is not None:
        found["client_ssl_cert"] = (client,)
    return found


@implementer(IOpenSSLServerConnectionCreator)
class ServerConnections:
    """Connections of one context, as Twisted wants them."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def renew(self, context: SSL.Context) -> None:
        """This is the context from the next connection on."""
        self._context = context

    def serverConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        """One connection in memory."""
        return SSL.Connection(self._context, None)
