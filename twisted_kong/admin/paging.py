"""Pages of lists: what of a list is answered, and how a client gets at the rest.

Lists are ordered by id and a page begins behind the last id of the one before, so that rows which come and go in
between are neither repeated nor lost. Only the targets of an upstream are different: newest first, pages by position.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import nsmallest
from operator import itemgetter
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import quote, urlencode

from twisted_kong.admin.answers import Answer
from twisted_kong.admin.request import Call
from twisted_kong.errors import InvalidOffset, InvalidOptions, InvalidSize
from twisted_kong.model.entities import Entity
from twisted_kong.model.values import is_id

R = TypeVar("R")
E = TypeVar("E", bound=Entity)
Keyed = tuple[tuple[str, ...], R]
"""A row and what it is ordered by."""

DEFAULT_SIZE = 100
MAX_SIZE = 1000
MAX_TAGS = 5

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_TAG = re.compile(r"[^\x00-\x1f\x7f,/]+")


def page_by_id(
    rows: Mapping[str, Entity],
    call: Call,
    *,
    nested: bool,
    document: Callable[[Entity], dict[str, Any]] = Entity.document,
) -> Answer:
    """A page of ``rows``, by id, which may come in any order; a list below a parent knows no filter by tags.

    ``document`` is what is told of a row. Of rows that are not on the page nothing is looked at but their ids.

    :raise AdminError: the query's ``size``, ``offset`` or ``tags`` cannot be understood.
    """
    bearing = _tag_filter(call.query)
    asked = Span.of(call.query)
    ids = rows if nested or bearing is None else bearing(rows)
    found = nsmallest(asked.size + 1, filter(asked.id.__lt__, ids))
    keyed = [((id,), rows[id]) for id in found]
    return _page_of(keyed, asked, call, document, () if nested else ("tags", "size"))


def page_by_key(
    rows: Iterable[R],
    key: Callable[[R], tuple[str, ...]],
    call: Call,
    document: Callable[[R], dict[str, Any]],
    repeated: Iterable[str] = ("size",),
) -> Answer:
    """A page of ``rows`` in the order of their keys, all of one length, of which the first part is an id.

    ``repeated`` are the query's arguments that the next page's query repeats.

    :raise AdminError: the query's ``size`` or ``offset`` cannot be understood.
    """
    asked = Span.of(call.query)
    behind = ((place, row) for row in rows if (place := key(row)) > asked.last)
    found = nsmallest(asked.size + 1, behind, key=itemgetter(0))
    return _page_of(found, asked, call, document, repeated)


def page_by_position(
    rows: Sequence[E], call: Call, document: Callable[[E], dict[str, Any]] = Entity.document, **beside: Any
) -> Answer:
    """A page of ``rows`` in their order; a size out of range is cut to what can be given, as Kong does with targets.

    ``document`` is what is told of a row, ``beside`` what the page tells beside its rows.

    :raise AdminError: the query's ``size`` or ``offset`` is no number.
    """
    size = int(min(max(_size(call.query), 1), MAX_SIZE))
    offset = call.query.get("offset", "0")
    if not (isinstance(offset, str) and re.fullmatch(r"[0-9]{1,9}", offset)):
        raise InvalidOffset(f"'{offset}' is not a valid offset: expected the number of a row")
    end = int(offset) + size
    shown = [document(row) for row in rows[int(offset) : end]]
    return _page(call, shown, str(end) if end < len(rows) else None, **beside)


class Span(NamedTuple):
    """Which rows a page by key is asked to show: at most ``size``, those behind the key ``last``; () is the start."""

    size: int
    last: tuple[str, ...]

    @property
    def id(self) -> str:
        """The id in ``last``; empty, which is less than any, at the start."""
        return self.last[0] if self.last else ""

    @classmethod
    def of(cls, query: Mapping[str, Any]) -> Self:
        """What a query asks for.

        :raise AdminError: its ``size`` or ``offset`` cannot be understood.
        """
        size = _size(query)
        if not (size.is_integer() and 1 <= size <= MAX_SIZE):
            raise InvalidSize(f"size must be an integer between 1 and {MAX_SIZE}")
        return cls(int(size), _last_key(query))


def _page_of(
    found: Sequence[Keyed[R]], asked: Span, call: Call, document: Callable[[R], dict[str, Any]], repeated: Iterable[str]
) -> Answer:
    """The page of the rows ``found``, in order; one more than asked for says that there are others behind it."""
    shown, more = found[: asked.size], len(found) > asked.size
    offset = _token(shown[-1][0]) if more else None
    return _page(call, [document(row) for _, row in shown], offset, repeated)


def _page(
    call: Call, rows: list[dict[str, Any]], offset: str | None, repeated: Iterable[str] = (), **beside: Any
) -> Answer:
    """The envelope."""
    page: dict[str, Any] = {"data": rows, "next": None, **beside}
    if offset is not None:
        arguments = {"offset": offset} | {name: call.query[name] for name in repeated if name in call.query}
        page["next"] = f"{call.path}?{urlencode(arguments, quote_via=quote, safe='')}"
        page["offset"] = offset
    return Answer(200, page)


def _size(query: Mapping[str, Any]) -> float:
    text = query.get("size", str(DEFAULT_SIZE))
    if isinstance(text, str) and _NUMBER.fullmatch(text):
        return float(text)
    raise InvalidSize("size must be a number")


def _token(last: tuple[str, ...]) -> str:
    """What a client gives back to get the page after the row with this key."""
    return base64.b64encode(json.dumps(last).encode()).decode().rstrip("=")


def _last_key(query: Mapping[str, Any]) -> tuple[str, ...]:
    """The key that a page begins behind; empty for the first page.

    :raise InvalidOffset: it is nothing that `_token` could have made.
    """
    token = query.get("offset")
    if token is None:
        return ()
    told = f"'{token}' is not a valid offset"
    try:
        text = base64.b64decode(f"{token}{'=' * (-len(str(token)) % 4)}", validate=True)
    except ValueError:
        raise InvalidOffset(f"{told}: bad base64 encoding") from None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidOffset(f"{told}: bad json encoding") from None
    if isinstance(found, list) and found and all(isinstance(part, str) for part in found) and is_id(found[0]):
        return found[0].lower(), *found[1:]
    raise InvalidOffset(f"{told}: expected the id of a row")


def _tag_filter(query: Mapping[str, Any]) -> Callable[[Mapping[str, Entity]], Iterator[str]] | None:
    """Finds the ids of rows that bear the tags asked for: ``a,b`` all of them, ``a/b`` any. None where none are.

    :raise InvalidOptions: the filter cannot be understood.
    """
    if "tags" not in query:
        return None
    text = query["tags"]
    if text in ("", True):
        raise _invalid_tags("cannot be null")
    tags = re.split("[,/]", text) if isinstance(text, str) else []
    if not tags or ("," in text and "/" in text) or not all(_TAG.fullmatch(tag) for tag in tags):
        raise _invalid_tags("invalid filter syntax")
    if len(tags) > MAX_TAGS:
        raise _invalid_tags(f"cannot query more than {MAX_TAGS} tags")
    wanted = frozenset(tags)
    if "/" in text:
        return lambda rows: (id for id, row in rows.items() if row.tags and not wanted.isdisjoint(row.tags))
    return lambda rows: (id for id, row in rows.items() if row.tags and wanted.issubset(row.tags))


def _invalid_tags(reason: str) -> InvalidOptions:
    return InvalidOptions(f"invalid option (tags: {reason})", {"tags": reason})
