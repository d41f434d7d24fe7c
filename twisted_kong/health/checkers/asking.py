"""What checkers that speak a protocol share: something that is sent, and an outcome that is waited for."""

from __future__ import annotations

import re

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from twisted_kong.interfaces import IProbe
from twisted_kong.model.traffic import Outcome
from twisted_kong.tls import told

UPSET = "http"
"""The failure of whoever answers what makes no sense."""


def one_line(value: str) -> str:
    """The value of a configured header, which ends where it could end its line."""
    return re.split(r"[\r\n\0]", value, maxsplit=1)[0]


class Asking(Protocol):
    """One side of a conversation that ends in ``outcome``, after which nothing is heard."""

    def __init__(self, probe: IProbe) -> None:
        self.probe = probe
        self.outcome: Deferred[Outcome] = Deferred()

    def conclude(self, outcome: Outcome) -> None:
        """This is the outcome; a later one is none."""
        if not self.outcome.called:
            self.outcome.callback(outcome)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Too early, if there is no outcome yet."""
        assert reason.value is not None
        self.conclude(Outcome("tcp", error=told(reason.value)))
