"""A body in chunks, of a request or an answer.

What must hold: it is read as RFC 9112 §7.1 says, which is written down here once more in another way; how the bytes
are cut makes no difference; and framed anew it is of the normal form and has the same content.

The first byte says how the bytes are cut.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from functools import partial

import normal_form
from pieces import cut

from twisted_kong.proxy.framing import ChunkedBody, MalformedBody, chunk, last_chunk
from twisted_kong.proxy.trailers import passed_on

LONGEST = 2048
"""Bytes of an input that are looked at: no limit of a line or of the trailers is reached."""
TOKEN = frozenset((string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode())
HEXADECIMAL = frozenset(string.hexdigits.encode())
TEXT = frozenset([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
BAD, MORE = "bad", "more"

Body = tuple[bytes, list[bytes], bytes]
"""Content, trailers and what follows."""


class Unread(Exception):
    """There is no body: it is `BAD`, or `MORE` is missing."""


def by_the_book(data: bytes) -> Body:
    """What is to be read in ``data``.

    :raise Unread: nothing is.
    """
    content = b""
    while True:
        line, rest = _line(data)
        length = _size(line)
        if not length:
            break
        content += rest[:length]
        end, data = rest[length : length + 2], rest[length + 2 :]
        if end != b"\r\n":
            raise Unread(MORE if b"\r\n".startswith(end) else BAD)
    trailers: list[bytes] = []
    while True:
        line, rest = _line(rest)
        if not line:
            return content, trailers, rest
        name, colon, value = line.partition(b":")
        if not (name and colon and TOKEN.issuperset(name) and TEXT.issuperset(value)):
            raise Unread(BAD)
        trailers.append(line)


def _size(line: bytes) -> int:
    size, _, extension = line.partition(b";")
    size = size.rstrip(b" \t")
    if not 1 <= len(size) <= 15 or not HEXADECIMAL.issuperset(size) or not TEXT.issuperset(extension):
        raise Unread(BAD)
    return int(size, 16)


def _line(data: bytes) -> tuple[bytes, bytes]:
    line, end, rest = data.partition(b"\r\n")
    if b"\n" in line:
        raise Unread(BAD)
    if not end:
        raise Unread(MORE)
    return line, rest


def by_us(pieces: list[bytes]) -> Body:
    """What the gateway reads.

    :raise Unread: nothing.
    """
    body = ChunkedBody()
    content = rest = b""
    for piece in pieces:
        if body.ended:
            rest += piece
            continue
        try:
            some, rest = body.feed(piece)
        except MalformedBody:
            raise Unread(BAD) from None
        content += some
    if not body.ended:
        raise Unread(MORE)
    return content, body.trailers, rest


def outcome(read: Callable[[], Body]) -> Body | str:
    """What is read, or why nothing is."""
    try:
        return read()
    except Unread as why:
        return str(why)


class Target:
    """`__call__` is one execution."""

    def __call__(self, data: bytes) -> None:
        plan, sent = data[:1], data[1:LONGEST]
        if not plan or not sent:
            return
        expected = outcome(lambda: by_the_book(sent))
        for pieces in ([sent], cut(sent, plan[0] & 31)):
            found = outcome(partial(by_us, pieces))
            assert found == expected, (found, expected)
        if isinstance(expected, tuple):
            content, trailers, _ = expected
            anew = (chunk(content) if content else b"") + last_chunk(passed_on(trailers))
            head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            (message,) = normal_form.requests(head + anew)
            assert (message.complete, message.body) == (True, content)
            assert {name for name, _ in message.trailers}.isdisjoint({b"host", b"content-length", b"transfer-encoding"})
