"""The half of a gateway that serves clients: the doors, the proxy behind them, what is counted of the traffic.

Everything it works by (a configuration alive, names) is given to it, and nothing here knows where that comes from: the
other half is `twisted_kong.control`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Protocol

from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater

from twisted_kong.certified import prepared, server_names
from twisted_kong.errors import StartupError
from twisted_kong.listening import listen
from twisted_kong.proxy.core import ProxyCore
from twisted_kong.proxy.listeners import Door
from twisted_kong.proxy.recording import Recorder
from twisted_kong.registry import Registry
from twisted_kong.renewal import Prepared, Renewals, nothing
from twisted_kong.runtime.gateway import Gateway
from twisted_kong.runtime.guard import Guards
from twisted_kong.runtime.names import Names, make_names
from twisted_kong.runtime.resolvers import make_resolver
from twisted_kong.settings import Settings
from twisted_kong.sockets import Place, adopt, close
from twisted_kong.telemetry.accesslog import FORMATS, AccessLog, traced
from twisted_kong.telemetry.node import resident_memory
from twisted_kong.telemetry.pools import PoolMetrics
from twisted_kong.telemetry.traffic import Traffic
from twisted_kong.traces import make_exporter, make_tracer

LAST_CALL = 0.25
"""Seconds in which a client whose connection is idle when the gateway stops may still ask, and is answered: it may have
asked already, and would otherwise see its connection end in place of an answer."""


LAST_SPANS = 2.0
"""Seconds that the collector of spans has for those that are left when the gateway stops."""


@dataclass(frozen=True)
class Counted:
    """Connections of clients there are and there were, requests under way and there were."""

    active: int = 0
    accepted: int = 0
    busy: int = 0
    requests: int = 0


class IServing(Protocol):
    """What the other half asks of whoever serves."""

    @property
    def traffic(self) -> Traffic:
        """What was counted of the traffic."""

    def counted(self) -> Counted:
        """What was counted of connections and requests."""

    async def gather(self) -> None:
        """Bring both up to date."""

    async def settled(self) -> None:
        """What is in force in the other half is in force here as well."""

    def processes(self) -> Mapping[int, int]:
        """Who serves, by process id, and the bytes of memory that each occupies."""

    def questions(self) -> tuple[int, int]:
        """How many questions for names whoever serves has asked on its own, and how many of them in vain."""

    def measured(self) -> Sequence[Metric]:
        """What else is measured of whoever serves, now; counters and sums that can be added up."""

    def rotate(self) -> None:
        """Somebody has moved the access log away."""

    def prepare(self, settings: Settings) -> Prepared:
        """Get ready for other settings.

        :raise StartupError: something that they name cannot be used.
        """

    async def stop_listening(self) -> None:
        """Take no new connections."""

    async def drain(self) -> int:
        """Finish what is under way, within the time that the settings give; answer how many requests are left."""

    async def close(self) -> None:
        """Cut off what is left, and let go of everything."""


class Serving:
    """Serves the clients of one process."""

    def __init__(self, reactor: Any, settings: Settings, gateway: Gateway, names: Names) -> None:
        """:raise StartupError: the access log cannot be written."""
        self._reactor = reactor
        self._settings = settings
        self._gateway = gateway
        self.traffic = Traffic()
        self._access_log = open_access_log(settings, reactor)
        self._exporter = make_exporter(settings)
        recorder = Recorder(self.traffic, self._access_log)
        tracer = make_tracer(settings, Random(), self._exporter)
        self.core = ProxyCore(reactor, settings, gateway, names, Random(), recorder, tracer)
        self._collectors: list[Collector] = [PoolMetrics({"http/1.1": self.core.pool, "h2": self.core.streams})]
        if self._exporter is not None:
            self._collectors.append(self._exporter)
        self.doors: list[Door] = []
        self.ports: list[IListeningPort] = []
        self._stopped = False
        self._places: Sequence[Place] = ()
        self._renewals = Renewals()
        self._renewals.add(self.core.prepare)
        self._renewals.add(self._prepare_log)

    def listen(self) -> None:
        """Let clients in.

        :raise StartupError: that is not possible where the settings say.
        """
        for listener, door in zip(self._settings.proxy_listen, self.make_doors(), strict=True):
            self.ports.append(door.guard(listen(self._reactor, listener, door.factory, "proxy_listen")))

    def listen_at(self, places: Sequence[Place]) -> None:
        """Have sockets that are open already, ours from now on; where clients are let in is said by `serve`."""
        doors = self.make_doors()
        self._places = places
        for place in places:
            door = doors[place.entry]
            self.ports.append(door.guard(adopt(self._reactor, place, door.factory)))

    def serve(self, slots: Container[int]) -> None:
        """Let clients in at the sockets of these workers, and at those of all."""
        for place, port in zip(self._places, self.ports, strict=True):
            if place.slot is None or place.slot in slots:
                port.startReading()  # type: ignore[attr-defined]  # it is one of Twisted's ports
            else:
                port.stopReading()  # type: ignore[attr-defined]  # as above

    def make_doors(self) -> list[Door]:
        """A door for each entry of ``proxy_listen``."""
        if self._exporter is not None:
            self._exporter.start()
        shown = server_names(self._gateway, self._settings)
        if shown is not None:
            self._renewals.add(partial(prepared, shown))
        self.doors = [Door(self.core, self._settings, listener, shown) for listener in self._settings.proxy_listen]
        for door in self.doors:
            self._renewals.follow(door.renew)
        return self.doors

    def prepare(self, settings: Settings) -> Prepared:
        return self._renewals.prepare(settings)

    def _prepare_log(self, settings: Settings) -> Prepared:
        """Another access log, where it is to be another."""
        if settings.proxy_access_log == self._settings.proxy_access_log:
            return Prepared(partial(self._renew, settings, self._access_log))
        log = open_access_log(settings, self._reactor)
        return Prepared(partial(self._renew, settings, log), log.close if log else nothing)

    def _renew(self, settings: Settings, log: AccessLog | None) -> None:
        self._settings = settings
        old, self._access_log = self._access_log, log
        self.core.recorder.access_log = log
        if old is not None and old is not log:
            old.close()

    def counted(self) -> Counted:
        return Counted(
            sum(len(door.proxy.connections) for door in self.doors),
            sum(door.proxy.accepted for door in self.doors),
            self.core.exchanges,
            self.core.requests,
        )

    async def gather(self) -> None:
        pass

    async def settled(self) -> None:
        pass

    def processes(self) -> Mapping[int, int]:
        return {os.getpid(): resident_memory()}

    def questions(self) -> tuple[int, int]:
        return 0, 0  # they are those of the other half

    def measured(self) -> Sequence[Metric]:
        return [family for collector in self._collectors for family in collector.collect()]

    def rotate(self) -> None:
        if self._access_log is not None:
            self._access_log.reopen()

    @property
    def patience(self) -> float:
        """The most seconds that `drain` takes."""
        return LAST_CALL + self._settings.nginx_main_worker_shutdown_timeout

    async def stop_listening(self) -> None:
        if not self._stopped:  # a port can be stopped once
            self._stopped = True
            await gatherResults([Deferred.fromCoroutine(stopped(port)) for port in self.ports])
        close(self._places)

    async def drain(self) -> int:
        for door in self.doors:
            door.proxy.drain()
        await self._until(lambda: not any(each.proxy.connections for each in self.doors), LAST_CALL)
        for door in self.doors:
            door.close_idle()
        await self._until(
            lambda: not self.core.exchanges and not any(each.proxy.busy() for each in self.doors),
            self._settings.nginx_main_worker_shutdown_timeout,
        )
        return self.core.exchanges

    async def close(self) -> None:
        for door in self.doors:
            door.proxy.abort()
        self.core.close()
        await deferLater(self._reactor, 0)  # what was aborted ends in the next turn, and has a line as well
        if self._access_log is not None:
            self._access_log.close()
        if self._exporter is not None:
            self._exporter.end()
            await self._until(lambda: self._exporter is None or self._exporter.ended, LAST_SPANS)
            self._exporter.give_up()

    async def _until(self, there: Callable[[], bool], patience: float) -> None:
        """Wait until ``there()``, but no longer than so many seconds."""
        end = self._reactor.seconds() + patience
        while not there() and self._reactor.seconds() < end:
            await deferLater(self._reactor, 0.02)


async def stopped(port: IListeningPort) -> None:
    """Listen no more."""
    done = port.stopListening()
    if done is not None:
        await done


def named(reactor: Any, settings: Settings, registry: Registry, guards: Guards) -> Names:
    """The names in use, yet none, asked for as the settings say."""
    factory = registry.resolver(settings.dns_resolver_plugin)
    return make_names(reactor, settings, make_resolver(factory, reactor, settings, guards.of("resolver", factory.name)))


def check_serving(settings: Settings, gateway: Gateway) -> None:
    """Whether other processes will be able to serve by these settings.

    :raise StartupError: they will not.
    """
    server_names(gateway, settings)
    make_exporter(settings)
    access_log = open_access_log(settings, None)
    if access_log is not None:
        access_log.close()


def open_access_log(settings: Settings, reactor: Any) -> AccessLog | None:
    """The access log that the settings ask for."""
    wanted = settings.proxy_access_log
    if wanted is None:
        return None
    path = settings.prefix / wanted.path
    try:
        format = FORMATS[wanted.format]()
        if settings.tracing_instrumentations and wanted.format != "json":
            format = traced(format)
        return AccessLog(path, format, reactor)
    except OSError as error:
        raise StartupError(f"proxy_access_log: expected a file to write to, got {path}: {error.strerror}") from None
