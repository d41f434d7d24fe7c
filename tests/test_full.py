"""A gateway that is full, on real sockets: what is refused, what goes on, and that it recovers."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

import resource
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from stage import StagedGateway
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from twisted_kong.service import GatewayService
from twisted_kong.settings import load

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


class Guest:
    """A connection of a client at ``source``."""

    def __init__(self, port: int, source: str = "127.0.0.1", before: bytes = b"") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 20, source_address=(source, 0))
        self._socket.sendall(before)

    def is_served(self) -> bool:
        """Whether it is answered; otherwise it has been closed."""
        try:
            self._socket.sendall(GET)
            return self._socket.recv(65536).startswith(b"HTTP/1.1 ")
        except OSError:
            return False

    def close(self) -> None:
        self._socket.close()


class FullTests(TestCase):
    """A gateway on the reactor of the tests, which has no routes: every answer is a 404."""

    timeout = 60

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.prefix = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.prefix)
        self.guests: list[Guest] = []
        self.addCleanup(self.go)

    def go(self) -> None:
        for guest in self.guests:
            guest.close()

    def start(self, **given: str) -> list[int]:
        """The ports of the proxy, which is started."""
        self.begin(**given)
        return [port.getHost().port for port in self.gateway.serving.ports]  # type: ignore[attr-defined]  # of TCP

    def begin(self, **given: str) -> None:
        defaults = {"prefix": str(self.prefix), "proxy_listen": "127.0.0.1:0", "admin_listen": "off", "database": "off"}
        self.gateway = GatewayService(self.reactor, load(None, {}, {**defaults, **given}))
        self.gateway.startService()
        self.addCleanup(self.gateway.stopService)

    async def come(self, port: int, source: str = "127.0.0.1", before: bytes = b"") -> tuple[Guest, bool]:
        """A connection, and whether it is served."""
        guest = Guest(port, source, before)
        self.guests.append(guest)
        return guest, await deferToThread(guest.is_served)

    async def until(self, count: int) -> None:
        """Wait until the gateway has so many connections, no longer than the test may take."""
        while self.gateway.serving.core.admission.count != count:
            await deferLater(self.reactor, 0.01)

    def refused(self) -> dict[str, int]:
        return {reason: count for reason, count in self.gateway.serving.traffic.refused.connections.items() if count}

    async def test_in_all_and_of_a_listener(self) -> None:
        """One too many is closed at once, at its listener or anywhere; whoever leaves makes room, and others go on."""
        one, other = self.start(
            proxy_listen="127.0.0.1:0 max_connections=2, 127.0.0.1:0", nginx_events_worker_connections="3"
        )
        first, served = await self.come(one)
        assert served
        assert (await self.come(one))[1]
        assert not (await self.come(one))[1]
        assert (await self.come(other))[1]
        assert not (await self.come(other))[1]
        assert self.refused() == {"listener_connections": 1, "worker_connections": 1}
        first.close()
        await self.until(2)
        assert (await self.come(one))[1]
        assert await deferToThread(self.guests[1].is_served)

    async def test_of_a_client(self) -> None:
        """A client has so many connections, whoever introduces it."""
        header = b"PROXY TCP4 127.0.0.5 127.0.0.1 1 2\r\n"
        plain, introduced = self.start(
            proxy_listen="127.0.0.1:0, 127.0.0.1:0 proxy_protocol",
            max_connections_per_client="2",
            trusted_ips="127.0.0.1",
            real_ip_header="proxy_protocol",
        )
        assert (await self.come(plain, "127.0.0.5"))[1]
        guest, served = await self.come(introduced, "127.0.0.1", header)
        assert served
        assert not (await self.come(introduced, "127.0.0.1", header))[1]
        assert not (await self.come(plain, "127.0.0.5"))[1]
        assert (await self.come(plain, "127.0.0.6"))[1]
        assert self.refused() == {"client_connections": 2}
        guest.close()
        await self.until(2)
        assert (await self.come(plain, "127.0.0.5"))[1]

    async def test_handshakes(self) -> None:
        """So many handshakes are under way at a time; who has done with it leaves room for another."""
        (port,) = self.start(proxy_listen="127.0.0.1:0 ssl", max_tls_handshakes="2")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.guests += [Guest(port), Guest(port)]
        await self.until(2)
        assert not (await self.come(port))[1]
        assert self.refused() == {"tls_handshakes": 1}
        secured = await deferToThread(context.wrap_socket, self.guests[0]._socket)
        self.addCleanup(secured.close)
        self.guests.append(Guest(port))
        await self.until(3)
        assert not (await self.come(port))[1]

    async def test_however_they_end(self) -> None:
        """A connection is counted until it is closed, over TLS or not, in due order or not."""
        plain, secure = self.start(proxy_listen="127.0.0.1:0, 127.0.0.1:0 ssl http2")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for port in (plain, secure):
            for linger in (None, struct.pack("ii", 1, 0)):
                guest = Guest(port)
                await self.until(1)
                sock = guest._socket
                if port == secure:
                    sock = await deferToThread(context.wrap_socket, sock)
                if linger:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)  # its end is a reset
                sock.close()
                await self.until(0)
        assert self.refused() == {}

    async def test_unix_sockets_are_counted(self) -> None:
        """Whatever a connection came by, it is counted until it is closed."""
        path = self.prefix / "proxy.sock"
        self.begin(proxy_listen=f"unix:{path}", nginx_events_worker_connections="1")
        for _ in range(3):
            with socket.socket(socket.AF_UNIX) as guest:
                guest.connect(str(path))
                await self.until(1)
            await self.until(0)
        assert self.refused() == {}


# -- no descriptors --------------------------------------------------------------------------------------------


def cpu(process: int) -> float:
    """Seconds of CPU that a process has had."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts descriptors in /proc")
def test_out_of_descriptors(tmp_path: Path) -> None:
    """A gateway without descriptors closes who comes, serves who is there, does not spin, and recovers."""
    with StagedGateway(tmp_path, "--database", "off") as gateway:
        process = gateway._process.pid
        there = Guest(gateway.proxy_port)
        assert there.is_served()
        used = len(list(Path(f"/proc/{process}/fd").iterdir()))
        resource.prlimit(process, resource.RLIMIT_NOFILE, (used + 10, used + 10))
        crowd = [Guest(gateway.proxy_port) for _ in range(60)]
        served = [guest.is_served() for guest in crowd]
        assert 0 < sum(served) <= 10
        more = [Guest(gateway.proxy_port) for _ in range(60)]
        before = cpu(process)
        with pytest.raises(subprocess.TimeoutExpired):
            gateway._process.wait(1)
        assert cpu(process) - before < 0.5
        assert there.is_served()
        for guest in crowd + more:
            guest.close()
        deadline = time.monotonic() + 20
        recovered = False
        while not recovered:
            assert time.monotonic() < deadline
            guest = Guest(gateway.proxy_port)
            recovered = guest.is_served()
            guest.close()
        there.close()
