"""The clients of the soak that speak HTTP/1, in the clear and over TLS: steady ones, slow ones, and such that leave."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Sequence
from contextlib import suppress
from random import Random

from benchmarks.soak.score import Answer, Request, Score

ANSWERING = 30
"""Seconds within which a whole answer has to come."""
_tokens = itertools.count(1)


def new_token() -> str:
    """One that nobody else has."""
    return f"t{next(_tokens)}"


class Broken(Exception):
    """The connection ended; ``answer`` is what there is of one by then."""

    def __init__(self, answer: Answer | None = None) -> None:
        super().__init__("the connection ended")
        self.answer = answer


class Connection:
    """One connection of HTTP/1.1."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.usable = True

    def send(self, request: Request, head: str = "") -> None:
        """Send the head, and a body if there is one and ``head`` says nothing of it."""
        lines = head or (f"Content-Length: {len(request.sent)}\r\n" if request.sent else "")
        where = "rough" if request.rough else "steady"
        target = f"/{where}/{request.token}?size={request.size}{'&chunked=1' if request.size % 2 else ''}"
        self.writer.write(f"{request.method} {target} HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n".encode())
        if not head:
            self.writer.write(request.sent)

    async def answer(self, method: str = "GET", pause: float = 0) -> Answer:
        """The next answer; ``pause`` before each piece of its body.

        :raise Broken: there is none, or a part of one.
        """
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, OSError):
            self.usable = False
            raise Broken from None
        first, *lines = head.rstrip("\r\n").split("\r\n")
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        answer = Answer(int(first.split(" ")[1]), fields, b"")
        if fields["connection"] == "close":
            self.usable = False
        if method != "HEAD":
            try:
                await self._read_body(answer, pause)
            except (asyncio.IncompleteReadError, OSError):
                self.usable = False
                answer.complete = False
                raise Broken(answer) from None
        return answer

    async def _read_body(self, answer: Answer, pause: float) -> None:
        if "transfer-encoding" in answer.fields:
            while size := int(await self._line(), 16):
                answer.body += (await self.reader.readexactly(size + 2))[:-2]
                await asyncio.sleep(pause)
            await self._line()
        else:
            left = int(answer.fields["content-length"])
            while left:
                await asyncio.sleep(pause)
                piece = await self.reader.read(min(left, 65536))
                if not piece:
                    raise ConnectionError
                answer.body += piece
                left -= len(piece)

    async def _line(self) -> bytes:
        line = await self.reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError
        return line

    def leave(self) -> None:
        """Be gone, politely or not."""
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


class Clients:
    """Each method is one turn of a client of one kind."""

    def __init__(self, port: int, tls_port: int, score: Score, random: Random) -> None:
        self._port = port
        self._tls_port = tls_port
        self._score = score
        self._random = random
        self._kept: dict[str, Connection] = {}
        self._tls = ssl.create_default_context()
        self._tls.check_hostname = False  # which certificate is in force changes all the while
        self._tls.verify_mode = ssl.CERT_NONE

    async def connect(self, kind: str, *, tls: bool = False) -> Connection:
        """The connection this kind keeps, or a new one."""
        kept = self._kept.get(kind)
        if kept is not None and kept.usable and not kept.reader.at_eof():
            return kept
        if kept is not None:
            await kept.close()
        self._kept[kind] = connection = await self.fresh(tls=tls)
        return connection

    async def fresh(self, *, tls: bool = False) -> Connection:
        """A connection of one's own."""
        if tls:
            name = self._random.choice(["a.test", "b.test"])
            opened = asyncio.open_connection("127.0.0.1", self._tls_port, ssl=self._tls, server_hostname=name)
        else:
            opened = asyncio.open_connection("127.0.0.1", self._port)
        return Connection(*await opened)

    def _request(self, kind: str, *, method: str = "GET", sent: bytes = b"") -> Request:
        size = self._random.choice([0, 100, 1001, 20_000, 65_537])
        return Request(kind, new_token(), self._random.random() < 0.5, method, size, sent)

    async def _judge(self, connection: Connection, requests: Sequence[Request], pause: float = 0) -> None:
        """Read the answers to these requests and have them judged; one that breaks off takes the others along."""
        for index, request in enumerate(requests):
            if not connection.usable:
                self._score.noted(request.kind, "not asked")  # the answer before was the connection's last
                continue
            try:
                answer = await asyncio.wait_for(connection.answer(request.method, pause), ANSWERING)
            except TimeoutError:
                self._score.failed(request, f"no answer within {ANSWERING} s")
                connection.usable = False
                return
            except Broken as broken:
                if broken.answer is None:
                    self._score.failed(request, "no answer")
                else:
                    self._score.answered(request, broken.answer)
                for _ in requests[index + 1 :]:
                    self._score.noted(request.kind, "not asked")
                return
            self._score.answered(request, answer)

    async def keep_alive(self) -> None:
        """One request after the other on one connection."""
        connection = await self.connect("keep-alive")
        request = self._request("keep-alive", method=self._random.choice(["GET", "GET", "HEAD"]))
        connection.send(request)
        await self._judge(connection, [request])

    async def encrypted(self) -> None:
        """The same over TLS, on new connections now and then."""
        connection = await self.connect("TLS", tls=True)
        request = self._request("TLS")
        connection.send(request)
        await self._judge(connection, [request])
        if self._random.random() < 0.2:
            connection.usable = False

    async def pipeline(self) -> None:
        """Several requests at once, on a connection that they have for themselves."""
        connection = await self.fresh()
        requests = [self._request("pipelining") for _ in range(self._random.randint(2, 8))]
        for request in requests:
            connection.send(request)
        await self._judge(connection, requests)
        await connection.close()

    async def post(self) -> None:
        """A body of announced length, in pieces."""
        connection = await self.connect("POST")
        request = self._request(
            "POST", method="POST", sent=self._random.randbytes(self._random.choice([1, 9999, 300_000]))
        )
        connection.send(request, f"Content-Length: {len(request.sent)}\r\n")
        for at in range(0, len(request.sent), 50_000):
            await self._write(connection, request.sent[at : at + 50_000])
        await self._judge(connection, [request])

    async def post_chunks(self) -> None:
        """A body in chunks, which the gateway streams."""
        connection = await self.connect("chunks")
        request = self._request(
            "chunks", method="POST", sent=self._random.randbytes(self._random.choice([1, 5000, 90_000]))
        )
        connection.send(request, "Transfer-Encoding: chunked\r\n")
        step = self._random.choice([700, 30_000])
        for at in range(0, len(request.sent), step):
            piece = request.sent[at : at + step]
            await self._write(connection, b"%x\r\n%b\r\n" % (len(piece), piece))
        await self._write(connection, b"0\r\n\r\n")
        await self._judge(connection, [request])

    async def _write(self, connection: Connection, data: bytes) -> None:
        with suppress(OSError):  # it was answered early; the answer is judged all the same
            connection.writer.write(data)
            await connection.writer.drain()
            await asyncio.sleep(0.002)

    async def dawdle(self) -> None:
        """A request byte by byte, its answer taken slowly."""
        connection = await self.fresh()
        request = Request("slow", new_token(), size=300_000)
        head = f"GET /steady/{request.token}?size={request.size} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode()
        for at in range(0, len(head), 4):
            connection.writer.write(head[at : at + 4])
            await asyncio.sleep(0.01)
        await self._judge(connection, [request], pause=0.05)
        await connection.close()

    async def depart(self) -> None:
        """A client that leaves: in its head, in its body, while it waits, or in its answer."""
        connection = await self.fresh()
        request = self._request("leaving", method="POST", sent=b"x" * 50_000)
        request.size = 500_000
        when = self._random.randrange(4)
        if when == 0:
            connection.writer.write(b"GET /steady/x HTTP/1.1\r\nHo")
        elif when == 1:
            connection.send(request, "Content-Length: 50000\r\n")
            connection.writer.write(b"x" * 10_000)
        else:
            connection.send(request)
        if when == 3:
            with suppress(asyncio.IncompleteReadError, OSError):
                await asyncio.wait_for(connection.reader.readuntil(b"\r\n\r\n"), ANSWERING)
        else:
            await asyncio.sleep(self._random.choice([0, 0.01, 0.05]))
        connection.leave()
        self._score.noted("leaving", "left")

    async def close(self) -> None:
        """Close what is kept."""
        for connection in self._kept.values():
            await connection.close()
