"""The other ends of TLS in memory, as Python's own ssl module speaks it: by another OpenSSL than the gateway's."""

from __future__ import annotations

import contextlib
import functools
import ssl
from collections.abc import Sequence
from typing import Any

import trustme
from loopback import Dial, Lab, Line

from twisted_kong import tls
from twisted_kong.model.certificates import CaCertificate, Certificate, Sni
from twisted_kong.model.changes import Change
from twisted_kong.model.entities import Entity, Service
from twisted_kong.model.schema import Schema
from twisted_kong.proxy.listeners import plain_answer
from twisted_kong.proxy.server_names import ServerNames
from twisted_kong.proxy.tls_server import SecureListener
from twisted_kong.selfsigned import make, utc_now

NOW = 1_700_000_000.0
CA = trustme.CA()
STRANGER = trustme.CA()


@functools.cache
def leaf(*names: str, rsa: bool = False) -> trustme.LeafCert:
    """A certificate of `CA` for these names."""
    return CA.issue_cert(*names, key_type=trustme.KeyType.RSA if rsa else trustme.KeyType.ECDSA)


def identity(certificate: trustme.LeafCert) -> tls.Identity:
    """The certificate with those that lead to its authority, and its key."""
    chain = "".join(pem.bytes().decode() for pem in certificate.cert_chain_pems)
    return tls.Identity(chain, certificate.private_key_pem.bytes().decode())


def build(kind: type[Any], **data: object) -> Any:
    """An entity."""
    return Schema().build(kind, data, now=NOW)


def certificate(leaf: trustme.LeafCert, alternative: trustme.LeafCert | None = None) -> Certificate:
    """The entity of a certificate, with another of another type."""
    cert, key = identity(leaf)
    more = {}
    if alternative is not None:
        more = dict(zip(("cert_alt", "key_alt"), identity(alternative), strict=True))
    made: Certificate = build(Certificate, cert=cert, key=key, **more)
    return made


def sni(name: str, shown: Certificate) -> Sni:
    """The entity of a server name."""
    made: Sni = build(Sni, name=name, certificate={"id": shown.id})
    return made


def authority(ca: trustme.CA) -> CaCertificate:
    """The entity of an authority."""
    made: CaCertificate = build(CaCertificate, cert=ca.cert_pem.bytes().decode())
    return made


def put(lab: Lab, *entities: Entity, deletes: Sequence[Entity] = ()) -> None:
    """Change the configuration."""
    gateway = lab.core.gateway
    change = Change(puts=entities, deletes=tuple((entity.collection, entity.id) for entity in deletes))
    gateway.apply(gateway.snapshot, gateway.snapshot.with_change(change))


def change_service(lab: Lab, **fields: object) -> None:
    """Change the service ``s``."""
    (old,) = lab.core.gateway.snapshot.services.values()
    put(lab, build(Service, **{**old.document(), **fields}))


class End:
    """Our end of a line over which TLS is spoken. ``closed`` says that the other end has said that it is done."""

    def __init__(
        self,
        line: Line,
        context: ssl.SSLContext,
        *,
        server: bool = False,
        name: str | None = None,
        session: ssl.SSLSession | None = None,
        piece: int = 0,
    ) -> None:
        self.line = line
        self.closed = False
        self.shaken = False
        self._piece = piece  # bytes sent at once, 0 for all
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server, server_hostname=name, session=session
        )
        self.pump()

    def pump(self) -> None:
        """Say what there is to say, and hear what there is to hear, until nothing moves any more."""
        while True:
            arrived = self.line.take()
            if arrived:
                self._incoming.write(arrived)
            if not self.shaken:
                try:
                    self.tls.do_handshake()
                    self.shaken = True
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLError:
                    self._pass_on()
                    raise
            if not self._pass_on() and not self.line.received:
                return

    def _pass_on(self) -> bool:
        data = self._outgoing.read()
        step = self._piece or len(data) or 1
        for at in range(0, len(data), step):
            self.line.send(data[at : at + step])
        return bool(data)

    def send(self, data: bytes) -> End:
        """Send bytes; returns itself."""
        self.tls.write(data)
        self.pump()
        return self

    def take(self) -> bytes:
        """What has come since the last time."""
        self.pump()
        pieces = []
        while True:
            try:
                piece = self.tls.read(65536)
            except ssl.SSLWantReadError:
                break
            if not piece:
                self.closed = True
                break
            pieces.append(piece)
        self._pass_on()
        return b"".join(pieces)

    def say_goodbye(self) -> None:
        """Say that we are done."""
        with contextlib.suppress(ssl.SSLError):  # the other end has not said so itself
            self.tls.unwrap()
        self._pass_on()


def believing() -> ssl.SSLContext:
    """A client's context that believes anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def trusting(*authorities: trustme.CA) -> ssl.SSLContext:
    """A client's context that believes these."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for one in authorities:
        one.configure_trust(context)
    return context


def showing(leaf: trustme.LeafCert, *, clients: trustme.CA | None = None) -> ssl.SSLContext:
    """A server's context that shows ``leaf``, and asks for certificates of ``clients``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    if clients is not None:
        context.verify_mode = ssl.CERT_OPTIONAL
        clients.configure_trust(context)
    return context


class SecureLab(Lab):
    """A lab whose clients speak TLS to the gateway. The certificate of the settings is for ``default.test``."""

    def __init__(self, *args: Any, identities: Sequence[tls.Identity] = (), **options: Any) -> None:
        super().__init__(*args, scheme=b"https", **options)
        self.shown = ServerNames(
            self.core.gateway, tls.server_terms(self.settings), identities or (identity(leaf("default.test")),)
        )
        patience = self.settings.nginx_http_client_header_timeout
        self.secure = SecureListener(
            self.shown,
            self.listener,
            self.core.deadlines,
            patience,
            self.core.refusals,
            lambda: plain_answer(self.core),
        )

    def knock(self) -> Line:
        """A client's connection on which nothing has been said."""
        above, self.listener = self.listener, self.secure  # type: ignore[assignment]
        try:
            return self.client()
        finally:
            self.listener = above

    def shaken(self, name: str | None = None, context: ssl.SSLContext | None = None, **options: Any) -> End:
        """A client that has shaken hands."""
        return End(self.knock(), context or believing(), name=name, **options)


def origin(dial: Dial, context: ssl.SSLContext, **options: Any) -> End:
    """An origin at the other end of a connection the gateway wants to make."""
    return End(dial.accept(), context, server=True, **options)


def own() -> tls.Identity:
    """A certificate that nobody vouches for."""
    return make(utc_now())
