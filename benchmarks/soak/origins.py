"""The origins of the soak: they answer with the token of the request, and those that are rough fail in every way.

Each fault is noted with the token of the request that it hit (`Faults`), so that every failure a client sees can be
explained, or cannot.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from contextlib import suppress
from random import Random
from urllib.parse import parse_qsl

KEPT = 3.0
"""Seconds that the gateway keeps a connection nobody uses (`upstream_keepalive_idle_timeout`): for so long it may take
one that is dead for one that is alive, where it has had no time to look."""
GENTLE = 16384
"""Bytes of a body written at a time."""


def content(token: str, size: int) -> bytes:
    """What a request with this token is answered with."""
    seed = f"{token};".encode()
    return (seed * (size // len(seed) + 1))[:size]


class Faults:
    """What was done to which request, by token; and when origins were killed."""

    def __init__(self) -> None:
        self.tokens: dict[str, str] = {}
        self._killed: list[float] = []

    def killed(self) -> None:
        """An origin has just been killed: connections to it that were kept are gone."""
        self._killed.append(time.monotonic())

    def since_kill(self) -> float:
        """Seconds since the last one was."""
        return time.monotonic() - max(self._killed, default=-math.inf)

    def recently_killed(self, since: float) -> bool:
        """Whether one was killed after ``since``, or so shortly before that a connection to it may have been kept."""
        return any(moment > since - KEPT for moment in self._killed)


class Origin:
    """One origin; a ``rough`` one resets, hangs and dawdles, each request at most once."""

    def __init__(self, faults: Faults, random: Random, *, rough: bool) -> None:
        self.port = 0
        self._faults = faults
        self._random = random
        self._rough = rough
        self._server: asyncio.Server | None = None
        self._under_way: dict[asyncio.StreamWriter, str] = {}
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen, on the same port as the last time."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def kill(self) -> None:
        """Be gone at once, with every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._faults.killed()
        for writer, token in self._under_way.items():
            if token:
                self._faults.tokens[token] = "killed"
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self._under_way[writer] = ""
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError):
                while await self._answer_one(reader, writer):
                    self._under_way[writer] = ""
        finally:
            self._under_way.pop(writer, None)
            self._serving.discard(task)
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        path, _, query = target.partition("?")
        token = path.rpartition("/")[2]
        asked = dict(parse_qsl(query))
        self._under_way[writer] = token
        digest = await _read_body(reader, fields)
        fault = self._fault(token)
        if fault == "hangs":
            await reader.read(1)  # until the gateway gives up
            return False
        if fault == "dawdles":
            await asyncio.sleep(0.3)
        size = int(asked.get("size", "100"))
        body = content(token, size)
        framing = "Transfer-Encoding: chunked" if "chunked" in asked else f"Content-Length: {size}"
        head = f"HTTP/1.1 200 OK\r\n{framing}\r\nX-Token: {token}\r\nX-Digest: {digest}\r\n\r\n"
        writer.write(head.encode())
        if method != "HEAD":
            await _write_body(writer, body, chunked="chunked" in asked, breaks=fault == "resets")
        if fault == "resets":
            writer.transport.abort()
            return False
        await writer.drain()
        return True

    def _fault(self, token: str) -> str:
        if not self._rough or token == "health" or token in self._faults.tokens:
            return ""
        (fault,) = self._random.choices(["", "resets", "hangs", "dawdles"], [90, 4, 1, 5])
        if fault in ("resets", "hangs"):
            self._faults.tokens[token] = fault
        return fault


async def _read_body(reader: asyncio.StreamReader, fields: dict[str, str]) -> str:
    """The SHA-1 of a request's body."""
    digest = hashlib.sha1(usedforsecurity=False)
    if "transfer-encoding" in fields:
        while size := int(await _line(reader), 16):
            digest.update((await reader.readexactly(size + 2))[:-2])
        await _line(reader)
    else:
        left = int(fields.get("content-length", "0"))
        while left:
            piece = await reader.read(min(left, 65536))
            if not piece:
                raise ConnectionError
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()


async def _write_body(writer: asyncio.StreamWriter, body: bytes, *, chunked: bool, breaks: bool) -> None:
    end = len(body) // 2 if breaks else len(body)
    for at in range(0, end, GENTLE):
        piece = body[at : min(at + GENTLE, end)]
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        await writer.drain()
    if chunked and not breaks:
        writer.write(b"0\r\n\r\n")


async def _line(reader: asyncio.StreamReader) -> bytes:
    line = await reader.readline()
    if not line.endswith(b"\n"):
        raise ConnectionError  # the gateway has given up
    return line
