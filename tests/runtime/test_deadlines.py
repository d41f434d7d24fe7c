"""Waiting for something not to happen, and letting go of work."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_kong.tasks import Deadline, Deadlines, detach

SECONDS = 5.0


class Sleeper:
    """A waiter that notes when it was told, and then does what it is to do."""

    def __init__(self, clock: Clock, then: Any = lambda: None) -> None:
        self.told: list[float] = []
        self._clock = clock
        self._then = then

    def timed_out(self, deadline: Deadline) -> None:
        self.told.append(self._clock.seconds())
        self._then()


def a_deadline(seconds: float = SECONDS) -> tuple[Any, Deadline]:
    clock: Any = Clock()
    return clock, Deadline(clock, seconds)


def pass_time(clock: Clock, seconds: float) -> None:
    """Let time pass the way it does: every timer at its own moment."""
    end = clock.seconds() + seconds
    while (calls := clock.getDelayedCalls()) and (due := min(call.getTime() for call in calls)) <= end:
        clock.advance(max(due - clock.seconds(), 0))
    clock.advance(end - clock.seconds())


def test_told_once() -> None:
    """Who waits is told when the time is up, once."""
    clock, deadline = a_deadline()
    sleeper = Sleeper(clock)
    deadline.start(sleeper)
    pass_time(clock, SECONDS - 0.001)
    assert sleeper.told == []
    pass_time(clock, 100)
    assert sleeper.told == [SECONDS]


def test_stopped() -> None:
    """Who waits no longer is not told, and may stop as often as it likes."""
    clock, deadline = a_deadline()
    sleeper = Sleeper(clock)
    deadline.stop(sleeper)
    deadline.start(sleeper)
    deadline.stop(sleeper)
    deadline.stop(sleeper)
    pass_time(clock, 100)
    assert sleeper.told == []


def test_begun_anew() -> None:
    """A wait that begins anew ends the whole time later, once."""
    clock, deadline = a_deadline()
    sleeper = Sleeper(clock)
    deadline.start(sleeper)
    pass_time(clock, 4)
    deadline.start(sleeper)
    pass_time(clock, 100)
    assert sleeper.told == [4 + SECONDS]


def test_waits_again() -> None:
    """Who was told may wait again at once."""
    clock, deadline = a_deadline()
    sleeper: Sleeper = Sleeper(clock, lambda: deadline.start(sleeper))
    deadline.start(sleeper)
    pass_time(clock, 2.5 * SECONDS)
    assert sleeper.told == [SECONDS, 2 * SECONDS]


def test_stopped_by_another() -> None:
    """Who is stopped by somebody told in the same moment is not told."""
    clock, deadline = a_deadline()
    second = Sleeper(clock)
    first = Sleeper(clock, lambda: deadline.stop(second))
    deadline.start(first)
    deadline.start(second)
    pass_time(clock, 100)
    assert (first.told, second.told) == ([SECONDS], [])


def test_begun_anew_by_another() -> None:
    """Who begins anew because of somebody told in the same moment waits the whole time."""
    clock, deadline = a_deadline()
    second = Sleeper(clock)
    first = Sleeper(clock, lambda: deadline.start(second))
    deadline.start(first)
    deadline.start(second)
    pass_time(clock, 100)
    assert (first.told, second.told) == ([SECONDS], [2 * SECONDS])


def test_one_timer() -> None:
    """Any number of waiters need one timer, and nobody waiting needs none in the end."""
    clock, deadline = a_deadline()
    sleepers = [Sleeper(clock) for _ in range(100)]
    for sleeper in sleepers:
        deadline.start(sleeper)
        clock.advance(0.001)
        assert len(clock.getDelayedCalls()) == 1
    for sleeper in sleepers[1:]:
        deadline.stop(sleeper)
    pass_time(clock, 2 * SECONDS)
    assert len(sleepers[0].told) == 1
    assert clock.getDelayedCalls() == []


def test_closed() -> None:
    """After the end nobody is told, and nothing is left in the reactor."""
    clock = Clock()
    deadlines = Deadlines(clock)
    sleeper = Sleeper(clock)
    deadlines.of(5).start(sleeper)
    deadlines.of(7).start(sleeper)
    deadlines.close()
    assert clock.getDelayedCalls() == []
    pass_time(clock, 100)
    assert sleeper.told == []


def test_of() -> None:
    """Equal times are one deadline, others are others."""
    deadlines = Deadlines(Clock())
    assert deadlines.of(5) is deadlines.of(5.0)
    assert deadlines.of(5) is not deadlines.of(6)
    assert deadlines.of(6).seconds == 6


ACTIONS = st.one_of(
    st.tuples(st.sampled_from(["start", "stop"]), st.integers(0, 4)),
    st.tuples(st.just("pass"), st.floats(0, 3)),
)


@given(st.lists(ACTIONS, max_size=60))
def test_never_early_and_hardly_late(actions: list[tuple[str, Any]]) -> None:
    """Whatever begins and ends when: nobody is told early, nor more than ``GRAIN`` late, nor without waiting."""
    clock, deadline = a_deadline(2.0)
    sleepers = [Sleeper(clock) for _ in range(5)]
    began: dict[Sleeper, float] = {}

    def check() -> None:
        for sleeper in sleepers:
            for when in sleeper.told:
                late = when - (began.pop(sleeper) + deadline.seconds)
                assert -1e-9 <= late <= deadline.GRAIN + 1e-9
            sleeper.told.clear()
        for since in began.values():
            assert clock.seconds() <= since + deadline.seconds + deadline.GRAIN + 1e-9

    for action, argument in [*actions, ("pass", 3.0)]:
        if action == "pass":
            pass_time(clock, argument)
            check()
        elif action == "start":
            began[sleepers[argument]] = clock.seconds()
            deadline.start(sleepers[argument])
        else:
            began.pop(sleepers[argument], None)
            deadline.stop(sleepers[argument])
        assert len(clock.getDelayedCalls()) <= 1
    assert began == {}
    assert clock.getDelayedCalls() == []


class RaisingTests(SynchronousTestCase):
    """Waiters that fail."""

    def test_others_are_told(self) -> None:
        """What one waiter raises is logged, and keeps nobody else from being told in time."""
        clock, deadline = a_deadline()

        def fail() -> None:
            raise ZeroDivisionError

        sleepers = [Sleeper(clock, fail), Sleeper(clock)]
        for sleeper in sleepers:
            deadline.start(sleeper)
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
