"""Which certificate is shown to whom: to the server name a client asks for, that of the SNI in the configuration.

A name stands before ``*.`` and the rest of it, that before the beginning and ``.*``, that before ``*`` alone, and
that before the certificate of the settings (Kong's order). A change of the configuration counts from the next
handshake on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from OpenSSL import SSL
from twisted.logger import Logger

from twisted_kong import tls
from twisted_kong.model.certificates import Certificate, Sni
from twisted_kong.model.entities import Entity
from twisted_kong.runtime.gateway import Gateway

log = Logger()


class ServerNames:
    """The contexts of all listeners. ``identities`` are what is shown where the configuration names nothing."""

    def __init__(self, gateway: Gateway, terms: tls.ServerTerms, identities: Sequence[tls.Identity]) -> None:
        self._gateway = gateway
        self._terms = terms
        self._identities = tuple(identities)
        self._default = self._first(terms, identities)
        self._snis: Mapping[str, Entity] = {}
        self._certificates: dict[bytes, str] = {}  # ids by name or pattern, in lower case
        self._contexts: dict[str, tuple[Certificate, SSL.Context | None]] = {}

    def prepare(self, terms: tls.ServerTerms, identities: Sequence[tls.Identity]) -> Callable[[], None]:
        """What makes these count, from the next handshake on.

        :raise tls.Error: OpenSSL cannot use them.
        """
        same = (terms, tuple(identities)) == (self._terms, self._identities)  # sessions can go on being resumed
        default = self._default if same else self._first(terms, identities)

        def commit() -> None:
            self._terms, self._identities = terms, tuple(identities)
            if self._default is not default:
                self._default = default
                self._contexts.clear()

        return commit

    def _first(self, terms: tls.ServerTerms, identities: Sequence[tls.Identity]) -> SSL.Context:
        """The context that a handshake begins with."""
        context = self._context(identities, terms)
        context.set_tlsext_servername_callback(self._named)
        return context

    def connection(self) -> SSL.Connection:
        """A connection in memory, whose application data shall be its layer: it is told the name, and asked for its
        ``protocols``."""
        return SSL.Connection(self._default, None)

    def certificate(self, name: bytes | None) -> Certificate | None:
        """The certificate for a server name, None for that of the settings."""
        snapshot = self._gateway.snapshot
        snis = snapshot.all("snis")
        if snis is not self._snis:
            self._read(snis)
        found = next(filter(None, map(self._certificates.get, _patterns(name))), None)
        return None if found is None else cast(Certificate, snapshot.get("certificates", found))

    def _read(self, snis: Mapping[str, Entity]) -> None:
        self._snis = snis
        found = cast(Mapping[str, Sni], snis).values()
        self._certificates = {sni.name.lower().encode(): sni.certificate.id for sni in found}
        used = set(self._certificates.values())
        self._contexts = {id: known for id, known in self._contexts.items() if id in used}

    def _context(self, identities: Sequence[tls.Identity], terms: tls.ServerTerms | None = None) -> SSL.Context:
        context = tls.server_context(terms or self._terms, identities)
        context.set_alpn_select_callback(_choose)
        return context

    def _named(self, connection: SSL.Connection) -> None:
        """A client has said whom it wants, or that it does not care."""
        name = connection.get_servername()
        connection.get_app_data().server_name = name
        certificate = self.certificate(name)
        if certificate is not None:
            context = self._context_of(certificate)
            if context is not None:
                connection.set_context(context)

    def _context_of(self, certificate: Certificate) -> SSL.Context | None:
        """The context that shows ``certificate``; None if OpenSSL does not take it, and the default is shown."""
        known, context = self._contexts.get(certificate.id, (None, None))
        if known is certificate:
            return context
        identities = [tls.Identity(certificate.cert, certificate.key)]
        if certificate.cert_alt is not None and certificate.key_alt is not None:
            identities.append(tls.Identity(certificate.cert_alt, certificate.key_alt))
        try:
            context = self._context(identities)
        except tls.Error as error:
            log.error("certificate {id} cannot be shown: {error}", id=certificate.id, error=tls.told(error))
            context = None
        self._contexts[certificate.id] = (certificate, context)
        return context


def _patterns(name: bytes | None) -> tuple[bytes, ...]:
    """The names of SNIs that fit, the best first."""
    if not name:
        return (b"*",)
    name = name.lower().removesuffix(b".")
    first, _, rest = name.partition(b".")
    beginning, _, last = name.rpartition(b".")
    return (name, b"*." + rest, beginning + b".*", b"*") if first and last else (name, b"*")


def _choose(connection: SSL.Connection, offered: list[bytes]) -> Any:
    """The first protocol of ours that the client speaks; without one it is told nothing, and may try its luck."""
    for protocol in connection.get_app_data().protocols:
        if protocol in offered:
            return protocol
    return SSL.NO_OVERLAPPING_PROTOCOLS
