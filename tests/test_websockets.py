"""WebSockets through a gateway, in the manner of the Autobahn test suite: an echoing server and a client of others.

Whatever the client does must have the same consequences as it would have without a gateway in between: messages of all
sizes and fragmentations, control frames, every way to close, and violations, which the server is to find.
"""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from twisted_kong.service import GatewayService
from twisted_kong.settings import load

SIZES = (0, 1, 125, 126, 127, 128, 65535, 65536, 65537, 1 << 20)
CODES = (*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999)
PATIENCE = 90
"""Seconds that a client may take for all it does, on a machine however busy."""
MASK = b"\0\0\0\0"
"""A mask that leaves everything as it is."""


def frame(first: int, payload: bytes) -> bytes:
    """A masked frame that begins with the byte ``first``."""
    assert len(payload) < 126
    return bytes([first, 0x80 | len(payload)]) + MASK + payload


VIOLATIONS = {
    "reserved bits": (frame(0xF1, b"x"), 1002),
    "reserved opcode": (frame(0x83, b"x"), 1002),
    "reserved control opcode": (frame(0x8B, b""), 1002),
    "fragmented ping": (frame(0x09, b"x"), 1002),
    "long ping": (bytes([0x89, 0xFE, 0, 126]) + MASK + b"x" * 126, 1002),
    "continuation of nothing": (frame(0x80, b"x"), 1002),
    "a message within another": (frame(0x01, b"x") + frame(0x81, b"y"), 1002),
    "text that is not UTF-8": (frame(0x81, b"\xce\xba\xff"), 1007),
    "text that is not UTF-8 across fragments": (frame(0x01, b"\xf4") + frame(0x80, b"\x90\x80\x80"), 1007),
    "a code that must not be sent": (frame(0x88, (1005).to_bytes(2, "big")), 1002),
    "half a code": (frame(0x88, b"\x03"), 1002),
    "a reason that is not UTF-8": (frame(0x88, (1000).to_bytes(2, "big") + b"\xff"), 1007),
    "no mask": (bytes([0x81, 1]) + b"x", 1002),
}


def echo(socket: ServerConnection) -> None:
    """Return every message, whole ones whole; close when told ``close CODE REASON``, or ``cut``."""
    try:
        for message in socket:
            if isinstance(message, str) and message.startswith("close "):
                code, reason = message.removeprefix("close ").split(" ", 1)
                socket.close(int(code), reason)
            elif message == "cut":
                socket.socket.close()
            else:
                socket.send(message)
    except ConnectionClosed:
        pass


def choose(socket: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The subprotocol ``echo`` where it is offered."""
    return next((one for one in offered if one == "echo"), None)


async def end_of(socket: ClientConnection) -> Close | None:
    """What the server says at the end of a connection, None if it says nothing."""
    with pytest.raises(ConnectionClosed) as end:
        await socket.recv()
    return end.value.rcvd


@contextmanager
def origin() -> Iterator[int]:
    """The port of an echoing server."""
    with serve(echo, "127.0.0.1", 0, select_subprotocol=choose, max_size=None) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join()


def believing() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Clients:
    """What a client does, in a thread and on an event loop of its own; ``url`` is the gateway's.

    The library's other client, whose connections have two threads, is none for TLS: OpenSSL lets no two use a
    connection at once, and what one sends while the other reads a session ticket is lost without a word.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def perform(self, act: Callable[[Clients], Awaitable[None]]) -> None:
        """Do ``act``, within `PATIENCE`: for a thread that waits for ever the process would, too."""

        async def in_time() -> None:
            async with asyncio.timeout(PATIENCE):
                await act(self)

        asyncio.run(in_time())

    def open(self, **options: Any) -> AbstractAsyncContextManager[ClientConnection]:
        context = believing() if self._url.startswith("wss") else None
        return connect(self._url, ssl=context, max_size=None, proxy=None, **options)

    async def messages(self) -> None:
        """Messages of all sizes, texts and binaries, compressed or not."""
        for compression in (None, "deflate"):
            async with self.open(compression=compression) as socket:
                for size in SIZES:
                    for message in (os.urandom(size), "κόσμε\U0001f600x" * (size // 16)):
                        await socket.send(message)
                        assert await socket.recv() == message

    async def fragments(self) -> None:
        """Messages in fragments arrive as the messages they are, with control frames between them."""
        async with self.open(compression=None) as socket:
            for size in (0, 1, 100, 70_000):
                pieces = [os.urandom(size) for _ in range(5)]
                await socket.send(pieces)
                assert await socket.recv() == b"".join(pieces)
            texts = ["κό", "", "σμε", "\U0001f600"]
            await socket.send(texts)
            assert await socket.recv() == "".join(texts)
            for cut in range(1, 5):  # in the middle of a character
                text = "\U0001f600!".encode()
                socket.transport.write(frame(0x01, text[:cut]) + frame(0x89, b"between") + frame(0x80, text[cut:]))
                assert await socket.recv() == "\U0001f600!"

    async def control_frames(self) -> None:
        """Pings of all sizes are answered with the same, and pongs that nobody asked for are passed over."""
        async with self.open() as socket:
            for size in (0, 1, 125):
                await (await socket.ping(os.urandom(size)))
            for pong in [await socket.ping() for _ in range(20)]:
                await pong
            await socket.pong(b"unasked")
            await socket.send("still there")
            assert await socket.recv() == "still there"

    async def closed_by_the_client(self) -> None:
        """The code and the reason of the client are those that the server answers."""
        for code in CODES:
            async with self.open() as socket:
                await socket.close(code, "r" * 123)
                assert socket.close_code == code
        async with self.open() as socket:
            socket.transport.write(frame(0x88, b""))
            assert await end_of(socket) == Close(1005, "")

    async def closed_by_the_server(self) -> None:
        """The code and the reason of the server arrive as they are."""
        for code in CODES:
            async with self.open() as socket:
                await socket.send(f"close {code} κόσμε")
                assert await end_of(socket) == Close(code, "κόσμε")

    async def cut(self) -> None:
        """A server that vanishes vanishes for the client as well."""
        async with self.open() as socket:
            await socket.send("cut")
            assert await end_of(socket) is None

    async def violations(self) -> None:
        """What is against the protocol reaches the server untouched: it is the server that says so."""
        for name, (data, code) in VIOLATIONS.items():
            async with self.open(compression=None) as socket:
                socket.transport.write(data)
                said = await end_of(socket)
                assert said is not None, name
                assert said.code == code, name

    async def negotiation(self) -> None:
        """Subprotocols and extensions are the server's to choose."""
        async with self.open(subprotocols=["other", "echo"]) as socket:
            assert socket.subprotocol == "echo"
            assert [one.name for one in socket.protocol.extensions] == ["permessage-deflate"]

    async def many(self) -> None:
        """Many messages, sent before any is read, come back in order."""
        async with self.open(compression=None) as socket:
            for number in range(500):
                await socket.send(b"%d" % number)
            assert [await socket.recv() for _ in range(500)] == [b"%d" % number for number in range(500)]


class WebSocketTests(TestCase):
    """A gateway on the reactor of the tests; clients and server in threads."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor

    async def through(self, scheme: str, act: Callable[[Clients], Awaitable[None]]) -> None:
        """Let a client do ``act`` through a gateway, and see to it that nothing is left of it."""
        prefix = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, prefix)
        with origin() as port:
            document = prefix / "kong.yml"
            document.write_text(
                f"{{_format_version: '3.0', services: [{{url: 'http://127.0.0.1:{port}', routes: [{{paths: [/]}}]}}]}}"
            )
            given = {
                "prefix": str(prefix),
                "proxy_listen": "127.0.0.1:0" + " ssl" * (scheme == "wss"),
                "admin_listen": "off",
                "database": "off",
                "declarative_config": str(document),
            }
            gateway = GatewayService(self.reactor, load(None, {}, given))
            gateway.startService()
            try:
                (listening,) = gateway.serving.ports
                url = f"{scheme}://127.0.0.1:{listening.getHost().port}/"  # type: ignore[attr-defined]
                await deferToThread(Clients(url).perform, act)
            finally:
                await gateway.stopService()
            assert gateway.serving.core.exchanges == 0

    async def test_messages(self) -> None:
        await self.through("ws", Clients.messages)

    async def test_messages_over_tls(self) -> None:
        await self.through("wss", Clients.messages)

    async def test_fragments(self) -> None:
        await self.through("ws", Clients.fragments)

    async def test_control_frames(self) -> None:
        await self.through("ws", Clients.control_frames)

    async def test_closed_by_the_client(self) -> None:
        await self.through("ws", Clients.closed_by_the_client)

    async def test_closed_by_the_server(self) -> None:
        await self.through("ws", Clients.closed_by_the_server)

    async def test_closed_by_the_server_over_tls(self) -> None:
        await self.through("wss", Clients.closed_by_the_server)

    async def test_cut(self) -> None:
        await self.through("ws", Clients.cut)

    async def test_violations(self) -> None:
        await self.through("ws", Clients.violations)

    async def test_negotiation(self) -> None:
        await self.through("ws", Clients.negotiation)

    async def test_many(self) -> None:
        await self.through("wss", Clients.many)
