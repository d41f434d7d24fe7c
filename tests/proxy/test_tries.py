"""What the access log is told of the attempts of a request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from loopback import GET, OK, Lab, post

from twisted_kong.errors import NameNotFound
from twisted_kong.model.traffic import Address, Answer
from twisted_kong.telemetry.accesslog import AccessLog, Structured


class Logging(Lab):
    """A gateway that logs to ``path``."""

    def __init__(self, path: Path, *targets: str) -> None:
        super().__init__(targets)
        self.path = path
        self.log = self.core.recorder.access_log = AccessLog(path, Structured(), self.network)

    def line(self) -> Any:
        """What is told of the one request."""
        self.log.close()
        return json.loads(self.path.read_text())

    def tries(self) -> list[tuple[str, str | None]]:
        """The peers of the one request so far, and how the attempts on them failed."""
        return [(each["peer"], each["failure"]) for each in self.line()["tries"]]


def test_failed_and_answered(tmp_path: Path) -> None:
    """Every attempt is told: those that failed, and the one that was answered."""
    lab = Logging(tmp_path / "log", "10.0.0.1:80", "10.0.0.2:80")
    lab.client(GET)
    lab.dials[0].refuse()
    lab.origin().send(OK)
    assert lab.tries() == [("10.0.0.1:80", "tcp"), ("10.0.0.2:80", None)]


def test_name_that_fails_under_a_request(tmp_path: Path) -> None:
    """A peer whose name could not be resolved is told, and so is who answered in its place."""
    lab = Logging(tmp_path / "log", "n.test:80", "10.0.0.1:80")
    lab.names.asked.pop("n.test").callback(Answer((Address("10.0.0.9"),), 0.0))  # asked anew by every request
    lab.wait()
    lab.client(GET)
    lab.names.fail("n.test", NameNotFound())
    lab.wait()
    lab.origin().send(OK)
    assert lab.tries() == [("n.test:80", "dns"), ("10.0.0.1:80", None)]


def test_answer_that_breaks_off(tmp_path: Path) -> None:
    """An attempt whose answer breaks off is told once, as failed."""
    lab = Logging(tmp_path / "log", "10.0.0.1:80")
    lab.client(GET)
    origin = lab.origin()
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    origin.reset()
    assert lab.tries() == [("10.0.0.1:80", "tcp")]


def test_client_that_leaves(tmp_path: Path) -> None:
    """An attempt under way when the client leaves is told without a failure."""
    lab = Logging(tmp_path / "log", "10.0.0.1:80")
    client = lab.client(GET)
    lab.origin()
    client.close()
    assert lab.tries() == [("10.0.0.1:80", None)]


def test_phases(tmp_path: Path) -> None:
    """A failure is told with the phase that it came in, and in words."""
    lab = Logging(tmp_path / "log", "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
    lab.client(GET)
    lab.dials[0].refuse()
    lab.origin().reset()
    origin = lab.origin()
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    origin.reset()
    tries = lab.line()["tries"]
    assert [each["phase"] for each in tries] == ["connect", "answer", "body"]
    assert tries[0]["error"].startswith("failed: cannot connect: ")
    assert all(each["error"] for each in tries)


def test_latencies(tmp_path: Path) -> None:
    """A body that arrives slowly, or an answer that goes on for long, is not the gateway's time."""
    lab = Logging(tmp_path / "log", "10.0.0.1:80")
    client = lab.client(post(b"ab", length=4))
    lab.wait(3)
    client.send(b"cd")
    origin = lab.origin()
    lab.wait(2)
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
    lab.wait(5)
    origin.send(b"k")
    told = lab.line()
    assert told["latencies"] == {"request": 10_000, "kong": 0, "proxy": 2000, "receive": 5000}
    assert told["source"] == "upstream"
    counted = lab.core.recorder.traffic.of(told["service"], told["route"])
    assert (counted.gateway.sum, counted.upstream.sum, counted.total.sum) == (0, 2000, 10_000)


def test_latencies_of_what_the_gateway_decides(tmp_path: Path) -> None:
    """Where no origin has answered there is no time of one."""
    lab = Logging(tmp_path / "log", "10.0.0.1:80")
    lab.client(GET)
    lab.wait(1)
    for dial in lab.dials:  # and for those that follow
        dial.refuse()
    told = lab.line()
    assert told["latencies"] == {"request": 1000, "kong": 0, "proxy": -1, "receive": None}
    assert told["source"] == "kong"
