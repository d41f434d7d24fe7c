"""``make run`` and README.md: the demo starts, the walk-throughs do what they say, and nothing is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from readme import ROOT, documents, missing, steps

from benchmarks.programs import free_ports

CURL = f"curl() {{ '{sys.executable}' '{ROOT}/tests/curl.py' \"$@\"; }}"


class Demo:
    """The demo on ports nobody else uses; ``ports`` are theirs by those that README.md names."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.ports = dict(zip((8000, 8001, 9001, 9002, 9003), free_ports(5), strict=True))
        self.process: subprocess.Popen[str]

    def start(self) -> None:
        """Start it and read what it prints, up to the end."""
        proxy, admin, *origins = map(str, self.ports.values())
        command = [sys.executable, "etc/demo.py", "--prefix", str(self.prefix)]
        command += ["--proxy-port", proxy, "--admin-port", admin, "--origin-ports", *origins]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment()
        )
        assert self.process.stdout is not None
        printed = ""
        for line in self.process.stdout:
            printed += line
            if "Ctrl-C" in line:
                return
        pytest.fail(f"the demo ended with status {self.process.wait()}: {printed}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> str:
        """End it; answers, once every process that could print has ended, what was still printed."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=30)
        return rest

    def call(self, method: str, path: str, port: int = 8001, **fields: object) -> Any:
        """A request to the Admin API, or to another port of README.md's."""
        body = json.dumps(fields).encode() if fields else None
        url = f"http://127.0.0.1:{self.ports[port]}{path}"
        request = Request(url, body, {"Content-Type": "application/json"}, method=method)
        with build_opener(ProxyHandler({})).open(request, timeout=20) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def targets(self) -> dict[str, int]:
        """The weights of the upstream's targets."""
        return {each["target"]: each["weight"] for each in self.call("GET", "/upstreams/user-service/targets")["data"]}


def environment() -> dict[str, str]:
    """Ours, less what would configure a gateway."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KONG_")}


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """A demo that runs."""
    demo = Demo(tmp_path / "prefix")
    demo.start()
    yield demo
    if demo.process.poll() is None:
        demo.stop()


def walk_through(title: str, ports: dict[int, int], document: str = "README.md", cwd: Path | None = None) -> None:
    """Run the steps of the section ``title`` with other ports, and compare the answers."""

    def elsewhere(text: str) -> str:
        return re.sub(r"(?<=:)\d{4}\b|(?<=http\.server )\d{4}\b", lambda match: str(ports[int(match[0])]), text)

    for step in steps(title, document):
        commands, promised = elsewhere(step.commands), list(documents(elsewhere(step.answers)))
        done = subprocess.run(
            ["bash", "-ec", f"{CURL}\n{commands}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=cwd,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        told = list(documents(done.stdout))
        if promised:
            assert not missing(promised, told), f"{commands}\nwas answered\n{done.stdout}"
            assert len(told) == len(promised), f"{commands}\nwas answered\n{done.stdout}"


def test_walk_through(demo: Demo) -> None:
    """The walk through the demo is answered as README.md shows."""
    walk_through("A walk through the demo", demo.ports)


WALKS = ("Three targets in turn", "The same target for the same client", "Blue and green by weight")


def test_guide(demo: Demo, tmp_path: Path) -> None:
    """So are the resilient API backend and the walks of docs/walkthroughs.md, on a gateway that was empty."""
    proxy, admin, nobody = free_ports(3)
    command = [str(Path(sys.executable).with_name("twistd")), "--nodaemon", "--pidfile=", "kong-gateway"]
    command += ["--prefix", str(tmp_path / "guide")]
    command += ["--proxy-listen", f"127.0.0.1:{proxy}", "--admin-listen", f"127.0.0.1:{admin}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as gateway:
        assert gateway.stdout is not None
        try:
            for line in gateway.stdout:
                if f"starting on {admin}" in line:
                    break
            ports = demo.ports | {8100: proxy, 8101: admin, 9009: nobody}
            walk_through("A resilient API backend, from nothing", ports)
            for title in WALKS:
                walk_through(title, ports, "docs/walkthroughs.md")
        finally:
            gateway.terminate()
            gateway.communicate(timeout=30)


def test_dying_target(demo: Demo, tmp_path: Path) -> None:
    """The walk-through of health checks: a target dies, nobody notices; it is back, and has its share again."""
    (fourth,) = free_ports(1)
    try:
        title = "Health checks, and a target that dies"
        walk_through(title, demo.ports | {9004: fourth}, "docs/walkthroughs.md", tmp_path)
    finally:
        subprocess.run(["bash", "-c", "kill $(cat .run/fourth/pid)"], cwd=tmp_path, capture_output=True)


def test_second_start(demo: Demo) -> None:
    """A start brings the demo's entities back to their beginning and leaves everything else as it was."""
    beginning = demo.targets()
    assert sorted(beginning) == sorted(f"127.0.0.1:{demo.ports[port]}" for port in (9001, 9002, 9003))
    first = next(iter(beginning))
    demo.call("PATCH", f"/upstreams/user-service/targets/{first}", weight=0)
    demo.call("POST", "/upstreams/user-service/targets", target="127.0.0.1:1")
    demo.call("DELETE", "/routes/users")
    demo.call("POST", "/services/user-api/routes", name="mine", paths=["/mine"])
    demo.stop()
    demo.start()
    assert demo.targets() == beginning
    assert demo.call("GET", "/api/users", port=8000)["path"] == "/api/users"
    assert demo.call("GET", "/mine/here", port=8000)["path"] == "/here"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left(demo: Demo, number: signal.Signals) -> None:
    """However the demo ends, its origins and its gateway end with it, and no word is lost about it."""
    assert demo.stop(number) == ""
    for port in demo.ports.values():
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            pass


@pytest.mark.parametrize("port", [8000, 8001, 9002])
def test_port_in_use(tmp_path: Path, port: int) -> None:
    """A port that somebody else has ends the demo with one line that names it, before anything has started."""
    demo = Demo(tmp_path / "prefix")
    with socket.create_server(("127.0.0.1", demo.ports[port])):
        with pytest.raises(pytest.fail.Exception, match=f"status 1: demo: .*:{demo.ports[port]}: Address .*in use\n$"):
            demo.start()
        assert demo.process.communicate()[0] == ""
    assert not demo.prefix.exists()
