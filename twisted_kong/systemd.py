"""What systemd is told: the datagrams of sd_notify(3), and nothing else of systemd.

Sockets that systemd hands over are Twisted's own: ``proxy_listen = systemd:domain=INET:name=proxy``.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

log = Logger()


class Supervisor:
    """Whoever started us, if it wants to know how we are.

    ``environ`` is the environment that it started us with: ``NOTIFY_SOCKET`` (a path, or an abstract name after
    ``@``), ``WATCHDOG_USEC`` and ``WATCHDOG_PID``. Without the first nobody is told anything. What cannot be delivered
    is lost: a supervisor that does not listen must not stop the gateway.
    """

    def __init__(self, environ: Mapping[str, str], reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._timer: IDelayedCall | None = None
        self._failed = False
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None
        if self._socket is not None:
            self._socket.setblocking(False)
        self._patience = _watchdog(environ)

    def ready(self) -> None:
        """The gateway serves, with its whole configuration in force; from now on it also says that it is alive."""
        self._tell("READY=1", f"MAINPID={os.getpid()}")
        if self._patience and self._timer is None:
            self._alive()

    def reloading(self) -> None:
        """The configuration is being read anew; `ready` follows."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        """The gateway stops; ``status`` says in words what it waits for."""
        self._tell("STOPPING=1", f"STATUS={status}")

    def close(self) -> None:
        """There is nothing more to say."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _alive(self) -> None:
        """Twice as often as asked, since a beat may be late. From the reactor, whose being stuck is what would show."""
        self._timer = self._reactor.callLater(self._patience / 2, self._alive)
        self._tell("WATCHDOG=1")

    def _tell(self, *words: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(words).encode(), self._address)
        except OSError as error:
            if not self._failed:
                log.warn("the supervisor cannot be told {words}: {reason}", words=words, reason=error.strerror)
            self._failed = True


def _watchdog(environ: Mapping[str, str]) -> float:
    """Seconds after which we are taken for dead unless we say otherwise; 0 where nobody watches."""
    try:
        microseconds, process = int(environ.get("WATCHDOG_USEC", "0")), int(environ.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return 0.0
    return microseconds / 1e6 if process == os.getpid() else 0.0
