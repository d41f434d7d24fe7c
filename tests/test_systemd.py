"""What systemd is told, on real sockets; and the units that come with the gateway."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from twisted_kong.systemd import Supervisor

UNITS = Path(__file__).parents[1] / "etc" / "systemd"


class Listening:
    """A supervisor's end, at ``address`` as it stands in the environment."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[list[str]]:
        """Every datagram since the last time, by lines."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def listening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listening]:
    found = Listening(str(tmp_path / "notify") if request.param == "path" else f"@gateway-test-{os.getpid()}")
    yield found
    found.close()


def test_a_life(listening: Listening) -> None:
    """Ready, reloading and ready again, stopping: each is one datagram of the protocol's words."""
    supervisor = Supervisor({"NOTIFY_SOCKET": listening.address}, Clock())
    supervisor.ready()
    supervisor.reloading()
    supervisor.ready()
    supervisor.stopping("finishing 3 requests")
    supervisor.close()
    first, reloading, again, stopping = listening.heard()
    assert first == again == ["READY=1", f"MAINPID={os.getpid()}"]
    assert reloading[0] == "RELOADING=1"
    assert int(reloading[1].removeprefix("MONOTONIC_USEC=")) > 0
    assert stopping == ["STOPPING=1", "STATUS=finishing 3 requests"]


def test_watchdog(listening: Listening) -> None:
    """Once ready, the reactor itself says that it is alive, twice in the time it is given, until the end."""
    clock = Clock()
    supervisor = Supervisor({"NOTIFY_SOCKET": listening.address, "WATCHDOG_USEC": "4000000"}, clock)
    clock.advance(10)
    assert listening.heard() == []
    supervisor.ready()
    clock.pump([1.0] * 6)
    assert [words for words in listening.heard() if words == ["WATCHDOG=1"]] == [["WATCHDOG=1"]] * 4
    supervisor.close()
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    "environ",
    [{}, {"WATCHDOG_USEC": "1000000"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}],
)
def test_nobody_listens(environ: dict[str, str], tmp_path: Path) -> None:
    """Without a supervisor, or with one that is gone or watches somebody else, the gateway just goes on."""
    clock = Clock()
    for given in (environ, {**environ, "NOTIFY_SOCKET": str(tmp_path / "nobody")}):
        supervisor = Supervisor(given, clock)
        supervisor.ready()
        clock.advance(5)
        supervisor.stopping("")
        supervisor.close()
    assert clock.getDelayedCalls() == []


@pytest.mark.needs("systemd-analyze")
def test_units_are_sound(tmp_path: Path) -> None:
    """systemd itself finds no fault with the units, and counts their exposure below 2.0."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not here: the units are not judged")
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/opt/twisted-kong/bin/twistd", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    units = sorted(map(str, tmp_path.iterdir()))
    verified = subprocess.run([program, "verify", *units], capture_output=True, text=True, timeout=60, check=False)
    assert verified.returncode == 0, verified.stderr
    command = [program, "security", "--offline=true", "--threshold=20", str(tmp_path / "kong-gateway.service")]
    judged = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert judged.returncode == 0, judged.stdout
