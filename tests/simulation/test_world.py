"""Simulated traffic: the same classes, a virtual clock, and figures that can be checked by hand."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import pytest

from twisted_kong.model.schema import Schema
from twisted_kong.registry import Registry
from twisted_kong.simulation.load import BadLoad, Behaviour, Event, Load, read_load
from twisted_kong.simulation.picture import picture
from twisted_kong.simulation.progress import Bar
from twisted_kong.simulation.report import imbalances, percentile, told
from twisted_kong.simulation.sources import NoUpstream, from_entities, from_gateway
from twisted_kong.simulation.world import SLICES, Result, simulate
from twisted_kong.testing import an_upstream

ALGORITHMS = Registry().algorithms
(UPSTREAM, _) = an_upstream("orders")
THREE = {f"10.0.0.{number}:8000": 100 for number in (1, 2, 3)}


def run(load: Load, algorithm: str = "round-robin", targets: dict[str, int] | None = None) -> Result:
    (result,) = simulate(UPSTREAM, targets or THREE, load, [ALGORITHMS[algorithm]])
    return result


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_same_again(algorithm: str) -> None:
    """The same seed gives the same traffic, and every request ends."""
    load = Load(rate=50, duration=20, targets={"10.0.0.1:8000": Behaviour(failures=0.3)})
    first, second = run(load, algorithm), run(load, algorithm)
    assert (first.shares, first.seconds, first.failed) == (second.shares, second.seconds, second.failed)
    assert sum(map(sum, first.shares.values())) + first.failed == len(first.seconds) > 800


def test_same_requests_for_all() -> None:
    """Each algorithm is asked by as many requests as any other."""
    results = simulate(UPSTREAM, THREE, Load(rate=50, duration=20), ALGORITHMS.values())
    assert len({len(result.seconds) for result in results}) == 1


def test_shares_follow_weights() -> None:
    """Round robin gives shares by weight, whatever answers how."""
    result = run(Load(rate=100, duration=60), targets={"10.0.0.1:80": 100, "10.0.0.2:80": 50})
    heavy, light = (sum(result.shares[address]) for address in ("10.0.0.1:80", "10.0.0.2:80"))
    assert abs(heavy - 2 * light) <= 2


def test_latency_is_what_was_said() -> None:
    """Without jitter and without waiting every request takes what its target takes."""
    result = run(Load(rate=10, duration=30, default=Behaviour(latency=0.25, jitter=0)))
    assert {round(each, 9) for each in result.seconds} == {0.25}


def test_workers_make_wait() -> None:
    """A target with one worker that is asked more than it can do lets requests wait."""
    load = Load(rate=20, duration=30, default=Behaviour(latency=0.1, jitter=0, workers=1))
    result = run(load, targets={"10.0.0.1:80": 1})
    assert percentile(sorted(result.seconds), 0.99) > 5


@pytest.mark.parametrize(("how", "failed"), [("refuse", False), ("silent", False), ("error", True)])
def test_failures(how: str, failed: bool) -> None:
    """What is refused or not answered goes to another target; an error is an answer."""
    behaviour = Behaviour.model_validate({"failures": 1, "how": how})
    result = run(Load(rate=20, duration=20, timeout=1, targets={"10.0.0.1:8000": behaviour}))
    assert bool(result.failed) == failed
    assert result.attempts["10.0.0.1:8000"] > 50


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_retries(retries: int) -> None:
    """As in the gateway, a target that was tried is tried again where there is no other: retries and no more."""
    refusing = Behaviour(failures=1)
    result = run(
        Load(rate=20, duration=10, retries=retries, default=refusing), targets={"a:80": 1, "b:80": 1, "c:80": 0}
    )
    assert result.failed == len(result.seconds)
    assert sum(result.attempts.values()) == (1 + retries) * result.failed


def test_nobody_there() -> None:
    """Where nobody may be picked every request fails."""
    result = run(Load(rate=10, duration=10), targets={"10.0.0.1:80": 0})
    assert result.failed == len(result.seconds) > 50


def test_changes() -> None:
    """Changes happen when they are said to: weights, health, joining and leaving."""
    changes = (
        Event(at=20, target="10.0.0.1:8000", weight=0),
        Event(at=40, target="10.0.0.2:8000", healthy=False),
        Event(at=40, target="10.0.0.9:8000", weight=100),
        Event(at=50, target="10.0.0.9:8000", leaves=True),
    )
    shares = run(Load(rate=100, duration=60, changes=changes)).shares
    assert sum(shares["10.0.0.1:8000"][21:]) == 0 < shares["10.0.0.1:8000"][10]
    assert sum(shares["10.0.0.2:8000"][41:]) == 0 < shares["10.0.0.2:8000"][30]
    assert [bool(shares["10.0.0.9:8000"][second]) for second in (30, 45, 55)] == [False, True, False]


def test_changes_after_the_end() -> None:
    """What would happen after the end does not, and is not told."""
    result = run(Load(rate=10, duration=10, changes=(Event(at=10, target="10.0.0.9:8000"),)), "consistent-hashing")
    assert list(result.weights) == list(THREE)
    assert result.moved == []


def test_strangers() -> None:
    """Whoever tells how a target answers that is never there has its name wrong, and is told so."""
    load = Load(
        targets={"10.0.0.8:8000": Behaviour(), "10.0.0.9:8000": Behaviour()},
        changes=(Event(at=1, target="10.0.0.9:8000"),),
    )
    with pytest.raises(BadLoad, match=r"targets: no 10\.0\.0\.8:8000; there are: 10\.0\.0\.1:8000, .*9:8000$"):
        run(load)


@pytest.mark.parametrize("target", ["10.0.0.9", "10.0.0.9:", ":80", "10.0.0.9:http", "10.0.0.9:0", "10.0.0.9:65536"])
def test_not_a_target(target: str) -> None:
    """A change names its target by host and port."""
    with pytest.raises(BadLoad, match=r"changes\.0\.target: expected host:port, got"):
        read_load("{}", changes=[{"at": 1, "target": target}])


def test_keys_moved() -> None:
    """Of a change under consistent hashing it is told which part of the keys moved: here, those of one of three."""
    changes = (Event(at=5, target="10.0.0.1:8000", healthy=False), Event(at=8, target="10.0.0.1:8000", healthy=True))
    result = run(Load(rate=10, duration=10, changes=changes), "consistent-hashing")
    (_, _, gone), (_, _, back) = result.moved
    assert gone == back
    assert 0.28 < gone < 0.39
    assert not run(Load(rate=10, duration=10, changes=changes)).moved


def test_progress() -> None:
    """Progress goes from the beginning to the end, and never back."""
    parts: list[float] = []
    simulate(UPSTREAM, THREE, Load(rate=50, duration=20), list(ALGORITHMS.values())[:2], progress=parts.append)
    assert parts == sorted(parts)
    assert parts[-1] == 1


# -- what is told ----------------------------------------------------------------------------------------------


def test_imbalance() -> None:
    """It is how much more than its share the busiest target had, by the weights of that time."""
    result = Result("any", 1.0)
    result.epochs = [(0.0, {"a": 1, "b": 1}), (30.0, {"a": 1, "b": 3})]
    result.shares = {"a": [10] * SLICES, "b": [30] * SLICES}
    found = imbalances(result)
    assert (found[0], found[-1]) == (1.5, 1.0)


def test_report_and_picture() -> None:
    """The report names every target; the picture is a chart for each algorithm, in sound XML."""
    results = simulate(UPSTREAM, THREE, Load(rate=20, duration=10), list(ALGORITHMS.values())[:2])
    assert all(address in told(results[0]) for address in THREE)
    drawn = ElementTree.fromstring(picture(results))
    assert len([one for one in drawn.iter() if one.tag.endswith("polygon")]) == 2 * len(THREE)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "shown"), [(Terminal(), True), (io.StringIO(), False)])
def test_bar(stream: io.StringIO, shown: bool) -> None:
    """A terminal is shown a bar, and nothing else is."""
    bar = Bar(stream)
    bar(0.5)
    bar(1.0)
    assert stream.getvalue().endswith("100 %\n") == shown
    assert bool(stream.getvalue()) == shown


# -- what comes in ---------------------------------------------------------------------------------------------


def test_load_of_a_document() -> None:
    """A load is a document of YAML; options take the place of what it says."""
    load = read_load("rate: 5\ntargets: {'a:1': {latency: 0.2}}\n", rate=7, duration=None)
    assert (load.rate, load.targets["a:1"].latency, load.duration) == (7, 0.2, 60)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("rate: -1", "rate"),
        ("targets: {'a:1': {latency: fast}}", "targets.a:1.latency"),
        ("speed: 3", "speed"),
        ("[1]", "names and values"),
        ("a: [", "no YAML"),
    ],
)
def test_bad_load(text: str, named: str) -> None:
    """What is wrong with a document is named."""
    with pytest.raises(BadLoad, match=named):
        read_load(text)


def test_which_upstream() -> None:
    """The upstream is the one that is named, or the only one."""
    orders, targets = an_upstream("orders", "10.0.0.1:80")
    bills, _ = an_upstream("bills")
    assert from_entities([orders, *targets], None) == (orders, {"10.0.0.1:80": 100})
    assert from_entities([orders, bills, *targets], "bills") == (bills, {})
    with pytest.raises(NoUpstream, match="bills, orders"):
        from_entities([orders, bills], None)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://127.0.0.1"])
def test_no_gateway(url: str) -> None:
    """A gateway that is not there is told with its URL."""
    with pytest.raises(NoUpstream, match=r"127\.0\.0\.1"):
        from_gateway(url, "orders", Schema())
