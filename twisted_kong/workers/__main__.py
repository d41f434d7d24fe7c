"""``python -m twisted_kong.workers 3``: a worker, whose channel is descriptor 3. Only a gateway starts one."""

from __future__ import annotations

import select
import socket
import sys
import threading
from typing import Any

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogBeginner
from zope.interface import implementer


@implementer(ILogObserver)
class Telling:
    """Tells the process in charge what is logged; once that is gone, whoever reads standard error.

    What other threads have to say, which watch this one, is written there at once: this one may be stuck.
    """

    def __init__(self) -> None:
        self.worker: WorkerProcess | None = None

    def __call__(self, event: LogEvent) -> None:
        """Something was logged."""
        text = formatEvent(event)
        failure = event.get("log_failure")
        if failure is not None:
            text += "\n" + failure.getTraceback()
        ours = threading.current_thread() is threading.main_thread()
        channel = self.worker.channel if self.worker is not None and ours else None
        if channel is not None and channel.connected:
            level = event.get("log_level", LogLevel.info)
            channel.say({"is": "logged", "level": level.name, "text": text})
        elif text:
            print(text, file=sys.stderr, flush=True)  # noqa: T201  # there is nobody else to tell


if __name__ == "__main__":
    telling = Telling()
    globalLogBeginner.beginLoggingTo([telling], redirectStandardIO=False)
    if hasattr(select, "epoll"):
        from twisted_kong.reactor import install

        install()
    from twisted.internet import reactor as installed

    from twisted_kong.workers.worker import WorkerProcess, handle_signals

    reactor: Any = installed
    telling.worker = WorkerProcess(reactor, socket.socket(fileno=int(sys.argv[1])))
    handle_signals(reactor, telling.worker)
    reactor.run(installSignalHandlers=False)
