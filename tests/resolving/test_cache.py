"""What is remembered of a name, on any course of answers, failures and time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.errors import NameFailure, NameNotFound, NameNotResolved
from twisted_kong.model.traffic import Address, Answer
from twisted_kong.resolving.cache import LAST_SECOND, Remembered, Rules

RULES = Rules(None, 100.0, 30.0, 1.0)


def answer(ttl: float, host: str = "10.0.0.1") -> Answer:
    return Answer((Address(host),), ttl)


def nobody_knows() -> NameFailure:
    return NameNotResolved("a.test", "timeout")


def test_four_times() -> None:
    """An answer is fresh for its time, serves for the stale time after it, and no longer."""
    memory = Remembered(RULES)
    memory.answered(answer(10.0), 1000.0)
    assert [memory.fresh(now) for now in (1009.9, 1010.0)] == [True, False]
    assert [memory.serves(now) is not None for now in (1009.9, 1010.0, 1109.9, 1110.0)] == [True, True, True, False]


@pytest.mark.parametrize(
    ("error", "serves", "believed"),
    [
        (nobody_knows(), True, 1.0),
        (NameNotFound(empty=True), True, 30.0),
        (NameNotFound(), False, 30.0),
    ],
    ids=["failure", "empty", "missing"],
)
def test_failures(error: NameFailure, serves: bool, believed: float) -> None:
    """Only that a name does not exist replaces an answer; each failure is believed for its own time."""
    memory = Remembered(RULES)
    memory.answered(answer(10.0), 1000.0)
    memory.failed(error, 1010.0)
    assert (memory.serves(1010.0) is not None) == serves
    assert memory.refuses(1010.0 + believed - 0.1) is error
    assert memory.refuses(1010.0 + believed) is None


def test_valid_ttl() -> None:
    """``valid_ttl`` takes the place of every TTL, 0 included."""
    for ttl in (0.0, 3.0, 300.0):
        memory = Remembered(Rules(valid_ttl=20.0))
        memory.answered(answer(ttl), 0.0)
        assert (memory.fresh(19.9), memory.fresh(20.0), memory.virtual) == (True, False, False)


def test_zero() -> None:
    """A first answer of TTL 0 is taken at its word; after others only the second in a row is."""
    memory = Remembered(RULES)
    memory.answered(answer(0.0), 0.0)
    assert memory.virtual
    assert not memory.fresh(0.0)
    memory.answered(answer(5.0), 0.0)
    assert not memory.virtual
    assert memory.fresh(4.9)
    memory.answered(answer(0.0), 5.0)
    assert not memory.virtual
    assert memory.fresh(5.0 + LAST_SECOND - 0.1)
    memory.answered(answer(0.0), 6.0)
    assert memory.virtual


def test_endless() -> None:
    """A TTL beyond all measure, or below zero, does no harm."""
    memory = Remembered(RULES)
    memory.answered(answer(float("inf")), 0.0)
    assert memory.fresh(1e8)
    assert memory.ends < 1e9
    memory.answered(answer(-5.0), 0.0)
    assert memory.serves(99.0)


EVENTS = st.lists(
    st.tuples(
        st.floats(0, 200),
        st.one_of(
            st.sampled_from([0.0, 1.0, 60.0]).map(answer),
            st.sampled_from([NameNotFound(), NameNotFound(empty=True), nobody_knows()]),
        ),
    ),
    max_size=12,
)


@given(EVENTS)
def test_any_course(events: list[tuple[float, Answer | NameFailure]]) -> None:
    """What serves is the last answer: unless the name was said to be missing since, or it is older than may be."""
    memory = Remembered(RULES)
    now = 1000.0
    last: Answer | None = None
    came = 0.0
    for pause, event in events:
        now += pause
        if last is not None and now >= came + max(last.ttl, LAST_SECOND) + RULES.stale_ttl:
            assert memory.serves(now) is None
        if isinstance(event, Answer):
            memory.answered(event, now)
            last, came = event, now
            assert memory.serves(now) is event
            assert memory.error is None
        else:
            before = memory.serves(now)
            memory.failed(event, now)
            missing = isinstance(event, NameNotFound) and not event.empty
            last = None if missing else last
            assert memory.serves(now) is (None if missing else before)
            assert memory.refuses(now) is event
