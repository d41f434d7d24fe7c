"""Probes over TLS, on real sockets: whom is asked for, whose certificate is believed, whose is shown."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

import datetime
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from twisted_kong.health.checkers.http import HttpsCheckerFactory
from twisted_kong.model.changes import Change
from twisted_kong.model.entities import Certificate, Upstream
from twisted_kong.model.schema import Schema
from twisted_kong.model.snapshot import EMPTY
from twisted_kong.model.traffic import Outcome
from twisted_kong.runtime.peers import Peer
from twisted_kong.runtime.probes import Probe
from twisted_kong.runtime.probetls import ProbeTls
from twisted_kong.tasks import Deadlines
from twisted_kong.tls import SYSTEM, ClientTerms, Identity


def pair(name: str) -> tuple[str, str]:
    """A certificate for ``name`` that vouches for itself, and its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), secret.decode()


class _Well(Protocol):
    def dataReceived(self, data: bytes) -> None:
        transport = cast(Any, self.transport)
        transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        cast(Any, self.factory).gone.callback(None)


@implementer(IOpenSSLContextFactory)
class _Context:
    """Hands out one context."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def getContext(self) -> SSL.Context:
        return self._context


class TlsProbeTests(TestCase):
    """One origin that speaks TLS; ``asked_for`` and ``shown`` are what it was told."""

    reactor: Any

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor = reactor
        self.asked_for: list[bytes | None] = []
        self.shown: list[str | None] = []
        self.defaults = ClientTerms(authorities=(SYSTEM,))
        certificate, key = pair("probe.example")
        self.certificate = certificate
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(x509.load_pem_x509_certificate(certificate.encode()))
        context.use_privatekey(cast(Any, serialization.load_pem_private_key(key.encode(), None)))
        context.set_session_id(b"probe")
        context.set_verify(SSL.VERIFY_PEER, self._take)
        context.set_tlsext_servername_callback(self._take_name)
        self.gone: Deferred[None] = Deferred()
        factory = Factory.forProtocol(_Well)
        factory.gone = self.gone  # type: ignore[attr-defined]  # for its protocols
        options = _Context(context)
        port = self.reactor.listenSSL(0, factory, options, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port

    def _take_name(self, connection: Any) -> None:
        self.asked_for.append(connection.get_servername())

    def _take(self, connection: Any, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
        self.shown.append(certificate.to_cryptography().subject.rfc4514_string().removeprefix("CN="))
        return True

    async def probe(self, **fields: Any) -> Outcome | None:
        """The outcome of one probe of an upstream with these fields."""
        client, secret = pair("client.example")
        shown = Schema().build(Certificate, {"cert": client, "key": secret}, now=1.0)
        fields = {"client_certificate": {"id": shown.id}, **fields}
        upstream = Schema().build(Upstream, {"name": "u", **fields}, now=1.0)
        snapshot = EMPTY.with_change(Change(puts=(shown, upstream)))
        deadlines = Deadlines(self.reactor)
        ended: Deferred[Outcome | None] = Deferred()
        peer = Peer("127.0.0.1", self.port, 1, "a.example")
        probe = Probe(
            self.reactor,
            cast(Any, None),
            ProbeTls(lambda: snapshot, self.defaults),
            upstream,
            peer,
            deadlines,
            20.0,
            lambda _, outcome: ended.callback(outcome),
        )
        probe.start(HttpsCheckerFactory().build(upstream))
        outcome = await ended
        await self.gone
        deadlines.close()
        return outcome

    async def test_believed(self) -> None:
        """Unverified, any certificate will do; the peer is asked for by ``https_sni``, and told who asks."""
        active = {"https_verify_certificate": False, "https_sni": "b.example"}
        outcome = await self.probe(healthchecks={"active": active})
        assert outcome is not None
        self.assertEqual((outcome.failure, outcome.status), (None, 204))
        self.assertEqual((self.asked_for, set(self.shown)), ([b"b.example"], {"client.example"}))

    async def test_not_believed(self) -> None:
        """A certificate nobody vouches for is a failure of the connection, told in words."""
        outcome = await self.probe()
        assert outcome is not None
        self.assertEqual((outcome.failure, outcome.status), ("tcp", None))
        self.assertEqual(outcome.error, "certificate verify failed")
        self.assertEqual(self.asked_for, [b"a.example"])

    async def test_host_header(self) -> None:
        """Without ``https_sni`` the upstream's ``host_header`` is who is asked for, without its port."""
        await self.probe(host_header="c.example:444", healthchecks={"active": {"https_verify_certificate": False}})
        self.assertEqual(self.asked_for, [b"c.example"])

    async def test_believed_by_the_settings(self) -> None:
        """Whom the settings trust is believed, for the name that its certificate is for."""
        self.defaults = ClientTerms(authorities=(self.certificate,))
        outcome = await self.probe(healthchecks={"active": {"https_sni": "probe.example"}})
        assert outcome is not None
        self.assertEqual((outcome.failure, outcome.status), (None, 204))

    async def test_believed_for_its_name_alone(self) -> None:
        """And for no other name, which is told."""
        self.defaults = ClientTerms(authorities=(self.certificate,))
        outcome = await self.probe()
        assert outcome is not None
        self.assertEqual((outcome.failure, outcome.status), ("tcp", None))
        self.assertIn("the certificate is not for a.example", outcome.error)

    async def test_shown_by_the_settings(self) -> None:
        """Where the upstream names no certificate, that of the settings is shown."""
        self.defaults = ClientTerms(identity=Identity(*pair("gateway.example")))
        active = {"https_verify_certificate": False}
        await self.probe(healthchecks={"active": active}, client_certificate=None)
        self.assertEqual(set(self.shown), {"gateway.example"})
