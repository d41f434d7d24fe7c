"""docs/operating.md tells of every metric and of every field of the access log, and of no others."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from urllib.request import urlopen

from running_gateway import RunningGateway, free_ports, running

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()


def rows(section: str) -> list[list[str]]:
    """The cells of a section's table."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    table = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def ask(gateway: RunningGateway, requests: Iterable[bytes]) -> None:
    for request in requests:
        with socket.create_connection(("127.0.0.1", gateway.proxy_port), timeout=20) as connection:
            connection.sendall(request)
            while connection.recv(65536):
                pass


def get(path: bytes, *lines: bytes) -> bytes:
    return b"\r\n".join((b"GET %b HTTP/1.1" % path, b"Host: a.test", b"Connection: close", *lines, b"", b""))


def metrics(gateway: RunningGateway) -> str:
    with urlopen(f"{gateway.url}/metrics", timeout=20) as answer:
        text: str = answer.read().decode()
        return text


def series(text: str) -> set[str]:
    """Everything that has a value, by name and labels."""
    return {line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")}


def configure(gateway: RunningGateway, port: int) -> None:
    with gateway.admin() as admin:
        admin.ask("POST", "/upstreams", {"name": "pool"})
        admin.ask("POST", "/upstreams/pool/targets", {"target": f"127.0.0.1:{port}"})
        admin.ask("POST", "/services", {"name": "s", "host": "pool", "retries": 1})
        admin.ask("POST", "/services/s/routes", {"name": "r", "paths": ["/a"]})


def test_metrics() -> None:
    """The table of metrics has the names, types and labels that there are."""
    (nobody,) = free_ports(1)
    settings = {
        "tracing_instrumentations": "all",
        "tracing_endpoint": f"http://127.0.0.1:{nobody}/",
        "status_listen": "127.0.0.1:0 ssl",
        "nginx_worker_processes": "2",
    }
    with running(settings=settings) as gateway:
        configure(gateway, nobody)
        ask(gateway, [get(b"/a"), get(b"/nowhere")])
        text = metrics(gateway)
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert {words(row[0])[0]: row[1] for row in rows("Metrics")} == types
    assert all(name.endswith("_total") for name, type in types.items() if type == "counter")
    labels: dict[str, set[str]] = {}
    for each in series(text):
        name, _, rest = each.partition("{")
        name = name if name in types else re.sub("_(bucket|sum|count)$", "", name)
        labels.setdefault(name, set()).update(set(re.findall(r'(\w+)="', rest)) - {"le"})
    told = {words(row[0])[0]: set(words(row[2])) for row in rows("Metrics")}
    assert {name: told[name] for name in labels} == labels
    assert set(told) - set(labels) == {"kong_reactor_stalls_total"} - set(labels)  # there may have been one


def test_labels_are_bounded() -> None:
    """However much comes, and whatever it says, there are no more series than at first."""
    (nobody,) = free_ports(1)
    with running(settings={"stall_timeout": "0"}) as gateway:
        configure(gateway, nobody)
        ask(gateway, [get(b"/a"), get(b"/nowhere"), b"nonsense\r\n\r\n"])
        before = series(metrics(gateway))
        for number in range(20):
            odd = b"x%d" % number
            head = get(b"/a/%b?%b=1" % (odd, odd), b"X-%b: 1" % odd, b"User-Agent: %b" % odd).replace(b"a.test", odd)
            ask(gateway, [head, get(b"/%b" % odd), b"%b\r\n\r\n" % odd])
        assert series(metrics(gateway)) == before


def test_fields() -> None:
    """The table of fields has those of a line, of the attempts in it as well."""
    (nobody,) = free_ports(1)
    with running(settings={"proxy_access_log": "logs/access.log json"}) as gateway:
        configure(gateway, nobody)
        ask(gateway, [get(b"/a")])
        gateway.stop()
        line = json.loads((gateway.prefix / "logs" / "access.log").read_text())
    fields = set()
    for name, value in line.items():
        match value:
            case dict():
                fields |= {f"{name}.{each}" for each in value}
            case list():
                fields |= {f"{name}[].{each}" for entry in value for each in entry}
            case _:
                fields.add(name)
    assert sorted(name for row in rows("Access log") for name in words(row[0])) == sorted(fields)


def test_spans() -> None:
    """The table of spans has those that there are."""
    source = (Path(__file__).parents[2] / "twisted_kong" / "proxy" / "tracing.py").read_text()
    assert {words(row[0])[0] for row in rows("Tracing")} == set(re.findall(r'"(kong(?:\.[a-z]+)?)"', source))
