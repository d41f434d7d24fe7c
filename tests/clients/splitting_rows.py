"""Answers that somebody has read in two ways: what an origin sends before it closes, and what its client gets."""

from __future__ import annotations

from typing import NamedTuple

OK = b"HTTP/1.1 200 OK\r\n"
SIZED = b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HELLO, END = b"5\r\nhello\r\n", b"0\r\n\r\n"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Evil: 1\r\n\r\nevil"


class Answered(NamedTuple):
    """``body`` is None where not all of it comes, and the client is told so by a connection that breaks."""

    name: str
    sent: bytes
    status: int
    body: bytes | None


REFUSED = {
    "length and chunks": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO + END,
    "chunks and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 15\r\n\r\n" + HELLO + END,
    "length twice": OK + b"Content-Length: 5\r\n" + SIZED,
    "two lengths": OK + b"Content-Length: 0\r\n" + SIZED,
    "two lengths in one": OK + b"Content-Length: 5, 5\r\n\r\nhello",
    "length with a plus": OK + b"Content-Length: +5\r\n\r\nhello",
    "negative length": OK + b"Content-Length: -5\r\n\r\nhello",
    "hexadecimal length": OK + b"Content-Length: 0x5\r\n\r\nhello",
    "length with an underscore": OK + b"Content-Length: 0_5\r\n\r\nhello",
    "length beyond 64 bits": OK + b"Content-Length: 18446744073709551621\r\n\r\nhello",
    "empty length": OK + b"Content-Length:\r\n\r\nhello",
    "length with a parameter": OK + b"Content-Length: 5;a\r\n\r\nhello",
    "length behind a no-break space": OK + b"Content-Length: \xa05\r\n\r\nhello",
    "blank before the colon": OK + b"Content-Length : 5\r\n\r\nhello",
    "unknown coding": OK + b"Transfer-Encoding: xchunked\r\n\r\n" + HELLO + END,
    "identity": OK + b"Transfer-Encoding: identity\r\n\r\nhello",
    "gzip before chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + HELLO + END,
    "chunked before identity": OK + b"Transfer-Encoding: chunked, identity\r\n\r\n" + HELLO + END,
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO + END,
    "chunked behind a vertical tab": OK + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + HELLO + END,
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO + END,
    "NUL in a value": OK + b"X-A: b\0c\r\n" + SIZED,
    "NUL in a name": OK + b"X\0A: b\r\n" + SIZED,
    "CR in a value": OK + b"X-A: b\rX-B: c\r\n" + SIZED,
    "folded": OK + b"X-A: b\r\n c\r\n" + SIZED,
    "no colon": OK + b"X-A\r\n" + SIZED,
    "no name": OK + b": b\r\n" + SIZED,
    "blank in a name": OK + b"X A: b\r\n" + SIZED,
    "no status line": b"hello\r\n\r\n",
    "no answer": b"",
    "half a head": OK + b"X-A: b\r\n",
    "head of forty thousand bytes": OK + b"X-A: " + b"b" * 40_000 + b"\r\n" + SIZED,
    "empty line before": b"\r\n" + OK + SIZED,
    "two blanks before the status": b"HTTP/1.1  200 OK\r\n" + SIZED,
    "tab before the status": b"HTTP/1.1\t200 OK\r\n" + SIZED,
    "blank before the version": b" HTTP/1.1 200 OK\r\n" + SIZED,
    "status of two digits": b"HTTP/1.1 20 OK\r\n" + SIZED,
    "status of four digits": b"HTTP/1.1 2000 OK\r\n" + SIZED,
    "status below 100": b"HTTP/1.1 099 OK\r\n" + SIZED,
    "status with a plus": b"HTTP/1.1 +20 OK\r\n" + SIZED,
    "status that is a word": b"HTTP/1.1 fine\r\n" + SIZED,
    "NUL in the reason": b"HTTP/1.1 200 O\0K\r\n" + SIZED,
    "HTTP/2": b"HTTP/2 200 OK\r\n" + SIZED,
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n" + SIZED,
    "HTTP/0.9": b"hello",
    "another protocol": b"ICY 200 OK\r\n" + SIZED,
    "switch that nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    "interim answer without a final one": b"HTTP/1.1 100 Continue\r\n\r\n",
    "interim answer that is malformed": b"HTTP/1.1 100 Continue\r\nX A: b\r\n\r\n" + OK + SIZED,
    "interim answer with a body": b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello" + OK + SIZED,
    "chunk size that is no number": CHUNKED + b"zz\r\nhello\r\n" + END,
    "chunk size with a minus": CHUNKED + b"-5\r\nhello\r\n" + END,
    "chunk size 0x5": CHUNKED + b"0x5\r\nhello\r\n" + END,
    "chunk size beyond 64 bits": CHUNKED + b"10000000000000005\r\nhello\r\n" + END,
    "chunk size before a line feed": CHUNKED + b"5\nhello\r\n" + END,
    "chunk longer than its size": CHUNKED + b"5\r\nhelloworld\r\n" + END,
    "chunk without a line end": CHUNKED + b"5\r\nhello" + END,
    "line feed in an extension": CHUNKED + b"5;a\nb\r\nhello\r\n" + END,
    "trailer that is malformed": CHUNKED + HELLO + b"0\r\nX A: b\r\n\r\n",
}
UNDERSTOOD = {
    "sound": (OK + SIZED, 200, b"hello"),
    "chunks": (CHUNKED + HELLO + END, 200, b"hello"),
    "chunks with extensions": (CHUNKED + b"5;a=b\r\nhello\r\n0;c\r\n\r\n", 200, b"hello"),
    "trailers that would frame": (CHUNKED + HELLO + b"0\r\nContent-Length: 3\r\nX-Evil: 1\r\n\r\n", 200, b"hello"),
    "until the end": (OK + b"\r\nhello", 200, b"hello"),
    "HTTP/1.0 until the end": (b"HTTP/1.0 200 OK\r\n\r\nhello", 200, b"hello"),
    "line feeds alone": (OK.replace(b"\r", b"") + b"Content-Length: 5\n\nhello", 200, b"hello"),
    "no reason": (b"HTTP/1.1 200\r\n" + SIZED, 200, b"hello"),
    "status of one's own": (b"HTTP/1.1 299 \xe9\r\n" + SIZED, 299, b"hello"),
    "interim answers": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" + OK + SIZED,
        200,
        b"hello",
    ),
    "a thousand interim answers": (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000 + OK + SIZED, 200, b"hello"),
    "a 204 with a body": (b"HTTP/1.1 204 No Content\r\n" + SIZED, 204, b""),
    "a 304 with a body": (b"HTTP/1.1 304 Not Modified\r\n" + SIZED, 304, b""),
    "an answer behind a body": (OK + SIZED + EVIL, 200, b"hello"),
    "an answer behind chunks": (CHUNKED + HELLO + END + EVIL, 200, b"hello"),
    "an answer behind a body of nothing": (OK + b"Content-Length: 0\r\n\r\n" + EVIL, 200, b""),
    "an answer behind a 204": (b"HTTP/1.1 204 No Content\r\n\r\n" + EVIL, 204, b""),
    "an answer in a body": (OK + b"Content-Length: %d\r\n\r\n" % len(EVIL) + EVIL, 200, EVIL),
    "a length named by Connection": (OK + b"Connection: Content-Length\r\n" + SIZED, 200, b"hello"),
    "half a body": (OK + b"Content-Length: 50\r\n\r\nhello", 200, None),
    "half of the chunks": (CHUNKED + HELLO, 200, None),
    "half of the trailers": (CHUNKED + HELLO + b"0\r\nX-A: b\r\n", 200, None),
}
ANSWERS = [
    *(Answered(name, sent, 502, b"") for name, sent in REFUSED.items()),
    *(Answered(name, sent, status, body) for name, (sent, status, body) in UNDERSTOOD.items()),
]
