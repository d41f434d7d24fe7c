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
from collections.abc import Callable, Sequence
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

    @property
    def fields(self) -> bytes:
        """The header lines of the request, ``Name: value`` and CRLF each."""

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


K = TypeVar("K", bytes, str)


class Remembered(Generic[K]):
    """What ``make`` made of what came before: clients, peers and routes come again and again."""

    def __init__(self, make: Callable[[K], str]) -> None:
        self._make: Callable[[K], str] = make
        self._known: dict[K, str] = {}

    def __call__(self, key: K) -> str:
        known = self._known.get(key)
        if known is None:
            known = self._make(key)
            if len(key) <= 2048:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[key] = known
        return known


class Combined:
    """nginx's ``combined``, with Kong's ``kong_request_id`` behind it: one line for one exchange.

    Clients send the same fields again and again, so what the line says of them is remembered.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, ...], tuple[bytes, bytes, bytes]] = {}
        self._second = -1
        self._time = b""

    def __call__(self, exchange: Logged) -> bytes:
        said = values_of(exchange.fields, (b"authorization", b"referer", b"user-agent"))
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

    def _look_at(self, said: tuple[bytes, ...]) -> tuple[bytes, bytes, bytes]:
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
        self._clients: Remembered[bytes] = Remembered(_told_by_client)
        self._texts: Remembered[str] = Remembered(lambda text: json.dumps(text or None))
        self._words: Remembered[bytes] = Remembered(lambda word: json.dumps(word.decode("latin-1")))

    def __call__(self, exchange: Logged) -> bytes:
        method, target, protocol = exchange.request_line
        service, route, upstream = exchange.names
        gateway, waited, receive = exchange.latencies
        texts, words = self._texts, self._words
        started = exchange.started
        proxy = "-1" if waited is None else f"{waited * 1000:.3f}"
        received = "null" if receive is None else f"{receive * 1000:.3f}"
        uri = quote(target, safe=_URI) if _UNSAFE_IN_URIS.search(target) else target.decode()
        trace = f'"{exchange.trace_id.decode()}"' if exchange.trace_id else "null"
        return (
            f'{{"started_at":{started * 1000:.0f},"client_ip":{texts(exchange.address or "unix:")},'
            f'"request":{{"id":"{exchange.request_id.decode()}","method":{words(method)},"uri":"{uri}",'
            f'"protocol":{words(protocol)},{self._clients(exchange.fields)}}},'
            f'"response":{{"status":{exchange.status},"size":{exchange.sent}}},'
            f'"latencies":{{"request":{(exchange.ended - started) * 1000:.3f},"kong":{gateway * 1000:.3f},'
            f'"proxy":{proxy},"receive":{received}}},"source":"{"kong" if waited is None else "upstream"}",'
            f'"trace_id":{trace},"service":{texts(service)},"route":{texts(route)},"upstream":{texts(upstream)},'
            f'"tries":[{",".join([self._attempt(each) for each in exchange.tries])}]}}\n'
        ).encode()

    def _attempt(self, each: Try) -> str:
        failure = '"failure":null,"phase":null,"error":null'
        if each.failure is not None:
            failure = json.dumps({"failure": each.failure, "phase": each.phase, "error": each.error})[1:-1]
        peer = self._texts(each.peer)
        return f'{{"peer":{peer},"began":{each.began * 1000:.3f},"took":{each.took * 1000:.3f},{failure}}}'


def _told_by_client(fields: bytes) -> str:
    referer, agent = (value.decode("latin-1") or None for value in values_of(fields, (b"referer", b"user-agent")))
    return json.dumps({"referer": referer, "user_agent": agent})[1:-1]


_URI = "/?&=:;,@!$'()*+%[]~"
_UNSAFE_IN_URIS = re.compile(rb"[^A-Za-z0-9_.\-%b]" % re.escape(_URI.encode()))


def values_of(fields: bytes, names: Sequence[bytes]) -> tuple[bytes, ...]:
    """The values of the first fields of these ``names`` (lower case) in a block of header lines; empty without one."""
    lines = b"\n" + fields.lower()
    found = []
    for name in names:
        at = lines.find(b"\n%b: " % name)  # which is where in ``fields``, one byte shorter, the name begins
        begin = at + len(name) + 2
        found.append(b"" if at < 0 else fields[begin : fields.find(b"\r\n", begin)])
    return tuple(found)


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
