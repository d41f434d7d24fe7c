"""An algorithm: each request goes to a peer drawn by lot, in which a heavier one has more tickets.

    twistd kong-gateway --plugin-dir plugins
    curl -X POST localhost:8001/upstreams --data name=orders --data algorithm=weighted-random

Unlike round robin it needs no memory of what came before, and many gateways in front of the same peers do not fall into
step. The gateway calls from one thread and waits for every answer: whatever takes time belongs elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from random import Random

from zope.interface import implementer

from twisted_kong.interfaces import IAlgorithm, IAlgorithmFactory, IPeer
from twisted_kong.model.entities import Upstream
from twisted_kong.model.traffic import Outcome, Pick

__version__ = "1.0"


@implementer(IAlgorithm)
class WeightedRandom:
    """The peers of one upstream. Those that are unhealthy or of weight 0 are never among them."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._peers: Sequence[IPeer] = ()
        self._tickets: Sequence[int] = ()

    def update(self, peers: Iterable[IPeer]) -> None:
        """Called whenever a peer comes, goes or has another weight: do here what would be slow with every request."""
        self._peers = list(peers)
        self._tickets = list(accumulate(peer.weight for peer in self._peers))

    def pick(self, pick: Pick) -> IPeer | None:
        """Called for every attempt: for the first one, and for one more after each that failed."""
        if not pick.tried:
            return self._random.choices(self._peers, cum_weights=self._tickets)[0] if self._peers else None
        left = [peer for peer in self._peers if peer not in pick.tried]
        return self._random.choices(left, [peer.weight for peer in left])[0] if left else None

    def done(self, peer: IPeer, outcome: Outcome) -> None:
        """Called once for each peer picked, when its attempt has ended. There is nothing to learn from it here."""


@implementer(IAlgorithmFactory)
class WeightedRandomFactory:
    """What the gateway looks for. One algorithm is made for each upstream that names it."""

    name = "weighted-random"

    def build(self, upstream: Upstream) -> IAlgorithm:
        return WeightedRandom(Random())


factory = WeightedRandomFactory()
"""An instance at the top level of the module is all it takes; what it is called does not matter."""
