"""Where a gateway without a database has its configuration from: a file, a text, and at SIGHUP the file again."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from desk import ANEW, FAULTS, FAULTY, READY, SOUND, Desk, Gateway, environment


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def dbless(desk: Desk) -> Iterator[Gateway]:
    """A gateway with a declarative file."""
    desk.put("kong.yml", SOUND)
    with Gateway(desk, database="off", declarative_config="kong.yml") as gateway:
        gateway.logs_until(READY)
        yield gateway


def test_start_from_a_file(desk: Desk, dbless: Gateway) -> None:
    """A gateway starts with the file that its settings name."""
    assert desk.names() == ["s"]
    assert int(desk.ask("/status")["configuration_hash"], 16)


def test_start_from_a_text(desk: Desk) -> None:
    """Or with the text."""
    with Gateway(desk, database="off", declarative_config_string=SOUND) as gateway:
        gateway.logs_until(READY)
        assert desk.names() == ["s"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"declarative_config": "faulty.yml"}, FAULTS),
        ({"declarative_config": "no.yml"}, "no.yml: expected a file that can be read: No such file or directory"),
        ({"declarative_config_string": FAULTY}, "declarative_config_string: expected a configuration in Kong's"),
    ],
)
def test_no_start(desk: Desk, given: dict[str, str], told: str) -> None:
    """A gateway does not start with what it cannot load, and says why."""
    gateway = Gateway(desk, database="off", **given)
    logged, _ = gateway.process.communicate(timeout=60)
    assert gateway.process.returncode == 1
    assert all(line in logged for line in told.splitlines())
    assert not desk.socket.exists()


def test_reload(desk: Desk, dbless: Gateway) -> None:
    """At SIGHUP the file is read again."""
    before = desk.ask("/status")["configuration_hash"]
    desk.put("kong.yml", SOUND.replace("name: s", "name: t"))
    dbless.hang_up()
    dbless.logs_until(ANEW)
    assert desk.names() == ["t"]
    assert desk.ask("/status")["configuration_hash"] != before


def test_refused_reload(desk: Desk, dbless: Gateway) -> None:
    """A file that does not load leaves everything as it is, and the log says why, with lines."""
    before = desk.ask("/services"), desk.ask("/status")["configuration_hash"]
    desk.put("kong.yml", FAULTY)
    dbless.hang_up()
    logged = dbless.logs_until("(line 4)")
    assert "the configuration stays as it is: " in logged
    assert "'host': required field missing (line 3)" in logged
    (desk.where / "kong.yml").unlink()
    dbless.hang_up()
    dbless.logs_until("the configuration stays as it is: ")
    assert (desk.ask("/services"), desk.ask("/status")["configuration_hash"]) == before
    desk.put("kong.yml", SOUND)
    dbless.hang_up()
    dbless.logs_until(ANEW)


def test_closed_terminal(desk: Desk) -> None:
    """A gateway that was started in a terminal ends when the terminal is closed, and not at any other SIGHUP."""
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    twistd = str(Path(sys.executable).with_name("twistd"))
    process = subprocess.Popen(
        [twistd, "--nodaemon", "--pidfile=", "kong-gateway", "--conf", "kong.conf"],
        cwd=desk.where,
        env=environment({}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=take_terminal,
    )
    os.close(theirs)
    said = b""
    while READY.encode() not in said:
        said += os.read(ours, 65536)
    process.send_signal(signal.SIGHUP)
    while ANEW.encode() not in said:
        said += os.read(ours, 65536)
    os.close(ours)
    assert process.wait(timeout=30) == 0
