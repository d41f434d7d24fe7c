"""A whole gateway over TLS on real sockets: its own certificate, those of the settings, and the Admin API."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import ssl
import stat
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import DEVNULL, PIPE
from threading import Timer
from typing import Any

import pytest
import trustme
from cryptography import x509
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase

from twisted_kong import tls
from twisted_kong.certified import ServerConnections
from twisted_kong.errors import StartupError
from twisted_kong.selfsigned import make, own_identity
from twisted_kong.service import GatewayService
from twisted_kong.settings import load

CA = trustme.CA()
AUTHORITY = "10000000-0000-4000-8000-000000000000"


def ask(port: int, path: str, document: object = None) -> tuple[int, bytes, bytes]:
    """The status, the body and the certificate of an answer over TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
    try:
        body = None if document is None else json.dumps(document)
        connection.request("GET" if body is None else "POST", path, body, {"Content-Type": "application/json"})
        assert isinstance(connection.sock, ssl.SSLSocket)
        shown = connection.sock.getpeercert(binary_form=True) or b""
        answer = connection.getresponse()
        return answer.status, answer.read(), shown
    finally:
        connection.close()


def ask_for_small_records(port: int) -> tuple[bytes, bytes]:
    """The first line and the body of the answer to a client with little memory, on a connection that is kept."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-maxfraglen", "512", "-quiet"]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        late = Timer(60, client.kill)
        late.start()
        try:
            client.stdin.write(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            client.stdin.flush()
            lines = list(iter(client.stdout.readline, b"\r\n"))
            return lines[0].strip(), client.stdout.read(1 << 20)
        finally:
            late.cancel()
            client.kill()


class Origin(Protocol):
    """Answers with a MiB, whatever it is asked."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + bytes(range(256)) * 4096)


class TlsTests(TestCase):
    """A gateway on the reactor of the tests."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.prefix = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.prefix)

    async def start(self, **given: str) -> tuple[int, int]:
        """The ports of the proxy and of the Admin API."""
        defaults = {
            "prefix": str(self.prefix),
            "proxy_listen": "127.0.0.1:0 ssl",
            "admin_listen": "127.0.0.1:0 ssl",
            "database": "off",
        }
        self.gateway = GatewayService(self.reactor, load(None, {}, {**defaults, **given}))
        self.gateway.startService()
        self.addCleanup(self.stop)
        proxy, admin = (port.getHost().port for port in (*self.gateway.serving.ports, *self.gateway.control.ports))  # type: ignore[attr-defined]
        return proxy, admin

    async def stop(self) -> None:
        if self.gateway.running:
            await self.gateway.stopService()

    async def ask(self, port: int, path: str, document: object = None) -> tuple[int, bytes, bytes]:
        answer: tuple[int, bytes, bytes] = await deferToThread(ask, port, path, document)
        return answer

    async def test_a_certificate_of_our_own(self) -> None:
        """Without certificates in the settings, ones of our own making are shown, and kept for the next start."""
        proxy, admin = await self.start()
        status, _, shown = await self.ask(proxy, "/")
        assert status == 404
        status, _, shown_by_admin = await self.ask(admin, "/status")
        assert status == 200
        assert shown != shown_by_admin
        _, metrics, _ = await self.ask(admin, "/metrics")
        for source, each in ((b"ssl_cert", shown), (b"admin_ssl_cert", shown_by_admin)):
            (line,) = (line for line in metrics.splitlines() if b'name="1",source="%b"' % source in line)
            ends = x509.load_der_x509_certificate(each).not_valid_after_utc.timestamp()
            assert float(line.split()[-1]) == ends
        assert x509.load_der_x509_certificate(shown).not_valid_after_utc > datetime.now(UTC) + timedelta(days=3000)
        key = self.prefix / "ssl" / "kong-default.key"
        assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
        await self.stop()
        proxy, admin = await self.start()
        assert (await self.ask(proxy, "/"))[2] == shown
        assert (await self.ask(admin, "/status"))[2] == shown_by_admin

    async def test_certificates_of_the_settings(self) -> None:
        """Certificates of the settings are shown as they are: files for the proxy, PEM for the Admin API."""
        ours, admins = CA.issue_cert("proxy.test"), CA.issue_cert("admin.test")
        ours.cert_chain_pems[0].write_to_path(str(self.prefix / "crt"))
        ours.private_key_pem.write_to_path(str(self.prefix / "key"))
        proxy, admin = await self.start(
            ssl_cert=str(self.prefix / "crt"),
            ssl_cert_key=str(self.prefix / "key"),
            admin_ssl_cert=admins.cert_chain_pems[0].bytes().decode(),
            admin_ssl_cert_key=admins.private_key_pem.bytes().decode(),
        )
        for port, leaf in ((proxy, ours), (admin, admins)):
            assert (await self.ask(port, "/"))[2] == ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())

    async def serve_large_answers(self) -> int:
        """The proxy's port, behind which there is an origin with TLS."""
        leaf = CA.issue_cert("127.0.0.1")
        shown = tls.Identity(leaf.cert_chain_pems[0].bytes().decode(), leaf.private_key_pem.bytes().decode())
        context = tls.server_context(tls.server_terms(load(None, {}, {})), [shown])
        origins = TLSMemoryBIOFactory(ServerConnections(context), False, Factory.forProtocol(Origin))
        port = self.reactor.listenTCP(0, origins, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        proxy, admin = await self.start()
        service = {
            "url": f"https://127.0.0.1:{port.getHost().port}",
            "tls_verify": True,
            "ca_certificates": [AUTHORITY],
            "routes": [{"paths": ["/"], "protocols": ["https"]}],
        }
        authority = {"id": AUTHORITY, "cert": CA.cert_pem.bytes().decode()}
        document = {"_format_version": "3.0", "services": [service], "ca_certificates": [authority]}
        status, said, _ = await self.ask(admin, "/config", document)
        assert status == 201, said
        return proxy

    async def test_through_and_through(self) -> None:
        """TLS on both sides carries large answers whole, on real sockets."""
        proxy = await self.serve_large_answers()
        for _ in range(3):
            status, body, _ = await self.ask(proxy, "/")
            assert (status, body) == (200, bytes(range(256)) * 4096)

    @pytest.mark.needs("openssl")
    async def test_small_records(self) -> None:
        """A client that asks for small records (RFC 6066 §4) gets an answer whole, without another push."""
        proxy = await self.serve_large_answers()
        status, body = await deferToThread(ask_for_small_records, proxy)
        assert (status, body) == (b"HTTP/1.1 200 OK", bytes(range(256)) * 4096)

    def refusal(self, **given: str) -> str:
        with pytest.raises(SystemExit) as end:
            GatewayService(
                self.reactor,
                load(None, {}, {"prefix": str(self.prefix), "database": "off", "admin_listen": "off", **given}),
            ).startService()
        return str(end.value.code)

    async def test_unusable_certificates(self) -> None:
        """Certificates that cannot be shown stop the start, with a line that names the setting."""
        ours, other = CA.issue_cert("a.test"), CA.issue_cert("b.test")
        cert, key = ours.cert_chain_pems[0].bytes().decode(), other.private_key_pem.bytes().decode()
        listen = {"proxy_listen": "127.0.0.1:0 ssl"}
        assert self.refusal(**listen, ssl_cert="/nowhere", ssl_cert_key="/nowhere").startswith(
            "kong-gateway: ssl_cert: expected a readable file or PEM, got '/nowhere'"
        )
        assert "ssl_cert_key: expected as many" in self.refusal(**listen, ssl_cert=cert)
        assert "ssl_cert: expected a certificate and its key" in self.refusal(**listen, ssl_cert=cert, ssl_cert_key=key)
        assert "ssl_ciphers: " in self.refusal(**listen, ssl_cipher_suite="custom", ssl_ciphers="nonsense")


NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_renewal(tmp_path: Path) -> None:
    """A certificate of our own is made again when it has expired or cannot be read, and only then."""
    first = own_identity(tmp_path / "ssl", "x", NOW)
    assert own_identity(tmp_path / "ssl", "x", NOW + timedelta(days=365)) == first
    late = own_identity(tmp_path / "ssl", "x", NOW + timedelta(days=30 * 365))
    assert late != first
    (tmp_path / "ssl" / "x.crt").write_text("nonsense")
    assert own_identity(tmp_path / "ssl", "x", NOW) not in (first, late)


def test_nowhere_to_keep_it(tmp_path: Path) -> None:
    """A certificate that cannot be kept is not made."""
    (tmp_path / "ssl").write_text("a file")
    with pytest.raises(StartupError, match="prefix: expected to keep a certificate in"):
        own_identity(tmp_path / "ssl", "x", NOW)


def test_three_ways_to_give_pem(tmp_path: Path) -> None:
    """PEM is given as itself, in base64 or in a file; what is none of them is told."""
    text = make(NOW).chain
    (tmp_path / "crt").write_text(text)
    for value in (text, base64.b64encode(text.encode()).decode(), str(tmp_path / "crt")):
        assert tls.read_pem(value, "s") == text
    for value in ("nonsense", base64.b64encode(b"nonsense").decode(), str(tmp_path)):
        with pytest.raises(StartupError, match="s: expected a readable file or PEM"):
            tls.read_pem(value, "s")
