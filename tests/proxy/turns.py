"""A gateway's reactor whose turns are the test's, for what clients and origins outside of it see of each."""

# mypy: allow-untyped-calls
# Trial's assertions and Twisted's reactors carry no types.

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable
from typing import Any

import pytest
from twisted.trial.unittest import SynchronousTestCase

if not hasattr(select, "epoll"):
    pytest.skip("this system has no epoll", allow_module_level=True)

from twisted_kong.reactor import GatewayReactor

TURNS = 2000
"""Turns of at most ten milliseconds within which what is due has to happen."""


class TurnedByHand(SynchronousTestCase):
    """Tests with such a ``reactor``."""

    def setUp(self) -> None:
        self.reactor: Any = GatewayReactor()
        self.addCleanup(self.reactor._poller.close)
        self.addCleanup(self.reactor.disconnectAll)

    def turn(self) -> None:
        self.reactor.runUntilCurrent()
        self.reactor.doIteration(0.01)

    def turn_until(self, done: Callable[[], object]) -> None:
        for _ in range(TURNS):
            if done():
                return
            self.turn()
        self.fail("it never happened")

    def received(self, end: socket.socket, whole: Callable[[bytes], object]) -> bytes:
        """What this end, which does not block, gets until that is ``whole``."""
        found = bytearray()

        def there() -> object:
            with contextlib.suppress(BlockingIOError):
                found.extend(end.recv(1 << 20))
            return whole(bytes(found))

        self.turn_until(there)
        return bytes(found)
