"""How we speak TLS to origins: what a service, its upstream and the settings say about it, and what is kept of it.

The terms of a service follow from the snapshot and are worked out anew when that changes; equal terms share a
context. A session is kept for each pool's key: resuming one skips the examination of certificates, so whatever that
depends on must be in the key.
"""

from __future__ import annotations

from typing import cast

from OpenSSL import SSL

from twisted_kong import tls
from twisted_kong.errors import BadGateway
from twisted_kong.model.certificates import CaCertificate, Certificate
from twisted_kong.model.entities import Reference, Service, Upstream
from twisted_kong.model.snapshot import EMPTY, Snapshot
from twisted_kong.runtime.gateway import Gateway

KEPT_CONTEXTS = 256
KEPT_SESSIONS = 1024

SecureKey = tuple[str, int, str, tls.ClientTerms]
"""Address, port, server name, terms: all that shapes a connection. Compared as a whole."""


class Outgoing:
    """``defaults`` are the terms of a service that says nothing: its ``verify`` is always off."""

    def __init__(self, gateway: Gateway, defaults: tls.ClientTerms) -> None:
        self._gateway = gateway
        self._defaults = defaults
        self._snapshot: Snapshot = EMPTY
        self._terms: dict[str, tuple[Service, tls.ClientTerms]] = {}
        self._contexts: dict[tls.ClientTerms, SSL.Context] = {}
        self._sessions: dict[SecureKey, SSL.Session] = {}

    def renew(self, defaults: tls.ClientTerms) -> None:
        """These are the terms from now on. Connections there are go on under those they were made under."""
        self._defaults = defaults
        self._terms.clear()

    def terms(self, service: Service) -> tls.ClientTerms:
        """What connections for ``service`` are made under.

        :raise BadGateway: its protocol is not https, and nothing is sent in the clear that was meant to be
            encrypted; or OpenSSL takes no connections under these terms.
        """
        if service.protocol not in ("https", "grpcs"):
            raise BadGateway(f"protocol {service.protocol} to upstreams is not supported")
        snapshot = self._gateway.snapshot
        if snapshot is not self._snapshot:
            self._snapshot = snapshot
            self._terms.clear()
        known = self._terms.get(service.id)
        if known is not None and known[0] is service:
            return known[1]
        terms = self._work_out(service, snapshot)
        self._check(terms)
        self._terms[service.id] = service, terms
        return terms

    def _work_out(self, service: Service, snapshot: Snapshot) -> tls.ClientTerms:
        upstream = cast(Upstream | None, snapshot.find_unique("upstreams", name=service.host))
        identity = (
            _identity(snapshot, service.client_certificate)
            or (upstream and _identity(snapshot, upstream.client_certificate))
            or self._defaults.identity
        )
        protocols = (b"h2",) if service.protocol == "grpcs" else ()
        if not service.tls_verify:
            return tls.ClientTerms(identity=identity, protocols=protocols)
        depth = self._defaults.depth if service.tls_verify_depth is None else service.tls_verify_depth
        authorities = self._defaults.authorities
        if service.ca_certificates is not None:
            found = (cast(CaCertificate | None, snapshot.get("ca_certificates", id)) for id in service.ca_certificates)
            authorities = tuple(authority.cert for authority in found if authority is not None)
        return tls.ClientTerms(True, depth, authorities, identity, protocols)

    def _check(self, terms: tls.ClientTerms) -> None:
        if terms not in self._contexts:
            try:
                context = tls.client_context(terms)
            except (tls.Error, ValueError) as error:
                raise BadGateway(f"no TLS to the upstream under its terms: {tls.told(error)}") from None
            if len(self._contexts) >= KEPT_CONTEXTS:
                del self._contexts[next(iter(self._contexts))]
            self._contexts[terms] = context

    def connection(self, key: SecureKey) -> SSL.Connection:
        """A connection in memory, that resumes an earlier one if it can.

        :raise BadGateway: as `terms`.
        """
        _, _, name, terms = key
        self._check(terms)
        connection = tls.client_connection(self._contexts[terms], name)
        session = self._sessions.get(key)
        if session is not None:
            connection.set_session(session)
        return connection

    def keep_session(self, key: SecureKey, connection: SSL.Connection) -> None:
        """The next connection may resume this one."""
        session = connection.get_session()
        if session is not None:
            self._sessions.pop(key, None)
            if len(self._sessions) >= KEPT_SESSIONS:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[key] = session

    def forget_session(self, key: SecureKey) -> None:
        """It may be the session that is at fault."""
        self._sessions.pop(key, None)


def _identity(snapshot: Snapshot, reference: Reference | None) -> tls.Identity | None:
    if reference is None:
        return None
    certificate = cast(Certificate | None, snapshot.get("certificates", reference.id))
    return None if certificate is None else tls.Identity(certificate.cert, certificate.key)
