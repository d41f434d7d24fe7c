"""``kong-gateway`` as people and scripts use it, and the gateway that is told to read its configuration anew."""

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
from typing import Any

import pytest

from twisted_kong import VERSION
from twisted_kong.command import ask
from twisted_kong.settings import load

SOUND = """\
_format_version: "3.0"
services:
- name: s
  host: a.test
  routes:
  - name: r
    paths: [/a]
upstreams:
- name: u
  targets:
  - target: a.test
"""
FAULTY = SOUND.replace("  host: a.test\n", "  port: x\n")
FAULTS = """\
in 'services':
  - in entry 1 of 'services':
    in 'host': required field missing (line 3)
    in 'port': expected an integer (line 4)
"""

READY = "ready: "
ANEW = "read the configuration anew"


def environment(given: dict[str, str]) -> dict[str, str]:
    """Ours, less what would configure a gateway, and with what is given."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KONG_")} | given


class Desk:
    """A directory to work in, and what commands say there."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.socket = where / "admin.sock"
        self.settings = load(None, {}, {"admin_listen": f"unix:{self.socket}"})
        (where / "kong.conf").write_text(
            f"prefix = {where / 'run'}\nadmin_listen = unix:{self.socket}\nproxy_listen = off\n"
        )

    def put(self, name: str, text: str) -> None:
        (self.where / name).write_text(text)

    def command(self, *arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; ``given`` are settings of the environment."""
        command = [sys.executable, "-m", "twisted_kong.command", *arguments]
        return subprocess.run(
            command, cwd=self.where, env=environment(_variables(given)), capture_output=True, text=True, timeout=60
        )

    def done(self, *arguments: str, **given: str) -> str:
        """What a command that does what it is asked says."""
        found = self.command(*arguments, **given)
        assert (found.returncode, found.stderr) == (0, "")
        return found.stdout

    def refused(self, *arguments: str, **given: str) -> str:
        """What a command that cannot do what it is asked says after ``Error:``."""
        found = self.command(*arguments, **given)
        assert (found.returncode, found.stderr[:7]) == (1, "Error: "), found
        return found.stderr[7:]

    def exported(self) -> str:
        """The database as a document."""
        file = self.where / "exported.yml"
        file.unlink(missing_ok=True)
        self.done("config", "db_export", "--conf", "kong.conf", str(file))
        return file.read_text()

    def ask(self, path: str) -> Any:
        return ask(self.settings, path)

    def names(self) -> list[str]:
        """Those of the services of the running gateway."""
        return [service["name"] for service in self.ask("/services")["data"]]


def _variables(given: dict[str, str]) -> dict[str, str]:
    return {f"KONG_{name.upper()}": value for name, value in given.items()}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.put("sound.yml", SOUND)
    desk.put("faulty.yml", FAULTY)
    return desk


class Gateway:
    """A gateway that runs in the directory of a `Desk`."""

    def __init__(self, desk: Desk, **given: str) -> None:
        twistd = str(Path(sys.executable).with_name("twistd"))
        self.process = subprocess.Popen(
            [twistd, "--nodaemon", "--pidfile=", "kong-gateway", "--conf", "kong.conf"],
            cwd=desk.where,
            env=environment(_variables(given)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def logs_until(self, end: str) -> str:
        """What it logs up to the line with ``end``."""
        logged = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            logged += line
            if end in line:
                return logged
        pytest.fail(f"ended with {self.process.wait()} before it logged {end!r}: {logged}")

    def hang_up(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> str:
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.communicate(timeout=30)[0]


@pytest.fixture
def gateway(desk: Desk) -> Iterator[Gateway]:
    """A gateway with a database."""
    gateway = Gateway(desk)
    gateway.logs_until(READY)
    yield gateway
    gateway.stop()


@pytest.fixture
def dbless(desk: Desk) -> Iterator[Gateway]:
    """A gateway with a declarative file."""
    desk.put("kong.yml", SOUND)
    gateway = Gateway(desk, database="off", declarative_config="kong.yml")
    gateway.logs_until(READY)
    yield gateway
    gateway.stop()


# -- config parse ----------------------------------------------------------------------------------------------


def test_parse(desk: Desk) -> None:
    """A sound file is told to be one, JSON or YAML."""
    desk.put("kong.json", '{"_format_version": "1.1"}')
    assert desk.done("config", "parse", "sound.yml") == "parse successful\n"
    assert desk.done("config", "parse", "kong.json") == "parse successful\n"


def test_parse_refuses(desk: Desk) -> None:
    """Of a faulty one every fault is told, with its line."""
    assert desk.refused("config", "parse", "faulty.yml") == f"Failed parsing:\n{FAULTS}"
    desk.put("twice.yml", "a: 1\na: 2\n")
    assert "line 2: 'a' is given twice, for the first time in line 1" in desk.refused("config", "parse", "twice.yml")
    desk.put("kong.txt", SOUND)
    assert "unknown file type: kong.txt. (Accepted types: json, yaml)" in desk.refused("config", "parse", "kong.txt")
    assert (
        desk.refused("config", "parse", "no.yml")
        == "no.yml: expected a file that can be read: No such file or directory\n"
    )


# -- config db_import and db_export ----------------------------------------------------------------------------


def test_import_and_export(desk: Desk) -> None:
    """What is imported is in the database, once however often it is imported, and is exported as it is."""
    said = "parse successful, beginning import\nimport successful\n"
    assert desk.done("config", "db_import", "sound.yml", "--conf", "kong.conf") == said
    text = desk.exported()
    assert "name: r\n" in text
    assert "target: a.test:8000\n" in text
    assert desk.done("config", "db-import", "sound.yml", "-p", str(desk.where / "run")) == said
    assert desk.exported() == text
    desk.put("again.yml", text)
    assert desk.done("config", "db_import", "again.yml", prefix=str(desk.where / "run")) == said
    assert desk.exported() == text


def test_import_adds(desk: Desk) -> None:
    """An import replaces what has the same name and leaves the rest."""
    desk.done("config", "db_import", "sound.yml", "-c", "kong.conf")
    desk.put("more.yml", '_format_version: "3.0"\nservices: [{name: s, host: b.test}, {name: t, host: a.test}]\n')
    desk.done("config", "db_import", "more.yml", "-c", "kong.conf")
    text = desk.exported()
    assert "host: b.test\n" in text
    assert "host: a.test\n" in text
    assert "name: r\n" in text


def test_import_refuses(desk: Desk) -> None:
    """What cannot be imported changes nothing."""
    desk.done("config", "db_import", "sound.yml", "-c", "kong.conf")
    before = desk.exported()
    assert desk.refused("config", "db_import", "faulty.yml", "-c", "kong.conf") == f"Failed parsing:\n{FAULTS}"
    id = "5f1d7e76-2fed-4806-a6af-869984f025cb"
    desk.put(
        "other.yml",
        f'_format_version: "3.0"\nconsumers: [{{username: c}}]\nservices: [{{id: {id}, name: s, host: a}}]\n',
    )
    assert desk.refused("config", "db_import", "other.yml", "-c", "kong.conf") == (
        "UNIQUE violation detected on '{name=\"s\"}'\n"
    )
    assert desk.exported() == before


def test_export_overwrites_nothing(desk: Desk) -> None:
    """An export makes a new file, for its owner only, and never overwrites one."""
    desk.done("config", "db_import", "sound.yml", "-c", "kong.conf")
    assert desk.done("config", "db_export", "-c", "kong.conf") == "exported to kong.yml\n"
    assert (desk.where / "kong.yml").stat().st_mode & 0o777 == 0o600
    assert (
        desk.refused("config", "db_export", "-c", "kong.conf") == "kong.yml already exists.\nWill not overwrite it.\n"
    )
    assert "no/kong.yml: expected a file to write" in desk.refused(
        "config", "db_export", "no/kong.yml", "-c", "kong.conf"
    )


def test_no_database(desk: Desk) -> None:
    """Without a database there is nothing to import into or to export."""
    told = "only works with a database."
    assert desk.refused("config", "db_import", "sound.yml", database="off").startswith(
        f"'kong config db_import' {told}\n"
    )
    assert desk.refused("config", "db_export", database="off") == f"'kong config db_export' {told}\n"
    assert desk.refused("config", "db_export", "-c", "kong.conf").startswith("expected a database to export")
    assert not (desk.where / "run").exists()


def test_damaged_database(desk: Desk) -> None:
    """A database that cannot be used is told in one line."""
    (desk.where / "run").mkdir()
    desk.put("run/kong.sqlite", "no database" * 100)
    told = desk.refused("config", "db_import", "sound.yml", "-c", "kong.conf")
    assert told.startswith(f"cannot use the database {desk.where}/run/kong.sqlite: ")
    assert told.count("\n") == 1


def test_import_below_a_gateway(desk: Desk, gateway: Gateway) -> None:
    """A gateway that runs on the database is told, and has what was imported."""
    assert desk.names() == []
    said = desk.done("config", "db_import", "sound.yml", "-c", "kong.conf").splitlines()
    assert said[1:] == ["import successful", f"told the running gateway, process {gateway.process.pid}, to read it"]
    gateway.logs_until(ANEW)
    assert desk.names() == ["s"]


# -- the others ------------------------------------------------------------------------------------------------


def test_check(desk: Desk) -> None:
    """Settings are sound or not, and so is the document they name."""
    assert desk.done("check", "kong.conf") == "configuration at kong.conf is valid\n"
    assert desk.done("check") == "configuration is valid\n"
    desk.put("bad.conf", "proxy_listen = x\n")
    assert desk.refused("check", "bad.conf").startswith("bad.conf:1: proxy_listen: expected addr:port")
    assert desk.refused("check", "no.conf").startswith("no.conf: expected a readable file")
    assert desk.done("check", database="off", declarative_config="sound.yml") == "configuration is valid\n"
    assert desk.refused("check", database="off", declarative_config="faulty.yml") == f"Failed parsing:\n{FAULTS}"
    assert "unknown field" in desk.refused("check", database="off", declarative_config_string="{foo: 1}")


def test_health(desk: Desk, gateway: Gateway) -> None:
    """The gateway is healthy while its Admin API answers."""
    assert desk.done("health", "--conf", "kong.conf") == f"the gateway is healthy at {desk.where / 'run'}\n"
    gateway.stop()
    assert desk.refused("health", "--conf", "kong.conf").startswith(
        f"the Admin API does not answer at unix:{desk.socket}: "
    )
    assert desk.refused("health", admin_listen="127.0.0.1:1").startswith(
        "the Admin API does not answer at 127.0.0.1:1: "
    )
    assert desk.refused("health", admin_listen="off").endswith("in admin_listen, got off\n")


def test_version(desk: Desk) -> None:
    """The version is one word, and all versions are a line each."""
    assert desk.done("version") == f"{VERSION}\n"
    assert [line.partition(": ")[0] for line in desk.done("version", "--all").splitlines()] == [
        "Kong",
        "twisted-kong",
        "Twisted",
        "Python",
    ]


@pytest.mark.parametrize(
    "arguments", [(), ("config",), ("config", "parse"), ("config", "init"), ("nonsense",), ("health", "x")]
)
def test_usage(desk: Desk, arguments: tuple[str, ...]) -> None:
    """What is not understood ends with 2."""
    found = desk.command(*arguments)
    assert (found.returncode, found.stdout, found.stderr[:6]) == (2, "", "usage:")


# -- SIGHUP ----------------------------------------------------------------------------------------------------


def test_start_from_a_file(desk: Desk, dbless: Gateway) -> None:
    """A gateway starts with the file that its settings name."""
    assert desk.names() == ["s"]
    assert int(desk.ask("/status")["configuration_hash"], 16)


def test_start_from_a_text(desk: Desk) -> None:
    """Or with the text."""
    gateway = Gateway(desk, database="off", declarative_config_string=SOUND)
    gateway.logs_until(READY)
    assert desk.names() == ["s"]
    gateway.stop()


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
