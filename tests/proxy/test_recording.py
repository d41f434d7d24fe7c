"""What is counted of routes, however often these are replaced."""

from __future__ import annotations

from typing import cast

from twisted_kong.proxy.recording import Recorder
from twisted_kong.routing.candidates import CompiledRoute
from twisted_kong.telemetry.traffic import Traffic


class Route:
    """A route of this name, as far as a recorder looks at it."""

    api = None

    def __init__(self, name: str) -> None:
        self.name = self.id = name
        self.route = self


def test_replaced_routes_are_forgotten() -> None:
    """A route that is replaced goes on counting where the one before did, and of those before only a few are kept."""
    recorder = Recorder(Traffic())

    def look_up(name: str) -> object:
        return recorder._look_up(cast(CompiledRoute, Route(name)), None)

    found = {name: look_up(name) for name in "abc"}
    for _ in range(100):
        assert {name: look_up(name) for name in "abc"} == found
    assert len(recorder._known) <= 2 * len(recorder.traffic.routes())
