"""Header lines: what each is, and what the special ones of a head mean together.

What lives here: the grammar of a field (RFC 9112 §5), which fields concern only one connection, where a body ends,
and the rule that anything ambiguous is refused. Pure functions and values. Start lines and whole heads are in
`twisted_kong.proxy.headers`.

Clients and origins repeat themselves, so a reader of lines remembers. Of a line seen before the form it is passed on
in is known at once. The few fields that are not passed on just so are *special* (`Special`); what a combination of
them means together (`Meaning`) is remembered as well. Nothing is ever passed on as it came. The lines themselves are
walked by a `LineReader`, which may be compiled (`twisted_kong.proxy.accelerator`); then only special lines come here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar, cast

from twisted_kong.errors import ProxyError, RequestRefused
from twisted_kong.proxy.accelerator import LineReader
from twisted_kong.routing.names import split_port

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_FIELD = re.compile(rb"(" + TOKEN + rb"):[ \t]*+([^\x00-\x08\x0a-\x1f\x7f]*+)")
"""Possessive, or a long line of blanks would be tried in a long line of ways."""

KNOWN_LINES = 4096
KNOWN_LINE_SIZE = 256
KNOWN_MEANING_SIZE = 512
"""Bytes of special lines beyond which their meaning is not remembered: it would not come again, but fill the memory."""


class Special(bytes):
    """A field that the gateway itself has to look at; as bytes, what is passed on of it at once: nothing.

    ``name`` is in lower case, ``value`` without surrounding blanks; ``size`` are the bytes of its line, ``remembered``
    says that the same line is this very object the next time. Compared by identity.
    """

    name: bytes
    value: bytes
    size: int
    remembered: bool

    __eq__ = object.__eq__
    __hash__ = object.__hash__


def _make_special(name: bytes, value: bytes, size: int) -> Special:
    special = Special()
    special.name, special.value, special.size, special.remembered = name, value, size, size <= KNOWN_LINE_SIZE
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
        self.watched = special | rules.keys()
        self._refuse = refuse

    def __missing__(self, line: bytes) -> bytes:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise self._refuse("a header line that is no field")
        spelled, value = match.groups()
        value = value.rstrip(b" \t")
        name = spelled.lower()
        known = self._look_at(name, spelled, value, line) if name in self.watched else b"%b: %b\r\n" % (spelled, value)
        if len(line) <= KNOWN_LINE_SIZE:
            if len(self) >= KNOWN_LINES:
                self.clear()
            self[line] = known
        return known

    def _look_at(self, name: bytes, spelled: bytes, value: bytes, line: bytes) -> bytes:
        """What is passed on of a field that is special, or has a rule, or both."""
        rule = self._rules.get(name)
        passed = value if rule is None else rule(value)
        if passed is None:
            raise self._refuse(f"the value of {name.decode()} is malformed")
        return _make_special(name, value, len(line)) if name in self._special else b"%b: %b\r\n" % (spelled, passed)


CONNECTION_BOUND = frozenset(
    [b"connection", b"keep-alive", b"proxy", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"]
)
"""Fields about one connection (RFC 9110 §7.6.1) and those nginx counts among them."""

CLAIMS = frozenset(
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


class Meaning:
    """What the special fields of a head say together.

    ``values`` are their values by lower-case name; ``length`` the announced length of the body in bytes, None
    without one; ``chunked`` says that the body comes in chunks; ``persistent`` that the connection outlives the
    message; ``dropped`` are the names that Connection lists, whose fields end here; ``trailer`` are those that are to
    follow the body. ``remembered`` says that the next head with the same special fields has this very object.
    """

    __slots__ = ("chunked", "dropped", "length", "persistent", "remembered", "trailer", "values")

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
        self.trailer = self.value(b"trailer")
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
    ``has_body`` says that a body follows, ``claims`` that the client says something about itself or its way here,
    ``websocket`` that it wants to go on as WebSocket.
    """

    __slots__ = ("claims", "has_body", "host", "hostname", "websocket")

    def __init__(self, special: Iterable[Special], minor: int, refuse: Callable[[str], ProxyError]) -> None:
        super().__init__(special, minor, refuse)
        hosts = self.values.get(b"host", ())
        if len(hosts) != 1 and (minor == 1 or hosts):
            raise RequestRefused("no Host" if not hosts else "more than one Host")
        self.host = hosts[0] if hosts else b""
        self.hostname = split_port(self.host)[0]
        self.has_body = self.chunked or bool(self.length)
        self.websocket = (
            minor == 1 and b"upgrade" in self.dropped and (self.value(b"upgrade") or b"").lower() == b"websocket"
        )
        self.claims = not CLAIMS.isdisjoint(self.values)


M = TypeVar("M", bound=Meaning)


class Memory(Generic[M]):
    """Reads the lines of heads, remembering lines and meanings.

    ``read`` is that of a `LineReader`; `understand` and `passed` are to be told what it has found.
    """

    def __init__(
        self,
        special: frozenset[bytes],
        rules: Mapping[bytes, Callable[[bytes], bytes | None]],
        make: Callable[[Iterable[Special], int, Callable[[str], ProxyError]], M],
        refuse: Callable[[str], ProxyError],
    ) -> None:
        self._known = KnownLines(special, rules, refuse)
        self.read = LineReader(self._known, self._known.watched).read
        self._meanings: tuple[dict[tuple[bytes, ...], M], ...] = ({}, {})  # by minor version
        self._make = make
        self._refuse = refuse

    def understand(self, special: tuple[bytes, ...], minor: int) -> M:
        """What the special fields mean that `read` has found in a head."""
        meaning = self._meanings[minor].get(special)
        if meaning is None:
            meaning = self._work_out(cast("tuple[Special, ...]", special), minor)
        return meaning

    def passed(self, head: bytes, passing: bytes, meaning: M) -> bytes:
        """What is passed on of ``head``: what `read` has found, but for the fields that its Connection lists."""
        if not meaning.dropped:
            return passing
        fields = [self._known[line] for line in head.split(b"\r\n")[1:]]
        return b"".join(field for field in fields if field.partition(b":")[0].lower() not in meaning.dropped)

    def _work_out(self, special: tuple[Special, ...], minor: int) -> M:
        meaning = self._make(special, minor, self._refuse)
        if sum(field.size for field in special) <= KNOWN_MEANING_SIZE and all(field.remembered for field in special):
            meanings = self._meanings[minor]
            if len(meanings) >= KNOWN_LINES:
                meanings.clear()
            meanings[special] = meaning
            meaning.remembered = True
        return meaning
