"""The whole Admin API in memory: the site as it is served, spoken to byte by byte."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_kong.admin.doorkeeper import Doorkeeper
from twisted_kong.admin.node import Node
from twisted_kong.admin.site import make_admin_site
from twisted_kong.interfaces import IConfigStore
from twisted_kong.model.changes import Change
from twisted_kong.model.schema import Schema
from twisted_kong.model.snapshot import Snapshot
from twisted_kong.registry import Registry
from twisted_kong.runtime.gateway import Gateway
from twisted_kong.runtime.names import Names
from twisted_kong.settings import Settings
from twisted_kong.store.memory import MemoryStore
from twisted_kong.testing import KnownNames

CLIENT = IPv4Address("TCP", "127.0.0.1", 50000)
NODE_ID = "5f1d7e76-2fed-4806-a6af-869984f025cb"
NOBODY = "ffffffff-ffff-4fff-8fff-ffffffffffff"
COUNTS = {"connections_active": 1, "total_requests": 7}
NOT_FOUND = {"message": "Not found"}
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Answered:
    """An answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Conversation:
    """One request on a connection of its own; ``answer`` is None until it is answered."""

    def __init__(self, api: AdminApi, sent: bytes) -> None:
        self._transport = StringTransport()
        self._protocol: Any = api.site.buildProtocol(CLIENT)
        self._protocol.makeConnection(self._transport)
        self._protocol.dataReceived(sent)

    @property
    def answer(self) -> Answered | None:
        head, separator, body = self._transport.value().partition(b"\r\n\r\n")
        if not separator:
            return None
        status, *fields = head.decode("latin-1").split("\r\n")
        return Answered(int(status.split()[1]), dict(field.split(": ", 1) for field in fields), body)

    def hang_up(self) -> None:
        self._protocol.connectionLost(Failure(ConnectionDone()))


class AdminApi:
    """An Admin API on a store and a gateway of its own; ``clock`` is its reactor and its calendar."""

    def __init__(
        self,
        store: IConfigStore | None = None,
        settings: Settings | None = None,
        registry: Registry | None = None,
        doorkeeper: Doorkeeper | None = None,
    ) -> None:
        registry = registry or Registry()
        self.clock: Any = Clock()
        self.clock.advance(1_700_000_000)
        self.store = MemoryStore() if store is None else store
        names = Names(KnownNames({"a.test": ["10.0.0.9"]}), self.clock)
        node = Node(NODE_ID, settings or Settings(), lambda: COUNTS, components=registry.components, names=names)
        self.gateway = Gateway(registry.algorithms, "traditional_compatible", names)
        self.store.subscribe(self.gateway.apply)
        self.site = make_admin_site(
            self.store,
            Schema(registry.algorithms),
            node,
            self.gateway,
            now=self.clock.seconds,
            reactor=self.clock,
            doorkeeper=doorkeeper,
        )

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> Conversation:
        """Begin a request; underscores in the names of headers stand for dashes."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if body:
            fields["Content-Length"] = str(len(body))
        lines = [f"{method} {path} HTTP/1.1", "Host: a.test", *(f"{name}: {value}" for name, value in fields.items())]
        return Conversation(self, "\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answered:
        """A request that is answered at once."""
        answer = self.send(method, path, body, **headers).answer
        assert answer is not None
        return answer

    def send_json(self, method: str, path: str, document: object) -> Conversation:
        return self.send(method, path, json.dumps(document).encode(), Content_Type="application/json")

    def json(self, method: str, path: str, document: object) -> Answered:
        answer = self.send_json(method, path, document).answer
        assert answer is not None
        return answer

    def form(self, method: str, path: str, text: str) -> Answered:
        return self.request(method, path, text.encode(), Content_Type=FORM)

    def get(self, path: str) -> Any:
        """The document of a 200."""
        answer = self.request("GET", path)
        assert answer.status == 200, answer
        return answer.json

    def create(self, path: str, **document: object) -> Any:
        """The entity of a 201."""
        answer = self.json("POST", path, document)
        assert answer.status == 201, answer
        return answer.json


@implementer(IConfigStore)
class SlowStore(MemoryStore):
    """A store that applies a change when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self._held: list[tuple[Change, Deferred[Snapshot]]] = []

    def apply(self, change: Change) -> Deferred[Snapshot]:
        answer: Deferred[Snapshot] = Deferred()
        self._held.append((change, answer))
        return answer

    def go_on(self) -> None:
        """Apply the change that has waited longest."""
        change, answer = self._held.pop(0)
        _ = super().apply(change).chainDeferred(answer)

    def fail(self, error: Exception) -> None:
        """Let the change that has waited longest fail."""
        _, answer = self._held.pop(0)
        answer.errback(Failure(error))

    def __len__(self) -> int:
        return len(self._held)
