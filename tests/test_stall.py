"""A component that does not let go: the log of a running gateway says whose code it is."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.request import urlopen

import pytest
from components import put_drop_in
from stage import StagedGateway, origins

SLEEPY = '''\
"""An algorithm that goes to sleep while it picks."""

import time

from zope.interface import implementer

from twisted_kong.interfaces import IAlgorithm, IAlgorithmFactory


@implementer(IAlgorithm)
class Sleepy:
    def update(self, peers):
        self._peers = peers

    def pick(self, pick):
        time.sleep(1.5)
        return self._peers[0]

    def done(self, peer, outcome):
        pass


@implementer(IAlgorithmFactory)
class Factory:
    name = "sleepy"

    def build(self, upstream):
        return Sleepy()


factory = Factory()
'''


@pytest.mark.parametrize("processes", [1, 2])
def test_an_algorithm_that_blocks(tmp_path: Path, processes: int) -> None:
    """The log names it and its file, shows the line that it is at, and says when things go on; it counts as well."""
    file = put_drop_in(tmp_path / "plugins", "sleepy_algorithm", SLEEPY)
    with (
        origins(1) as (origin,),
        StagedGateway(
            tmp_path, "--plugin-dir", str(file.parent), "--set", f"nginx_worker_processes={processes}"
        ) as gateway,
    ):
        gateway.put_upstream("pool", {origin.target: 1}, algorithm="sleepy")
        assert gateway.get("/pool").status == 200
        with urlopen(f"http://127.0.0.1:{gateway.admin_port}/metrics", timeout=10) as answer:
            metrics = answer.read().decode()
        log = gateway.stop()
    assert f"s in algorithm sleepy ({file}):\n" in log
    assert "time.sleep(1.5)" in log
    assert re.search(rf"the reactor goes on after \d+\.\d s in algorithm sleepy \({re.escape(str(file))}\)", log)
    assert f'kong_reactor_stalls_total{{blame="algorithm sleepy ({file})"}} 1.0' in metrics


def test_nobody_looks(tmp_path: Path) -> None:
    """With stall_timeout at 0 nothing of it is logged."""
    file = put_drop_in(tmp_path / "plugins", "sleepy_algorithm", SLEEPY.replace("1.5", "0.8"))
    arguments = ("--plugin-dir", str(file.parent), "--set", "stall_timeout=0")
    with origins(1) as (origin,), StagedGateway(tmp_path, *arguments) as gateway:
        gateway.put_upstream("pool", {origin.target: 1}, algorithm="sleepy")
        assert gateway.get("/pool").status == 200
        assert "stuck" not in gateway.stop()
