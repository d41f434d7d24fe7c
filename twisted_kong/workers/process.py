"""One worker process, as the process in charge knows it; what it is told is for `twisted_kong.workers.pool` to know."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from twisted_kong.runtime.remembered import PeerKey
from twisted_kong.workers.channel import Channel
from twisted_kong.workers.messages import Message


class Worker(ProcessProtocol):
    """One worker process: what it was told, and what it has acknowledged of that."""

    def __init__(
        self, slot: int, heard: Callable[[Worker, Message], None], over: Callable[[Worker, Failure], None]
    ) -> None:
        """``heard`` is told of every message of it, ``over`` of its end, with the reason."""
        self.slot = slot
        self.pid = 0
        self.serving = False
        """Whether it takes connections."""
        self.leaving = False
        """Whether it takes none any more, and ends."""
        self.informed = False
        """Whether it was told of the configuration."""
        self.left: int | None = None
        """How many requests it had left when it was done."""
        self.dirty: dict[PeerKey, None] = {}
        """Of whom it has told something, and was not answered yet."""
        self.born = 0.0
        self._told = heard
        self._over = over
        self._sent = 0
        self._acknowledged = 0
        self._waiting: deque[tuple[int, Deferred[None]]] = deque()
        self._asked: deque[Deferred[None]] = deque()
        self.ended: Deferred[None] = Deferred()
        """Fires when the process has ended."""
        self.channel = Channel(self._heard, self._hung_up)
        self.timer: IDelayedCall | None = None

    # -- what it is told ---------------------------------------------------------------------------------------

    def tell(self, message: bytes) -> None:
        """Tell it something that it acknowledges."""
        self._sent += 1
        self.channel.say_encoded(message)

    @property
    def up_to_date(self) -> bool:
        """Whether it has acknowledged all it was told."""
        return self._acknowledged >= self._sent

    def settled(self) -> Deferred[None]:
        """Fires when it has acknowledged all it was told by now, or has ended."""
        waiting: Deferred[None] = Deferred()
        if self.up_to_date:
            waiting.callback(None)
        else:
            self._waiting.append((self._sent, waiting))
        return waiting

    def wait_for_all(self) -> None:
        """Who waits for something that it was told waits for what it was told since as well."""
        self._waiting = deque((self._sent, waiting) for _, waiting in self._waiting)

    def ask(self) -> Deferred[None]:
        """Fires when it has told its counters, or has ended."""
        asked: Deferred[None] = Deferred()
        self._asked.append(asked)
        self.channel.say({"is": "tell"})
        return asked

    def kill(self) -> None:
        """End it, now."""
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")  # type: ignore[union-attr]  # it has a process by now

    # -- what it tells -----------------------------------------------------------------------------------------

    def _heard(self, message: Message) -> None:
        if self.ended.called and message["is"] != "logged":
            return  # it has told why it ended, perhaps; nothing else of it counts any more
        if message["is"] == "acknowledged":
            self._acknowledged = message["count"]
            while self._waiting and self._waiting[0][0] <= self._acknowledged:
                self._waiting.popleft()[1].callback(None)
        self._told(self, message)
        if message["is"] == "counted" and message["asked"] and self._asked:
            _fire(self._asked.popleft())

    def _hung_up(self) -> None:
        """It talks no more: it has ended, or is of no use."""
        if not (self.ended.called or self.leaving) and self.pid:
            self.kill()

    def processEnded(self, reason: Failure) -> None:
        self.serving = False
        self.ended.callback(None)
        waiting = [each for _, each in self._waiting] + [*self._asked]
        self._waiting.clear()
        self._asked.clear()
        self._over(self, reason)
        for each in waiting:
            _fire(each)


def _fire(waiting: Deferred[None]) -> None:
    """Tell who waits, unless he did not wait for so long."""
    if not waiting.called:
        waiting.callback(None)
