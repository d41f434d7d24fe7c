"""Where the Admin API may listen, and whom a whole gateway lets in, over TLS and without."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import sqlite3
import ssl
import tempfile
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

from twisted_kong.admin.tokens import Role, make_token
from twisted_kong.errors import StartupError
from twisted_kong.guarded import callers_of, check_doors
from twisted_kong.service import GatewayService
from twisted_kong.settings import Settings, load

CA = trustme.CA()
OTHERS = trustme.CA()


def settings(**given: str) -> Settings:
    return load(None, {}, given)


# -- where it may listen ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    ["127.0.0.1:8001", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:8001", "unix:/run/a.sock", "off"],
)
def test_this_machine_alone(where: str) -> None:
    """Where only this machine reaches the Admin API, nobody has to be asked."""
    check_doors(settings(admin_listen=where))


def test_default() -> None:
    """By default it listens on loopback."""
    check_doors(Settings())
    assert {listener.host for listener in Settings().admin_listen} == {"127.0.0.1"}


PUBLIC = ["0.0.0.0:8001", "[::]:8001", "10.0.0.1:8001", "128.0.0.1:1", "gateway.test:8001", "[::ffff:10.0.0.1]:1"]


@pytest.mark.parametrize("where", [*PUBLIC, "127.0.0.1:8001, 0.0.0.0:8002", "0.0.0.0:8444 ssl"])
def test_open_to_others(where: str) -> None:
    """Where others reach it and nobody would be asked who he is, TLS or not, the start is refused: with what to do."""
    with pytest.raises(StartupError) as refusal:
        check_doors(settings(admin_listen=where))
    text = str(refusal.value)
    assert text.startswith("admin_listen: expected an address of this machine alone, got ")
    assert "\n" not in text
    for name in ("admin_tokens", "kong-gateway token", "nginx_admin_ssl_verify_client", "admin_open_to_everyone"):
        assert name in text


@pytest.mark.parametrize("where", PUBLIC)
def test_guarded(where: str) -> None:
    """With tokens, with client certificates that are demanded, or if somebody insists, it may listen anywhere."""
    check_doors(settings(admin_listen=where, admin_tokens="/tokens"))
    check_doors(settings(admin_listen=where, admin_open_to_everyone="on"))
    demanded = {"nginx_admin_ssl_verify_client": "on", "nginx_admin_ssl_client_certificate": "/ca"}
    check_doors(settings(admin_listen=f"{where} ssl", **demanded))
    for listen, given in (
        (where, demanded),
        (f"{where} ssl", {**demanded, "nginx_admin_ssl_verify_client": "optional"}),
    ):
        with pytest.raises(StartupError):
            check_doors(settings(admin_listen=listen, **given))


# -- the file --------------------------------------------------------------------------------------------------


def test_unusable_files(tmp_path: Path) -> None:
    """A file that is not there, not to be understood, or everybody's to write stops the start, and is named."""
    file = tmp_path / "tokens"

    def refusal() -> str:
        with pytest.raises(StartupError) as refused:
            callers_of(settings(admin_tokens=str(file)))
        return str(refused.value)

    assert refusal() == f"admin_tokens: expected a file that can be read, got {file}: No such file or directory"
    file.write_text("# nobody\nsomebody read-write\n")
    assert refusal().startswith(f"admin_tokens: {file}: line 2: expected a name, a role")
    file.write_text(make_token("a", Role.READ_ONLY, secrets.token_bytes)[1])
    assert callers_of(settings(admin_tokens=str(file))) is not None
    file.chmod(0o666)
    assert refusal() == f"admin_tokens: expected a file that not everybody can write to, got {file}"
    file.chmod(0o600)
    file.write_bytes(b"\xff")
    assert refusal() == f"admin_tokens: expected UTF-8 in {file}"


# -- a whole gateway -------------------------------------------------------------------------------------------


def ask(port: int, method: str, path: str, token: str = "", context: ssl.SSLContext | None = None) -> tuple[int, Any]:
    """The status and the document of an answer, over TLS where there is a context for it."""
    if context is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    else:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
    try:
        headers = {"Content-Type": "application/json", **({"Kong-Admin-Token": token} if token else {})}
        connection.request(method, path, None if method == "GET" else '{"host": "a.test"}', headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def client(shown: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """What a client that shows this certificate has."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if shown is not None:
        shown.configure_cert(context)
    return context


class GuardedTests(TestCase):
    """A gateway on the reactor of the tests."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.prefix = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.prefix)
        self.tokens = self.prefix / "tokens"

    async def start(self, **given: str) -> list[int]:
        """The ports of the Admin API."""
        defaults = {"prefix": str(self.prefix), "proxy_listen": "off", "admin_listen": "127.0.0.1:0"}
        self.gateway = GatewayService(self.reactor, settings(**{**defaults, **given}))
        self.gateway.startService()
        self.addCleanup(self.stop)
        return [port.getHost().port for port in self.gateway.control.ports]  # type: ignore[attr-defined]

    async def stop(self) -> None:
        if self.gateway.running:
            await self.gateway.stopService()

    async def ask(self, *given: Any) -> tuple[int, Any]:
        answer: tuple[int, Any] = await deferToThread(ask, *given)
        return answer

    def allow(self, *lines: str) -> None:
        self.tokens.write_text("\n".join(lines))

    def log_of_changes(self) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.prefix / "kong.sqlite")
        try:
            return connection.execute(
                "SELECT operation, collection, author, address FROM changes ORDER BY id"
            ).fetchall()
        finally:
            connection.close()

    async def test_tokens(self) -> None:
        """A gateway with a file of tokens asks for one, and its log of changes tells who wrote, and from where."""
        writer, may_write = make_token("deploy", Role.READ_WRITE, secrets.token_bytes)
        reader, may_read = make_token("prometheus", Role.READ_ONLY, secrets.token_bytes)
        self.allow(may_write, may_read)
        (port,) = await self.start(admin_tokens=str(self.tokens))
        self.assertEqual((await self.ask(port, "GET", "/"))[0], 401)
        self.assertEqual((await self.ask(port, "POST", "/services", reader))[0], 403)
        status, made = await self.ask(port, "POST", "/services", writer)
        self.assertEqual(status, 201)
        self.assertEqual((await self.ask(port, "PATCH", f"/services/{made['id']}", writer))[0], 200)
        self.assertEqual((await self.ask(port, "GET", "/services", reader))[0], 200)
        self.assertEqual(self.log_of_changes(), [("put", "services", "deploy", "127.0.0.1")] * 2)

    async def test_nobody_is_asked(self) -> None:
        """Without one, whoever writes is anonymous in the log."""
        (port,) = await self.start()
        self.assertEqual((await self.ask(port, "POST", "/services"))[0], 201)
        self.assertEqual(self.log_of_changes(), [("put", "services", "anonymous", "127.0.0.1")])

    async def test_reload(self) -> None:
        """At SIGHUP the file of tokens is read anew; one that cannot be understood changes nothing."""
        first, one = make_token("first", Role.READ_WRITE, secrets.token_bytes)
        second, two = make_token("second", Role.READ_WRITE, secrets.token_bytes)
        self.allow(one)
        (port,) = await self.start(admin_tokens=str(self.tokens))
        for line, token, status in ((two, second, 200), ("nonsense", second, 200), (one, first, 200)):
            self.allow(line)
            before = self.gateway.control.doorkeeper.callers
            os.kill(os.getpid(), signal.SIGHUP)
            for _ in range(200):
                await deferLater(self.reactor, 0.01)
                if line == "nonsense" or self.gateway.control.doorkeeper.callers is not before:
                    break
            self.assertEqual((await self.ask(port, "GET", "/", token))[0], status)
        self.assertEqual((await self.ask(port, "GET", "/", second))[0], 401)

    async def test_client_certificates(self) -> None:
        """Where client certificates are demanded, nobody comes in without, and the log tells whose it was."""
        (port,) = await self.start(
            admin_listen="127.0.0.1:0 ssl",
            nginx_admin_ssl_verify_client="on",
            nginx_admin_ssl_client_certificate=CA.cert_pem.bytes().decode(),
        )
        alice = CA.issue_cert(common_name="alice")
        status, _ = await self.ask(port, "POST", "/services", "", client(alice))
        self.assertEqual(status, 201)
        ((_, _, author, address),) = self.log_of_changes()
        self.assertRegex(author, "CN=alice")
        self.assertEqual(address, "127.0.0.1")
        for shown in (None, OTHERS.issue_cert(common_name="alice")):
            with self.assertRaises((OSError, http.client.HTTPException)):
                await self.ask(port, "GET", "/", "", client(shown))

    async def test_certificates_of_the_file(self) -> None:
        """With both, a certificate is worth the role that the file gives its subject or fingerprint."""
        alice, robot, eve = (CA.issue_cert(common_name=name) for name in ("alice", "robot", "eve"))
        known = [load_pem_x509_certificate(each.cert_chain_pems[0].bytes()) for each in (alice, robot)]
        token, may_write = make_token("deploy", Role.READ_WRITE, secrets.token_bytes)
        self.allow(
            f"alice read-write certificate:{known[0].subject.rfc4514_string()}",
            f"robot read-only fingerprint:{known[1].fingerprint(SHA256()).hex()}",
            may_write,
        )
        (port,) = await self.start(
            admin_listen="127.0.0.1:0 ssl",
            admin_tokens=str(self.tokens),
            nginx_admin_ssl_verify_client="optional",
            nginx_admin_ssl_client_certificate=CA.cert_pem.bytes().decode(),
        )
        for shown, given, status in (
            (alice, "", 201),
            (robot, "", 403),
            (eve, "", 403),
            (None, "", 401),
            (None, token, 201),
            (eve, token, 201),
            (alice, "nonsense", 401),
        ):
            self.assertEqual((await self.ask(port, "POST", "/services", given, client(shown)))[0], status)
        self.assertEqual([row[2] for row in self.log_of_changes()], ["alice", "deploy", "deploy"])

    def refusal(self, **given: str) -> str:
        with pytest.raises(SystemExit) as end:
            GatewayService(
                self.reactor,
                settings(**{"prefix": str(self.prefix), "proxy_listen": "off", "database": "off", **given}),
            ).startService()
        return str(end.value.code)

    async def test_refusals(self) -> None:
        """A gateway that would be open to others does not start: not on an address, not on an endpoint of Twisted's."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        for where in (f"0.0.0.0:{port}", f"tcp:{port}", f"tcp:{port}:interface=0.0.0.0"):
            said = self.refusal(admin_listen=where)
            self.assertTrue(said.startswith("kong-gateway: admin_listen: expected an address of this machine alone"))
            await deferLater(self.reactor, 0)
            with self.assertRaises(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
                pass
        (bound,) = await self.start(admin_listen="tcp:0:interface=127.0.0.1")
        self.assertEqual((await self.ask(bound, "GET", "/"))[0], 200)

    async def test_log_after_a_refusal(self) -> None:
        """A gateway that does not start leaves the log as it was."""
        before = list(globalLogPublisher._observers)
        self.refusal(admin_listen="0.0.0.0:1")
        self.assertCountEqual(globalLogPublisher._observers, before)

    async def test_no_authorities(self) -> None:
        """Client certificates cannot be demanded without anybody to vouch for them."""
        listen = {"admin_listen": "127.0.0.1:0 ssl", "nginx_admin_ssl_verify_client": "on"}
        self.assertIn("nginx_admin_ssl_client_certificate: expected authorities", self.refusal(**listen))


@pytest.mark.parametrize("name", ["allow", "deny", "auth_basic", "ssl_crl"])
def test_other_doors(name: str) -> None:
    """What nginx would keep the Admin API's clients out by is refused: to ignore it would let them in."""
    with pytest.raises(StartupError, match=f"KONG_NGINX_ADMIN_{name.upper()}.*expected no value.*admin_tokens"):
        load(None, {f"KONG_NGINX_ADMIN_{name.upper()}": "all"}, {})
