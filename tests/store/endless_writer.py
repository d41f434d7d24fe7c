"""A program that opens the store named by its argument and writes until it is killed.

It says ``starting``, then ``open``, then a line for each change that was answered: ``put ID`` for an upstream with two
targets, ``delete ID`` for every third upstream some time later. Several changes are in flight at any time.
"""

from __future__ import annotations

import itertools
import sys
import time
import uuid
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import react

from twisted_kong.model.changes import Change
from twisted_kong.store.sql import SqlStore
from twisted_kong.testing import an_upstream


def say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


async def write(store: SqlStore) -> None:
    for number in itertools.count():
        upstream, targets = an_upstream(str(uuid.uuid4()), "a:80", "b:80")
        await store.apply(Change(puts=(upstream, *targets)))
        say("put", upstream.id)
        if number % 3 == 0:
            await store.apply(Change(deletes=(("upstreams", upstream.id),)))
            say("delete", upstream.id)


async def main(reactor: IReactorFromThreads, path: str) -> None:
    say("starting")
    store = SqlStore.open(Path(path), reactor=reactor, now=time.time)
    say("open")
    await gatherResults([Deferred.fromCoroutine(write(store)) for _ in range(4)])


if __name__ == "__main__":
    react(lambda reactor, path: Deferred.fromCoroutine(main(reactor, path)), sys.argv[1:])
