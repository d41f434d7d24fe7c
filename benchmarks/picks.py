"""What algorithms cost: a pick among ten and among ten thousand targets, and the news of one of them.

    python -m benchmarks.picks

Processor time, not the clock; the best of a few rounds, since others can only make it longer. A request here is a pick
and the end of its attempt. Every peer is one of the gateway's own, every change goes through its balancer.
"""

from __future__ import annotations

import tracemalloc
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from time import monotonic, process_time

from benchmarks.table import aligned
from twisted_kong.balancing.hashing import ConsistentHashing
from twisted_kong.balancing.latency import Latency
from twisted_kong.balancing.leastconnections import LeastConnections
from twisted_kong.balancing.poweroftwo import PowerOfTwoChoices
from twisted_kong.balancing.roundrobin import RoundRobin
from twisted_kong.balancing.sticky import StickySessions
from twisted_kong.interfaces import IAlgorithm, IPeer
from twisted_kong.model.traffic import Outcome, Pick
from twisted_kong.runtime.balancer import Balancer
from twisted_kong.runtime.peers import Peer

ALGORITHMS: dict[str, Callable[[], IAlgorithm]] = {
    "round-robin": RoundRobin,
    "consistent-hashing": ConsistentHashing,
    "least-connections": LeastConnections,
    "latency": lambda: Latency(monotonic),
    "power-of-two-choices": lambda: PowerOfTwoChoices(Random(1)),
    "sticky": lambda: StickySessions("an-upstream"),
}
FEW, MANY = 10, 10_000
ROUNDS = 3
OK = Outcome(None, 200, 0.01)


def peers(count: int, weigh: Callable[[], int] = lambda: 100) -> list[Peer]:
    return [Peer(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 8000, weigh()) for number in range(count)]


def best(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The seconds of processor that ``work`` takes."""
    found = []
    for _ in range(rounds):
        began = process_time()
        work()
        found.append(process_time() - began)
    return min(found)


def picks(algorithm: IAlgorithm, count: int) -> Callable[[], None]:
    """So many picks, each with a key of its own, and the ends of the attempts."""
    asked = [Pick(b"key-%d" % number) for number in range(count)]
    if isinstance(algorithm, RoundRobin):
        asked = [Pick()] * count

    def work() -> None:
        pick, done = algorithm.pick, algorithm.done
        for each in asked:
            peer: IPeer | None = pick(each)
            assert peer is not None
            peer.leases += 1
            peer.leases -= 1
            done(peer, OK)

    return work


def change(name: str, what: str) -> float:
    """Milliseconds that the news of one of many costs, the pick after it included."""
    members = peers(MANY)
    balancer = Balancer(name, ALGORITHMS[name]())
    balancer.update(members, checked=True)
    one = members[MANY // 2]
    balancer.lease()

    def work() -> None:
        for number in range(20):
            if what == "health":
                one.healthy = bool(number % 2)
            else:
                one.weight = 100 - number % 2
            balancer.changed(one)
            balancer.lease((), b"key")

    return best(work) / 20 * 1e3


def pick_table() -> str:
    """Microseconds a request by the number of targets, milliseconds by what is new of one of many."""
    rows = [["", f"{FEW} targets, µs", f"{MANY:,}, µs", "any weights, µs", "health flip, ms", "weight change, ms"]]
    for name, make in ALGORITHMS.items():
        cells = [name]
        any_weight = partial(Random(1).randint, 1, 65535)
        for members in (peers(FEW), peers(MANY), peers(MANY, any_weight)):
            algorithm = make()
            algorithm.update(members)
            count = 20_000
            cells.append(f"{best(picks(algorithm, count)) / count * 1e6:.2f}")
        rows.append([*cells, f"{change(name, 'health'):.3f}", f"{change(name, 'weight'):.3f}"])
    return aligned(rows)


def held(make: Callable[[], IAlgorithm], weights: Sequence[int]) -> int:
    """Bytes that an algorithm occupies with peers of these weights, after some picks."""
    members = [Peer("10.0.0.1", number, weight) for number, weight in enumerate(weights, 1)]
    tracemalloc.start()
    algorithm = make()
    algorithm.update(members)
    for number in range(1000):
        algorithm.pick(Pick(b"%d" % number))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size


def memory_table() -> str:
    """Bytes an algorithm occupies with two targets of equal and of coprime weights."""
    rows = [["", "weights 1 and 1, bytes", "65535 and 65534, bytes"]]
    for name, make in ALGORITHMS.items():
        rows.append([name, f"{held(make, (1, 1)):,}", f"{held(make, (65535, 65534)):,}"])
    return aligned(rows)


def main() -> None:
    ArgumentParser(prog="python -m benchmarks.picks", description=(__doc__ or "").splitlines()[0]).parse_args()
    print("## Picks\n")
    print(pick_table())
    print("\n## Memory\n")
    print(memory_table())


if __name__ == "__main__":
    main()
