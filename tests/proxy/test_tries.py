"""What the access log is told of the attempts of a request."""

from __future__ import annotations

import json
from pathlib import Path

from loopback import GET, OK, Lab

from twisted_kong.errors import NameNotFound
from twisted_kong.model.traffic import Address, Answer
from twisted_kong.telemetry.accesslog import AccessLog, structured


class Logging(Lab):
    """A gateway that logs to ``path``."""

    def __init__(self, path: Path, *targets: str) -> None:
        super().__init__(targets)
        self.path = path
        self.log = self.core.recorder.access_log = AccessLog(path, structured, self.network)

    def tries(self) -> list[tuple[str, str | None]]:
        """The peers of the one request so far, and how the attempts on them failed."""
        self.log.close()
        return [(each["peer"], each["failure"]) for each in json.loads(self.path.read_text())["tries"]]


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
