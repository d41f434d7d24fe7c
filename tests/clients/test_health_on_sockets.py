"""Ten targets on real sockets that fall ill, hang, refuse and recover, while clients ask and somebody edits.

The same as `tests/proxy/test_health_chaos.py`, for a while of real time, with a gateway in a process of its own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

from running_gateway import Admin, RunningGateway, running

SECONDS = 60.0
PATIENCE = 30.0
"""Seconds for what comes by itself, on a machine that has other things to do."""
TARGETS = 10
MODES = ("well", "well", "ill", "odd", "refusing", "hanging", "resetting", "slow")
STATUSES = {"ill": 500, "odd": 403}
CHECKS = {
    "active": {
        "http_path": "/probe",
        "timeout": 0.5,
        "healthy": {"interval": 0.5, "successes": 2},
        "unhealthy": {"interval": 0.5, "http_failures": 2, "tcp_failures": 2, "timeouts": 2},
    },
    "passive": {"healthy": {"successes": 1}, "unhealthy": {"http_failures": 3, "tcp_failures": 2, "timeouts": 2}},
}


class Origin:
    """A target: it behaves as its ``mode`` says, and answers with the path it was asked for."""

    def __init__(self) -> None:
        self.mode = "well"
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def be(self, mode: str) -> None:
        """Behave like this from now on."""
        self.mode = mode
        if mode == "refusing":
            await self.stop()
        elif self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, reuse_address=True)
            self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in [*self._open]:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if self.mode == "hanging":
                    await reader.read()
                    break
                if self.mode == "resetting":
                    writer.transport.abort()
                    break
                if self.mode == "slow":
                    await asyncio.sleep(0.3)
                path = head.split(b" ", 2)[1]
                status = STATUSES.get(self.mode, 200)
                writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(path), path))
                await writer.drain()
        self._open.discard(writer)
        writer.close()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: bytes) -> int:
    """The status of a request, whose answer was its own."""
    writer.write(b"GET %b HTTP/1.1\r\nHost: a.test\r\n\r\n" % path)
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    (length,) = (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    body = await reader.readexactly(length)
    if b"Via: " in head:  # it comes from an origin
        assert body == path, (path, head, body)
    else:
        assert status in (502, 503, 504), head
    return status


class Clients:
    """Ask until they are told to stop; ``statuses`` are all they were answered."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.statuses: list[int] = []
        self.stopped = False

    async def one(self, number: int) -> None:
        while not self.stopped:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            for turn in range(50):
                if self.stopped:
                    break
                path = b"/%d-%d-%d" % (number, len(self.statuses), turn)
                self.statuses.append(await asyncio.wait_for(ask(reader, writer, path), PATIENCE))
            writer.close()


def edit(admin: Admin, random: Random, addresses: list[str]) -> None:
    """Change the configuration, in one way or another."""
    address = random.choice(addresses)
    match random.randrange(3):
        case 0:
            admin.ask("PATCH", f"/upstreams/u/targets/{address}", {"weight": random.randrange(1, 200)})
        case 1:
            admin.ask("DELETE", f"/upstreams/u/targets/{address}")
            assert admin.ask("POST", "/upstreams/u/targets", {"target": address}).status == 201
        case _:
            assert admin.ask("PATCH", "/upstreams/u", {"slots": random.randrange(10, 1000)}).status == 200


async def eventually(what: Callable[[], Any]) -> None:
    """Wait until ``what`` answers something true."""
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE
    while not await loop.run_in_executor(None, what):
        assert loop.time() < end, what()
        await asyncio.sleep(0.1)


def sockets_of(gateway: RunningGateway) -> int:
    directory = f"/proc/{gateway.pid}/fd"
    found = 0
    for name in os.listdir(directory):
        with suppress(OSError):
            found += os.readlink(f"{directory}/{name}").startswith("socket:")
    return found


async def chaos(gateway: RunningGateway, admin: Admin, random: Random) -> None:
    loop = asyncio.get_running_loop()
    origins = [Origin() for _ in range(TARGETS)]
    for origin in origins:
        await origin.be("well")
    addresses = [f"127.0.0.1:{origin.port}" for origin in origins]
    assert admin.ask("POST", "/upstreams", {"name": "u", "healthchecks": CHECKS}).status == 201
    for address in addresses:
        assert admin.ask("POST", "/upstreams/u/targets", {"target": address}).status == 201
    timeouts = {"connect_timeout": 500, "read_timeout": 700, "retries": 3}
    assert admin.ask("POST", "/services", {"name": "s", "host": "u", **timeouts}).status == 201
    assert admin.ask("POST", "/services/s/routes", {"paths": ["/"]}).status == 201
    before = sockets_of(gateway)
    clients = Clients(gateway.proxy_port)
    asking = asyncio.gather(*(clients.one(number) for number in range(8)))
    end = loop.time() + SECONDS
    while loop.time() < end:
        await random.choice(origins).be(random.choice(MODES))
        await loop.run_in_executor(None, edit, admin, random, addresses)
        await asyncio.sleep(random.random() * 0.2)
        assert not asking.done(), asking.result()
    for origin in origins:
        await origin.be("well")

    def states() -> set[str]:
        return {row["health"] for row in admin.ask("GET", "/upstreams/u/health").document["data"]}

    await eventually(lambda: states() == {"HEALTHY"})
    seen = len(clients.statuses)
    await eventually(lambda: len(clients.statuses) > seen + 200)
    clients.stopped = True
    await asking
    assert set(clients.statuses[seen + 20 :]) == {200}
    assert set(clients.statuses) <= {200, 403, 500, 502, 503, 504}
    # the ten origins end, and with them every connection that the gateway had to them
    assert admin.ask("DELETE", "/upstreams/u").status == 204
    for origin in origins:
        await origin.stop()
    await eventually(lambda: sockets_of(gateway) <= before)


def test_chaos() -> None:
    """No answer is another's; when all are well again everybody is told so and asked; nothing is left."""
    with running() as gateway, gateway.admin() as admin:
        asyncio.run(chaos(gateway, admin, Random(20)))
        assert "Traceback" not in gateway.printed()
