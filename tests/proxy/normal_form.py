"""The one form in which the gateway passes requests and answers on, read to the letter.

Whoever is behind a gateway, or before it, may read HTTP in a way of its own; what is of this form can be read in one
way only. Anything else is an `AssertionError`. Written from RFC 9112, and shares nothing with the gateway's parsers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") (/[\x21-\x22\x24-\x7e\x80-\xff]*) HTTP/1\.1")
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9]\d\d) [\t\x20-\x7e\x80-\xff]*")
_FIELD = re.compile(rb"(" + TOKEN + rb"): ((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)")
_SIZE = re.compile(rb"[1-9a-f][0-9a-f]*")

Fields = list[tuple[bytes, bytes]]


@dataclass
class Message:
    """A message's ``first`` are the groups of its first line; ``fields`` have names in lower case.

    ``complete`` says that its end was seen; ``chunked`` that it came in chunks; ``trailers`` followed them.
    """

    first: tuple[bytes, ...]
    fields: Fields
    body: bytes = b""
    complete: bool = False
    chunked: bool = False
    trailers: Fields = field(default_factory=list)

    @property
    def method(self) -> bytes:
        return self.first[0]

    @property
    def target(self) -> bytes:
        return self.first[1]

    @property
    def status(self) -> int:
        return int(self.first[0])

    def values(self, name: bytes) -> list[bytes]:
        return [value for each, value in self.fields if each == name]

    def value(self, name: bytes) -> bytes | None:
        """The one value of the field ``name``, None without it."""
        values = self.values(name)
        assert len(values) < 2, (name, values)
        return values[0] if values else None


def requests(data: bytes) -> list[Message]:
    """The requests in all that came over a connection, of which the last may be incomplete."""
    found = []
    while data:
        message, data = request(data)
        found.append(message)
    return found


def request(data: bytes) -> tuple[Message, bytes]:
    """The first request in ``data``, and what follows it."""
    message, data = _head(data, _REQUEST_LINE)
    if message.first:
        assert message.value(b"host") is not None
        data = _body(message, data, 0)
    return message, data


def answers(data: bytes, methods: Sequence[bytes]) -> list[Message]:
    """The answers in the same, to requests with these methods; those that announce others are left out.

    One whose end is the connection's is never ``complete``.
    """
    found: list[Message] = []
    while data:
        message, data = _head(data, _STATUS_LINE)
        if message.first and message.status < 200:
            assert message.status != 101
            assert message.fields == []
            continue
        assert len(found) < len(methods), "an answer that nobody asked for"
        method = methods[len(found)]
        found.append(message)
        if not message.first:
            break
        assert message.value(b"connection") in (b"close", b"keep-alive")
        if method == b"HEAD" or message.status in (204, 304):
            assert not message.values(b"transfer-encoding")
            message.complete = True
        else:
            data = _body(message, data, None)
    return found


def _head(data: bytes, first_line: re.Pattern[bytes]) -> tuple[Message, bytes]:
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return Message((), []), b""
    first, *lines = head.split(b"\r\n")
    match = first_line.fullmatch(first)
    assert match is not None, first
    return Message(match.groups(), _fields(lines)), rest


def _fields(lines: list[bytes]) -> Fields:
    fields = []
    for line in lines:
        match = _FIELD.fullmatch(line)
        assert match is not None, line
        fields.append((match[1].lower(), match[2]))
    return fields


def _body(message: Message, data: bytes, without: int | None) -> bytes:
    """Take the body from ``data``; ``without`` any framing it has this length, None for all that comes."""
    coding, length = message.value(b"transfer-encoding"), message.value(b"content-length")
    assert coding is None or length is None
    assert coding in (None, b"chunked")
    assert length is None or length.isdigit()
    if coding is not None:
        message.chunked = True
        return _chunks(message, data)
    size = without if length is None else int(length)
    if size is None:
        assert message.value(b"connection") == b"close"
        size = len(data) + 1
    message.body, rest = data[:size], data[size:]
    message.complete = len(message.body) == size
    return rest


def _chunks(message: Message, data: bytes) -> bytes:
    while True:
        line, end, rest = data.partition(b"\r\n")
        if not end:
            return b""
        if line == b"0":
            break
        assert _SIZE.fullmatch(line), line
        size = int(line, 16)
        message.body += rest[:size]
        if len(rest) < size + 2:
            return b""
        assert rest[size : size + 2] == b"\r\n"
        data = rest[size + 2 :]
    if rest.startswith(b"\r\n"):
        message.complete = True
        return rest[2:]
    block, end, rest = rest.partition(b"\r\n\r\n")
    if end:
        message.trailers = _fields(block.split(b"\r\n"))
        message.complete = True
    return rest
