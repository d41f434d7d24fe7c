"""Programs of the operating system: found or named as missing, run pinned to a core, ended by their pid.

Nothing here knows what the programs do.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from benchmarks.accounting import family

PACKAGES = {"nginx": "nginx-light", "haproxy": "haproxy", "wrk": "wrk", "h2load": "nghttp2-client"}
SEARCH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))  # Debian hides daemons from people


class ProgramError(Exception):
    """A program is missing, or did not start, or did not do what it was started for; the message is for a person."""


def find(name: str) -> str:
    """The path of the program ``name``.

    :raise ProgramError: it is not installed.
    """
    found = shutil.which(name, path=SEARCH)
    if found is None:
        hint = f": apt-get install {PACKAGES[name]}" if name in PACKAGES else ""
        raise ProgramError(f"{name} is not installed{hint}")
    return found


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Whatever is started meanwhile runs on ``core`` only, and so does all it starts; anywhere, where that is None."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_ports(count: int) -> list[int]:
    """Different TCP ports of 127.0.0.1 on which nobody listens at the moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Program:
    """One running program, with what it prints in a file of its own."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        core: int | None,
        log: Path,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._command = command
        self._log = log
        with log.open("wb") as output, pinned(core):
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environ
            )
        self.pid = self._process.pid

    def wait_for_port(self, port: int, seconds: float = 20) -> None:
        """Return once somebody accepts connections on ``port``.

        :raise ProgramError: the program ended instead, or ``seconds`` have passed.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check()
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.02)
        raise self.failure(f"did not listen on 127.0.0.1:{port} within {seconds:g} s")

    def check(self) -> None:
        """:raise ProgramError: the program has ended by itself."""
        status = self._process.poll()
        if status is not None:
            raise self.failure(f"ended with status {status}")

    def failure(self, what: str) -> ProgramError:
        """An error about this program: ``what`` happened, the command, the end of what it printed."""
        printed = self._log.read_text(errors="replace").strip().splitlines()[-15:]
        return ProgramError("\n    ".join([f"{self.name} {what}", f"command: {' '.join(self._command)}", *printed]))

    def stop(self, seconds: float = 10) -> None:
        """End it and what it started: SIGTERM to the program, and SIGKILL to whoever is left after ``seconds``."""
        if self._process.poll() is not None:
            return
        members = family(self.pid)
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
            return
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
