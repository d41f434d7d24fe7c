"""A worker: the half of a gateway that serves clients, in a process of its own, by what it is told over its channel.

Without a channel (the process in charge is gone) it goes on with what it has, until somebody comes in the place of that
process and sends it away (see `twisted_kong.workers.orphans`), or until SIGTERM. Whoever is to leave is gone within a
bound, whatever fails meanwhile: there may be nobody left who would notice.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from twisted_kong.errors import AdminError, StartupError
from twisted_kong.model.snapshot import Snapshot
from twisted_kong.model.traffic import Outcome
from twisted_kong.registry import Registry
from twisted_kong.runtime.follower import Elsewhere
from twisted_kong.runtime.gateway import Gateway
from twisted_kong.runtime.guard import Guards
from twisted_kong.runtime.names import Names
from twisted_kong.runtime.remembered import PeerKey
from twisted_kong.serving import Serving, named
from twisted_kong.settings import Settings, load
from twisted_kong.sockets import Place
from twisted_kong.tasks import detach
from twisted_kong.telemetry.node import resident_memory
from twisted_kong.telemetry.stalls import Watch
from twisted_kong.workers import messages
from twisted_kong.workers.channel import Channel
from twisted_kong.workers.messages import Message, Seen
from twisted_kong.workers.orphans import Reachable
from twisted_kong.workers.totals import changed_routes, documents

log = Logger()

TELLING = 1.0
"""Seconds between two times that a busy worker tells its counters without being asked."""
FIRST = 4
"""The first descriptor of a listening socket."""
GRACE = 15.0
"""Seconds that a worker which is to leave has for all but its requests; then the kernel ends it."""


class WorkerProcess:
    """This process."""

    def __init__(self, reactor: Any, end: socket.socket) -> None:
        """``end`` is ours of the channel."""
        self._reactor = reactor
        self._serving: Serving
        self._gateway: Gateway
        self._names: Names
        self._watch: Watch
        self.places: list[Place] = []
        """Where it listens."""
        self._acknowledged = 0
        self._seen: list[Seen] = []
        self._told: dict[tuple[str, str], int] = {}
        self._requests = -1
        self._timer: IDelayedCall | None = None
        self._served = False
        self._orphan = False
        self._leaving = False
        self._ending = False
        self._closing = False
        self._closers: list[Callable[[], object]] = []
        self.channel = Channel(self._heard, self._alone)
        self.channel.adopt(reactor, end)
        self.channel.say({"is": "hello", "speaks": messages.SPOKEN, "pid": os.getpid()})

    # -- what it is told ---------------------------------------------------------------------------------------

    def _heard(self, message: Message) -> None:
        match message["is"]:
            case "settings":
                try:
                    self._be(message)
                except StartupError as error:
                    log.critical("{error}", error=error)
                    self.channel.hang_up()  # once that is told; then there is nobody, and we end
            case "snapshot":
                self._apply(messages.whole(message))
                if not self._served:
                    gc.collect()
                    gc.freeze()  # a collection that walks the whole configuration stops all traffic meanwhile
                self._acknowledge()
            case "change":
                self._change(message)
                self._acknowledge()
            case "standings":
                self._gateway.told(messages.told(message))
                self._acknowledge()
            case "renew":
                self._renew(load(None, {}, {}, message["given"]))
                self._acknowledge()
            case "serve":
                if not self._leaving:
                    self._served = True
                    self._serving.serve(message["slots"])
            case "tell":
                self._tell(asked=True)
            case "rotate":
                self._serving.rotate()
            case "stop":
                self._leaving = True
                self.hurry()
                if self._served:
                    detach(self._serving.stop_listening(), "the end of listening")
            case "drain":
                detach(self._drain(), "finishing requests")
            case "close":
                detach(self._close(), "the end of a worker")

    def _be(self, message: Message) -> None:
        """Become what the settings say."""
        reactor = self._reactor
        settings = load(None, {}, {}, message["given"])
        registry = Registry.installed(settings.plugin_dirs)
        guards = Guards(registry.components, reactor.seconds)
        self._names = named(reactor, settings, registry, guards)
        self._closers.append(self._names.close)
        elsewhere = Elsewhere(self._see, settings.nginx_worker_processes)
        fallback = registry.fallback(settings.algorithm_fallback)
        self._gateway = Gateway(
            registry.algorithms, settings.router_flavor, self._names, guards, fallback, elsewhere=elsewhere
        )
        self._serving = Serving(reactor, settings, self._gateway, self._names)
        self._closers.append(self._serving.close)
        self.places = [
            Place(entry, slot, socket.socket(fileno=file))
            for file, (entry, slot) in enumerate(message["places"], FIRST)
        ]
        self._serving.listen_at(self.places)
        self._closers.append(Reachable(reactor, settings.prefix, self).close)
        self._timer = reactor.callLater(TELLING, self._tell_again)
        self._watch = Watch(reactor, settings.stall_timeout, registry.homes())
        self._closers.append(self._watch.close)
        self._watch.start()

    def _renew(self, settings: Settings) -> None:
        """Go on under these settings, which have been found to be sound."""
        try:
            self._serving.prepare(settings).commit()
        except StartupError as error:
            log.error("the settings stay as they are: {error}", error=error)

    def _apply(self, new: Snapshot) -> None:
        self._gateway.apply(self._gateway.snapshot, new)

    def _change(self, message: Message) -> None:
        try:
            new = messages.changed(self._gateway.snapshot, message)
        except AdminError:  # the order in which it was made is not told, and may matter
            new = None
        if new is None:
            self.channel.say({"is": "again"})
        else:
            self._apply(new)

    def _acknowledge(self) -> None:
        self._acknowledged += 1
        self.channel.say({"is": "acknowledged", "count": self._acknowledged})

    # -- what it tells -----------------------------------------------------------------------------------------

    def _see(self, key: PeerKey, outcome: Outcome | None) -> None:
        """Something was seen of a peer. What is seen in one turn of the reactor is told together."""
        if not self._seen:
            self._reactor.callLater(0, self._tell_seen)
        self._seen.append((key, outcome))

    def _tell_seen(self) -> None:
        found, self._seen = self._seen, []
        self.channel.say(messages.seen(found))

    def _tell(self, *, asked: bool) -> None:
        counted = self._serving.counted()
        self._requests = counted.requests
        names = self._names
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self.channel.say(
            {
                "is": "counted",
                "asked": asked,
                "counters": {
                    "active": counted.active,
                    "accepted": counted.accepted,
                    "busy": counted.busy,
                    "requests": counted.requests,
                },
                "routes": [*changed_routes(self._serving.traffic, self._told)],
                "refused": self._serving.traffic.refused.document(),
                "questions": [names.questions, names.failures],
                "measured": documents([*self._serving.measured(), *self._watch.collect()]),
                "memory": resident_memory(),
                "cpu": usage.ru_utime + usage.ru_stime,
            }
        )

    def _tell_again(self) -> None:
        self._timer = self._reactor.callLater(TELLING, self._tell_again)
        if self._serving.counted().requests != self._requests:
            self._tell(asked=False)

    # -- the end -----------------------------------------------------------------------------------------------

    def hurry(self) -> None:
        """Be gone within a bound from the first time this is called, even if nothing has its turn any more.

        A timer of the kernel's sees to that, whose signal nobody handles.
        """
        if not any(signal.getitimer(signal.ITIMER_REAL)):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            patience = self._serving.patience if self._served else 0.0
            signal.setitimer(signal.ITIMER_REAL, GRACE + patience)

    def leave(self) -> None:
        """Somebody sends us away: finish what is under way, and end."""
        self.hurry()
        if not self._leaving:
            self._leaving = True
            self.channel.say({"is": "leaving"})
            self._end()

    def _alone(self) -> None:
        """The process in charge talks no more."""
        if self._leaving:
            self._end()
        elif not self._served:
            self._stop()
        else:
            self._orphan = True
            signal.signal(signal.SIGUSR1, lambda *_: self._reactor.callFromThread(self._serving.rotate))
            log.error("the process in charge is gone; going on with what there is")

    def _end(self) -> None:
        if not self._ending:
            self._ending = True
            detach(self._leave(), "leaving")

    async def _leave(self) -> None:
        if self._served:
            with log.failuresHandled("the end of listening"):
                await self._serving.stop_listening()
            with log.failuresHandled("finishing requests"):
                await self._drain()
        await self._close()

    async def _drain(self) -> None:
        left = 0
        try:
            left = await self._serving.drain()
            if left and self._orphan:
                log.warn("{count} requests were cut off", count=left)
            self._tell(asked=False)
        finally:  # somebody waits for this
            self.channel.say({"is": "drained", "left": left})

    async def _close(self) -> None:
        """Let go of everything, and end, even if something will not let go."""
        if self._closing:
            return
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._closers:
            with log.failuresHandled("the end of a worker"):
                await maybeDeferred(self._closers.pop())
        self.channel.hang_up()
        self._reactor.callLater(0, self._stop)

    def _stop(self) -> None:
        with suppress(ReactorNotRunning):  # it stops already
            self._reactor.stop()


def handle_signals(reactor: Any, worker: WorkerProcess) -> None:
    """SIGTERM sends it away; what a terminal tells everybody is for the process in charge."""

    def terminate(*_: object) -> None:
        worker.hurry()  # now: it may be stuck
        reactor.callFromThread(worker.leave)

    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, terminate)
