"""The PROXY protocol on real sockets: what HAProxy sends in front of a whole gateway, in the clear and before TLS."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

import http.client
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from twisted_kong.service import GatewayService
from twisted_kong.settings import load

HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")

CONFIGURATION = """
global
    maxconn 100
defaults
    mode tcp
    timeout connect 5s
    timeout client 20s
    timeout server 20s
listen a
    bind fd@{fd}
    server gateway 127.0.0.1:{port} {send}
"""


class Telling(BaseHTTPRequestHandler):
    """An origin that tells what it was told of the client."""

    def do_GET(self) -> None:
        names = ("X-Real-IP", "X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto")
        body = " ".join(self.headers.get(name, "-") for name in names).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def get(port: int, *, tls: bool = False, before: bytes = b"", source: str = "127.0.0.1") -> str:
    """What the origin tells of a client at ``source`` that sends ``before`` before anything else."""
    with socket.create_connection(("127.0.0.1", port), 20, source_address=(source, 0)) as sock:
        sock.sendall(before)
        if not tls:
            return ask(sock)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(sock) as secured:
            return ask(secured)


def ask(sock: socket.socket) -> str:
    """The body of an answer on ``sock``."""
    sock.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
    with http.client.HTTPResponse(sock) as answer:
        answer.begin()
        return answer.read().decode()


class ProxyProtocolTests(TestCase):
    """A gateway on the reactor of the tests; clients, the origin and HAProxy have threads and a process of their own.

    Addresses of 127.0.0.0/8 stand for those of many machines.
    """

    timeout = 60

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.prefix = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.prefix)
        origin = ThreadingHTTPServer(("127.0.0.1", 0), Telling)
        origin.daemon_threads = True
        thread = threading.Thread(target=origin.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        self.addCleanup(origin.server_close)
        self.addCleanup(origin.shutdown)
        self.origin = origin.server_address[1]

    async def start(self, **given: str) -> list[int]:
        """The ports of the proxy: in the clear, over TLS, and one without a header."""
        url = f"http://127.0.0.1:{self.origin}"
        document = f'{{"_format_version": "3.0", "services": [{{"url": "{url}", "routes": [{{"paths": ["/"]}}]}}]}}'
        defaults = {
            "prefix": str(self.prefix),
            "proxy_listen": "127.0.0.1:0 proxy_protocol, 127.0.0.1:0 proxy_protocol ssl http2, 127.0.0.1:0",
            "admin_listen": "off",
            "database": "off",
            "declarative_config_string": document,
            "trusted_ips": "127.0.0.1/32",
            "real_ip_header": "proxy_protocol",
        }
        gateway = GatewayService(self.reactor, load(None, {}, {**defaults, **given}))
        gateway.startService()
        self.addCleanup(gateway.stopService)
        return [port.getHost().port for port in gateway.serving.ports]  # type: ignore[attr-defined]  # of TCP they are

    def haproxy(self, port: int, send: str) -> int:
        """The port of a HAProxy in front of ``port``; skips the test where there is no HAProxy."""
        if HAPROXY is None:
            pytest.skip("needs haproxy: as root on Debian, etc/apt-install haproxy")
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        listening.set_inheritable(True)
        file = self.prefix / "haproxy.cfg"
        file.write_text(CONFIGURATION.format(fd=listening.fileno(), port=port, send=send))
        process = subprocess.Popen([HAPROXY, "-db", "-q", "-f", str(file)], pass_fds=[listening.fileno()])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return int(listening.getsockname()[1])

    async def test_haproxy(self) -> None:
        """Behind HAProxy the origin is told the client's address, by either version, before TLS as well."""
        clear, secure, _ = await self.start()
        for send in ("send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"):
            told = await deferToThread(get, self.haproxy(clear, send), source="127.0.0.5")
            assert told == f"127.0.0.5 127.0.0.5 {clear} http", send
            told = await deferToThread(get, self.haproxy(secure, send), source="127.0.0.6", tls=True)
            assert told == f"127.0.0.6 127.0.0.6 {secure} https", send

    async def test_whose_header_counts(self) -> None:
        """Everybody who speaks there is read, and the trusted are believed; elsewhere nobody speaks of others."""
        clear, secure, plain = await self.start()
        header = b"PROXY TCP4 203.0.113.7 192.0.2.1 1111 443\r\n"
        assert await deferToThread(get, clear, before=header) == f"203.0.113.7 203.0.113.7 {clear} http"
        told = await deferToThread(get, secure, before=header, tls=True)
        assert told == f"203.0.113.7 203.0.113.7 {secure} https"
        told = await deferToThread(get, clear, before=header, source="127.0.0.9")
        assert told == f"127.0.0.9 127.0.0.9 {clear} http"
        assert await deferToThread(get, plain) == f"127.0.0.1 127.0.0.1 {plain} http"
        for port in (clear, secure):
            with pytest.raises(OSError, match=r"reset|closed"):
                await deferToThread(get, port)

    async def test_port_maps(self) -> None:
        """The port the origin is told is that of the listener as clients see it, whatever the header says."""
        port = socket.create_server(("127.0.0.1", 0))
        number = port.getsockname()[1]
        port.close()
        listen = f"127.0.0.1:{number} proxy_protocol"
        (clear,) = await self.start(proxy_listen=listen, port_maps=f"80:{number}")
        header = b"PROXY TCP4 203.0.113.7 192.0.2.1 1111 443\r\n"
        assert await deferToThread(get, clear, before=header) == "203.0.113.7 203.0.113.7 80 http"
