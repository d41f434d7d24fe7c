"""The examples in ``plugins`` at work: a gateway finds them by ``--plugin-dir`` and proxies through them."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from components import put_drop_in
from stage import ROOT, Origin, StagedGateway, origins

EXAMPLES = sorted(path for path in (ROOT / "plugins").glob("*.py"))
HERE = ("--plugin-dir", str(ROOT / "plugins"))

BROKEN = '''\
"""An algorithm that can do nothing but raise."""

from zope.interface import implementer

from twisted_kong.interfaces import IAlgorithm, IAlgorithmFactory


@implementer(IAlgorithm)
class Broken:
    def update(self, peers):
        pass

    def pick(self, pick):
        raise ZeroDivisionError("on purpose")

    def done(self, peer, outcome):
        raise ZeroDivisionError("on purpose")


@implementer(IAlgorithmFactory)
class Factory:
    name = "broken"

    def build(self, upstream):
        return Broken()


factory = Factory()
'''


@pytest.fixture
def two() -> Iterator[list[Origin]]:
    with origins(2) as made:
        yield made


def test_algorithm(tmp_path: Path, two: list[Origin]) -> None:
    """``weighted-random`` serves an upstream that names it, and is listed with its file."""
    light, heavy = two
    with StagedGateway(tmp_path, *HERE) as gateway:
        gateway.put_upstream("orders", {light.target: 1, heavy.target: 60}, algorithm="weighted-random")
        found = gateway.shares("/orders", 60)
        assert set(found) <= {light.port, heavy.port}
        assert found[heavy.port] > 30
        file = str(ROOT / "plugins" / "weighted_random.py")
        row = {"kind": "algorithm", "name": "weighted-random", "origin": file, "version": "1.0"}
        assert row in gateway.admin("GET", "/components")["data"]


def test_resolver(tmp_path: Path, two: list[Origin]) -> None:
    """``static-names`` finds the address of a target's name, and of nothing that is not in its file."""
    (tmp_path / "names").write_text("127.0.0.1 orders.internal orders # both\n")
    with StagedGateway(tmp_path, *HERE, "--set", "dns_resolver_plugin=static-names") as gateway:
        gateway.put_upstream("shop", {f"orders.internal:{two[0].port}": 100})
        assert gateway.shares("/shop", 3) == {two[0].port: 3}
        gateway.put_upstream("nobody", {f"nobody.internal:{two[0].port}": 100})
        assert gateway.get("/nobody").status in (502, 503)
        assert gateway.shares("/shop", 1) == {two[0].port: 1}


def test_checker(tmp_path: Path, two: list[Origin]) -> None:
    """``status-up`` takes out a target whose page does not say that it is up, and no other."""
    up, down = two
    down.page = b'{"status": "DOWN"}'
    checks = {"type": "status-up", "http_path": "/health", "concurrency": 2}
    checks |= {"healthy": {"interval": 0.1}, "unhealthy": {"interval": 0.1, "http_failures": 1}}
    with StagedGateway(tmp_path, *HERE) as gateway:
        gateway.put_upstream("orders", {each.target: 100 for each in two}, healthchecks={"active": checks})
        deadline = time.monotonic() + 30
        while unhealthy(gateway) != [down.target]:
            assert time.monotonic() < deadline, gateway.admin("GET", "/upstreams/orders/health")
            time.sleep(0.05)  # probes have times of their own
        assert gateway.shares("/orders", 6) == {up.port: 6}


def unhealthy(gateway: StagedGateway) -> list[str]:
    rows = gateway.admin("GET", "/upstreams/orders/health")["data"]
    return [row["target"] for row in rows if row["health"] == "UNHEALTHY"]


def test_every_example_is_one_component() -> None:
    """Each file is one component of a kind of its own, and says how it is used."""
    command = [sys.executable, "-m", "twisted_kong.command", "components", *HERE]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    rows = [line.split() for line in told.splitlines() if str(ROOT / "plugins") in line]
    assert sorted(row[2] for row in rows) == [str(path) for path in EXAMPLES]
    assert len({row[0] for row in rows}) == len(rows)
    for kind, name, file, _ in rows:
        text = Path(file).read_text()
        assert kind in text.splitlines()[0].lower()
        assert re.search(rf"={name}\b", text.split('"""')[1])


# -- and one that is broken ------------------------------------------------------------------------------------


def test_broken(tmp_path: Path, two: list[Origin]) -> None:
    """A component that fails costs its own requests, answered 500 as Kong words it, and a line of the log a second."""
    file = put_drop_in(tmp_path / "plugins", "broken", BROKEN)
    with StagedGateway(tmp_path, "--plugin-dir", str(file.parent)) as gateway:
        gateway.put_upstream("broken", {two[0].target: 1}, algorithm="broken")
        gateway.put_upstream("sound", {two[1].target: 1})
        for _ in range(50):
            answer = gateway.get("/broken")
            assert answer.status == 500
            assert answer.json["message"] == "An unexpected error occurred"
            assert set(answer.json) == {"message", "request_id"}
            assert gateway.shares("/sound", 1) == {two[1].port: 1}
        printed = gateway.stop()
    line = f"algorithm broken ({file}) failed to pick a peer of broken"
    assert 1 <= printed.count(line) < 50
    assert "on purpose" in printed


def test_fallback(tmp_path: Path, two: list[Origin]) -> None:
    """With ``algorithm_fallback`` the requests are served."""
    file = put_drop_in(tmp_path / "plugins", "broken", BROKEN)
    options = ("--plugin-dir", str(file.parent), "--set", "algorithm_fallback=round-robin")
    with StagedGateway(tmp_path, *options) as gateway:
        gateway.put_upstream("broken", {each.target: 1 for each in two}, algorithm="broken")
        assert gateway.shares("/broken", 10) == {each.port: 5 for each in two}
        printed = gateway.stop()
    assert f"algorithm broken ({file}) failed to pick a peer of broken" in printed
