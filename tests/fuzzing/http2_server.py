"""Whatever a client sends over HTTP/2: a whole gateway in memory takes it, and asks origins over HTTP/1.1.

What must hold: origins get requests of the normal form, one for a stream at most; what the gateway sends are whole
frames, with as many answers as there were requests, at most; and of what arrives at once no more is passed on than of
the same that arrives bit by bit, before it can be taken back.

The first byte says how: bit 0 whether bodies are streamed, bits 1 to 5 how the bytes are cut; bit 6 whether the others
are frames, or one request's fields (with FF before each value, FE behind it), in which case bit 7 says that it has no
body.
"""

from __future__ import annotations

from collections import Counter

from hpack import Decoder, Encoder
from http1_server import Origins
from hyperframe.frame import DataFrame, Frame, HeadersFrame, SettingsFrame
from loopback import Lab
from pieces import cut, without_ids

from twisted_kong.proxy.http2.choice import PREFACE

LONGEST = 2048
"""Bytes of an input that are looked at."""
GREETING = PREFACE + SettingsFrame(0).serialize()


def request(data: bytes, *, ended: bool) -> bytes:
    """The frames of a request whose fields are in ``data``."""
    fields = [(name, value) for each in data.split(b"\xfe") if each for name, _, value in [each.partition(b"\xff")]]
    head = HeadersFrame(1, Encoder().encode(fields), flags=["END_HEADERS", *(["END_STREAM"] if ended else [])])
    return head.serialize() + (b"" if ended else DataFrame(1, b"body", flags=["END_STREAM"]).serialize())


def answered(received: bytes) -> int:
    """How many requests have been answered by origins, in the frames that a client received."""
    decoder = Decoder()
    count = 0
    while received:
        frame, length = Frame.parse_frame_header(memoryview(received[:9]))
        body, received = received[9 : 9 + length], received[9 + length :]
        assert len(body) == length
        frame.parse_body(memoryview(body))
        if isinstance(frame, HeadersFrame):
            assert "END_HEADERS" in frame.flags
            names = [name for name, *_ in decoder.decode(frame.data, raw=True)]
            count += b"x-number" in names
    return count


class Run:
    """The same bytes sent once: ``requests`` the origins got."""

    def __init__(self, lab: Lab, pieces: list[bytes]) -> None:
        origins = Origins(lab)
        client = lab.client(GREETING)
        for piece in pieces:
            client.send(piece)
            lab.turns()
            origins.serve()
        received = client.received
        origins.end(client)
        self.requests = Counter(
            (*each.first, without_ids(repr(each.fields).encode()), each.body) for each in origins.answered
        )
        assert answered(received) <= len(origins.answered)


class Target:
    """Runs; `__call__` is one execution."""

    def __init__(self) -> None:
        self._labs = [Lab(route={"request_buffering": not streamed}, http2=True) for streamed in (False, True)]
        self._count = 0

    def __call__(self, data: bytes) -> None:
        if not data:
            return
        plan, sent = data[0], data[1:LONGEST]
        if plan & 64:
            sent = request(sent, ended=bool(plan & 128))
        lab = self._labs[plan & 1]
        self._count += 1
        if not self._count % 64:
            for each in self._labs:
                each.network.advance(1000)  # let go of deadlines that nobody waits for any more
        whole = Run(lab, [sent])
        pieces = Run(lab, cut(sent, plan >> 1 & 31))
        assert whole.requests <= pieces.requests, (whole.requests, pieces.requests)
        assert not plan & 64 or sum(pieces.requests.values()) <= 1
