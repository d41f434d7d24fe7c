"""Who makes connections over TLS, and who talks over WebSockets; run as a program, who answers the latter.

The frames are made once and never looked into: proxies pass on bytes.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import ssl
import sys
from contextlib import ExitStack, closing

from benchmarks.load import HEADERS
from benchmarks.programs import ProgramError

PATIENCE = 30
"""Seconds that anything may take."""
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = base64.b64encode(bytes(16))
MESSAGE = b"\x82\xfe\x00\x80" + bytes(4) + b"m" * 128
"""A masked frame of 128 bytes."""


def shake(port: int, count: int, *, resume: bool) -> int:
    """Connect ``count`` times, one after the other, each time with a request, and resume the session before or none.

    :raise ProgramError: one was resumed that should not have been, or the other way round.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    session, _ = _visit(port, context, None)
    for _ in range(count):
        given = session if resume else None
        session, resumed = _visit(port, context, given)
        if resumed != resume:
            raise ProgramError(f"a session was {'' if resumed else 'not '}resumed")
    return count


def _visit(
    port: int, context: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[ssl.SSLSession | None, bool | None]:
    plain = socket.create_connection(("127.0.0.1", port), PATIENCE)
    with context.wrap_socket(plain, server_hostname="localhost", session=session) as connection:
        connection.sendall(b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while not answer.endswith(b"a" * 128):
            piece = connection.recv(4096)
            if not piece:
                raise ProgramError(f"a connection ended after {answer!r}")
            answer += piece
        return connection.session, connection.session_reused


def talk(port: int, path: str, sockets: int, messages: int) -> int:
    """Have as many messages echoed, over all ``sockets`` in turns; twice as many are passed on.

    :raise ProgramError: what comes back is something else.
    """
    lines = [f"{name}: {value}\r\n" for name, value in HEADERS.items()]
    request = (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{''.join(lines)}Connection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY.decode()}\r\n\r\n"
    )
    with ExitStack() as stack:
        opened = [
            stack.enter_context(closing(socket.create_connection(("127.0.0.1", port), PATIENCE)))
            for _ in range(sockets)
        ]
        for one in opened:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.sendall(request.encode())
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += _receive(one, 1)
            if not head.startswith(b"HTTP/1.1 101 "):
                raise ProgramError(f"expected 101, got {head!r}")
        for _ in range(messages // sockets):
            for one in opened:
                one.sendall(MESSAGE)
            for one in opened:
                if _receive(one, len(MESSAGE)) != MESSAGE:
                    raise ProgramError("a message came back changed")
    return 2 * (messages // sockets) * sockets


def _receive(connection: socket.socket, size: int) -> bytes:
    received = connection.recv(size, socket.MSG_WAITALL)
    if not received:
        raise ProgramError("a connection ended")
    return received


class Echo(asyncio.Protocol):
    """Agrees to whatever WebSocket, then returns the bytes that come."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._head: bytes | None = b""

    def data_received(self, data: bytes) -> None:
        if self._head is None:
            self._transport.write(data)
            return
        self._head += data
        if self._head.endswith(b"\r\n\r\n"):
            accept = base64.b64encode(hashlib.sha1(KEY + MAGIC).digest())
            self._head = None
            self._transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
            )


async def echo(port: int) -> None:
    """Listen until the process ends."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(echo(int(sys.argv[1])))
