"""The workers of a gateway, as the process in charge knows them.

Each worker gets the configuration and how peers stand, then every change of either; what must be in force before
somebody is answered is in force with all that serve when `Pool.settled` says so. A worker that ends is replaced, at
once unless it ended soon after its start; meanwhile its siblings take what comes to its sockets. A worker that does not
acknowledge within `PATIENCE` is killed, so that nobody waits for it and nobody is served by what is out of date.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from twisted_kong.model.snapshot import Snapshot, diff
from twisted_kong.renewal import Prepared
from twisted_kong.runtime.follower import WELL, Standing
from twisted_kong.runtime.gateway import Gateway
from twisted_kong.runtime.peers import Peer
from twisted_kong.runtime.remembered import PeerKey
from twisted_kong.serving import LAST_CALL, Counted, check_serving
from twisted_kong.settings import Settings
from twisted_kong.sockets import Place, close
from twisted_kong.workers import messages
from twisted_kong.workers.channel import encoded
from twisted_kong.workers.messages import Message
from twisted_kong.workers.orphans import WHERE
from twisted_kong.workers.process import Worker
from twisted_kong.workers.totals import Totals

log = Logger()

PATIENCE = 10.0
"""Seconds that a worker has to acknowledge what it was told."""
STARTING = 60.0
"""Seconds that a worker has to start."""
ANSWERING = 1.0
"""Seconds that a worker has to tell its counters; after that those count that it told last."""
ESTABLISHED = 5.0
"""Seconds after which the end of a worker is no failure to start."""
SHORTEST, LONGEST = 0.1, 10.0
"""Seconds between two attempts to start a worker that ends at once; they double each time."""
ENDING = 5.0
"""Seconds that a worker has to end once it has nothing to do."""


class Pool:
    """All workers. See `twisted_kong.serving.IServing` for what is asked of them by others."""

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        gateway: Gateway,
        places: Sequence[Place],
        directory: Path,
        watch: Collector,
    ) -> None:
        """``gateway`` judges for all; they serve at ``places``, in ``directory``; ``watch`` is this process's own."""
        self._reactor = reactor
        self._settings = settings
        self._gateway = gateway
        self._places = places
        self._directory = directory
        self._watch = watch
        self.traffic = Totals()
        self.workers: dict[int, Worker] = {}
        """By their slots."""
        self.replaced = 0
        """How many workers were started in the place of others that ended before their time."""
        self.ready: Deferred[None] = Deferred()
        """Fires when all of them serve for the first time."""
        self._quick: dict[int, int] = {}
        self._timers: dict[int, IDelayedCall] = {}
        self._stopping = False
        self._dirty: dict[PeerKey, Peer] = {}
        self._standings: dict[PeerKey, Standing] = {}
        self._flushing: IDelayedCall | None = None

    def start(self) -> None:
        """Start all workers."""
        (self._settings.prefix / WHERE).mkdir(mode=0o700, exist_ok=True)
        for peer in self._gateway.peers.all():
            self._follow(peer)
        self._gateway.peers.follows = self._follow
        for slot in range(self._settings.nginx_worker_processes):
            self._start(slot)

    def _start(self, slot: int) -> None:
        self._timers.pop(slot, None)
        try:
            worker, ours = self._spawn(slot)
        except OSError as error:  # no descriptors, no memory, or too many processes
            log.error("worker {slot} cannot be started: {error}", slot=slot, error=error)
            self._timers[slot] = self._reactor.callLater(LONGEST, self._start, slot)
            return
        self.workers[slot] = worker
        worker.pid = worker.transport.pid  # type: ignore[union-attr]  # it has a process by now
        worker.born = self._reactor.seconds()
        worker.timer = self._reactor.callLater(STARTING, worker.kill)
        worker.channel.adopt(self._reactor, ours)

    def _spawn(self, slot: int) -> tuple[Worker, socket.socket]:
        """A worker whose process has begun, and our end of its channel.

        :raise OSError: there is none.
        """
        worker = Worker(slot, self.heard, self.ended)
        files = {0: 0, 1: 1, 2: 2}
        for file, place in enumerate(self._places, 4):
            files[file] = place.socket.fileno()
        given = {name: value for name, value in os.environ.items() if name not in _OURS}
        given["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        command = [sys.executable, "-m", "twisted_kong.workers", "3"]
        ours, theirs = socket.socketpair()
        files[3] = theirs.fileno()
        try:
            with theirs:
                self._reactor.spawnProcess(
                    worker, sys.executable, command, env=given, path=str(self._directory), childFDs=files
                )
        except OSError:
            ours.close()
            raise
        return worker, ours

    # -- what workers tell -------------------------------------------------------------------------------------

    def heard(self, worker: Worker, message: Message) -> None:
        """``worker`` says something."""
        match message["is"]:
            case "hello":
                self._welcome(worker, message)
            case "acknowledged":
                if worker.up_to_date and not (worker.serving or worker.leaving or self._stopping):
                    self._serves(worker)
            case "again":
                self._inform(worker)
                worker.wait_for_all()
            case "seen":
                for key, outcome in messages.outcomes(message):
                    self._gateway.seen(key, outcome)
                    worker.dirty[key] = None
                self._flush_soon()
            case "counted":
                self.traffic.heard(worker.pid, message)
            case "logged":
                level = LogLevel.lookupByName(message["level"])
                log.emit(level, "worker {slot} ({pid}): {text}", slot=worker.slot, pid=worker.pid, text=message["text"])
            case "leaving":
                worker.leaving = True
                worker.serving = False
                self._share()
            case "drained":
                worker.left = message["left"]

    def _welcome(self, worker: Worker, message: Message) -> None:
        if message["speaks"] != messages.SPOKEN:
            log.critical(
                "worker {slot} speaks {theirs}, expected {ours}: the program was replaced; restart the gateway",
                slot=worker.slot,
                theirs=message["speaks"],
                ours=messages.SPOKEN,
            )
            worker.kill()
            return
        if self._stopping:
            worker.kill()
            return
        places = [[place.entry, place.slot] for place in self._places]
        texts = dict(self._settings.given)
        worker.channel.say({"is": "settings", "given": texts, "slot": worker.slot, "places": places})
        self._inform(worker)

    def _inform(self, worker: Worker) -> None:
        """Tell it everything."""
        self._flush()
        worker.informed = True
        worker.tell(encoded(messages.snapshot(self._gateway.snapshot)))
        worker.tell(encoded(messages.standings(self._standings)))

    def _serves(self, worker: Worker) -> None:
        worker.serving = True
        if worker.timer is not None:
            worker.timer.cancel()
            worker.timer = None
        self._share()
        if not self.ready.called and len(self.serving()) == self._settings.nginx_worker_processes:
            self.ready.callback(None)

    def _share(self) -> None:
        """Tell everybody at whose sockets to listen: their own, and those of nobody."""
        serving = self.serving()
        vacant = {*range(self._settings.nginx_worker_processes)} - {worker.slot for worker in serving}
        for worker in serving:
            worker.channel.say({"is": "serve", "slots": [worker.slot, *sorted(vacant)]})

    def serving(self) -> list[Worker]:
        """The workers that take connections."""
        return [worker for worker in self.workers.values() if worker.serving]

    def ended(self, worker: Worker, reason: Failure) -> None:
        """``worker`` has ended: another one takes its place."""
        self.traffic.gone(worker.pid)
        (self._settings.prefix / WHERE / str(worker.pid)).unlink(missing_ok=True)
        if worker.timer is not None:
            worker.timer.cancel()
            worker.timer = None
        del self.workers[worker.slot]
        if self._stopping:
            return
        self.replaced += not worker.leaving
        self._share()
        slot = worker.slot
        quick = self._reactor.seconds() - worker.born < ESTABLISHED
        self._quick[slot] = times = self._quick.get(slot, 0) + 1 if quick else 0
        wait = min(SHORTEST * 2 ** (times - 2), LONGEST) if times > 1 else 0.0
        log.emit(
            LogLevel.info if worker.leaving else LogLevel.error,
            "worker {slot} ({pid}) has ended: {how}; another one starts {when}",
            slot=slot,
            pid=worker.pid,
            how=_told(reason),
            when=f"in {wait:g} seconds" if wait else "now",
        )
        self._timers[slot] = self._reactor.callLater(wait, self._start, slot)

    # -- what they must have in force --------------------------------------------------------------------------

    def apply(self, old: Snapshot, new: Snapshot) -> None:
        """The configuration is ``new`` by now, here."""
        told = encoded(messages.change(old, new, diff(old, new)))
        for worker in self.workers.values():
            if worker.informed:
                worker.tell(told)
        peers = self._gateway.peers
        gone = [key for key in self._standings if peers.known(key) is None and key not in peers.remembered]
        self._spread(dict.fromkeys(gone, WELL))

    async def settled(self) -> None:
        """All that serve have in force what is in force here."""
        self._flush()
        await gatherResults([self._within(PATIENCE, worker.settled(), worker.kill) for worker in self.serving()])

    def _within(self, seconds: float, waiting: Deferred[None], late: Callable[[], None]) -> Deferred[None]:
        """What is waited for; ``late`` is called if it takes more seconds."""
        if not waiting.called:
            timer = self._reactor.callLater(seconds, late)

            def there(_: object) -> None:
                if timer.active():
                    timer.cancel()

            _ = waiting.addCallback(there)
        return waiting

    def _follow(self, peer: Peer) -> None:
        if peer.identity is not None:
            self._dirty[peer.identity] = peer
            self._flush_soon()

    def _flush_soon(self) -> None:
        if self._flushing is None:
            self._flushing = self._reactor.callLater(0, self._flush)

    def _flush(self) -> None:
        """Tell how peers stand that stand otherwise, and whoever has seen something of one how it stands by now."""
        if self._flushing is not None:
            if self._flushing.active():
                self._flushing.cancel()
            self._flushing = None
        dirty, self._dirty = self._dirty, {}
        found = {key: _standing(peer) for key, peer in dirty.items()}
        news = {key: each for key, each in found.items() if self._standings.get(key, WELL) != each}
        self._spread(news)
        for worker in self.workers.values():
            asked, worker.dirty = worker.dirty, {}
            answers = {key: self._standings.get(key, WELL) for key in asked if key not in news}
            if answers:
                worker.tell(encoded(messages.standings(answers)))

    def _spread(self, news: Mapping[PeerKey, Standing]) -> None:
        for key, standing in news.items():
            if standing == WELL:
                self._standings.pop(key, None)
            else:
                self._standings[key] = standing
        if news:
            told = encoded(messages.standings(news))
            for worker in self.workers.values():
                if worker.informed:
                    worker.tell(told)

    # -- what is asked of whoever serves -----------------------------------------------------------------------

    def counted(self) -> Counted:
        return self.traffic.counted()

    def questions(self) -> tuple[int, int]:
        return self.traffic.questions()

    def measured(self) -> Sequence[Metric]:
        return self.traffic.measured(self._watch.collect())

    def processes(self) -> Mapping[int, int]:
        told = self.traffic.memory()
        return {worker.pid: told.get(worker.pid, 0) for worker in self.workers.values()}

    async def gather(self) -> None:
        """Have all workers tell their counters."""
        each = [worker.ask() for worker in self.serving()]
        for asked in each:
            _ = self._within(ANSWERING, asked, lambda asked=asked: asked.called or asked.callback(None))  # type: ignore[misc]
        await gatherResults(each)

    def prepare(self, settings: Settings) -> Prepared:
        """:raise StartupError: workers could not serve by these settings."""
        check_serving(settings, self._gateway)
        return Prepared(lambda: self._renew(settings))

    def _renew(self, settings: Settings) -> None:
        self._settings = settings
        told = encoded({"is": "renew", "given": dict(settings.given)})
        for worker in self.workers.values():
            if worker.informed:
                worker.tell(told)

    def rotate(self) -> None:
        self._say({"is": "rotate"})

    async def stop_listening(self) -> None:
        self._stopping = True
        for timer in self._timers.values():
            if timer.active():
                timer.cancel()
        for worker in [*self.workers.values()]:
            if not worker.informed:  # it has not begun
                worker.kill()
        self._say({"is": "stop"})
        close(self._places)

    async def drain(self) -> int:
        everybody = [*self.workers.values()]
        self._say({"is": "drain"})
        end = self._reactor.seconds() + self._settings.nginx_main_worker_shutdown_timeout + LAST_CALL + ENDING
        while any(worker.left is None and not worker.ended.called for worker in everybody):
            if self._reactor.seconds() > end:
                break
            await deferLater(self._reactor, 0.02)
        return sum(worker.left or 0 for worker in everybody)

    async def close(self) -> None:
        everybody = [*self.workers.values()]
        self._say({"is": "close"})
        for worker in everybody:
            _ = self._within(ENDING, worker.ended, worker.kill)
        await gatherResults([worker.ended for worker in everybody])
        if self._flushing is not None and self._flushing.active():
            self._flushing.cancel()

    def _say(self, message: Message) -> None:
        for worker in self.workers.values():
            worker.channel.say(message)


_OURS = frozenset(
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "PYTHONPATH"]
)
"""What is said to us alone in the environment."""


def _standing(peer: Peer) -> Standing:
    return Standing(peer.health.counters.state, peer.on_trial)


def _told(reason: Failure) -> str:
    """How a process has ended, in words."""
    number = getattr(reason.value, "signal", None)
    return f"signal {number}" if number else f"status {getattr(reason.value, 'exitCode', 'unknown')}"
