"""TLS towards the peers that probes ask: whom we trust, and who we say we are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions, optionsForClientTLS, platformTrust
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from twisted_kong.model.entities import Certificate, Upstream
from twisted_kong.model.snapshot import Snapshot
from twisted_kong.runtime.peers import is_address


class ProbeTls:
    """Makes the connections of probes, under the certificates of the configuration that ``snapshot`` answers."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def __call__(
        self, upstream: Upstream, server_name: str, verify: bool, alpn: Sequence[bytes]
    ) -> IOpenSSLClientConnectionCreator:
        reference = upstream.client_certificate
        shown = self._snapshot().get("certificates", reference.id) if reference else None
        identity = (shown.cert, shown.key) if isinstance(shown, Certificate) else None
        return _creator(server_name, verify, tuple(alpn), identity)


@lru_cache(1024)
def _creator(
    server_name: str, verify: bool, alpn: tuple[bytes, ...], identity: tuple[str, str] | None
) -> IOpenSSLClientConnectionCreator:
    """Contexts take milliseconds to make; these are kept."""
    options: dict[str, Any] = {}
    if identity is not None:
        chain = x509.load_pem_x509_certificates(identity[0].encode())
        key = load_pem_private_key(identity[1].encode(), None)
        options = {"privateKey": key, "certificate": chain[0], "extraCertChain": chain[1:]}
    if verify:
        made: IOpenSSLClientConnectionCreator = optionsForClientTLS(
            server_name, platformTrust(), acceptableProtocols=list(alpn), extraCertificateOptions=options
        )
        return made
    return _Trusting(CertificateOptions(acceptableProtocols=list(alpn), **options).getContext(), server_name)


@implementer(IOpenSSLClientConnectionCreator)
class _Trusting:
    """Believes anybody, whom it asks for a name all the same."""

    def __init__(self, context: SSL.Context, server_name: str) -> None:
        self._context = context
        self._server_name = None if is_address(server_name) else server_name.encode("idna")

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        if self._server_name is not None:
            connection.set_tlsext_host_name(self._server_name)
        return connection
