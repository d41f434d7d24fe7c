"""Twisted's epoll reactor with less around every event.

Twisted calls a reader through four functions that set up a logging context, so that what is logged meanwhile through
its old logging system bears the connection's name. For a proxy that is as dear as the work itself. Here a descriptor
that can be read, which is nearly every event, is called directly; all else is left to Twisted, and so is what follows
from what the descriptor says. A failure is logged and closes its connection, as ever.

``twistd kong-gateway`` uses it where there is epoll and no ``--reactor`` says otherwise.
"""

# mypy: allow-untyped-calls
# Twisted's reactors carry no types.

from __future__ import annotations

from select import EPOLLIN
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor
from twisted.logger import Logger

log = Logger()


class GatewayReactor(EPollReactor):
    """An epoll reactor that goes the short way to who can read."""

    def doPoll(self, timeout: float | None) -> None:
        """Wait for events, for ``timeout`` seconds at most (None: as long as it takes), and tell who they are for."""
        selectables: dict[int, Any] = self._selectables
        for fd, event in self._poller.poll(-1 if timeout is None else timeout, len(selectables)):
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

    doIteration = doPoll


def install() -> None:
    """Make it the reactor of this process, as ``twistd --reactor=kong-gateway`` does."""
    installReactor(GatewayReactor())
