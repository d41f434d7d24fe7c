"""What binds a request to a peer, where its upstream wants that: who asks, told to `twisted_kong.runtime.hashkeys`."""

from __future__ import annotations

from twisted_kong.model.entities import Consumer
from twisted_kong.proxy.forwarding import Client
from twisted_kong.proxy.headers import RequestHead
from twisted_kong.routing.router import Match
from twisted_kong.runtime.hashkeys import Bond, HashKeys


class Asker:
    """Who a request is from. What is asked of it is worked out then: most requests are not bound by any of it."""

    __slots__ = ("_client", "_consumer", "_head", "_match")

    def __init__(self, head: RequestHead, client: Client, consumer: Consumer | None, match: Match | None) -> None:
        self._head = head
        self._client = client
        self._consumer = consumer
        self._match = match

    @property
    def consumer(self) -> str | None:
        """The id of who has been admitted."""
        return None if self._consumer is None else self._consumer.id

    @property
    def address(self) -> str:
        return self._client.real(self._head)

    def capture(self, name: str) -> bytes | None:
        """What the named group of the route's path matched; None where it has no such group."""
        captures = None if self._match is None else self._match.captures
        if captures is None or name not in captures.re.groupindex:
            return None
        return captures.group(name)


def bind(keys: HashKeys, head: RequestHead, client: Client, consumer: Consumer | None, match: Match | None) -> Bond:
    """What binds this request; it does for all its attempts."""
    return keys.bind(head, Asker(head, client, consumer, match))
