"""A store that survives: SQLite below SQLAlchemy Core.

Reads never come here: the whole configuration is read when the store opens, and everybody reads the snapshot. All SQL
runs in one thread of the store's own. It is the queue of changes (SQLite has one writer anyway), and no lookup
in the reactor's pool can keep a write waiting. ``_committed`` belongs to that thread, everything else to the reactor's.

An answered change is on the disk: every commit is synced, and a process that is killed leaves its last commit or
nothing of it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, IntegrityError
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from twisted_kong.errors import AdminError, StartupError
from twisted_kong.interfaces import IConfigStore
from twisted_kong.model.changes import Change
from twisted_kong.model.snapshot import Snapshot
from twisted_kong.store import rows
from twisted_kong.store.migrations import UnknownRevision, migrate
from twisted_kong.store.published import Listener, Published, after

PRAGMAS = (
    "busy_timeout = 5000",  # milliseconds; first, because the next one may have to wait for another process
    "journal_mode = WAL",
    "synchronous = FULL",  # WAL's own default may lose the last commits when the power fails
    "foreign_keys = ON",
    "secure_delete = ON",  # a key that was replaced or deleted shall not lie in the file unseen
)


@implementer(IConfigStore)
class SqlStore:
    """Keeps the configuration in one SQLite file. Made by `open`; `close` ends its thread.

    One process writes. Should another write to the file all the same, nothing is lost: this one notices with its next
    change, which then stands on what both wrote.
    """

    def __init__(
        self,
        engine: Engine,
        snapshot: Snapshot,
        *,
        reactor: IReactorFromThreads,
        thread: ThreadPool,
        now: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._committed = snapshot
        self._published = Published(snapshot)
        self._reactor = reactor
        self._thread = thread
        self._now = now
        self._closed = False

    @classmethod
    def open(cls, path: Path, *, reactor: IReactorFromThreads, now: Callable[[], float]) -> Self:
        """The store in the file ``path``, which is made if need be, in a directory that must be there.

        Blocks while it reads: to be called before the reactor runs. ``now`` gives the seconds since the epoch that
        the log of changes tells.

        :raise StartupError: the file cannot be used: no access, not SQLite, damaged, or written by a newer version.
        """
        make_private(path)
        engine = make_engine(path)
        snapshot = _load(engine, path)
        engine.dispose()  # SQLite's connections stay in the thread that made them
        thread = ThreadPool(minthreads=1, maxthreads=1, name="store")
        return cls(engine, snapshot, reactor=reactor, thread=thread, now=now)

    async def close(self) -> None:
        """Answer the changes on their way, then let go of the file and of the thread. Later changes fail."""
        if self._closed:
            return
        self._closed = True
        if self._thread.started:
            await deferToThreadPool(self._reactor, self._thread, self._engine.dispose)
            self._thread.stop()

    async def reachable(self) -> bool:
        """See `IConfigStore.reachable`. Behind the changes on their way; who holds the write lock does not matter."""
        if self._closed:
            return False
        self._begin()
        return await deferToThreadPool(self._reactor, self._thread, self._look)

    def snapshot(self) -> Snapshot:
        return self._published.snapshot

    def subscribe(self, listener: Listener) -> None:
        self._published.subscribe(listener)

    def apply(self, change: Change) -> Deferred[Snapshot]:
        """See `IConfigStore.apply`. Changes are made in the order of the calls.

        Who cancels the answer has only stopped waiting: the change is made.

        :raise sqlalchemy.exc.DatabaseError: the database failed (the disk is full, another process holds the lock
            for too long); nothing changed.
        """
        if self._closed:
            return fail(RuntimeError("the store is closed"))
        self._begin()
        answer: Deferred[Snapshot] = Deferred()

        def committed(success: bool, result: Snapshot | Failure) -> None:
            self._reactor.callFromThread(self._finish, answer, result)

        self._thread.callInThreadWithCallback(committed, self._commit, change, self._now())
        return answer

    def _begin(self) -> None:
        if not self._thread.started:
            self._thread.start()  # not before it is needed: a start that fails must not wait for it

    def _finish(self, answer: Deferred[Snapshot], result: Snapshot | Failure) -> None:
        if isinstance(result, Failure):
            answer.errback(result)
        else:
            self._published.publish(result)
            answer.callback(result)

    # -- in the thread -----------------------------------------------------------------------------------------

    def _commit(self, change: Change, at: float) -> Snapshot:
        base = self._committed
        try:
            with self._engine.begin() as connection:
                if rows.last(connection).generation != base.generation:
                    base = rows.read(connection)
                new = after(base, change)
                if new is not base:
                    rows.write(connection, change, base, new, at)
        except IntegrityError:
            self._explain(change)
            raise
        self._committed = new
        return new

    def _look(self) -> bool:
        """Whether the file is there for writing, and what it holds can be read."""
        path = self._engine.url.database
        if path is None or not os.access(path, os.W_OK):
            return False
        try:
            connection = self._engine.raw_connection()
            try:
                connection.cursor().execute("SELECT max(id) FROM changes").close()
            finally:
                connection.close()
        except (DatabaseError, sqlite3.Error):
            return False
        return True

    def _explain(self, change: Change) -> None:
        """The tables hold what the log does not tell of: raise the error of what stands there now."""
        with self._engine.begin() as connection:
            there = rows.read(connection)
        after(there, change)


def make_private(path: Path) -> None:
    """Let a file that is not there yet be one that only its owner may read: it will hold private keys. SQLite gives the
    files beside it the same mode. What cannot be made is for SQLite to tell."""
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def make_engine(path: Path) -> Engine:
    """Connections to the SQLite file ``path``; each transaction holds the write lock from its beginning."""
    engine = create_engine(URL.create("sqlite", database=str(path)))

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None  # Python's driver would begin too late: not before the first write
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _load(engine: Engine, path: Path) -> Snapshot:
    try:
        with engine.begin() as connection:
            migrate(connection)
            snapshot = rows.read(connection)
        if os.access(path, os.W_OK):
            return snapshot
        why = "it is not writable"  # SQLite opens it all the same, for reading
    except UnknownRevision as error:
        why = f"a newer version wrote it (revision {error.revision} of its tables)"
    except DatabaseError as error:
        why = str(error.orig)
        if not os.access(path.parent, os.W_OK | os.X_OK):
            why = f"its directory does not exist or is not writable ({why})"
    except (AdminError, ValueError) as error:
        why = f"it contradicts itself ({error})"
    engine.dispose()
    raise StartupError(f"cannot use the database {path}: {why}")
