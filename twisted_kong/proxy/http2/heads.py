"""Heads as HTTP/2 has them: lists of fields, to the heads our HTTP/1 parsers yield, and back. Pure.

A request's fields become the lines it would have in HTTP/1.1, and those are read as any others: routing, forwarding
and limits cannot tell the difference. What could mean something else there than here is refused before (RFC 9113 §8.2,
§8.3): no line end, no NUL and no blank at either end of a value is let through, no field of HTTP/1's own framing,
and no Host beside another authority.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from hpack import HeaderTuple, NeverIndexedHeaderTuple

from twisted_kong.errors import BadGateway, MethodRefused, ProxyError, RequestRefused
from twisted_kong.proxy.fields import KNOWN_LINE_SIZE, KNOWN_LINES
from twisted_kong.proxy.headers import RequestHead, RequestParser, ResponseHead, ResponseParser
from twisted_kong.proxy.trailers import passed_on

Field = tuple[bytes, bytes]

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"(?:[^\x00-\x20\x7f](?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)?")
_PATH = re.compile(rb"/[^\x00-\x20#\x7f]*")
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*")
_STATUS = re.compile(rb"[1-9]\d\d")
_OF_HTTP1 = frozenset([b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"])
"""Fields about the connection, which HTTP/2 says otherwise (RFC 9113 §8.2.2)."""


class MalformedMessage(ProxyError):
    """A message that is an error of its stream (RFC 9113 §8.1.1)."""


class FieldLines(dict[Field, bytes]):
    """Fields, and the header line each would be. When full it starts afresh."""

    def __missing__(self, field: Field) -> bytes:
        name, value = field
        if _NAME.fullmatch(name) is None:
            raise MalformedMessage("the name of a field is malformed")
        if _VALUE.fullmatch(value) is None:
            raise MalformedMessage(f"the value of {name.decode()} is malformed")
        if name in _OF_HTTP1 or (name == b"te" and value != b"trailers"):
            raise MalformedMessage(f"{name.decode()} has no place in HTTP/2")
        line = b"%b: %b" % (name, value)
        if len(line) <= KNOWN_LINE_SIZE:
            if len(self) >= KNOWN_LINES:
                self.clear()
            self[name, value] = line
        return line


class _Pseudo:
    """The pseudo-fields of a head, and the lines of the others."""

    def __init__(self, fields: Sequence[Field], known: FieldLines, allowed: frozenset[bytes]) -> None:
        self.values: dict[bytes, bytes] = {}
        self.lines: list[bytes] = []
        self.size = 0
        cookies: list[bytes] = []
        hosts: list[bytes] = []
        regular = False
        for field in fields:
            name, value = field
            self.size += len(name) + len(value) + 4
            if name[:1] == b":":
                if regular or name not in allowed or name in self.values:
                    raise MalformedMessage("a pseudo-field that is unknown, repeated or out of place")
                self.values[name] = value
                continue
            regular = True
            line = known[field]
            if name == b"cookie":
                cookies.append(value)
            elif name == b"host":
                hosts.append(value)
            else:
                self.lines.append(line)
        self.hosts = hosts
        if cookies:  # crumbs of what is one field elsewhere (RFC 9113 §8.2.3)
            self.lines.append(b"cookie: " + b"; ".join(cookies))


_LENGTH = b"content-length: "
_OF_REQUESTS = frozenset([b":method", b":scheme", b":authority", b":path"])
_OF_RESPONSES = frozenset([b":status"])


class RequestHeads:
    """Reads the heads of requests; ``parser`` is the one for HTTP/1."""

    def __init__(self, parser: RequestParser) -> None:
        self._parser = parser
        self._known = FieldLines()

    def read(self, fields: Sequence[Field], *, ended: bool) -> RequestHead:
        """The head of a request; ``ended`` says that no body follows.

        :raise MalformedMessage: it is none, which is an error of its stream.
        :raise RequestRefused: it is one we do not serve, and say why.
        """
        read = _Pseudo(fields, self._known, _OF_REQUESTS)
        pseudo, lines = read.values, read.lines
        method = pseudo.get(b":method", b"")
        if _METHOD.fullmatch(method) is None:
            raise MalformedMessage("no method")
        if method == b"CONNECT":
            raise MethodRefused("CONNECT is not relayed")
        path, scheme = pseudo.get(b":path", b""), pseudo.get(b":scheme", b"")
        if _SCHEME.fullmatch(scheme) is None:
            raise MalformedMessage("no scheme")
        if path == b"*" and method == b"OPTIONS":
            raise RequestRefused("the request target is no path")
        if _PATH.fullmatch(path) is None:
            raise MalformedMessage("the path is malformed")
        self._add_host(read)
        if ended:
            if any(line.startswith(_LENGTH) and line[len(_LENGTH) :].strip(b"0") for line in lines):
                raise MalformedMessage("a length without a body")
        elif not any(line.startswith(_LENGTH) for line in lines):
            lines.append(b"Transfer-Encoding: chunked")  # which is how HTTP/1 says that the length is not known
        head = self._parser.parse_fields(method, path, lines, read.size)
        head.minor = 2
        return head

    def _add_host(self, read: _Pseudo) -> None:
        """One Host for the authority; two that disagree are no request (RFC 9113 §8.3.1)."""
        authority = read.values.get(b":authority")
        if authority is None:
            read.lines += [b"Host: " + host for host in read.hosts]
            return
        if any(host.lower() != authority.lower() for host in read.hosts) or len(read.hosts) > 1:
            raise MalformedMessage("Host is not the authority")
        if _VALUE.fullmatch(authority) is None:
            raise MalformedMessage("the authority is malformed")
        read.lines.append(b"Host: " + authority)

    def trailers(self, fields: Sequence[Field]) -> bytes:
        """The block of a body's trailers that go on.

        :raise MalformedMessage: they are none.
        """
        return passed_on([self._known[_regular(field)] for field in fields])


class ResponseHeads:
    """Reads the heads of peers' answers; ``parser`` is the one for HTTP/1."""

    def __init__(self, parser: ResponseParser) -> None:
        self._parser = parser
        self._known = FieldLines()

    def read(self, fields: Sequence[Field]) -> ResponseHead:
        """The head of an answer.

        :raise BadGateway: it is malformed.
        """
        try:
            read = _Pseudo(fields, self._known, _OF_RESPONSES)
        except MalformedMessage as error:
            raise BadGateway(str(error)) from None
        status = read.values.get(b":status", b"")
        if _STATUS.fullmatch(status) is None or read.hosts:
            raise BadGateway("the status is malformed")
        return self._parser.parse_fields(int(status), read.lines, read.size)

    def trailers(self, fields: Sequence[Field]) -> bytes:
        """The block of an answer's trailers that go on.

        :raise BadGateway: they are none.
        """
        try:
            return passed_on([self._known[_regular(field)] for field in fields])
        except MalformedMessage as error:
            raise BadGateway(str(error)) from None


def _regular(field: Field) -> Field:
    if field[0][:1] == b":":
        raise MalformedMessage("a pseudo-field among trailers")
    return field


_UNSAID = _OF_HTTP1 | {b"te"}
_NOT_COMPRESSED = frozenset(
    [
        b"authorization",
        b"content-length",
        b"cookie",
        b"proxy-authorization",
        b"set-cookie",
        b"x-kong-proxy-latency",
        b"x-kong-request-id",
        b"x-kong-response-latency",
        b"x-kong-upstream-latency",
    ]
)
"""Secrets nobody may guess at by what compresses well (RFC 7541 §7.1.3), and values that never come again."""


class LineFields(dict[bytes, HeaderTuple | None]):
    """Header lines of ours, and the field each is in HTTP/2; None for those that have no place there."""

    def __missing__(self, line: bytes) -> HeaderTuple | None:
        name, _, value = line.partition(b":")
        name = name.lower()
        value = value.strip(b" \t")
        field: HeaderTuple | None
        if name in _UNSAID and not (name == b"te" and value.lower() == b"trailers"):
            field = None
        elif name in _NOT_COMPRESSED:
            return NeverIndexedHeaderTuple(name, value)
        else:
            field = HeaderTuple(name, value)
        if len(line) <= KNOWN_LINE_SIZE:
            if len(self) >= KNOWN_LINES:
                self.clear()
            self[line] = field
        return field

    def fields(self, pseudo: Iterable[Field], lines: bytes) -> list[Field]:
        """The fields of a head with these pseudo-fields and this block of lines, each with its end."""
        fields: list[Field] = [HeaderTuple(name, value) for name, value in pseudo]
        fields += [field for line in lines.split(b"\r\n") if line and (field := self[line]) is not None]
        return fields
