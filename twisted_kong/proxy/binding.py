"""What binds a request to a peer, where its upstream wants that: who asks, told to `twisted_kong.runtime.hashkeys`."""

from __future__ import annotations

import re

from twisted_kong.model.entities import Consumer
from twisted_kong.proxy.forwarding import Client
from twisted_kong.proxy.headers import RequestHead
from twisted_kong.routing.router import Match
from twisted_kong.runtime.hashkeys import Bond, HashKeys


class Asker:
    """Who a request is from; ``consumer`` is an id."""

    def __init__(
        self, head: RequestHead, client: Client, consumer: str | None, captures: re.Match[bytes] | None
    ) -> None:
        self._head = head
        self._client = client
        self._captures = captures
        self.consumer = consumer

    @property
    def address(self) -> str:
        return self._client.real(self._head)

    def capture(self, name: str) -> bytes | None:
        """What the named group of the route's path matched; None where it has no such group."""
        captures = self._captures
        if captures is None or name not in captures.re.groupindex:
            return None
        return captures.group(name)


def bind(keys: HashKeys, head: RequestHead, client: Client, consumer: Consumer | None, match: Match | None) -> Bond:
    """What binds this request; it does for all its attempts."""
    captures = None if match is None else match.captures
    return keys.bind(head, Asker(head, client, None if consumer is None else consumer.id, captures))
