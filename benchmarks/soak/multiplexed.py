"""The clients of the soak that have a connection for many things: HTTP/2, and WebSockets that last."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset
from websockets.asyncio.client import connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from benchmarks.soak.clients import ANSWERING, new_token
from benchmarks.soak.score import Answer, Request, Score


@dataclass
class _Stream:
    request: Request
    answer: Answer = field(default_factory=lambda: Answer(0, {}, b"", complete=False))
    over: bool = False


async def several_streams(port: int, score: Score, random: Random) -> None:
    """A connection of HTTP/2 over TLS, with some requests at a time on it."""
    tls = ssl.create_default_context()
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    tls.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname="a.test")
    h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
    h2.initiate_connection()
    streams: dict[int, _Stream] = {}
    for _ in range(random.randint(1, 8)):
        size = random.choice([0, 100, 1001, 30_000])
        sent = random.randbytes(random.choice([0, 0, 3000]))
        method = "POST" if sent else "GET"
        request = Request("HTTP/2", new_token(), random.random() < 0.5, method, size, sent)
        id = h2.get_next_available_stream_id()
        streams[id] = _Stream(request)
        where = "rough" if request.rough else "steady"
        path = f"/{where}/{request.token}?size={size}{'&chunked=1' if size % 2 else ''}"
        fields = [(":method", method), (":scheme", "https"), (":authority", "a.test"), (":path", path)]
        h2.send_headers(id, fields, end_stream=not sent)
        if sent:
            h2.send_data(id, sent, end_stream=True)
    with suppress(TimeoutError):  # which those that are not over are judged by
        await asyncio.wait_for(_converse(h2, streams, reader, writer), ANSWERING)
    for stream in streams.values():
        if stream.answer.status:
            score.answered(stream.request, stream.answer)
        else:
            score.failed(stream.request, "no answer")
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def _converse(
    h2: H2Connection, streams: dict[int, _Stream], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while True:
        writer.write(h2.data_to_send())
        await writer.drain()
        if all(stream.over for stream in streams.values()):
            return
        data = await reader.read(65536)
        if not data:
            return
        for event in h2.receive_data(data):
            _happened(h2, streams, event)


def _happened(h2: H2Connection, streams: dict[int, _Stream], event: Event) -> None:
    if isinstance(event, ResponseReceived):
        fields = {str(name): str(value) for name, value in event.headers}
        streams[event.stream_id].answer = Answer(int(fields[":status"]), fields, b"", complete=False)
    elif isinstance(event, DataReceived):
        streams[event.stream_id].answer.body += event.data
        h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
    elif isinstance(event, StreamEnded):
        streams[event.stream_id].answer.complete = streams[event.stream_id].over = True
    elif isinstance(event, StreamReset):
        streams[event.stream_id].over = True


class Echo:
    """An origin that speaks WebSocket, and says everything once more."""

    def __init__(self) -> None:
        self.port = 0
        self._server: Server | None = None

    async def start(self) -> None:
        self._server = await serve(self._serve, "127.0.0.1", 0, ping_interval=None)
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def _serve(self, connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            async for message in connection:
                await connection.send(message)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()


async def conversation(port: int, score: Score, random: Random, *, lasting: float) -> None:
    """A WebSocket that lives for so many seconds, through every change, and gets back what it says."""
    token = new_token()
    end = asyncio.get_running_loop().time() + lasting
    try:
        async with connect(f"ws://127.0.0.1:{port}/echo/{token}", ping_interval=None, proxy=None) as connection:
            number = 0
            while asyncio.get_running_loop().time() < end:
                number += 1
                message = f"{token}-{number} " * random.choice([1, 10, 2000])
                await connection.send(message)
                if await asyncio.wait_for(connection.recv(), ANSWERING) != message:
                    score.crossed.append(f"WebSocket {token} got what it had not said")
                score.noted("WebSocket", "right")
                await asyncio.sleep(random.choice([0.05, 0.5]))
    except (ConnectionClosed, OSError, TimeoutError) as error:
        score.unexplained.append(f"WebSocket {token}: {type(error).__name__}: {error}")
