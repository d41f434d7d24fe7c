"""``twistd kong-gateway``: the only place that wires, and the order in which things start and stop.

Start: settings, components, store, configuration in force, then the listeners, the proxy's before the Admin API's, so
that whoever can ask the Admin API finds the rest at work. All of it happens before the reactor runs; whatever is
wrong ends the process with one line. Stop: no new connections, requests under way are answered, then the store
is closed. At SIGHUP settings and configuration are read anew, the latter from the declarative file or the database.
"""

from __future__ import annotations

import gc
import os
import select
import shlex
import signal
import sys
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python import usage

from twisted_kong.commandline import GATEWAY
from twisted_kong.control import Control
from twisted_kong.errors import StartupError
from twisted_kong.prefix import PrefixLock, make_prefix
from twisted_kong.registry import Registry
from twisted_kong.renewal import Renewals
from twisted_kong.serving import IServing, Serving, check_serving
from twisted_kong.settings import Settings, load
from twisted_kong.settings.renewable import renewed
from twisted_kong.sockets import open_places
from twisted_kong.systemd import Supervisor
from twisted_kong.tasks import detach
from twisted_kong.telemetry.levels import Threshold
from twisted_kong.telemetry.stalls import Watch
from twisted_kong.terminal import has_terminal
from twisted_kong.workers.measured import WorkerMetrics
from twisted_kong.workers.orphans import Orphan, find_orphans
from twisted_kong.workers.pool import Pool

log = Logger()


class Options(usage.Options):
    """The command line. Everything else is a setting of the file or of the environment."""

    synopsis = "[options]"
    longdesc = "A gateway that speaks Kong's Admin API: a reverse proxy, and those who tell it what to do."
    optParameters = [
        ["conf", "c", None, "Settings file in kong.conf syntax, such as /etc/kong/kong.conf (default: none)."],
        ["prefix", "p", None, "Directory of everything the gateway keeps (default: .run)."],
        [
            "proxy-listen",
            None,
            None,
            "Where the proxy listens: addresses with flags, separated by commas, such as 127.0.0.1:8000"
            " (default: 0.0.0.0:8000, 0.0.0.0:8443 http2 ssl).",
        ],
        [
            "admin-listen",
            None,
            None,
            "Where the Admin API listens (default: 127.0.0.1:8001, 127.0.0.1:8444 ssl). Where others can reach it,"
            " admin_tokens or client certificates are needed.",
        ],
        ["database", None, None, "sqlite, or off for a declarative configuration (default: sqlite)."],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        self.settings: Settings
        self.given: dict[str, str] = {}
        self.given_by_set: dict[str, str] = {}

    def getUsage(self, width: int | None = None) -> str:
        """What ``--help`` prints."""
        return f"{super().getUsage(width)}\n{GATEWAY}"

    def opt_set(self, text: str) -> None:
        """Any setting: --set name=value, such as --set log_level=debug; may be repeated (default: none)."""
        name, equals, value = text.partition("=")
        if not equals:
            raise usage.UsageError(f"--set: expected name=value, got {text!r}")
        self.given_by_set[name.strip()] = value.strip()

    def opt_plugin_dir(self, directory: str) -> None:
        """A directory of drop-in components; may be repeated, in the place of plugin_dirs (default: none)."""
        self.given["plugin_dirs"] = ",".join(filter(None, (self.given.get("plugin_dirs"), directory)))

    def parseArgs(self, *words: str) -> None:
        """There are options alone."""
        if words:
            raise usage.UsageError(f"expected options alone, got {shlex.join(words)!r}")

    def postOptions(self) -> None:
        """Turn everything into settings, or end with one line."""
        for option in ("prefix", "proxy-listen", "admin-listen", "database"):
            if self[option] is not None:
                self.given[option.replace("-", "_")] = self[option]
        self._where = os.getcwd()
        with one_line():
            self.settings = self.read()

    def read(self) -> Settings:
        """The settings, read now: from the same file, environment and options, wherever we have gone meanwhile.

        :raise StartupError: something is wrong with them.
        """
        with chdir(self._where):
            return load(self["conf"], os.environ, self.given, self.given_by_set)


class one_line:  # noqa: N801  # reads as what it does
    """Ends the process with the one line of a `StartupError`."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StartupError):
            raise SystemExit(f"kong-gateway: {error}")


def makeService(options: Options) -> Service:
    """The service of ``options``, for twistd."""
    return GatewayService(the_reactor(), options.settings, read=options.read)


def the_reactor() -> Any:
    """The reactor ``twistd --reactor`` has installed; without one our own, where the system has epoll."""
    if "twisted.internet.reactor" not in sys.modules and hasattr(select, "epoll"):
        from twisted_kong.reactor import install

        install()
    from twisted.internet import reactor

    return reactor


class GatewayService(Service):
    """A whole gateway: whoever serves, whoever is in charge, and the signals that reach both."""

    name = "kong-gateway"

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        registry: Registry | None = None,
        read: Callable[[], Settings] | None = None,
    ) -> None:
        """``read`` reads the settings anew; without it they stay as they are."""
        self._reactor = reactor
        self._settings = settings
        self._read = read or (lambda: settings)
        self._reloading = DeferredLock()
        self._renewals = Renewals()
        self._registry = registry
        self._lock: PrefixLock | None = None
        self._threshold: Threshold | None = None
        self._watch: Watch
        self._supervisor = Supervisor(os.environ, reactor)
        self._unready: str | None = "starting"
        self._terminal = False
        self._before: Any = signal.SIG_DFL
        self.control: Control
        self.serving: Serving
        self._half: IServing
        self._directory = Path.cwd()
        self._orphans: list[Orphan] = []

    def startService(self) -> None:
        """Start everything.

        :raise SystemExit: something is wrong; its text is one line.
        """
        with one_line():
            make_prefix(self._settings.prefix)
            self._lock = PrefixLock(self._settings.prefix)
            try:
                self._start(self._registry or Registry.installed(self._settings.plugin_dirs))
            except BaseException:
                if self._threshold is not None:
                    self._threshold.close()
                self._lock.release()
                raise
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's

    def _start(self, registry: Registry) -> None:
        reactor, settings = self._reactor, self._settings
        self._threshold = Threshold(settings.log_level)
        self.control = control = Control(reactor, settings, registry)
        self._orphans, sockets = find_orphans(settings.prefix)
        several = settings.nginx_worker_processes > 1
        if several or sockets:
            places = open_places(reactor, settings.proxy_listen, settings.nginx_worker_processes, sockets)
        self._watch = Watch(reactor, settings.stall_timeout, registry.homes())
        if several:
            check_serving(settings, control.gateway)
            self._half = pool = Pool(reactor, settings, control.gateway, places, self._directory, self._watch)
            control.store.subscribe(pool.apply)
            control.tell_of(pool, lambda: self._unready, [WorkerMetrics(pool)])
        else:
            self._half = self.serving = Serving(reactor, settings, control.gateway, control.names)
            control.tell_of(self.serving, lambda: self._unready, [self._watch])
        for each in (self._half.prepare, control.renewals.prepare):
            self._renewals.add(each)
        self._before = signal.signal(signal.SIGHUP, self._hung_up) or signal.SIG_DFL
        signal.signal(signal.SIGUSR1, self._rotated)
        signal.signal(signal.SIGQUIT, self._quit)
        self._terminal = self._before != signal.SIG_IGN and has_terminal()
        if several:
            control.listen()
            pool.start()
            _ = pool.ready.addCallback(lambda _: self._ready())
        else:
            if sockets:
                self.serving.listen_at(places)
                self.serving.serve([0])
            else:
                self.serving.listen()
            control.listen()
            self._ready()
        gc.collect()
        gc.freeze()  # a collection that walks the whole configuration stops all traffic meanwhile

    def _ready(self) -> None:
        """Clients are served, with the whole configuration in force."""
        self._unready = None
        self.control.answer()
        for orphan in self._orphans:
            orphan.send_away()
        self._reactor.callWhenRunning(self._supervisor.ready)
        self._reactor.callWhenRunning(self._watch.start)
        log.info("ready: {prefix}", prefix=self._settings.prefix)
        if self._settings.inert:
            log.info("settings without effect here: {names}", names=", ".join(self._settings.inert))

    def _hung_up(self, number: int, frame: FrameType | None) -> None:
        """SIGHUP came, in the middle of anything: somebody sent it, or our terminal was closed and we go with it."""
        if self._terminal and not has_terminal():
            self._reactor.callFromThread(self._reactor.stop)
        else:
            self._reactor.callFromThread(lambda: detach(self._reload(), "reading the configuration anew"))

    def _rotated(self, number: int, frame: FrameType | None) -> None:
        """SIGUSR1 came: somebody has moved the log away."""
        self._reactor.callFromThread(self._half.rotate)

    def _quit(self, number: int, frame: FrameType | None) -> None:
        """SIGQUIT came, with which nginx is told to stop gracefully; we do not stop in any other way."""
        self._reactor.callFromThread(self._reactor.stop)

    async def _reload(self) -> None:
        """Read settings and configuration anew. What cannot be read leaves everything as it is."""
        if not self.running:
            return
        if self._unready is None:
            self._supervisor.reloading()
        try:
            await self._reloading.run(lambda: Deferred.fromCoroutine(self._renew()))
        except StartupError as error:
            log.error("the configuration stays as it is: {error}", error=error)
        finally:
            if self._unready is None:  # not while it starts or stops
                self._supervisor.ready()  # as before, if nothing came of it

    async def _renew(self) -> None:
        settings, left = renewed(self._settings, self._read())
        prepared = self._renewals.prepare(settings)
        try:
            await self.control.reload(settings)
        except BaseException:
            prepared.abandon()
            raise
        prepared.commit()
        self._settings = settings
        await self._half.settled()
        assert self._threshold is not None
        self._threshold.set(settings.log_level)
        log.info("read the configuration anew")
        if left:
            log.warn("settings that have changed and need a restart: {names}", names=", ".join(left))

    def stopService(self) -> Deferred[None]:
        """Stop everything; fires when it has stopped."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        control, serving = self.control, self._half
        self._unready = "draining"
        self._supervisor.stopping(f"finishing {serving.counted().busy} requests")
        if self._settings.drain_delay:
            await deferLater(self._reactor, self._settings.drain_delay)
        await gatherResults([Deferred.fromCoroutine(each.stop_listening()) for each in (serving, control)])
        left = await serving.drain()
        await control.stop_telling()
        if left:
            log.warn("{count} requests were cut off", count=left)
        await serving.close()
        await control.close()
        self._watch.close()
        for number in (signal.SIGUSR1, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        if self._lock is not None:
            self._lock.release()
        if self._threshold is not None:
            self._threshold.close()
        signal.signal(signal.SIGHUP, self._before)
        self._supervisor.close()
