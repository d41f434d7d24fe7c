"""A health checker: a peer is well if its page says so, in JSON: ``{"status": "UP"}``, as many frameworks have it.

    twistd kong-gateway --plugin-dir plugins
    curl -X PATCH localhost:8001/upstreams/orders --data healthchecks.active.type=status-up \
        --data healthchecks.active.http_path=/health --data healthchecks.active.healthy.interval=5

The built-in ``http`` looks at the status of the answer alone. When to probe, how long to wait and how many probes it
takes to make up one's mind is not decided here: the upstream says it, the gateway does it.
"""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_kong.interfaces import IHealthChecker, IHealthCheckerFactory, IProbe
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome

__version__ = "1.0"

LONGEST = 65536
"""Bytes of an answer; what goes beyond is not looked at."""


class Page(Protocol):
    """Asks for a page, in HTTP/1.0 so that it ends with the connection, and fires ``body`` with what came."""

    def __init__(self, request: bytes) -> None:
        self.body: Deferred[bytes] = Deferred()
        self._request = request
        self._heard = b""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        self._heard = (self._heard + data)[:LONGEST]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.body.callback(self._heard.partition(b"\r\n\r\n")[2])


@implementer(IHealthChecker)
class StatusUp:
    """Asks the peers of one upstream."""

    def __init__(self, path: str) -> None:
        self._path = path.encode()

    async def check(self, probe: IProbe) -> Outcome:
        """One probe. A connection that fails needs no word here, and whoever takes too long is not waited for."""
        page = Page(b"GET %b HTTP/1.0\r\nHost: %b\r\n\r\n" % (self._path, probe.name.encode()))
        probe.connect(page)
        body = await page.body
        try:
            up = json.loads(body)["status"] == "UP"
        except (ValueError, KeyError, TypeError):
            return Outcome("http", error=f"no JSON with a status: {body[:60]!r}")
        return Outcome(None, 200 if up else 503)


@implementer(IHealthCheckerFactory)
class StatusUpFactory:
    """What the gateway looks for. It makes one checker for each upstream that names it."""

    name = "status-up"

    def build(self, upstream: Upstream) -> IHealthChecker:
        return StatusUp(upstream.healthchecks.active.http_path)


factory = StatusUpFactory()
