"""The store without a database."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from twisted_kong.store.memory import MemoryStore
from twisted_kong.testing import config_store_contract


async def make_store(case: TestCase) -> MemoryStore:
    return MemoryStore()


MemoryStoreContract = config_store_contract(make_store)
