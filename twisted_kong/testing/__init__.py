"""For authors of components: a contract suite and a double in memory for each interface.

A suite is a factory. Given a way to make the thing it answers a `TestCase` class that first verifies the interface and
then the behaviour that the gateway relies on; assign it to a name in a test module, and any runner of tests finds it.
docs/plugins.md leads through it.
"""

from twisted_kong.store.memory import MemoryStore
from twisted_kong.testing.algorithms import InOrder, InOrderFactory, PlainPeer, algorithm_contract, some_peers
from twisted_kong.testing.checkers import ProbeInMemory, SaidHealth, SaidHealthFactory, health_checker_contract
from twisted_kong.testing.entities import a_pair, a_service, an_id, an_upstream
from twisted_kong.testing.resolvers import KnownNames, KnownNamesFactory, resolver_contract
from twisted_kong.testing.stores import config_store_contract

__all__ = [
    "InOrder",
    "InOrderFactory",
    "KnownNames",
    "KnownNamesFactory",
    "MemoryStore",
    "PlainPeer",
    "ProbeInMemory",
    "SaidHealth",
    "SaidHealthFactory",
    "a_pair",
    "a_service",
    "algorithm_contract",
    "an_id",
    "an_upstream",
    "config_store_contract",
    "health_checker_contract",
    "resolver_contract",
    "some_peers",
]
