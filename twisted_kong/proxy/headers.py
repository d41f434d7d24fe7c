"""Heads: bytes to fields and back.

What lives here: the grammar of request and response heads (RFC 9112), which fields concern only one connection,
and the rule that anything ambiguous is refused. Pure functions and values; no socket, no clock, no Twisted. What
must not: decisions about routes, retries or bodies.

Clients and origins repeat themselves, so a parser remembers. A head is split into lines, and of a line seen before
the form it is passed on in is known at once. The few fields that are not passed on just so are *special*
(`Special`); what a combination of them means together (`Meaning`) is remembered as well. Nothing is ever passed on as
it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from twisted_kong.errors import (
    BadGateway,
    CodingNotSupported,
    HeadTooLarge,
    MethodRefused,
    ProxyError,
    RequestRefused,
    TargetTooLong,
    VersionNotSupported,
)

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_FIELD = re.compile(rb"(" + TOKEN + rb"):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)", re.DOTALL)
_REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([^\x00-\x20#\x7f]+) HTTP/(\d\.\d)")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9]\d\d)(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?")
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%\-]+)(?::\d{0,5})?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)
_DIGITS = re.compile(rb"\d{1,18}")

KNOWN_LINES = 4096
KNOWN_LINE_SIZE = 256
KNOWN_MEANING_SIZE = 512
"""Bytes of special lines beyond which their meaning is not remembered: it would not come again, but fill the memory."""


class Special(bytes):
    """A field that the gateway itself has to look at; as bytes, what is passed on of it at once: nothing.

    ``name`` is in lower case, ``value`` without surrounding blanks, ``line`` the line it was.
    """

    name: bytes
    value: bytes
    line: bytes


def _make_special(name: bytes, value: bytes, line: bytes) -> Special:
    special = Special()
    special.name, special.value, special.line = name, value, line
    return special


class KnownLines(dict[bytes, bytes]):
    """Header lines, and what is passed on of them. When full it starts afresh: what is repeated is soon known again.

    ``special`` are the names of fields that are not passed on just so; ``rules`` tell of some names what a value
    becomes when it is passed on, None where it is malformed.
    """

    def __init__(
        self,
        special: frozenset[bytes],
        rules: Mapping[bytes, Callable[[bytes], bytes | None]],
        refuse: Callable[[str], ProxyError],
    ) -> None:
        super().__init__()
        self._special = special
        self._rules = rules
        self._refuse = refuse

    def __missing__(self, line: bytes) -> bytes:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise self._refuse("a header line that is no field")
        spelled, value = match.groups()
        name = spelled.lower()
        value = value.rstrip(b" \t")
        rule = self._rules.get(name)
        passed = value if rule is None else rule(value)
        if passed is None:
            raise self._refuse(f"the value of {name.decode()} is malformed")
        if name in self._special:
            known: bytes = _make_special(name, value, line)
        else:
            known = b"%b: %b\r\n" % (spelled, passed)
        if len(line) <= KNOWN_LINE_SIZE:
            if len(self) >= KNOWN_LINES:
                self.clear()
            self[line] = known
        return known


_CONNECTION_BOUND = frozenset(
    [b"connection", b"keep-alive", b"proxy", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"]
)
"""Fields about one connection (RFC 9110 §7.6.1) and those nginx counts among them."""

_REQUEST_SPECIAL = _CONNECTION_BOUND | {
    b"content-length",
    b"expect",
    b"host",
    b"http2-settings",
    b"via",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-path",
    b"x-forwarded-port",
    b"x-forwarded-prefix",
    b"x-forwarded-proto",
    b"x-kong-request-id",
    b"x-real-ip",
}
_CLAIMS = frozenset(
    [
        b"te",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-path",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-real-ip",
    ]
)
"""What a client may say about itself, or about its way here."""

_RESPONSE_SPECIAL = _CONNECTION_BOUND | {
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


class Meaning:
    """What the special fields of a head say together.

    ``values`` are their values by lower-case name; ``length`` the announced length of the body in bytes, None
    without one; ``chunked`` says that the body comes in chunks; ``persistent`` that the connection outlives the
    message; ``dropped`` are the names that Connection lists, whose fields end here. ``remembered`` says that the next
    head with the same special fields has this very object.
    """

    __slots__ = ("chunked", "dropped", "length", "persistent", "remembered", "values")

    def __init__(self, special: Iterable[Special], minor: int, refuse: Callable[[str], ProxyError]) -> None:
        self.values: dict[bytes, list[bytes]] = {}
        for field in special:
            self.values.setdefault(field.name, []).append(field.value)
        self.length: int | None = None
        self.chunked = False
        self.persistent = minor == 1
        self.remembered = False
        self.dropped: frozenset[bytes] = frozenset()
        if b"connection" in self.values:
            self._read_connection()
        self._read_framing(minor, refuse)

    def value(self, name: bytes) -> bytes | None:
        """The value of a special field, several joined as one list (RFC 9110 §5.3); None without it."""
        values = self.values.get(name)
        return None if values is None else b", ".join(values)

    def _read_connection(self) -> None:
        options = {option.strip().lower() for value in self.values[b"connection"] for option in value.split(b",")}
        if b"close" in options:
            self.persistent = False
        elif b"keep-alive" in options:
            self.persistent = True
        self.dropped = frozenset(options - {b"close", b"keep-alive", b""})

    def _read_framing(self, minor: int, refuse: Callable[[str], ProxyError]) -> None:
        """Where the body ends (RFC 9112 §6.3); whatever could be read in two ways is refused."""
        codings = self.values.get(b"transfer-encoding")
        lengths = self.values.get(b"content-length")
        if codings is not None:
            if lengths is not None:
                raise refuse("both Content-Length and Transfer-Encoding")
            if minor == 0:
                raise refuse("Transfer-Encoding in HTTP/1.0")
            if len(codings) != 1:
                raise refuse("more than one Transfer-Encoding")
            if codings[0].lower() != b"chunked":
                raise refuse(f"transfer coding {codings[0]!r}")
            self.chunked = True
        elif lengths is not None:
            if len(lengths) != 1:
                raise refuse("more than one Content-Length")
            self.length = int(lengths[0])


class RequestMeaning(Meaning):
    """The same of a request.

    ``host`` is the authority, empty in an HTTP/1.0 request without one, ``hostname`` that without its port;
    ``has_body`` says that a body follows, ``claims`` that the client says something about itself or its way here.
    """

    __slots__ = ("claims", "has_body", "host", "hostname")

    def __init__(self, special: Iterable[Special], minor: int, refuse: Callable[[str], ProxyError]) -> None:
        super().__init__(special, minor, refuse)
        hosts = self.values.get(b"host", ())
        if len(hosts) != 1 and (minor == 1 or hosts):
            raise RequestRefused("no Host" if not hosts else "more than one Host")
        self.host = hosts[0] if hosts else b""
        self.hostname = without_port(self.host)
        self.has_body = self.chunked or bool(self.length)
        self.claims = not _CLAIMS.isdisjoint(self.values)


M = TypeVar("M", bound=Meaning)


class Memory(Generic[M]):
    """Reads the lines of heads, remembering lines and meanings."""

    def __init__(
        self,
        special: frozenset[bytes],
        rules: Mapping[bytes, Callable[[bytes], bytes | None]],
        meaning: Callable[[Iterable[Special], int, Callable[[str], ProxyError]], M],
        refuse: Callable[[str], ProxyError],
    ) -> None:
        self._known = KnownLines(special, rules, refuse)
        self._meanings: tuple[dict[tuple[bytes, ...], M], ...] = ({}, {})  # by minor version
        self._meaning = meaning
        self._refuse = refuse

    def read(self, lines: list[bytes], minor: int) -> tuple[bytes, M]:
        """The block of lines that are passed on, and what the others mean."""
        fields = list(map(self._known.__getitem__, lines))
        key = tuple([field.line for field in fields if field.__class__ is Special])
        meaning = self._meanings[minor].get(key)
        if meaning is None:
            meaning = self._work_out(key, fields, minor)
        if meaning.dropped:
            fields = [field for field in fields if field.partition(b":")[0].lower() not in meaning.dropped]
        return b"".join(fields), meaning

    def _work_out(self, key: tuple[bytes, ...], fields: list[bytes], minor: int) -> M:
        special = [field for field in fields if isinstance(field, Special)]
        meaning = self._meaning(special, minor, self._refuse)
        if sum(map(len, key)) <= KNOWN_MEANING_SIZE:
            meanings = self._meanings[minor]
            if len(meanings) >= KNOWN_LINES:
                meanings.clear()
            meanings[key] = meaning
            meaning.remembered = True
        return meaning

    def values(self, lines: list[bytes], name: bytes) -> list[bytes]:
        """All values of the field ``name`` (lower case), in order."""
        found = []
        for line in lines:
            field = self._known[line]
            if isinstance(field, Special):
                if field.name == name:
                    found.append(field.value)
            elif field[: len(name)].lower() == name and field[len(name) : len(name) + 2] == b": ":
                found.append(field[len(name) + 2 : -2])
        return found


class RequestHead:
    """A request's head.

    ``path`` is as it came, ``query`` with its question mark; ``host`` is the authority asked for, ``hostname`` that
    without its port.
    """

    __slots__ = ("_lines", "_memory", "host", "hostname", "meaning", "method", "minor", "passing", "path", "query")

    def __init__(
        self, method: bytes, target: bytes, minor: int, lines: list[bytes], memory: Memory[RequestMeaning]
    ) -> None:
        self.method = method
        self.minor = minor
        self._lines = lines
        self._memory = memory
        self.passing, self.meaning = memory.read(lines, minor)
        self.host = self.meaning.host
        self.hostname = self.meaning.hostname
        if target[0] != 0x2F:
            target = self._read_absolute_form(target)
        self.path, question, query = target.partition(b"?")
        self.query = question + query

    def _read_absolute_form(self, target: bytes) -> bytes:
        """``http://host/path``: its authority takes the place of Host (RFC 9112 §3.2.2)."""
        match = _ABSOLUTE.fullmatch(target)
        if match is None or not _HOST.fullmatch(match[1]):
            raise RequestRefused("the request target is no path")
        self.host = match[1]
        self.hostname = without_port(self.host)
        rest = match[2]
        return rest if rest.startswith(b"/") else b"/" + rest

    def values(self, name: bytes) -> list[bytes]:
        """All values of the field ``name`` (lower case), in order."""
        return self._memory.values(self._lines, name)


class ResponseHead:
    """A response's head. ``reason`` may be empty."""

    __slots__ = ("meaning", "passing", "reason", "status")

    def __init__(self, status: int, reason: bytes, passing: bytes, meaning: Meaning) -> None:
        self.status = status
        self.reason = reason
        self.passing = passing
        self.meaning = meaning


class RequestParser:
    """Parses request heads. ``line_limit`` bounds a line, ``head_limit`` the whole head, both in bytes."""

    def __init__(self, line_limit: int, head_limit: int) -> None:
        self.line_limit = line_limit
        self.head_limit = head_limit
        self._memory = Memory(
            _REQUEST_SPECIAL,
            {b"host": _only(_HOST), b"content-length": _only(_DIGITS)},
            RequestMeaning,
            _refuse_request,
        )

    def parse(self, head: bytes) -> RequestHead:
        """The head before the empty line.

        :raise RequestRefused: it is malformed, ambiguous or too large.
        """
        lines = head.split(b"\r\n")
        first = lines.pop(0)
        if len(head) > self.line_limit:
            self.check_size(first, lines, len(head))
        match = _REQUEST_LINE.fullmatch(first)
        if match is None:
            raise RequestRefused("the request line is malformed")
        method, target, version = match.groups()
        if method in _NOT_RELAYED:
            raise MethodRefused(f"{method.decode()} is not relayed")
        minor = _MINOR.get(version)
        if minor is None:
            raise VersionNotSupported(f"HTTP/{version.decode()}")
        return RequestHead(method, target, minor, lines, self._memory)

    def check_size(self, first: bytes, lines: Iterable[bytes], size: int) -> None:
        """Refuse a head, or the beginning of one, that is too large already."""
        if len(first) > self.line_limit:
            raise TargetTooLong(f"a request line of more than {self.line_limit} bytes")
        if size > self.head_limit or any(len(line) > self.line_limit for line in lines):
            raise HeadTooLarge(f"a header of more than {self.line_limit} bytes, or {self.head_limit} in all")


def without_port(host: bytes) -> bytes:
    """The host of an authority."""
    if b":" in host and not host.endswith(b"]"):
        return host[: host.rindex(b":")]
    return host


def _only(pattern: re.Pattern[bytes]) -> Callable[[bytes], bytes | None]:
    """The rule that a value must look like ``pattern``."""
    return lambda value: value if pattern.fullmatch(value) else None


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
        lines = head.split(b"\r\n")
        first = lines.pop(0)
        if b"\n" in first:
            first, *lines = head.replace(b"\r\n", b"\n").split(b"\n")
        status, reason, minor = self._status_lines.get(first) or self._read_status_line(first)
        return ResponseHead(status, reason, *self._memory.read(lines, minor))

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
