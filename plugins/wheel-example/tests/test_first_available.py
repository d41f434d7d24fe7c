"""What the gateway relies on, and what this algorithm is for."""

from kong_first_available import FirstAvailable, FirstAvailableFactory

from twisted_kong.model.traffic import Pick
from twisted_kong.testing import algorithm_contract, some_peers

TestContract = algorithm_contract(FirstAvailableFactory)


def test_the_heaviest_first() -> None:
    """The heaviest peer gets everything, the next one what the heaviest failed at."""
    light, heavy, middle = some_peers(1, 100, 10)
    algorithm = FirstAvailable()
    algorithm.update([light, heavy, middle])
    assert [algorithm.pick(Pick()) for _ in range(3)] == [heavy] * 3
    assert algorithm.pick(Pick(tried=[heavy])) is middle
    algorithm.update([light, middle])
    assert algorithm.pick(Pick()) is middle
