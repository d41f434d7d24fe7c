"""The access log: what one line says, and the file it goes to.

The formats are pure functions of a `Logged` exchange. Lines are gathered and written together, a second's worth or
`BATCH` bytes at a time, so that a request costs its line and nothing else; what is gathered is written at the latest
when the gateway stops. No line holds a body or a password, nor a key but where the target has it.
"""

from __future__ import annotations

import binascii
import json
import os
import re
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from time import localtime, strftime
from typing import Generic, NamedTuple, Protocol, TypeVar
from urllib.parse import quote

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

log = Logger()

BATCH = 65536
"""Bytes that are written at once, whatever the time."""
INTERVAL = 1.0
"""Seconds that a line may wait."""


class Try(NamedTuple):
    """One attempt: on whom, when it began (seconds since the exchange did), how long it took to fail or to be
    answered, and how it failed: ``None`` where it was answered. A failure has the ``phase`` it came in (``resolve``,
    ``connect``, ``answer``, or ``body`` once the answer had begun) and the ``error`` in words."""

    peer: str
    began: float
    took: float
    failure: str | None
    phase: str | None = None
    error: str | None = None


class Latencies(NamedTuple):
    """Seconds: what the gateway took before it asked anybody, how long it then was until an origin answered, and how
    long until that answer had been passed on; the last two ``None`` where none did."""

    gateway: float
    upstream: float | None
    receive: float | None


class Logged(Protocol):
    """What a line is made of."""

    @property
    def started(self) -> float:
        """When the request came, in seconds since the epoch."""

    @property
    def ended(self) -> float:
        """When the answer ended."""

    @property
    def address(self) -> str:
        """The client's, empty for a UNIX socket."""

    @property
    def request_line(self) -> tuple[bytes, bytes, bytes]:
        """Method, target and protocol, as they came."""

    def field(self, name: bytes) -> bytes:
        """The value of the request's first field of this name, in lower case; empty without one."""

    @property
    def request_id(self) -> bytes:
        """32 hexadecimal digits."""

    @property
    def trace_id(self) -> bytes:
        """32 hexadecimal digits; empty where there is no tracing."""

    @property
    def status(self) -> int:
        """What the client was told; 499 where it did not wait for it."""

    @property
    def sent(self) -> int:
        """Bytes of the answer's body."""

    @property
    def latencies(self) -> Latencies:
        """Where the time went."""

    @property
    def tries(self) -> Sequence[Try]:
        """The attempts, in order."""

    @property
    def names(self) -> tuple[str, str, str]:
        """The service, the route and the upstream: the name of each, or its id; empty where there is none."""


Format = Callable[[Logged], bytes]

# -- formats ---------------------------------------------------------------------------------------------------

_UNSAFE = re.compile(rb'[\x00-\x1f"\\\x7f-\xff]')
_REMEMBERED = 4096


def escaped(value: bytes) -> bytes:
    r"""``value`` as nginx writes it: quotes, backslashes and what is no printable ASCII as ``\xHH``; empty as ``-``."""
    return _UNSAFE.sub(lambda found: b"\\x%02X" % found[0][0], value) or b"-"


K = TypeVar("K", bound=Hashable)


class Remembered(Generic[K]):
    """What ``make`` made of what came before: clients, peers and routes come again and again."""

    def __init__(self, make: Callable[[K], bytes]) -> None:
        self._make: Callable[[K], bytes] = make
        self._known: dict[K, bytes] = {}

    def __call__(self, key: K) -> bytes:
        known = self._known.get(key)
        if known is None:
            known = self._make(key)
            if len(known) <= 2048:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[key] = known
        return known


class Combined:
    """nginx's ``combined``, with Kong's ``kong_request_id`` behind it: one line for one exchange.

    Clients send the same fields again and again, so what the line says of them is remembered.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes, bytes], tuple[bytes, bytes, bytes]] = {}
        self._second = -1
        self._time = b""

    def __call__(self, exchange: Logged) -> bytes:
        field = exchange.field
        said = field(b"authorization"), field(b"referer"), field(b"user-agent")
        user, referer, agent = self._known.get(said) or self._look_at(said)
        method, target, protocol = exchange.request_line
        second = int(exchange.ended)
        if second != self._second:
            self._second = second
            self._time = strftime("%d/%b/%Y:%H:%M:%S %z", localtime(second)).encode()
        return b'%b - %b [%b] "%b %b %b" %d %d "%b" "%b" kong_request_id: "%b"\n' % (
            exchange.address.encode() or b"unix:",
            user,
            self._time,
            method,
            escaped(target) if _UNSAFE.search(target) else target,
            protocol,
            exchange.status,
            exchange.sent,
            referer,
            agent,
            exchange.request_id,
        )

    def _look_at(self, said: tuple[bytes, bytes, bytes]) -> tuple[bytes, bytes, bytes]:
        authorization, referer, agent = said
        known = escaped(_user(authorization)), escaped(referer), escaped(agent)
        if sum(map(len, said)) <= 2048:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[said] = known
        return known


class Structured:
    """Lines of JSON: everything that is known of one exchange.

    Times are milliseconds, ``started_at`` since the epoch. Latencies are those of Kong's log plugins, which have -1
    for the origin where none has answered. A document made of what is remembered, and formatted, costs a fifth of one
    that `json` makes; that one makes what is remembered, and all that is seldom.
    """

    def __init__(self) -> None:
        self._asked: Remembered[tuple[bytes, ...]] = Remembered(
            lambda said: _members(("method", "protocol", "referer", "user_agent"), [s.decode("latin-1") for s in said])
        )
        self._named: Remembered[tuple[str, ...]] = Remembered(
            lambda names: _members(("service", "route", "upstream"), names)
        )
        self._texts: Remembered[str] = Remembered(_json)

    def __call__(self, exchange: Logged) -> bytes:
        method, target, protocol = exchange.request_line
        gateway, waited, receive = exchange.latencies
        field = exchange.field
        started = exchange.started
        # one format for all that changes: each by itself would take as long as several
        return _LINE % (
            started * 1000,
            self._texts(exchange.address or "unix:"),
            exchange.request_id,
            quote(target, safe=_URI).encode() if _UNSAFE_IN_URIS.search(target) else target,
            self._asked((method, protocol, field(b"referer"), field(b"user-agent"))),
            exchange.status,
            exchange.sent,
            (exchange.ended - started) * 1000,
            gateway * 1000,
            b"-1" if waited is None else b"%.3f" % (waited * 1000),
            b"null" if receive is None else b"%.3f" % (receive * 1000),
            b"kong" if waited is None else b"upstream",
            b'"%b"' % exchange.trace_id if exchange.trace_id else b"null",
            self._named(exchange.names),
            b",".join([self._attempt(each) for each in exchange.tries]),
        )

    def _attempt(self, each: Try) -> bytes:
        failure = _ANSWERED
        if each.failure is not None:
            failure = _json({"failure": each.failure, "phase": each.phase, "error": each.error})[1:-1]
        return b'{"peer":%b,"began":%.3f,"took":%.3f,%b}' % (
            self._texts(each.peer),
            each.began * 1000,
            each.took * 1000,
            failure,
        )


_LINE = (
    b'{"started_at":%.0f,"client_ip":%b,"request":{"id":"%b","uri":"%b",%b},"response":{"status":%d,"size":%d},'
    b'"latencies":{"request":%.3f,"kong":%.3f,"proxy":%b,"receive":%b},"source":"%b","trace_id":%b,%b,"tries":[%b]}\n'
)
_ANSWERED = b'"failure":null,"phase":null,"error":null'


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _members(names: Sequence[str], texts: Sequence[str]) -> bytes:
    """What is between the braces of a document with these names and texts; no text is null."""
    return _json({name: text or None for name, text in zip(names, texts, strict=True)})[1:-1]


_URI = "/?&=:;,@!$'()*+%[]~"
_UNSAFE_IN_URIS = re.compile(rb"[^A-Za-z0-9_.\-%b]" % re.escape(_URI.encode()))


def _user(authorization: bytes) -> bytes:
    """Who a Basic ``Authorization`` names, without the password; empty for any other."""
    scheme, _, credentials = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return b""
    try:
        user, colon, _ = binascii.a2b_base64(credentials.strip()).partition(b":")
    except binascii.Error:
        return b""
    return user if colon else b""


def traced(format: Format) -> Format:
    """``format`` with the id of the trace at the end of each line; for lines that are no documents."""

    def formatted(exchange: Logged) -> bytes:
        return b'%b trace_id: "%b"\n' % (format(exchange)[:-1], exchange.trace_id or b"-")

    return formatted


FORMATS: dict[str, Callable[[], Format]] = {"combined": Combined, "json": Structured}
"""By the name that ``proxy_access_log`` gives after the file."""

# -- the file --------------------------------------------------------------------------------------------------


_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
"""Never wait for whoever reads a pipe."""


class AccessLog:
    """Lines on their way to the file ``path``, which is appended to.

    What cannot be written is lost, and told once until writing works again: a full disk must not stop traffic.

    :raise OSError: the file cannot be opened.
    """

    def __init__(self, path: Path, format: Format, clock: IReactorTime) -> None:
        self.path = path
        self.lost = 0
        """Lines that could not be written."""
        self._format = format
        self._clock = clock
        self._lines: list[bytes] = []
        self._size = 0
        self._timer: IDelayedCall | None = None
        self._failing = False
        self._closed = False
        self._file = self._open()

    def _open(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(self.path, _FLAGS, 0o640)

    def record(self, exchange: Logged) -> None:
        """``exchange`` has ended. After `close` nobody hears of it."""
        if self._closed:
            return
        line = self._format(exchange)
        self._lines.append(line)
        self._size += len(line)
        if self._size >= BATCH:
            self.flush()
        elif self._timer is None:
            self._timer = self._clock.callLater(INTERVAL, self._due)

    def _due(self) -> None:
        self._timer = None
        self.flush()

    def flush(self) -> None:
        """Write what is gathered."""
        lines, self._lines, self._size = self._lines, [], 0
        data = b"".join(lines)
        try:
            while data:  # a disk that runs full takes a part first
                data = data[os.write(self._file, data) :]
        except OSError as error:
            self.lost += data.count(b"\n")
            if not self._failing:
                log.error("{path} is not written: {reason}", path=self.path, reason=error.strerror)
            self._failing = True
        else:
            self._failing = False

    def reopen(self) -> None:
        """Go on in a new file of the same name: somebody has moved the old one away. Without one, go on in the old."""
        if self._closed:
            return
        self.flush()
        try:
            file = self._open()
        except OSError as error:
            log.error("{path} cannot be opened again: {reason}", path=self.path, reason=error.strerror)
            return
        os.close(self._file)
        self._file = file

    def close(self) -> None:
        """Write what is gathered and close."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()
        os.close(self._file)
