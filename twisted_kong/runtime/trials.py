"""How peers come back that the traffic took out and nobody probes: by requests on trial (``passive.recovery``).

A peer that falls ill waits ``interval`` seconds; then the next request is its trial. If that goes well it is healthy,
and if not it waits twice as long, up to ``limit``. Who falls ill again soon after a trial that went well goes on
waiting where it had come to, or a peer that fails every other request would be let in all the time.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from twisted_kong.model.records import Recovery
from twisted_kong.runtime.peers import Peer


class _Trial:
    """Where one peer has come to: how long it waits, and when it was last let in."""

    def __init__(self, wait: float) -> None:
        self.wait = wait
        self.timer: IDelayedCall | None = None
        self.recovered: float | None = None

    def well_for(self, now: float) -> float:
        """How many seconds the peer has been well; none if its trials go on."""
        return 0.0 if self.recovered is None else now - self.recovered


class Trials:
    """The trials of the peers of one upstream. ``begin`` is told whose time has come."""

    def __init__(self, clock: IReactorTime, begin: Callable[[Peer], None]) -> None:
        self.settings: Recovery | None = None
        self._clock = clock
        self._begin = begin
        self._trials: dict[Peer, _Trial] = {}

    def __contains__(self, peer: Peer) -> bool:
        return peer in self._trials

    def fell_ill(self, peer: Peer) -> None:
        """The traffic took ``peer`` out: let it wait."""
        if self.settings is None:
            return
        trial = self._trials.get(peer)
        if trial is None or trial.well_for(self._clock.seconds()) > trial.wait:
            self.stop(peer)
            trial = self._trials[peer] = _Trial(self.settings.interval)
        else:
            trial.wait = min(trial.wait * 2, max(self.settings.limit, self.settings.interval))
        trial.recovered = None
        self._wait(peer, trial)

    def failed(self, peer: Peer) -> None:
        """Its trial has failed."""
        self.fell_ill(peer)

    def undecided(self, peer: Peer) -> None:
        """Its trial has begun; whatever becomes of that, there will be another unless it is told of before."""
        trial = self._trials.get(peer)
        if trial is not None and self.settings is not None:
            self._wait(peer, trial)

    def recovered(self, peer: Peer) -> None:
        """It is healthy."""
        trial = self._trials.get(peer)
        if trial is not None:
            self._cancel(trial)
            trial.recovered = self._clock.seconds()

    def keep(self, peers: dict[Peer, int]) -> None:
        """All others have left, or nobody is tried any more."""
        for peer in [peer for peer in self._trials if peer not in peers or self.settings is None]:
            self.stop(peer)

    def _wait(self, peer: Peer, trial: _Trial) -> None:
        self._cancel(trial)
        trial.timer = self._clock.callLater(trial.wait, self._time_has_come, peer, trial)

    def _time_has_come(self, peer: Peer, trial: _Trial) -> None:
        trial.timer = None
        self._begin(peer)

    def stop(self, peer: Peer) -> None:
        """It gets no trial."""
        trial = self._trials.pop(peer, None)
        if trial is not None:
            self._cancel(trial)

    def _cancel(self, trial: _Trial) -> None:
        if trial.timer is not None:
            trial.timer.cancel()
            trial.timer = None
