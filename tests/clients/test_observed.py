"""What a running gateway leaves behind of its traffic: its access log and its metrics."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from declared import certificate
from running_gateway import RunningGateway, free_ports, running

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


SECRETS = ("Secret-In-Header", "Secret-In-Body", "Secret-Key-Of-Tom", "U2VjcmV0", "PRIVATE KEY", "Secret-Typed-Wrong")


@pytest.mark.parametrize("format", ["combined", "json"])
def test_no_secrets(format: str) -> None:
    """Whatever clients and administrators send, no log at any level has a body, a credential or a private key."""
    cert, key = certificate("a.test")
    (nobody,) = free_ports(1)
    settings = {"log_level": "debug", "proxy_access_log": f"logs/access.log {format}"}
    with running(settings=settings) as gateway:
        with gateway.admin() as admin:
            service = {"name": "s", "host": "127.0.0.1", "port": nobody}
            for path, document, status in (
                ("/services", service, 201),
                ("/services/s/routes", {"name": "r", "paths": ["/"]}, 201),
                ("/consumers", {"username": "tom"}, 201),
                ("/consumers/tom/key-auth", {"key": "Secret-Key-Of-Tom"}, 201),
                ("/routes/r/plugins", {"name": "key-auth", "config": {"key_in_body": False}}, 201),
                ("/certificates", {"cert": cert, "key": key}, 201),
                ("/certificates", {"cert": cert, "key": key.replace("\nMI", "\nSecret-Typed-Wrong", 1)}, 400),
                ("/consumers/tom/key-auth", {"key": "Secret-Key-Of-Tom"}, 409),
                ("/consumers/tom/key-auth", {"key": "Secret-Typed-Wrong", "nothing": 1}, 400),
            ):
                assert admin.ask("POST", path, document).status == status, path
        head = (
            b"Host: a.test\r\nX-Token: Secret-In-Header\r\nCookie: a=Secret-In-Header\r\n"
            b"Authorization: Basic U2VjcmV0OlNlY3JldA==\r\nConnection: close\r\n"
        )
        body = b"Content-Length: 14\r\n\r\nSecret-In-Body"
        told = [
            exchange(gateway, b"POST / HTTP/1.1\r\nApikey: Secret-Key-Of-Tom\r\n" + head + body),
            exchange(gateway, b"POST / HTTP/1.1\r\nApikey: Secret-Typed-Wrong\r\n" + head + body),
            exchange(gateway, b"POST / HTTP/1.1\r\nBad : Secret-In-Header\r\n" + head + body),
            exchange(
                gateway,
                b"POST / HTTP/1.1\r\nApikey: Secret-Key-Of-Tom\r\nTransfer-Encoding: chunked\r\n"
                + head
                + b"\r\nSecret-In-Body\r\n",
            ),
        ]
        assert [answer.split(b" ", 2)[1] for answer in told] == [b"502", b"401", b"400", b"400"]
        os.kill(gateway.pid, signal.SIGHUP)
        gateway.stop()
        for log in (gateway.printed(), access_log(gateway).read_text()):
            assert log.count("\n") >= len(told)
            assert [secret for secret in (*SECRETS, key.splitlines()[1]) if secret in log] == []


def test_log_level() -> None:
    """What is below the level is not logged, what is as grave is."""
    (nobody,) = free_ports(1)
    with running(settings={"log_level": "warn"}) as gateway:
        with gateway.admin() as admin:
            admin.ask("POST", "/services", {"name": "s", "host": "127.0.0.1", "port": nobody})
            admin.ask("POST", "/services/s/routes", {"paths": ["/"]})
        exchange(gateway, NO_ROUTE)
        gateway.stop()
        log = gateway.printed()
        assert "cannot connect" in log
        told = [line.partition("] ")[2] for line in log.splitlines() if "#info]" in line]
        assert len(told) == 4, told  # twistd's own first and last, where there is no gateway
        assert (told[0].partition(" ")[0], *told[2:]) == ("twistd", "Main loop terminated.", "Server Shut Down.")


def test_json_lines() -> None:
    """A line of JSON tells each attempt with its peer, phase, failure and time, and where the time went."""
    (nobody,) = free_ports(1)
    with running(settings={"proxy_access_log": "logs/access.log json"}) as gateway:
        with gateway.admin() as admin:
            admin.ask("POST", "/services", {"name": "s", "host": "127.0.0.1", "port": nobody, "retries": 1})
            admin.ask("POST", "/services/s/routes", {"name": "r", "paths": ["/"]})
        exchange(gateway, NO_ROUTE)
        gateway.stop()
        (line,) = map(json.loads, access_log(gateway).read_text().splitlines())
    assert (line["service"], line["route"], line["upstream"], line["source"]) == ("s", "r", "127.0.0.1", "kong")
    assert [(each["peer"], each["failure"], each["phase"]) for each in line["tries"]] == [
        (f"127.0.0.1:{nobody}", "tcp", "connect")
    ] * 2
    assert line["latencies"]["proxy"] == -1
