"""Heads: bytes to fields and back.

What lives here: the grammar of request and response heads (RFC 9112), which fields concern only one connection,
and the rule that anything ambiguous is refused. Pure functions and values; no socket, no clock, no Twisted. What
must not: decisions about routes, retries or bodies.

A head is split into lines and every line is looked up among the lines seen before: clients repeat theirs from
request to request, and what is known of a line (its name in lower case, whether it may be passed on, whether its
value is well formed) need not be found out again. Nothing is ever passed on as it came; a known line carries its
rebuilt form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from twisted_kong.errors import (
    BadGateway,
    CodingNotSupported,
    HeadTooLarge,
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


class Field:
    """One header line: ``name`` in lower case, ``value`` without surrounding blanks, ``line`` as we would write it.

    ``special`` says that the gateway itself has to look at the field before it may be passed on, if at all.
    """

    __slots__ = ("line", "name", "special", "value")

    def __init__(self, name: bytes, value: bytes, special: bool) -> None:
        self.name = name.lower()
        self.value = value
        self.line = b"%b: %b\r\n" % (name, value)
        self.special = special


class KnownLines(dict[bytes, Field]):
    """The lines seen before. When full it starts afresh: what is repeated is soon known again."""

    def __init__(
        self,
        special: frozenset[bytes],
        checks: Mapping[bytes, re.Pattern[bytes]],
        refuse: Callable[[str], ProxyError],
    ) -> None:
        super().__init__()
        self._special = special
        self._checks = checks
        self._refuse = refuse

    def __missing__(self, line: bytes) -> Field:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise self._refuse("a header line that is no field")
        name = match[1].lower()
        value = match[2].rstrip(b" \t")
        check = self._checks.get(name)
        if check is not None and not check.fullmatch(value):
            raise self._refuse(f"the value of {name.decode()} is malformed")
        field = Field(match[1], value, name in self._special)
        if len(line) <= KNOWN_LINE_SIZE:
            if len(self) >= KNOWN_LINES:
                self.clear()
            self[line] = field
        return field


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
_RESPONSE_SPECIAL = _CONNECTION_BOUND | {
    b"content-length",
    b"content-type",
    b"date",
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

E_ = TypeVar("E_", bound=ProxyError)


class Head(Generic[E_]):
    """What requests and responses have in common.

    ``passing`` is the block of lines that go on as they are; ``special`` the fields that do not, by lower-case
    name; ``length`` the announced length of the body in bytes, None without one; ``chunked`` says that the body
    comes in chunks; ``persistent`` that the connection outlives the message.
    """

    __slots__ = ("chunked", "fields", "length", "minor", "passing", "persistent", "special")

    def __init__(self, fields: list[Field], minor: int, refuse: Callable[[str], ProxyError]) -> None:
        self.fields = fields
        self.minor = minor
        self.special: dict[bytes, list[bytes]] = {}
        self.length: int | None = None
        self.chunked = False
        self.persistent = minor == 1
        special = self.special
        for field in fields:
            if field.special:
                special.setdefault(field.name, []).append(field.value)
        dropped = self._read_connection(special) if b"connection" in special else None
        if dropped:
            lines = [field.line for field in fields if not field.special and field.name not in dropped]
        else:
            lines = [field.line for field in fields if not field.special]
        self.passing = b"".join(lines)
        if b"content-length" in special or b"transfer-encoding" in special:
            self._read_framing(special, refuse)

    def _read_connection(self, special: dict[bytes, list[bytes]]) -> set[bytes]:
        """The options of Connection; answers the names of fields that end here."""
        options = {option.strip().lower() for value in special[b"connection"] for option in value.split(b",")}
        if b"close" in options:
            self.persistent = False
        elif b"keep-alive" in options:
            self.persistent = True
        return options - {b"close", b"keep-alive", b""}

    def _read_framing(self, special: dict[bytes, list[bytes]], refuse: Callable[[str], ProxyError]) -> None:
        """Where the body ends (RFC 9112 §6.3); whatever could be read in two ways is refused."""
        codings = special.get(b"transfer-encoding")
        lengths = special.get(b"content-length")
        if codings is not None:
            if lengths is not None:
                raise refuse("both Content-Length and Transfer-Encoding")
            if self.minor == 0:
                raise refuse("Transfer-Encoding in HTTP/1.0")
            if len(codings) != 1:
                raise refuse("more than one Transfer-Encoding")
            if codings[0].lower() != b"chunked":
                raise (
                    CodingNotSupported(f"transfer coding {codings[0]!r}")
                    if refuse is RequestRefused
                    else refuse(f"transfer coding {codings[0]!r}")
                )
            self.chunked = True
        elif lengths is not None:
            if len(lengths) != 1:
                raise refuse("more than one Content-Length")
            self.length = int(lengths[0])

    def values(self, name: bytes) -> list[bytes]:
        """All values of the field ``name`` (lower case), in order."""
        return [field.value for field in self.fields if field.name == name]

    def value(self, name: bytes) -> bytes | None:
        """The value of a special field, several joined as one list (RFC 9110 §5.3); None without it."""
        values = self.special.get(name)
        return None if values is None else values[0] if len(values) == 1 else b", ".join(values)


class RequestHead(Head[RequestRefused]):
    """A request's head.

    ``path`` is as it came, ``query`` with its question mark; ``host`` is the authority, empty in an HTTP/1.0
    request without one.
    """

    __slots__ = ("has_body", "host", "method", "path", "query")

    def __init__(self, method: bytes, target: bytes, minor: int, fields: list[Field]) -> None:
        super().__init__(fields, minor, RequestRefused)
        self.method = method
        self.has_body = self.chunked or bool(self.length)
        hosts = self.special.get(b"host", ())
        if len(hosts) != 1 and (minor == 1 or hosts):
            raise RequestRefused("no Host" if not hosts else "more than one Host")
        self.host = hosts[0] if hosts else b""
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
        rest = match[2]
        return rest if rest.startswith(b"/") else b"/" + rest


class ResponseHead(Head[BadGateway]):
    """A response's head. ``reason`` may be empty."""

    __slots__ = ("reason", "status")

    def __init__(self, status: int, reason: bytes, minor: int, fields: list[Field]) -> None:
        super().__init__(fields, minor, BadGateway)
        self.status = status
        self.reason = reason


class RequestParser:
    """Parses request heads. ``line_limit`` bounds a line, ``head_limit`` the whole head, both in bytes."""

    def __init__(self, line_limit: int, head_limit: int) -> None:
        self.line_limit = line_limit
        self.head_limit = head_limit
        self._known = KnownLines(_REQUEST_SPECIAL, {b"host": _HOST, b"content-length": _DIGITS}, RequestRefused)

    def parse(self, head: bytes) -> RequestHead:
        """The head before the empty line.

        :raise RequestRefused: it is malformed, ambiguous or too large.
        """
        first, *lines = head.split(b"\r\n")
        self.check_size(first, lines, len(head))
        match = _REQUEST_LINE.fullmatch(first)
        if match is None:
            raise RequestRefused("the request line is malformed")
        method, target, version = match.groups()
        if version == b"1.1":
            minor = 1
        elif version == b"1.0":
            minor = 0
        else:
            raise VersionNotSupported(f"HTTP/{version.decode()}")
        known = self._known
        return RequestHead(method, target, minor, [known[line] for line in lines])

    def check_size(self, first: bytes, lines: Iterable[bytes], size: int) -> None:
        """Refuse a head, or the beginning of one, that is too large already."""
        if len(first) > self.line_limit:
            raise TargetTooLong(f"a request line of more than {self.line_limit} bytes")
        if size > self.line_limit and (size > self.head_limit or any(len(line) > self.line_limit for line in lines)):
            raise HeadTooLarge(f"a header of more than {self.line_limit} bytes, or {self.head_limit} in all")


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
    """Parses response heads. ``head_limit`` bounds the head in bytes."""

    def __init__(self, head_limit: int = 32768) -> None:
        self.head_limit = head_limit
        self._known = KnownLines(_RESPONSE_SPECIAL, {b"content-length": _DIGITS}, BadGateway)

    def parse(self, head: bytes) -> ResponseHead:
        """The head before the empty line; lines that end in a line feed alone are understood.

        :raise BadGateway: it is not HTTP/1, malformed or ambiguous.
        """
        first, *lines = head.split(b"\r\n")
        if b"\n" in head and has_bare_line_feed(head):
            first, *lines = head.replace(b"\r\n", b"\n").split(b"\n")
        match = _STATUS_LINE.fullmatch(first)
        if match is None:
            raise BadGateway("the status line is malformed")
        known = self._known
        return ResponseHead(int(match[2]), match[3] or b"", int(match[1]), [known[line] for line in lines])


def with_charset(media_type: bytes, charset: bytes) -> bytes:
    """``media_type`` with ``charset`` appended where it is a text and names none, as nginx does."""
    if b"charset" not in media_type.lower() and media_type.partition(b";")[0].strip().lower() in _CHARSET_TYPES:
        return b"%b; charset=%b" % (media_type, charset)
    return media_type
