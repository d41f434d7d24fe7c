"""The access log: what a line says, and how lines reach the file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from twisted_kong.proxy.plain import values_of
from twisted_kong.telemetry.accesslog import BATCH, INTERVAL, AccessLog, Combined, Latencies, Structured, Try, escaped

ID = b"0123456789abcdef" * 2


@dataclass(frozen=True)
class Ended:
    """An exchange that has ended."""

    started: float = 1_000_000.0
    ended: float = 1_000_000.25
    address: str = "192.0.2.7"
    request_line: tuple[bytes, bytes, bytes] = (b"GET", b"/a?b=c", b"HTTP/1.1")
    fields: bytes = b""
    request_id: bytes = ID
    trace_id: bytes = b""
    status: int = 200
    sent: int = 5
    latencies: Latencies = field(default=Latencies(0.001, 0.2, 0.049))
    tries: Sequence[Try] = ()
    names: tuple[str, str, str] = field(default=("", "", ""))

    def field(self, name: bytes) -> bytes:
        return next(iter(values_of(b"\r\n" + self.fields.removesuffix(b"\r\n"), name)), b"")


def test_a_line() -> None:
    """Client, time, request line, status, bytes, referer, agent, id: nginx's combined format with Kong's suffix."""
    fields = b"user-agent: tester/1\r\nReferer: http://from.test/\r\nAccept: */*\r\n"
    line = Combined()(Ended(fields=fields)).decode()
    before, _, rest = line.partition(" [")
    assert before == "192.0.2.7 - -"
    assert rest.partition("] ")[2] == (
        f'"GET /a?b=c HTTP/1.1" 200 5 "http://from.test/" "tester/1" kong_request_id: "{ID.decode()}"\n'
    )


def test_nothing_known() -> None:
    """What a client does not say is a dash, and a client without an address comes from a UNIX socket."""
    line = Combined()(Ended(address="")).decode()
    assert line.startswith("unix: - - [")
    assert '"-" "-" kong_request_id' in line


def test_user_without_password() -> None:
    """A Basic Authorization is told by its user's name alone, any other not at all, and neither in JSON."""
    for value, user in ((b"Basic dG9tOnNlY3JldA==", "tom"), (b"Bearer dG9tOnNlY3JldA==", "-"), (b"Basic ?", "-")):
        ended = Ended(fields=b"Authorization: %b\r\nApikey: key-of-tom\r\n" % value)
        line = Combined()(ended).decode()
        assert line.startswith(f"192.0.2.7 - {user} [")
        for text in (line, Structured()(ended).decode()):
            assert not any(secret in text for secret in ("secret", "dG9t", "key-of-tom"))


@given(st.binary(max_size=60))
def test_always_one_line(value: bytes) -> None:
    """Whatever a client sends, its request is one line of printable ASCII whose quotes are those of the format."""
    value = value.replace(b"\r\n", b"")
    ended = Ended(request_line=(b"GET", b"/" + value, b"HTTP/1.1"), fields=b"User-Agent: %b\r\n" % value)
    line = Combined()(ended)
    assert line.count(b"\n") == 1
    assert line.count(b'"') == 8
    assert all(0x20 <= byte < 0x7F for byte in line[:-1])
    assert Structured()(ended).count(b"\n") == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b"", b"-"), (b"a b", b"a b"), (b'"', b"\\x22"), (b"\\", b"\\x5C"), (b"\x00\xff", b"\\x00\\xFF")],
)
def test_escaping(value: bytes, expected: bytes) -> None:
    """Quotes, backslashes and what is no printable ASCII are written in hexadecimal."""
    assert escaped(value) == expected


def test_json() -> None:
    """JSON says everything: whom it was tried with and how that went, times, and the names of what took part."""
    tries = [
        Try("10.0.0.1:80", 0.001, 0.1, "timeout", "answer", "failed: no answer in time"),
        Try("10.0.0.2:80", 0.101, 0.05, None),
    ]
    document = json.loads(Structured()(Ended(tries=tries, names=("orders", "all", "pool"), status=502)))
    assert document["tries"] == [
        {
            "peer": "10.0.0.1:80",
            "began": 1.0,
            "took": 100.0,
            "failure": "timeout",
            "phase": "answer",
            "error": "failed: no answer in time",
        },
        {"peer": "10.0.0.2:80", "began": 101.0, "took": 50.0, "failure": None, "phase": None, "error": None},
    ]
    assert [document[kind] for kind in ("service", "route", "upstream")] == ["orders", "all", "pool"]
    assert document["latencies"] == {"request": 250, "kong": 1, "proxy": 200, "receive": 49}
    assert document["source"] == "upstream"
    assert document["request"]["id"] == ID.decode()
    assert document["response"] == {"status": 502, "size": 5}


class Writing:
    """A log in ``directory`` with a clock of its own."""

    def __init__(self, directory: Path) -> None:
        self.clock = Clock()
        self.path = directory / "logs" / "access.log"
        self.log = AccessLog(self.path, lambda ended: b"%d\n" % ended.status, self.clock)

    def record(self, *statuses: int) -> None:
        for status in statuses:
            self.log.record(replace(Ended(), status=status))


def test_lines_are_gathered(tmp_path: Path) -> None:
    """Lines are written together, in their order, at the latest after a second; without any there is no timer."""
    writing = Writing(tmp_path)
    assert writing.clock.getDelayedCalls() == []
    writing.record(200, 404)
    assert writing.path.read_bytes() == b""
    writing.clock.advance(INTERVAL)
    assert writing.path.read_bytes() == b"200\n404\n"
    assert writing.clock.getDelayedCalls() == []


def test_many_lines_do_not_wait(tmp_path: Path) -> None:
    """No more than a batch is ever kept in memory."""
    writing = Writing(tmp_path)
    writing.record(*[200] * (BATCH // 4))
    assert writing.path.stat().st_size == BATCH


def test_closing_writes(tmp_path: Path) -> None:
    """Nothing is lost at the end, and no timer is left."""
    writing = Writing(tmp_path)
    writing.record(200)
    writing.log.close()
    assert writing.path.read_bytes() == b"200\n"
    assert writing.clock.getDelayedCalls() == []


def test_rotation(tmp_path: Path) -> None:
    """After the file has been moved away, `reopen` begins a new one; every line is in one of them."""
    writing = Writing(tmp_path)
    writing.record(200)
    old = writing.path.rename(tmp_path / "old.log")
    writing.record(201)
    writing.log.reopen()
    writing.record(202)
    writing.log.close()
    assert (old.read_bytes(), writing.path.read_bytes()) == (b"200\n201\n", b"202\n")


def test_full_disk(tmp_path: Path) -> None:
    """Lines that cannot be written are counted and told once; when there is room again, logging goes on."""
    writing = Writing(tmp_path)
    writing.path.unlink()
    os.symlink("/dev/full", writing.path)
    writing.log.reopen()
    with capturedLogs() as events:
        for _ in range(3):
            writing.record(200, 200)
            writing.log.flush()
    assert (writing.log.lost, len(events)) == (6, 1)
    writing.path.unlink()
    writing.log.reopen()
    writing.record(201)
    writing.log.close()
    assert writing.path.read_bytes() == b"201\n"
