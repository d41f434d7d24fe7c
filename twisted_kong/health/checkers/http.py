"""The checkers ``http`` and ``https``: one GET, of whose answer only the status is read.

The protocol is our own and knows no more than that: a client that could read all of an answer costs several times
the processor time (docs/decisions/0008-probes-by-a-protocol-of-our-own.md). A redirect is an answer like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from zope.interface import implementer

from twisted_kong.health.checkers.asking import UPSET, Asking, one_line
from twisted_kong.interfaces import IHealthChecker, IHealthCheckerFactory, IProbe
from twisted_kong.model import hosts
from twisted_kong.model.entities import Upstream
from twisted_kong.model.records import ActiveChecks
from twisted_kong.model.traffic import Outcome

LONGEST = 8192
"""Bytes in which a status line must have come."""

_STATUS_LINE = re.compile(rb"HTTP/[0-9]\.[0-9] ([1-9][0-9][0-9])(?: [^\r\n]*)?\r?\n")
_INTERIM_HEAD = re.compile(rb"HTTP/[0-9]\.[0-9] 1[^\r\n]*\r?\n(?:[^\r\n]+\r?\n)*\r?\n")
_OUR_OWN = frozenset(["host", "connection"])


class _Get(Asking):
    """Sends ``request`` and waits for a status."""

    def __init__(self, probe: IProbe, request: bytes) -> None:
        super().__init__(probe)
        self._request = request
        self._heard = b""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        if self.outcome.called:
            return
        self._heard += data
        while interim := _INTERIM_HEAD.match(self._heard):
            self._heard = self._heard[interim.end() :]
        heard = self._heard
        found = _STATUS_LINE.match(heard)
        if found and not found[1].startswith(b"1"):
            self.conclude(Outcome(None, int(found[1])))
        elif len(heard) > LONGEST or (b"\n" in heard and not found):
            self.conclude(Outcome(UPSET, error=f"not an answer of HTTP/1: {heard[:60]!r}"))


@implementer(IHealthChecker)
class HttpChecker:
    """Asks for ``http_path``. ``Host`` is the upstream's ``host_header`` or the peer's name, without a port (Kong)."""

    def __init__(self, upstream: Upstream, *, tls: bool) -> None:
        checks = upstream.healthchecks.active
        self._begin = b"GET %b HTTP/1.1\r\nHost: " % checks.http_path.encode()
        self._end = b"\r\nConnection: close\r\n%b\r\n" % b"".join(_lines(checks))
        self._host = _own_host(checks) or upstream.host_header
        self._tls = tls
        self._server_name = checks.https_sni or (upstream.host_header and hosts.split(upstream.host_header)[0])
        self._verify = checks.https_verify_certificate

    def check(self, probe: IProbe) -> Deferred[Outcome]:
        name = probe.name
        host = self._host or (f"[{name}]" if ":" in name else name)
        get = _Get(probe, self._begin + host.encode() + self._end)
        if self._tls:
            probe.connect_tls(get, self._server_name or name, self._verify, (b"http/1.1",))
        else:
            probe.connect(get)
        return get.outcome


def _lines(checks: ActiveChecks) -> Iterator[bytes]:
    """The configured headers, a line for each value. A value that could end its line ends there."""
    for name, values in (checks.headers or {}).items():
        if name.lower() not in _OUR_OWN:
            for value in values:
                yield f"{name}: {one_line(value)}\r\n".encode()


def _own_host(checks: ActiveChecks) -> str | None:
    """The Host among the configured headers, if there is one."""
    found = (values for name, values in (checks.headers or {}).items() if name.lower() == "host")
    return next((one_line(values[0]) for values in found if values), None)


@implementer(IPlugin, IHealthCheckerFactory)
class HttpCheckerFactory:
    name = "http"

    def build(self, upstream: Upstream) -> HttpChecker:
        return HttpChecker(upstream, tls=False)


@implementer(IPlugin, IHealthCheckerFactory)
class HttpsCheckerFactory:
    name = "https"

    def build(self, upstream: Upstream) -> HttpChecker:
        return HttpChecker(upstream, tls=True)
