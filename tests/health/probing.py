"""Probes in memory, for the tests of checkers."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IProtocol
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from twisted_kong.interfaces import IProbe
from twisted_kong.model.entities import Upstream
from twisted_kong.model.schema import Schema


@implementer(IProbe)
class InMemory:
    """A probe whose connection is in memory: what is said, and what TLS was asked for."""

    def __init__(self, name: str = "a.test", host: str = "10.0.0.1", port: int = 80) -> None:
        self.name = name
        self.host = host
        self.port = port
        self.transport = StringTransport()
        self.protocol: Any = None
        self.tls: tuple[str, bool, tuple[bytes, ...]] | None = None

    def connect(self, protocol: IProtocol) -> None:
        self.protocol = protocol
        protocol.makeConnection(self.transport)

    def connect_tls(self, protocol: IProtocol, server_name: str, verify: bool, alpn: Any) -> None:
        self.tls = (server_name, verify, tuple(alpn))
        self.transport.negotiatedProtocol = alpn[0]  # type: ignore[attr-defined]  # as a transport with TLS has it
        self.connect(protocol)


def upstream(host_header: str | None = None, **active: Any) -> Upstream:
    """An upstream with these active checks."""
    data = {"name": "u", "host_header": host_header, "healthchecks": {"active": active}}
    return Schema().build(Upstream, data, now=1.0)
