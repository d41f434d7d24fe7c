"""Workers whose process in charge is gone: how whoever comes after it finds them, and takes over without a loss.

Every worker can be reached at a socket below ``workers/`` in the prefix, named by its process id. A new process in
charge asks each that it finds for its listening sockets, so that what waits in their lines is not lost; and when its
own workers serve at these, it sends the others away, which finish what they carry. That there are workers of others
in the prefix means that those have nobody: the lock of the prefix is ours.
"""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IUNIXTransport
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from twisted_kong.errors import StartupError
from twisted_kong.serving import stopped
from twisted_kong.sockets import Place, leave_file
from twisted_kong.workers.channel import Channel, encoded
from twisted_kong.workers.messages import Message

log = Logger()

WHERE = "workers"
"""The directory of the sockets, below the prefix."""
PATIENCE = 5.0
"""Seconds that an orphan has to answer."""
LONGEST = 100
"""Bytes that the path of a Unix socket may have, or a little more."""


class Leaving(Protocol):
    """A worker, as far as it can be taken over."""

    places: list[Place]
    """Where it listens."""

    def leave(self) -> None:
        """Finish what is under way, and end."""


class Reachable:
    """Lets a new process in charge find this worker.

    :raise StartupError: that is not possible.
    """

    def __init__(self, reactor: Any, prefix: Path, worker: Leaving) -> None:
        self._worker = worker
        self._open = ExitStack()
        try:
            path = self._open.enter_context(open_directory(prefix / WHERE)) / str(os.getpid())
            path.unlink(missing_ok=True)
            self._port = leave_file(reactor.listenUNIX(str(path), _Conversations(self), mode=0o600))
            self._path = path
        except (OSError, CannotListenError) as error:
            raise StartupError(f"prefix: expected a directory that may hold sockets, got {prefix}: {error}") from None

    def talk(self) -> Channel:
        """A conversation with somebody who has come."""
        channel = Channel(lambda message: self._heard(channel, message), lambda: None)
        return channel

    def _heard(self, channel: Channel, message: Message) -> None:
        match message["is"]:
            case "take":
                transport = IUNIXTransport(channel.transport)
                for place in self._worker.places:
                    transport.sendFileDescriptor(place.socket.fileno())
                # Twisted sends a byte with each of them, and fails where there are fewer.
                channel.say({"is": "taken", "room": " " * len(self._worker.places)})
            case "leave":
                self._worker.leave()

    async def close(self) -> None:
        """Be found no more."""
        await stopped(self._port)
        with suppress(OSError):  # the prefix may be gone, or be somebody else's by now
            self._path.unlink()
        self._open.close()


class Orphan:
    """A worker that somebody else has left behind; we wait for its answers, for nobody waits for us yet.

    :raise OSError: it has gone.
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(PATIENCE)
        try:
            self._socket.connect(os.fspath(path))
        except OSError:
            self._socket.close()
            raise

    def take(self) -> list[socket.socket]:
        """Its listening sockets; it goes on using them.

        :raise OSError: it does not give them.
        """
        self._say({"is": "take"})
        data, files = b"", array.array("i")
        try:
            while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
                part, found, _, _ = socket.recv_fds(self._socket, 65536, 64)
                if not part:
                    raise OSError("it has hung up")
                data += part
                files.extend(found)
        except OSError:
            for file in files:  # with nobody to accept what comes in there
                os.close(file)
            raise
        return [socket.socket(fileno=file) for file in files]

    def send_away(self) -> None:
        """Let it finish what it carries, and end."""
        with suppress(OSError):
            self._say({"is": "leave"})
        self._socket.close()

    def _say(self, message: Message) -> None:
        data = encoded(message)
        self._socket.sendall(len(data).to_bytes(4, "big") + data)


def find_orphans(prefix: Path) -> tuple[list[Orphan], list[socket.socket]]:
    """All of them, and their listening sockets. Who does not answer has ended, or is beyond help."""
    directory = prefix / WHERE
    orphans: list[Orphan] = []
    sockets: list[socket.socket] = []
    if not directory.is_dir():
        return orphans, sockets
    with open_directory(directory) as short:
        for name in sorted(os.listdir(directory)):
            try:
                orphan = Orphan(short / name)
                sockets += orphan.take()
            except (ConnectionRefusedError, FileNotFoundError):
                (directory / name).unlink(missing_ok=True)
            except OSError as error:
                log.error("worker {name} of an earlier gateway does not answer: {error}", name=name, error=error)
            else:
                log.info("found worker {name} of an earlier gateway", name=name)
                orphans.append(orphan)
    return orphans, sockets


@contextmanager
def open_directory(directory: Path) -> Iterator[Path]:
    """A path to ``directory`` that is short enough for sockets in it."""
    if len(os.fsencode(directory)) < LONGEST - 8 or not os.path.isdir("/proc/self/fd"):
        yield directory
        return
    file = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{file}")
    finally:
        os.close(file)


class _Conversations(Factory):
    noisy = False

    def __init__(self, reachable: Reachable) -> None:
        self._reachable = reachable

    def buildProtocol(self, addr: IAddress | None) -> Channel:
        return self._reachable.talk()
