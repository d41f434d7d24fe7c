"""What a running gateway leaves behind of its traffic: its access log and its metrics."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from running_gateway import RunningGateway, running

NO_ROUTE = b"GET /nothing?a=1 HTTP/1.1\r\nHost: a.test\r\nUser-Agent: tester/1\r\nConnection: close\r\n\r\n"


@pytest.fixture(name="gateway")
def make_gateway() -> Iterator[RunningGateway]:
    with running() as gateway:
        yield gateway


def exchange(gateway: RunningGateway, request: bytes) -> bytes:
    """All that is answered to these bytes."""
    with socket.create_connection(("127.0.0.1", gateway.proxy_port), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def access_log(gateway: RunningGateway) -> Path:
    return gateway.prefix / "logs" / "access.log"


def test_every_request_has_a_line(gateway: RunningGateway) -> None:
    """Also one that cannot be read; all lines are there when the gateway has stopped."""
    answers = [exchange(gateway, NO_ROUTE), exchange(gateway, b'G"T / HTTP/9.9\r\nHost : a.test\r\n\r\n')]
    gateway.stop()
    ids = [re.findall(rb"X-Kong-Request-Id: ([0-9a-f]{32})", answer)[0].decode() for answer in answers]
    lines = access_log(gateway).read_text().splitlines()
    assert [line.rpartition(': "')[2].rstrip('"') for line in lines] == ids
    size = len(answers[0].partition(b"\r\n\r\n")[2])
    assert f'"GET /nothing?a=1 HTTP/1.1" 404 {size} "-" "tester/1"' in lines[0]
    assert '"G\\x22T / HTTP/9.9" 400 ' in lines[1]


def test_rotation(gateway: RunningGateway) -> None:
    """After SIGUSR1 the gateway writes a new file; the one that was moved away keeps what was before."""
    exchange(gateway, NO_ROUTE)
    old = access_log(gateway).rename(gateway.prefix / "old.log")
    with gateway.admin() as admin:
        os.kill(admin.ask("GET", "/").document["pids"]["master"], signal.SIGUSR1)
        admin.ask("GET", "/status")  # the signal has been taken by now, and the file opened anew
    exchange(gateway, NO_ROUTE)
    gateway.stop()
    assert [len(path.read_text().splitlines()) for path in (old, access_log(gateway))] == [1, 1]


def test_metrics(gateway: RunningGateway) -> None:
    """Prometheus finds what was counted, by Kong's names, in its own format."""
    for _ in range(3):
        exchange(gateway, NO_ROUTE)
    with urlopen(f"{gateway.url}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = answer.read().decode()
    counted = re.findall(r'^kong_http_requests_total\{.*code="404".*source="kong".*\} (\S+)$', text, re.MULTILINE)
    assert counted == ["3.0"]
    for name in ("kong_node_info", "kong_nginx_requests_total", "kong_datastore_reachable", "process_cpu_seconds"):
        assert re.search(f"^{name}", text, re.MULTILINE), name
