"""TLS towards the peers that probes ask: whom we trust, and who we say we are, is as it is for requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from twisted_kong import tls
from twisted_kong.model.entities import Certificate, Upstream
from twisted_kong.model.snapshot import Snapshot

_context = lru_cache(256)(tls.client_context)


class ProbeTls:
    """Makes the connections of probes, under the certificates of the configuration that ``snapshot`` answers.

    ``defaults`` are what the settings say: whom to believe, and what to show where the upstream names nothing.
    """

    def __init__(self, snapshot: Callable[[], Snapshot], defaults: tls.ClientTerms) -> None:
        self._snapshot = snapshot
        self._defaults = defaults

    def renew(self, defaults: tls.ClientTerms) -> None:
        """This is what the settings say from now on."""
        self._defaults = defaults

    def __call__(
        self, upstream: Upstream, server_name: str, verify: bool, alpn: Sequence[bytes]
    ) -> IOpenSSLClientConnectionCreator:
        """:raise tls.Error: OpenSSL cannot use the certificate."""
        reference = upstream.client_certificate
        shown = self._snapshot().get("certificates", reference.id) if reference else None
        identity = tls.Identity(shown.cert, shown.key) if isinstance(shown, Certificate) else self._defaults.identity
        terms = self._defaults._replace(verify=verify, identity=identity, protocols=tuple(alpn))
        return _Creator(_context(terms), server_name)


@implementer(IOpenSSLClientConnectionCreator)
class _Creator:
    """Makes connections to a server of one name."""

    def __init__(self, context: SSL.Context, server_name: str) -> None:
        self._context = context
        self._server_name = server_name

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return tls.client_connection(self._context, self._server_name)
