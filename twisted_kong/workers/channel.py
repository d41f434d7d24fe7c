"""How two processes of one gateway talk: JSON documents over a Unix socket, each after its length."""

# mypy: allow-untyped-calls
# Twisted's protocols carry no types.

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

from twisted_kong.workers.messages import Message

log = Logger()

MOST = 1 << 30
"""Bytes of one message: a whole configuration is one."""


class Channel(Int32StringReceiver):
    """One end. ``heard`` is told of every message, ``ended`` that there will be no more; both are told of us."""

    MAX_LENGTH = MOST

    def __init__(self, heard: Callable[[Message], None], ended: Callable[[], None]) -> None:
        self._heard = heard
        self._ended = ended

    def adopt(self, reactor: Any, end: socket.socket) -> None:
        """Talk over ``end``, which is ours from now on."""
        end.setblocking(False)
        reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, _Only(self))
        end.close()  # the reactor has one of its own

    def say(self, message: Message) -> None:
        """Say it; who has gone does not hear it."""
        self.say_encoded(encoded(message))

    def say_encoded(self, data: bytes) -> None:
        """The same for what is `encoded` already."""
        if self.connected:
            self.sendString(data)

    def stringReceived(self, string: bytes) -> None:
        with log.failuresHandled("what another process says"):
            self._heard(json.loads(string))

    def lengthLimitExceeded(self, length: int) -> None:
        log.error("another process says {length} bytes at once", length=length)
        super().lengthLimitExceeded(length)

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008  # as Twisted has it
        self._ended()

    def hang_up(self) -> None:
        """Say no more, once everything is said."""
        if self.transport is not None:
            self.transport.loseConnection()


class _Only(Factory):
    """Makes the one protocol it was given."""

    noisy = False

    def __init__(self, protocol: Channel) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Channel:
        return self._protocol


def encoded(message: Message) -> bytes:
    """A message as it is said."""
    return json.dumps(message, separators=(",", ":")).encode()
