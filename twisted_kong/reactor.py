"""Twisted's epoll reactor with less around every event.

Twisted calls a reader through four functions that set up a logging context, so that what is logged meanwhile through
its old logging system bears the connection's name. For a proxy that is as dear as the work itself. Here a descriptor
that can be read, which is nearly every event, is called directly; all else is left to Twisted, and so is what follows
from what the descriptor says. A failure is logged and closes its connection, as ever.

What is posted during a turn of the reactor (`GatewayReactor.outbox`) is sent at its end, all at once.

``twistd kong-gateway`` uses it where there is epoll and no ``--reactor`` says otherwise.
"""

# mypy: allow-untyped-calls
# Twisted's reactors carry no types.

from __future__ import annotations

from select import EPOLLIN
from typing import Any, Protocol

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor
from twisted.logger import Logger

log = Logger()


MOST_EVENTS = 64
"""Events of a turn: what is posted waits for the last of them. Whoever comes next has the next turn first."""


class Posting(Protocol):
    """Who has something to send at the end of the turn."""

    def send_posted(self) -> None:
        """Send it."""


class GatewayReactor(EPollReactor):
    """An epoll reactor that goes the short way to who can read."""

    def __init__(self) -> None:
        self.outbox: list[Posting] = []
        """Those who are told at the end of the turn, in this order, that they are to send what they have posted."""
        super().__init__()

    def doPoll(self, timeout: float | None) -> None:
        """Wait for events, for ``timeout`` seconds at most (None: as long as it takes), and tell who they are for."""
        if self.outbox:
            self._empty_outbox()  # of what timers had to say
        selectables: dict[int, Any] = self._selectables
        for fd, event in self._poller.poll(-1 if timeout is None else timeout, MOST_EVENTS):
            try:
                selectable = selectables[fd]
            except KeyError:
                continue  # who was told before has closed it
            try:
                if event == EPOLLIN:
                    try:
                        why = selectable.doRead()
                    except BaseException as error:  # as Twisted does: nothing that a protocol raises ends the process
                        log.failure("{selectable} failed to read", selectable=selectable)
                        why = error
                    if why:
                        self._disconnectSelectable(selectable, why, True)
                else:
                    self._doReadOrWrite(selectable, fd, event)
            except BaseException:
                log.failure("{selectable} failed to disconnect", selectable=selectable)

        if self.outbox:
            self._empty_outbox()

    def _empty_outbox(self) -> None:
        """Let all who have posted something send it."""
        outbox = self.outbox
        while outbox:
            posting = outbox[:]
            outbox.clear()
            for each in posting:
                try:
                    each.send_posted()
                except BaseException:  # nobody else is to wait for what one cannot send
                    log.failure("{each} failed to send", each=each)

    doIteration = doPoll


def install() -> None:
    """Make it the reactor of this process, as ``twistd --reactor=kong-gateway`` does."""
    installReactor(GatewayReactor())
