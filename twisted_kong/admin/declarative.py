"""``/config``, and what remains of all other paths where it is there: reading.

Without a database the configuration is one document, read and replaced here as a whole. Elsewhere entities can only be
read: who tries to write one is told what is wrong with that, and if nothing is, that there is nothing to write to.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from twisted_kong.admin.answers import Answer, Refused
from twisted_kong.admin.codec import NOTHING, Decoder, Document, decoder_for
from twisted_kong.admin.configuration import Configuration, Edit
from twisted_kong.admin.request import Call
from twisted_kong.admin.tree import Endpoint, Handler
from twisted_kong.errors import AdminError
from twisted_kong.model.changes import Author, Change
from twisted_kong.model.declarative.export import entities
from twisted_kong.model.declarative.faults import InvalidDocument, unreadable
from twisted_kong.model.declarative.layout import FORMAT, KINDS
from twisted_kong.model.declarative.reading import GivenTwice, read
from twisted_kong.model.values import is_id
from twisted_kong.store.declarative import Loader, digest

UNCHANGED = Answer(304)


class Config(Endpoint):
    """``/config``: the configuration as one document. Without a ``loader`` there is a database, and no such thing."""

    def __init__(self, loader: Loader | None) -> None:
        self._loader = loader

    def decoder_for(self, content_type: str | None) -> Decoder:
        """YAML is read here, too: it is what a field ``config`` would hold."""
        for prefix, decode in _DECODERS.items():
            if content_type is not None and content_type.startswith(prefix):
                return decode
        return decoder_for(content_type)

    async def get(self, call: Call) -> Answer:
        return Answer(200, {"config": await self._loading().export()})

    async def post(self, call: Call) -> Answer:
        """``check_hash=1``: only if the text is not in force already; ``flatten_errors``: faults are told by entity."""
        loader = self._loading()
        sent = dict(call.document.tree)
        given = {name: sent.pop(name, call.query.get(name)) for name in ("check_hash", "flatten_errors")}
        document = _document(call.document, sent)
        if str(given["check_hash"]) == "1" and isinstance(document, str) and digest(document) == loader.hash:
            return UNCHANGED
        try:
            snapshot = await loader.load(document, author=call.author)
        except InvalidDocument as refusal:
            flat = given["flatten_errors"] in _YES
            return Answer(refusal.status, refusal.flattened() if flat else refusal.body())
        return Answer(201, entities(snapshot))

    def _loading(self) -> Loader:
        if self._loader is None:
            raise Refused(400, "this endpoint is only available when Kong is configured to not use a database")
        return self._loader


_YES = (True, "1", "true", "on", "yes")


def _document(received: Document, sent: Mapping[str, Any]) -> str | Mapping[str, Any]:
    """The body itself where it is a document, or else what its field ``config`` holds."""
    nothing = received is NOTHING or not (received.typed or sent)
    if FORMAT in sent or not (nothing or "config" in sent):
        return sent
    config = sent.get("config")
    if isinstance(config, Mapping) or (isinstance(config, str) and config.strip()):
        return config
    raise Refused(400, "expected a declarative configuration")


def _json(body: bytes) -> Document:
    """As everywhere, but that no name may be given twice: half of a configuration would be lost in silence."""
    try:
        tree = read(body.decode(), "body.json")
    except GivenTwice as error:
        raise unreadable(str(error)) from None
    except ValueError:
        raise Refused(400, "Cannot parse JSON body") from None
    if not isinstance(tree, dict):
        raise Refused(400, "Cannot parse JSON body: expected an object")
    return Document(tree)


def _yaml(body: bytes) -> Document:
    try:
        return Document({"config": body.decode()})
    except UnicodeDecodeError:
        raise Refused(400, "Cannot parse YAML body: expected UTF-8") from None


_DECODERS: Mapping[str, Decoder] = {"application/json": _json, "application/yaml": _yaml, "text/yaml": _yaml}
"""By the beginning of the content type."""


# -- reading only ----------------------------------------------------------------------------------------------


class OperationUnsupported(AdminError):
    """A write where there is nothing to write to; ``by`` is the field by which the path names the entity, if any."""

    status = 405
    code, name = 12, "operation unsupported"

    def __init__(self, verb: str, collection: str, by: str | None = None) -> None:
        how = f" by '{by}'" if by else ""
        super().__init__(f"cannot {verb} '{collection}' entities{how} when not using a database")


class _Unwritten(Exception):
    """A change that would have come into force."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.change = change


class ReadOnlyConfiguration(Configuration):
    """The configuration of handlers that may write as they do elsewhere, and never do: see `ReadOnly`."""

    @asynccontextmanager
    async def edit(self, author: Author) -> AsyncIterator[Edit]:
        edit = Edit(self._schema, self._store.snapshot(), self._now())
        yield edit
        if edit.change != Change():
            raise _Unwritten(edit.change)


class ReadOnly(Endpoint):
    """An endpoint on a `ReadOnlyConfiguration`: what it would write is refused, in the words for its method."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.with_body = endpoint.with_body
        self.safe = endpoint.safe

    def decoder_for(self, content_type: str | None) -> Decoder:
        return self._endpoint.decoder_for(content_type)

    def handlers(self) -> dict[str, Handler]:
        return {method: self._refusing(method, handler) for method, handler in self._endpoint.handlers().items()}

    def _refusing(self, method: str, handler: Handler) -> Handler:
        async def handle(call: Call) -> Answer:
            try:
                return await handler(call)
            except _Unwritten as unwritten:
                raise _refusal(method, unwritten.change, call) from None

        return handle


_VERBS = {"POST": "create", "PUT": "create or update", "PATCH": "update", "DELETE": "remove"}


def _refusal(method: str, change: Change, call: Call) -> OperationUnsupported:
    """What Kong says: it names the key only where the path is that of the entity itself."""
    touched = change.deletes if method == "DELETE" else [(put.collection, put.id) for put in change.puts]
    collection = next(collection for collection, _ in touched if collection in KINDS)
    alone = len(call.keys) == 1 and not is_id(call.keys.get(collection, ""))
    by = KINDS[collection].endpoint_key if alone and collection in call.keys else None
    return OperationUnsupported(_VERBS[method], collection, by)
