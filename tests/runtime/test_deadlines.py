"""Waiting for something not to happen, and letting go of work."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

import weakref
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_kong.tasks import Deadlines, Waiter, detach

SECONDS = 5.0


class Sleeper(Waiter):
    """A waiter that notes when it was told, and then does what it is to do."""

    def __init__(self, deadlines: Deadlines, then: Any = lambda: None) -> None:
        super().__init__(deadlines)
        self.told: list[float] = []
        self._then = then

    def timed_out(self) -> None:
        self.told.append(self._deadlines.seconds())
        self._then()


def some_deadlines() -> tuple[Any, Deadlines]:
    clock: Any = Clock()
    return clock, Deadlines(clock)


def pass_time(clock: Clock, seconds: float) -> None:
    """Let time pass the way it does: every timer at its own moment."""
    end = clock.seconds() + seconds
    while (calls := clock.getDelayedCalls()) and (due := min(call.getTime() for call in calls)) <= end:
        clock.advance(max(due - clock.seconds(), 0))
    clock.advance(end - clock.seconds())


def test_told_once() -> None:
    """Who waits is told when the time is up, once."""
    clock, deadlines = some_deadlines()
    sleeper = Sleeper(deadlines)
    sleeper.arm(SECONDS)
    pass_time(clock, SECONDS - 0.001)
    assert sleeper.told == []
    pass_time(clock, 100)
    assert sleeper.told == [SECONDS]


def test_stopped() -> None:
    """Who waits no longer is not told, and may stop as often as it likes."""
    clock, deadlines = some_deadlines()
    sleeper = Sleeper(deadlines)
    sleeper.disarm()
    sleeper.arm(SECONDS)
    sleeper.disarm()
    sleeper.disarm()
    pass_time(clock, 100)
    assert sleeper.told == []


def test_begun_anew() -> None:
    """A wait that begins anew ends the whole time later, once."""
    clock, deadlines = some_deadlines()
    sleeper = Sleeper(deadlines)
    sleeper.arm(SECONDS)
    pass_time(clock, 4)
    sleeper.arm(SECONDS)
    pass_time(clock, 100)
    assert sleeper.told == [4 + SECONDS]


def test_waits_again() -> None:
    """Who was told may wait again at once."""
    clock, deadlines = some_deadlines()
    sleeper: Sleeper = Sleeper(deadlines, lambda: sleeper.arm(SECONDS))
    sleeper.arm(SECONDS)
    pass_time(clock, 2.5 * SECONDS)
    assert sleeper.told == [SECONDS, 2 * SECONDS]


def test_stopped_by_another() -> None:
    """Who is stopped by somebody told in the same moment is not told."""
    clock, deadlines = some_deadlines()
    second = Sleeper(deadlines)
    first = Sleeper(deadlines, lambda: second.disarm())
    first.arm(SECONDS)
    second.arm(SECONDS)
    pass_time(clock, 100)
    assert (first.told, second.told) == ([SECONDS], [])


def test_begun_anew_by_another() -> None:
    """Who begins anew because of somebody told in the same moment waits the whole time."""
    clock, deadlines = some_deadlines()
    second = Sleeper(deadlines)
    first = Sleeper(deadlines, lambda: second.arm(SECONDS))
    first.arm(SECONDS)
    second.arm(SECONDS)
    pass_time(clock, 100)
    assert (first.told, second.told) == ([SECONDS], [2 * SECONDS])


def test_one_timer() -> None:
    """Any number of waiters need one timer, and nobody waiting needs none in the end."""
    clock, deadlines = some_deadlines()
    sleepers = [Sleeper(deadlines) for _ in range(100)]
    for sleeper in sleepers:
        sleeper.arm(SECONDS)
        clock.advance(0.001)
        assert len(clock.getDelayedCalls()) == 1
    for sleeper in sleepers[1:]:
        sleeper.disarm()
    pass_time(clock, 2 * SECONDS)
    assert len(sleepers[0].told) == 1
    assert clock.getDelayedCalls() == []


def test_forgotten() -> None:
    """Who is gone is not told, and nobody holds on to it."""
    clock, deadlines = some_deadlines()
    sleeper = Sleeper(deadlines)
    gone = weakref.ref(sleeper)
    sleeper.arm(SECONDS)
    sleeper.arm(2 * SECONDS)
    deadlines.forget(sleeper)
    deadlines.forget(sleeper)
    pass_time(clock, SECONDS)
    assert sleeper.told == []
    del sleeper
    assert gone() is None


def test_sooner_and_later() -> None:
    """A wait may be replaced by a shorter one or by a longer one; it is the last that counts."""
    clock, deadlines = some_deadlines()
    sleeper = Sleeper(deadlines)
    for seconds in (50, 7, 3, 60):
        sleeper.arm(seconds)
        clock.advance(0.5)
    sleeper.arm(4)
    pass_time(clock, 100)
    assert sleeper.told == [6]


def test_moving_away_is_free() -> None:
    """However often a wait begins anew, it is looked at once in its whole time."""
    clock, deadlines = some_deadlines()
    sleeper = Sleeper(deadlines)
    looks = 0
    for _ in range(1000):
        sleeper.arm(SECONDS)
        clock.advance(0.1)
        looks += sleeper.looked_at == clock.seconds() + SECONDS - 0.1
    assert looks <= 1000 * 0.1 / SECONDS + 1


def test_closed() -> None:
    """After the end nobody is told, and nothing is left in the reactor."""
    clock, deadlines = some_deadlines()
    sleepers = [Sleeper(deadlines), Sleeper(deadlines)]
    sleepers[0].arm(5)
    sleepers[1].arm(7)
    deadlines.close()
    assert clock.getDelayedCalls() == []
    pass_time(clock, 100)
    assert [sleeper.told for sleeper in sleepers] == [[], []]


ACTIONS = st.one_of(
    st.tuples(st.just("arm"), st.integers(0, 4), st.floats(0.1, 3)),
    st.tuples(st.just("disarm"), st.integers(0, 4), st.just(0.0)),
    st.tuples(st.just("pass"), st.just(0), st.floats(0, 3)),
)


@given(st.lists(ACTIONS, max_size=60), st.sampled_from([0.0, 1.8e9]))
def test_never_early_and_hardly_late(actions: list[tuple[str, int, float]], start: float) -> None:
    """Whatever begins and ends when: nobody is told early, nor more than ``GRAIN`` late, nor without waiting."""
    clock, deadlines = some_deadlines()
    clock.advance(start)  # the time of day is so large a number that its fractions are rounded
    late_at_most = deadlines.GRAIN + 1e-6
    sleepers = [Sleeper(deadlines) for _ in range(5)]
    due: dict[Sleeper, float] = {}

    def check() -> None:
        for sleeper in sleepers:
            for when in sleeper.told:
                assert -1e-9 <= when - due.pop(sleeper) <= late_at_most
            sleeper.told.clear()
        for when in due.values():
            assert clock.seconds() <= when + late_at_most

    for action, number, seconds in [*actions, ("pass", 0, 4.0)]:
        if action == "pass":
            pass_time(clock, seconds)
            check()
        elif action == "arm":
            due[sleepers[number]] = clock.seconds() + seconds
            sleepers[number].arm(seconds)
        else:
            due.pop(sleepers[number], None)
            sleepers[number].disarm()
        assert len(clock.getDelayedCalls()) <= 1
    assert due == {}
    assert clock.getDelayedCalls() == []


class RaisingTests(SynchronousTestCase):
    """Waiters that fail."""

    def test_others_are_told(self) -> None:
        """What one waiter raises is logged, and keeps nobody else from being told in time."""
        clock, deadlines = some_deadlines()

        def fail() -> None:
            raise ZeroDivisionError

        sleepers = [Sleeper(deadlines, fail), Sleeper(deadlines)]
        for sleeper in sleepers:
            sleeper.arm(SECONDS)
        pass_time(clock, 100)
        self.assertEqual([sleeper.told for sleeper in sleepers], [[SECONDS], [SECONDS]])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class DetachTests(SynchronousTestCase):
    """Work that goes on by itself."""

    def test_goes_on(self) -> None:
        """The work begins at once and goes on when what it waits for comes."""
        waits: Deferred[str] = Deferred()
        done = []

        async def work() -> None:
            done.append("begun")
            done.append(await waits)

        detach(work(), "the work")
        self.assertEqual(done, ["begun"])
        waits.callback("ended")
        self.assertEqual(done, ["begun", "ended"])

    def test_failure_is_logged(self) -> None:
        """A failure is logged, sooner or later as it comes, and goes no further."""

        async def work(waits: Deferred[None]) -> None:
            await waits
            raise ZeroDivisionError

        waits: Deferred[None] = Deferred()
        detach(work(waits), "the work")
        self.assertEqual(self.flushLoggedErrors(), [])
        waits.callback(None)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_cancellation_is_silent(self) -> None:
        """A cancellation is nobody's failure."""

        async def work(waits: Deferred[None]) -> None:
            await waits

        waits: Deferred[None] = Deferred()
        detach(work(waits), "the work")
        waits.cancel()
        self.assertEqual(self.flushLoggedErrors(), [])
