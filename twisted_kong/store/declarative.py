"""Documents become the configuration of a store, one at a time: what the Admin API, start-up and SIGHUP share.

Reading and checking a large document takes seconds, in which nobody shall wait for anything else: it is done aside,
and the store is only asked to apply the result.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from hashlib import md5
from pathlib import Path
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import DeferredLock

from twisted_kong.errors import StartupError
from twisted_kong.interfaces import IConfigStore
from twisted_kong.model.changes import Author, Change
from twisted_kong.model.declarative.expansion import expand
from twisted_kong.model.declarative.export import as_yaml
from twisted_kong.model.declarative.faults import InvalidDocument, unreadable
from twisted_kong.model.declarative.plan import replacement
from twisted_kong.model.declarative.reading import Unreadable, locate, read
from twisted_kong.model.schema import Schema
from twisted_kong.model.snapshot import Snapshot

T = TypeVar("T")

NOTHING_LOADED = "0" * 32
REFUSED = "expected a configuration in Kong's declarative format"


class Aside(Protocol):
    """Does work that takes long and concerns nobody else, and gives its result."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]: ...


class Loader:
    """Replaces the whole configuration of ``store`` by documents. ``now`` gives the seconds since the epoch."""

    def __init__(self, store: IConfigStore, schema: Schema, *, now: Callable[[], float], aside: Aside) -> None:
        self._store = store
        self._schema = schema
        self._now = now
        self._aside = aside
        self._turn = DeferredLock()
        self.hash = NOTHING_LOADED
        """The `digest` of the document in force."""

    async def load(
        self, document: str | Mapping[str, Any], name: str | None = None, author: Author | None = None
    ) -> Snapshot:
        """Make a document the configuration, all of it or nothing: a text, of a file called ``name``, or a tree.

        :raise InvalidDocument: it is refused, and the configuration stays as it is.
        """
        await self._turn.acquire()
        try:
            snapshot = self._store.snapshot()
            change = await self._aside(lambda: self._planned(snapshot, document, name))
            new = await self._store.apply(replace(change, author=author))
            self.hash = digest(document)
            return new
        finally:
            self._turn.release()

    async def load_named(self, text: str, name: str | None, called: str) -> Snapshot:
        """The same for a person, who knows the document as ``called``.

        :raise StartupError: it is refused; the message says why, line by line.
        """
        try:
            return await self.load(text, name)
        except InvalidDocument as refusal:
            why = await self._aside(partial(report, refusal, text))
            raise StartupError(f"{called}: {REFUSED}\n{why}") from None

    async def export(self) -> str:
        """The configuration as a document, in YAML."""
        snapshot = self._store.snapshot()
        return await self._aside(lambda: as_yaml(snapshot))

    def _planned(self, snapshot: Snapshot, document: str | Mapping[str, Any], name: str | None) -> Change:
        return replacement(snapshot, expand(self._schema, tree_of(document, name), now=self._now()))


def text_of(path: Path, setting: str = "") -> str:
    """The text of a file, which a ``setting`` may name.

    :raise StartupError: there is none, or it is not UTF-8.
    """
    whose = f"{setting}: " if setting else ""
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise StartupError(f"{whose}{path}: expected a file that can be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise StartupError(f"{whose}{path}: expected UTF-8 in line {line}") from None


def tree_of(document: str | Mapping[str, Any], name: str | None = None) -> object:
    """The tree of a document; a text is of a file called ``name``.

    :raise InvalidDocument: the text cannot be read.
    """
    if not isinstance(document, str):
        return document
    try:
        return read(document, name)
    except Unreadable as error:
        raise unreadable(str(error)) from None


def report(refusal: InvalidDocument, text: str) -> str:
    """Why ``text`` was refused: Kong's tree, with the lines of the text."""
    return refusal.report(locate(text))


def digest(document: str | Mapping[str, Any]) -> str:
    """Tells documents apart, texts by every character: 32 hexadecimal digits. Guards against nothing."""
    text = document if isinstance(document, str) else json.dumps(document, sort_keys=True)
    return md5(text.encode(errors="surrogatepass"), usedforsecurity=False).hexdigest()
