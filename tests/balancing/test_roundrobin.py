"""Round robin: its promise for any weights, and what it costs."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from math import gcd
from random import Random
from types import FrameType
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from twisted_kong.balancing.roundrobin import LONGEST, RoundRobin, RoundRobinFactory
from twisted_kong.interfaces import IPeer
from twisted_kong.model.traffic import Pick
from twisted_kong.testing import PlainPeer, algorithm_contract, some_peers

RoundRobinContract = algorithm_contract(RoundRobinFactory)

WEIGHTS = st.lists(st.integers(1, 40), min_size=1, max_size=8)
HEAVY = st.lists(st.integers(1, 65535), min_size=1, max_size=8)


def spread(peers: Sequence[PlainPeer]) -> RoundRobin:
    algorithm = RoundRobin()
    algorithm.update(peers)
    return algorithm


def picks(algorithm: RoundRobin, count: int, tried: Sequence[IPeer] = ()) -> list[IPeer]:
    found = [algorithm.pick(Pick(tried=tried)) for _ in range(count)]
    return [peer for peer in found if peer is not None]


def shares(peers: Iterable[PlainPeer]) -> dict[IPeer, int]:
    unit = gcd(*(peer.weight for peer in peers))
    return {peer: peer.weight // unit for peer in peers}


def smooth(weights: Sequence[int], count: int) -> list[int]:
    """nginx's smooth weighted round robin, by its definition: the indexes it picks."""
    credits = [0] * len(weights)
    found = []
    for _ in range(count):
        credits = [credit + weight for credit, weight in zip(credits, weights, strict=True)]
        best = credits.index(max(credits))
        credits[best] -= sum(weights)
        found.append(best)
    return found


def longest_run(sequence: Iterable[object]) -> int:
    return max(len(list(run)) for _, run in groupby(sequence))


def assert_every_window_exact(found: Sequence[IPeer], expected: dict[IPeer, int]) -> None:
    """All windows hold the same: the first one what is expected, and whoever leaves it is who comes in."""
    length = sum(expected.values())
    assert Counter(found[:length]) == expected
    assert found[length:] == found[:-length]


# -- the promise -----------------------------------------------------------------------------------------------


@given(WEIGHTS)
def test_every_window_is_exact(weights: list[int]) -> None:
    """Any Σ(weight/gcd) picks in a row hit every peer exactly weight/gcd times."""
    peers = some_peers(*weights)
    expected = shares(peers)
    assert_every_window_exact(picks(spread(peers), 3 * sum(expected.values())), expected)


@given(WEIGHTS, st.integers(1, 1000))
def test_only_proportions_matter(weights: list[int], factor: int) -> None:
    """Weights with a common factor give the same picks as without it."""
    light, heavy = some_peers(*weights), some_peers(*(weight * factor for weight in weights))
    count = 2 * sum(weights)
    assert [peer.address for peer in picks(spread(light), count)] == [
        peer.address for peer in picks(spread(heavy), count)
    ]


@pytest.mark.parametrize("weights", [(65521, 65519, 1), (65535, 65534), (1, 65535)])
def test_coprime_weights(weights: tuple[int, ...]) -> None:
    """Weights without a common factor are met to the last pick, however long the window."""
    peers = some_peers(*weights)
    assert Counter(picks(spread(peers), sum(weights))) == shares(peers)


@given(HEAVY)
def test_always_near_its_share(weights: list[int]) -> None:
    """From the first pick on nobody is more than a pick per other peer away from its share."""
    peers = some_peers(*weights)
    total = sum(weights)
    had: Counter[IPeer] = Counter()
    for count, peer in enumerate(picks(spread(peers), 300), 1):
        had[peer] += 1
        for one in peers:
            assert abs(had[one] - count * one.weight / total) < max(len(peers) - 1, 1)


@given(WEIGHTS)
def test_no_longer_runs_than_smooth(weights: list[int]) -> None:
    """Nobody is picked more often in a row than by smooth weighted round robin."""
    count = 2 * sum(weights)
    ours = picks(spread(some_peers(*weights)), count)
    assert longest_run(ours) <= longest_run(smooth(weights, count))


def test_order_of_equals() -> None:
    """Peers of one weight take turns in the order in which they are listed."""
    peers = some_peers(5, 5, 5)
    assert picks(spread(peers), 7) == [*peers, *peers, peers[0]]


@pytest.mark.parametrize("weights", [(1, 1, 1), (3, 2), (100, 40, 7), (5,)])
def test_what_repeats_is_remembered(weights: tuple[int, ...]) -> None:
    """From the third cycle on a pick calls nothing but itself."""
    peers = some_peers(*weights)
    algorithm, pick = spread(peers), Pick()
    picks(algorithm, 2 * sum(weights))

    def more() -> None:
        for _ in range(2 * sum(weights)):
            algorithm.pick(pick)

    assert calls(more) <= 2 * sum(weights) + 5


STEPS = st.one_of(
    st.tuples(st.just("pick"), st.integers(1, 60)),
    st.tuples(st.just("tried"), st.sets(st.integers(0, 5), max_size=3)),
    st.tuples(st.just("weigh"), st.tuples(st.integers(0, 5), st.integers(1, 9))),
    st.tuples(st.just("remove"), st.integers(0, 5)),
    st.tuples(st.just("add"), st.integers(0, 5)),
)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.lists(STEPS, max_size=40))
def test_remembering_changes_nothing(weights: list[int], steps: list[tuple[str, Any]]) -> None:
    """Whoever repeats cycles picks what it would have picked otherwise, whatever happens in between."""
    peers = some_peers(*weights)
    there = dict.fromkeys(peers)
    remembering, forgetful = spread(peers), spread(peers)
    for step, argument in steps:
        if step in ("pick", "tried"):
            count, which = (argument, set()) if step == "pick" else (1, argument)
            tried = [peers[index] for index in which if index < len(peers)]
            expected = []
            for _ in range(count):
                forgetful._order = forgetful._noted = None
                expected += picks(forgetful, 1, tried)
            assert picks(remembering, count, tried) == expected
            continue
        index, weight = argument if step == "weigh" else (argument, None)
        if index >= len(peers):
            continue
        peer = peers[index]
        if weight is not None and peer in there:
            peer.weight = weight
            remembering.changed(peer)
            forgetful.changed(peer)
        elif step == "remove" and peer in there:
            del there[peer]
            remembering.remove(peer)
            forgetful.remove(peer)
        elif step == "add" and peer not in there:
            there[peer] = None
            remembering.add(peer)
            forgetful.add(peer)


# -- peers that were tried -------------------------------------------------------------------------------------


@given(WEIGHTS, st.data())
def test_tried_are_skipped(weights: list[int], data: st.DataObject) -> None:
    """A tried peer is never picked, and None comes only when all were tried."""
    peers = some_peers(*weights)
    algorithm = spread(peers)
    for _ in range(30):
        tried = data.draw(st.lists(st.sampled_from(peers), unique=True))
        peer = algorithm.pick(Pick(tried=tried))
        assert peer not in tried
        assert (peer is None) == (len(tried) == len(peers))


@given(WEIGHTS, st.data())
def test_turns_are_not_lost(weights: list[int], data: st.DataObject) -> None:
    """Whoever was skipped gets its turn later: over whole cycles all get exactly their share."""
    assume(len(weights) > 1)
    peers = some_peers(*weights)
    expected = shares(peers)
    length = sum(expected.values())
    algorithm = spread(peers)
    skipped = data.draw(st.sampled_from(peers))
    first = picks(algorithm, data.draw(st.integers(0, length - 1)))
    instead = picks(algorithm, data.draw(st.integers(0, expected[skipped])), [skipped])
    cycles = 2 + len(instead)  # enough for whoever took the turns to be overtaken
    rest = picks(algorithm, cycles * length - len(first) - len(instead))
    assert skipped not in instead
    assert Counter([*first, *instead, *rest]) == {peer: cycles * share for peer, share in expected.items()}


@given(WEIGHTS, st.data())
def test_who_was_skipped_comes_first(weights: list[int], data: st.DataObject) -> None:
    """Whoever was skipped for a whole cycle has all its turns of that cycle before anybody has one of the next."""
    assume(len(weights) > 1)
    peers = some_peers(*weights)
    expected = shares(peers)
    algorithm = spread(peers)
    skipped = data.draw(st.sampled_from(peers))
    picks(algorithm, sum(expected.values()), [skipped])
    assert picks(algorithm, expected[skipped]) == [skipped] * expected[skipped]


@given(WEIGHTS, st.integers(0, 100))
def test_nobody_found_nothing_changed(weights: list[int], count: int) -> None:
    """A pick that finds nobody leaves everybody's turn as it was."""
    peers = some_peers(*weights)
    disturbed, undisturbed = spread(peers), spread(peers)
    assert picks(disturbed, count) == picks(undisturbed, count)
    assert disturbed.pick(Pick(tried=peers)) is None
    assert picks(disturbed, 2 * sum(weights)) == picks(undisturbed, 2 * sum(weights))


# -- changes ---------------------------------------------------------------------------------------------------


@given(WEIGHTS, st.integers(0, 100), WEIGHTS, st.randoms(use_true_random=False))
def test_exact_after_a_change(before: list[int], count: int, after: list[int], random: Random) -> None:
    """The promise holds from the first pick after a change, whoever stays, joins or gets another weight."""
    peers = some_peers(*before)
    algorithm = spread(peers)
    picks(algorithm, count)
    peers = random.sample([*peers, *some_peers(*after)], len(after))
    for peer, weight in zip(peers, after, strict=True):
        peer.weight = weight
    algorithm.update(peers)
    expected = shares(peers)
    assert_every_window_exact(picks(algorithm, 3 * sum(expected.values())), expected)


@given(st.integers(2, 8), st.integers(1, 20), st.randoms(use_true_random=False))
def test_who_waited_longest_comes_first(number: int, count: int, random: Random) -> None:
    """After a change equals come in the order in which they were picked last, in whatever order they are listed."""
    peers = some_peers(*[1] * number)
    algorithm = spread(peers)
    last = {peer: pick for pick, peer in enumerate(picks(algorithm, max(count, number)))}
    random.shuffle(peers)
    algorithm.update(peers)
    assert picks(algorithm, number) == sorted(peers, key=lambda peer: last[peer])


@given(WEIGHTS, st.integers(1, 50))
@example([10, 1, 4, 9, 11, 5], 6)
@example([1, 10, 9, 6, 6, 3], 9)
def test_frequent_changes_starve_nobody(weights: list[int], pace: int) -> None:
    """However often an update comes, everybody is picked within two of its cycles, and nobody twice too often."""
    peers = some_peers(*weights)
    expected = shares(peers)
    length = sum(expected.values())
    algorithm = spread(peers)
    had: Counter[IPeer] = Counter()
    for count in range(4 * length):
        if count % pace == 0:
            algorithm.update(peers)
        had.update(picks(algorithm, 1))
        if count == 2 * length - 1:
            assert set(had) == set(peers)
    assert all(had[peer] <= 2 * 4 * share for peer, share in expected.items())


# -- what it costs ---------------------------------------------------------------------------------------------


def entries(thing: object) -> int:
    """The elements of all containers that ``thing`` holds on to, peers left out."""
    if isinstance(thing, PlainPeer):
        return 0
    if isinstance(thing, dict):
        return len(thing) + sum(map(entries, thing.values()))
    if isinstance(thing, list | tuple | set | frozenset):
        return len(thing) + sum(map(entries, thing))
    return sum(map(entries, vars(thing).values())) if hasattr(thing, "__dict__") else 0


def calls(work: Callable[[], object]) -> int:
    """How many functions ``work`` calls, those of the interpreter included."""
    count = 0

    def called(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


@given(HEAVY)
def test_memory_does_not_depend_on_weights(weights: list[int]) -> None:
    """Peers occupy the same whatever they weigh, before and after picks, but for a cycle that is remembered."""
    heavy, light = spread(some_peers(*weights)), spread(some_peers(*[1] * len(weights)))
    assert entries(heavy) == entries(light)
    picks(heavy, 100)
    picks(light, 100)
    assert abs(entries(heavy) - entries(light)) <= LONGEST


def test_ten_thousand_picks() -> None:
    """A pick does not call more functions among ten thousand peers than among three, over a whole cycle.

    Of neither a cycle is short enough to be remembered.
    """
    few, many = spread(some_peers(1021, 1019, 1013)), spread(some_peers(*[1] * 10_000))
    assert calls(lambda: picks(many, 30_000)) <= calls(lambda: picks(few, 30_000)) + 10


def test_ten_thousand_heavy_picks() -> None:
    """Where the weights of ten thousand peers have nothing in common a pick is a few heap operations still."""
    random = Random(1)
    many = spread(some_peers(*(random.randint(1, 65535) for _ in range(10_000))))
    assert calls(lambda: picks(many, 30_000)) <= 9 * 30_000


def test_ten_thousand_peers_change() -> None:
    """A change among ten thousand peers looks at each of them once or twice."""
    peers = some_peers(*range(1, 10_001))
    algorithm = spread(peers)
    picks(algorithm, 100)
    assert calls(lambda: algorithm.update(peers)) <= 2 * len(peers)


def test_memory_after_changes() -> None:
    """However often peers change, there are never more than two entries for each of them in either heap."""
    peers = some_peers(*[1] * 10)
    algorithm = spread(peers)
    for weight in range(2, 100):
        for peer in peers:
            peer.weight = weight
        algorithm.update(peers)
        assert len(algorithm._waiting) + len(algorithm._opened) <= 4 * len(peers)


def test_thousands_leave_between_two_picks() -> None:
    """However many leave one by one before the next pick, that is one of those that are left."""
    peers = some_peers(*[1] * 10_000)
    algorithm = spread(peers)
    assert picks(algorithm, 1) == peers[:1]
    for peer in peers[1:4_000]:
        algorithm.remove(peer)
    assert picks(algorithm, 2) == peers[4_000:4_002]
