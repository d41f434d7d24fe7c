"""Databases in temporary directories: made, opened as a store, read behind the store's back."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import TestCase

from twisted_kong.model.entities import COLLECTIONS
from twisted_kong.store.sql import SqlStore

Documents = dict[str, dict[str, Any]]
"""collection → id → document."""


def a_path(case: TestCase) -> Path:
    """Where a database may be made; its directory is removed after the test."""
    directory = tempfile.mkdtemp()
    case.addCleanup(shutil.rmtree, directory)
    return Path(directory, "kong.db")


async def a_store(case: TestCase, path: Path, now: Callable[[], float] = lambda: 1500000000.0) -> SqlStore:
    """The store in ``path``, closed after the test."""
    from twisted.internet import reactor

    assert IReactorFromThreads.providedBy(reactor)
    store = SqlStore.open(path, reactor=reactor, now=now)
    case.addCleanup(store.close)
    return store


def ask(path: Path, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
    """What the database answers to somebody who is not the store."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(sql, arguments).fetchall()


def tables(path: Path) -> Documents:
    """What the tables hold."""
    return {
        collection: {id: json.loads(document) for id, document in ask(path, f"SELECT id, document FROM {collection}")}
        for collection in COLLECTIONS
    }


def replayed(path: Path) -> Documents:
    """What the log says the tables should hold."""
    found: Documents = {collection: {} for collection in COLLECTIONS}
    log = ask(path, "SELECT operation, collection, entity_id, document FROM changes ORDER BY id")
    for operation, collection, id, document in log:
        if operation == "put":
            found[collection][id] = json.loads(document)
        else:
            del found[collection][id]
    return found
