"""Heads: bytes to start lines and fields.

What lives here: the grammar of request and response heads (RFC 9112 §3, §4), their limits, and what is refused of
them. Pure functions and values; no socket, no clock, no Twisted. What must not: decisions about routes, retries or
bodies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from twisted_kong.errors import (
    BadGateway,
    CodingNotSupported,
    HeadTooLarge,
    MethodRefused,
    ProxyError,
    RequestRefused,
    TargetTooLong,
    TooManyFields,
    VersionNotSupported,
)
from twisted_kong.proxy.accelerator import values_of
from twisted_kong.proxy.fields import (
    CLAIMS,
    CONNECTION_BOUND,
    KNOWN_LINE_SIZE,
    KNOWN_LINES,
    TOKEN,
    Meaning,
    Memory,
    RequestMeaning,
)
from twisted_kong.routing.names import split_port

_REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([^\x00-\x20#\x7f]+) HTTP/(\d\.\d)")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9]\d\d)(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?")
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%\-]+)(?::\d{0,5})?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)
SHORTEST_FIELD = 4
"""Bytes of a field with a name of one letter and no value, its end of line included."""
_DIGITS = re.compile(rb"\d{1,18}")

_REQUEST_SPECIAL = (
    CONNECTION_BOUND
    | CLAIMS
    | {b"content-length", b"expect", b"host", b"http2-settings", b"trailer", b"x-kong-request-id"}
)
_RESPONSE_SPECIAL = CONNECTION_BOUND | {
    b"content-length",
    b"server",
    b"trailer",
    b"via",
    b"x-accel-buffering",
    b"x-accel-charset",
    b"x-accel-expires",
    b"x-accel-limit-rate",
    b"x-accel-redirect",
    b"x-kong-proxy-latency",
    b"x-kong-request-id",
    b"x-kong-response-latency",
    b"x-kong-upstream-latency",
    b"x-kong-upstream-status",
}


class RequestLine(NamedTuple):
    """A request's first line: ``path`` as it came, ``query`` with its question mark, ``host`` where it names one."""

    method: bytes
    path: bytes
    query: bytes
    minor: int
    host: bytes | None


class RequestHead:
    """A request's head.

    ``path`` is as it came, ``query`` with its question mark; ``host`` is the authority asked for, ``hostname`` that
    without its port; ``minor`` the version of HTTP/1, or 2 for HTTP/2.
    """

    __slots__ = ("_head", "host", "hostname", "meaning", "method", "minor", "passing", "path", "query")

    def __init__(self, first: RequestLine, head: bytes, passing: bytes, meaning: RequestMeaning) -> None:
        self.method, self.path, self.query, self.minor, host = first
        self._head = head
        self.passing = passing
        self.meaning = meaning
        if host is None:
            self.host = meaning.host
            self.hostname = meaning.hostname
        else:  # it takes the place of Host (RFC 9112 §3.2.2)
            self.host = host
            self.hostname = split_port(host)[0]

    def values(self, name: bytes) -> list[bytes]:
        """All values of the field ``name`` (lower case), in order."""
        return values_of(self._head, name)

    @property
    def takes_trailers(self) -> bool:
        """Whether fields behind the answer reach whoever asks."""
        return self.minor == 2 or (self.minor == 1 and b"trailers" in (self.meaning.value(b"te") or b"").lower())


class ResponseHead:
    """A response's head. ``reason`` may be empty."""

    __slots__ = ("meaning", "passing", "reason", "status")

    def __init__(self, status: int, reason: bytes, passing: bytes, meaning: Meaning) -> None:
        self.status = status
        self.reason = reason
        self.passing = passing
        self.meaning = meaning


def has_date(passing: bytes) -> bool:
    """Whether Date is among these lines of a response."""
    if passing.find(b"\nDate: ") >= 0 or passing.startswith(b"Date: "):  # `in` takes half as long again
        return True
    return b"\ndate: " in b"\n" + passing.lower()


class RequestParser:
    """Parses request heads.

    ``line_limit`` bounds a line, ``head_limit`` the whole head, both in bytes; ``field_limit`` bounds the number of
    fields. No head of up to ``harmless`` bytes exceeds any of them.
    """

    def __init__(self, line_limit: int, head_limit: int, field_limit: int = 1000) -> None:
        self.line_limit = line_limit
        self.head_limit = head_limit
        self.field_limit = field_limit
        self.harmless = min(line_limit, head_limit, SHORTEST_FIELD * field_limit)
        self._memory = Memory(
            _REQUEST_SPECIAL,
            {b"host": _only(_HOST), b"content-length": _only(_DIGITS)},
            RequestMeaning,
            _refuse_request,
        )
        self._first_lines: dict[bytes, RequestLine] = {}

    def parse(self, head: bytes) -> RequestHead:
        """The head before the empty line.

        :raise RequestRefused: it is malformed, ambiguous or too large.
        """
        if len(head) > self.harmless:
            first, *lines = head.split(b"\r\n")
            self.check_size(first, lines, len(head))
        memory = self._memory
        read = memory.read  # see Waiter.arm
        first, passing, special = read(head)
        line = self._first_lines.get(first) or self._read_first_line(first)
        meaning = memory.understand(special, line[3])
        if meaning.dropped:
            passing = memory.passed(head, passing, meaning)
        return RequestHead(line, head, passing, meaning)

    def _read_first_line(self, line: bytes) -> RequestLine:
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            raise RequestRefused("the request line is malformed")
        method, target, version = match.groups()
        if method in _NOT_RELAYED:
            raise MethodRefused(f"{method.decode()} is not relayed")
        minor = _MINOR.get(version)
        if minor is None:
            raise VersionNotSupported(f"HTTP/{version.decode()}")
        host, target = (None, target) if target[0] == 0x2F else _read_absolute_form(target)
        path, question, query = target.partition(b"?")
        read = RequestLine(method, path, question + query, minor, host)
        if len(line) <= KNOWN_LINE_SIZE:
            if len(self._first_lines) >= KNOWN_LINES:
                self._first_lines.clear()
            self._first_lines[line] = read
        return read

    def parse_fields(self, method: bytes, target: bytes, lines: list[bytes], size: int) -> RequestHead:
        """The head of a request that came otherwise framed, as HTTP/1.1 would have it; ``size`` is its own in bytes.

        :raise RequestRefused: as `parse`; ``method`` and ``target`` have been checked.
        """
        if size > self.harmless:
            self.check_size(target, lines, size)
        if method in _NOT_RELAYED:
            raise MethodRefused(f"{method.decode()} is not relayed")
        path, question, query = target.partition(b"?")
        head = _head_of(lines)
        _, passing, special = self._memory.read(head)
        line = RequestLine(method, path, question + query, 1, None)
        meaning = self._memory.understand(special, 1)
        return RequestHead(line, head, self._memory.passed(head, passing, meaning), meaning)

    def may_exceed(self, before: int, now: int) -> bool:
        """Whether the beginning of a head, grown from ``before`` to ``now`` bytes, is to be checked again.

        As soon as it could be too large, then at every eighth of that: or whoever sends single bytes would have each of
        them checked with all before it.
        """
        least = self.harmless
        return now > least and (before <= least or now * 8 // least > before * 8 // least)

    def check_size(self, first: bytes, lines: Sequence[bytes], size: int) -> None:
        """Refuse a head, or the beginning of one, that is too large already."""
        if len(first) > self.line_limit:
            raise TargetTooLong(f"a request line of more than {self.line_limit} bytes")
        if size > self.head_limit or any(len(line) > self.line_limit for line in lines):
            raise HeadTooLarge(f"a header of more than {self.line_limit} bytes, or {self.head_limit} in all")
        if len(lines) > self.field_limit:
            raise TooManyFields(f"more than {self.field_limit} header fields")


def _head_of(lines: Sequence[bytes]) -> bytes:
    """A head of these lines, without a first line of its own."""
    return b"\r\n".join([b"", *lines])


def _only(pattern: re.Pattern[bytes]) -> Callable[[bytes], bytes | None]:
    """The rule that a value must look like ``pattern``."""
    return lambda value: value if pattern.fullmatch(value) else None


def _read_absolute_form(target: bytes) -> tuple[bytes, bytes]:
    """The authority and the rest of ``http://host/path``."""
    match = _ABSOLUTE.fullmatch(target)
    if match is None or not _HOST.fullmatch(match[1]):
        raise RequestRefused("the request target is no path")
    rest = match[2]
    return match[1], rest if rest.startswith(b"/") else b"/" + rest


_NOT_RELAYED = frozenset([b"TRACE", b"CONNECT"])
_MINOR = {b"1.1": 1, b"1.0": 0}


def _refuse_request(reason: str) -> ProxyError:
    if reason.startswith("transfer coding"):
        return CodingNotSupported(reason)
    return RequestRefused(reason)


_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")


def has_bare_line_feed(data: bytes | bytearray, start: int = 0) -> bool:
    """Whether a line ends in a line feed alone, from ``start`` on."""
    return _BARE_LINE_FEED.search(data, start) is not None


_CHARSET_TYPES = frozenset(
    [
        b"text/html",
        b"text/xml",
        b"text/plain",
        b"text/vnd.wap.wml",
        b"application/javascript",
        b"application/rss+xml",
    ]
)
"""The media types nginx appends ``charset`` to."""


class ResponseParser:
    """Parses response heads.

    ``charset`` is appended to texts that name none, None to leave them alone; ``head_limit`` bounds the head in bytes.
    """

    def __init__(self, charset: bytes | None = None, head_limit: int = 32768) -> None:
        self.head_limit = head_limit
        rules = {b"content-length": _only(_DIGITS)}
        if charset is not None:
            rules[b"content-type"] = lambda value: with_charset(value, charset)
        self._memory = Memory(_RESPONSE_SPECIAL, rules, Meaning, BadGateway)
        self._status_lines: dict[bytes, tuple[int, bytes, int]] = {}

    def parse(self, head: bytes) -> ResponseHead:
        """The head before the empty line; lines that end in a line feed alone are understood.

        :raise BadGateway: it is not HTTP/1, malformed or ambiguous.
        """
        memory = self._memory
        read = memory.read
        first, passing, special = read(head)
        known = self._status_lines.get(first)
        if known is None:
            if b"\n" in first:
                head = head.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
                first, passing, special = read(head)
            known = self._read_status_line(first)
        status, reason, minor = known
        meaning = memory.understand(special, minor)
        if meaning.dropped:
            passing = memory.passed(head, passing, meaning)
        return ResponseHead(status, reason, passing, meaning)

    def parse_fields(self, status: int, lines: list[bytes], size: int) -> ResponseHead:
        """The head of an answer that came otherwise framed, as HTTP/1.1 would have it; ``size`` is its own in bytes.

        :raise BadGateway: as `parse`.
        """
        if size > self.head_limit:
            raise BadGateway(f"a head of more than {self.head_limit} bytes")
        head = _head_of(lines)
        _, passing, special = self._memory.read(head)
        meaning = self._memory.understand(special, 1)
        return ResponseHead(status, b"", self._memory.passed(head, passing, meaning), meaning)

    def _read_status_line(self, line: bytes) -> tuple[int, bytes, int]:
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise BadGateway("the status line is malformed")
        read = int(match[2]), match[3] or b"", int(match[1])
        if len(line) <= KNOWN_LINE_SIZE and len(self._status_lines) < KNOWN_LINES:
            self._status_lines[line] = read
        return read


def with_charset(media_type: bytes, charset: bytes) -> bytes:
    """``media_type`` with ``charset`` appended where it is a text and names none, as nginx does."""
    if b"charset" not in media_type.lower() and media_type.partition(b";")[0].strip().lower() in _CHARSET_TYPES:
        return b"%b; charset=%b" % (media_type, charset)
    return media_type
