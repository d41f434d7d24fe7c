"""Whatever an origin answers over HTTP/1: a gateway in memory takes it, and the next request as well.

What must hold:

- the client gets one answer of the normal form, or a part of one on a connection that breaks; what answers the next
  request is its answer and nothing left over from the first;
- how the bytes were cut on their way makes no difference, but for what an answer that breaks has shown by then;
- what the client gets is what llhttp, which is somebody else's parser, reads in the same bytes, where both read them.

The first byte says how: bit 0 whether the request is a HEAD, bits 1 to 5 how the bytes are cut, bit 6 whether the
client speaks HTTP/1.0, bit 7 whether the connection stays open behind them. The others are what the origin sends.
"""

from __future__ import annotations

from dataclasses import dataclass

import httptools
import normal_form
import spoken
from agreement import end_to_end
from loopback import Lab, Line
from normal_form import Message
from pieces import cut, without_ids

LONGEST = 4096
"""Bytes of an input that are looked at."""
NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Next: 1\r\n\r\nnext"
ADDED = (b"server", b"x-kong-", b"x-accel-", b"trailer")
"""Beginnings of the names of fields that are not passed on just so."""


@dataclass
class Way:
    """How it goes: what the first byte says."""

    method: bytes
    minor: int
    stays: bool

    @property
    def request(self) -> bytes:
        te = b"TE: trailers\r\n" if self.minor else b""
        return b"%b / HTTP/1.%d\r\nHost: a.test\r\n%b\r\n" % (self.method, self.minor, te)


class Run:
    """One answer: ``message`` is what the client got, ``whole`` that it is all of it, ``theirs`` that it is the
    origin's."""

    def __init__(self, lab: Lab, way: Way, pieces: list[bytes], *, again: bool) -> None:
        client = lab.client(way.request)
        origin = lab.origin()
        for piece in pieces:
            origin.send(piece)
            lab.turns()
        if not way.stays:
            origin.close()
            lab.turns()
        if not self._read(client, way) and origin.lost is None:
            origin.close()  # there is no more of it
            lab.turns()
            self._read(client, way)
        assert self.whole or client.ended, "half of an answer, on a connection that stays"
        if again:
            self._ask_again(lab, origin)
        for line in (client, *lab.origins()):
            if line.lost is None:
                line.close()
                lab.turns()
        lab.forget()

    def _read(self, client: Line, way: Way) -> bool:
        messages = normal_form.answers(client.received, [way.method])
        self.message = message = messages[0] if messages else Message((), [])
        self.theirs = bool(message.values(b"via"))
        unframed = bool(message.first) and not (message.values(b"content-length") or message.chunked)
        self.whole = message.complete or (unframed and client.closed)
        return self.whole

    def _ask_again(self, lab: Lab, origin: Line) -> None:
        """Another client gets the answer to its own request."""
        client = lab.client(b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n")
        if lab.dials[-1].waiting:
            origin = lab.origin()
        assert b"GET /next " in origin.received
        origin.send(NEXT)
        lab.turns()
        (answer,) = normal_form.answers(client.received, [b"GET"])
        assert (answer.body, answer.complete) == (b"next", True), answer
        client.close()
        lab.turns()

    @property
    def told(self) -> object:
        """What must not depend on how the bytes came."""
        if not (self.whole and self.theirs):
            return None
        message = self.message
        return message.first, without_ids(repr(message.fields).encode()), message.body, message.trailers


class Target:
    """Runs; `__call__` is one execution."""

    def __init__(self) -> None:
        self._lab = Lab(service={"retries": 0}, settings={"nginx_http_charset": "off"})
        self._count = 0

    def __call__(self, data: bytes) -> None:
        if not data:
            return
        plan, sent = data[0], data[1:LONGEST]
        way = Way(b"HEAD" if plan & 1 else b"GET", 0 if plan & 64 else 1, bool(plan & 128))
        self._count += 1
        if not self._count % 64:
            self._lab.network.advance(1000)  # let go of deadlines that nobody waits for any more
        whole = Run(self._lab, way, [sent], again=bool(plan & 2))
        pieces = Run(self._lab, way, cut(sent, plan >> 1 & 31), again=not plan & 2)
        assert whole.told == pieces.told, (whole.message, pieces.message)
        if way.method == b"GET" and whole.whole and whole.theirs:
            self._compare(sent, whole.message)

    def _compare(self, sent: bytes, ours: Message) -> None:
        try:
            theirs = next((each for each in spoken.answers(sent) if each.status >= 200), None)
        except httptools.HttpParserError:
            return
        if theirs is None:
            return
        assert (ours.status, ours.body) == (theirs.status, theirs.body), (ours, theirs)
        added = ADDED if theirs.values(b"date") else (*ADDED, b"date")
        fields = [each for each in end_to_end(ours.fields) if not each[0].startswith(added)]
        assert fields == [each for each in end_to_end(theirs.fields) if not each[0].startswith(ADDED)], (ours, theirs)
