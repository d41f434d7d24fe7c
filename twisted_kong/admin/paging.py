"""Pages of lists: what of a list is answered, and how a client gets at the rest.

Lists are ordered by id and a page begins behind the last id of the one before, so that rows which come and go in
between are neither repeated nor lost. Only the targets of an upstream are different: newest first, pages by position.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import nsmallest
from operator import itemgetter
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from twisted_kong.admin.answers import Answer
from twisted_kong.admin.request import Call
from twisted_kong.errors import InvalidOffset, InvalidOptions, InvalidSize
from twisted_kong.model.entities import Entity
from twisted_kong.model.values import is_id

R = TypeVar("R")
E = TypeVar("E", bound=Entity)

DEFAULT_SIZE = 100
MAX_SIZE = 1000
MAX_TAGS = 5

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_TAG = re.compile(r"[^\x00-\x1f\x7f,/]+")


def page_by_id(
    rows: Iterable[Entity], call: Call, *, nested: bool, document: Callable[[Entity], dict[str, Any]] = Entity.document
) -> Answer:
    """A page of ``rows``, which may come in any order; a list below a parent knows no filter by tags.

    ``document`` is what is told of a row.

    :raise AdminError: the query's ``size``, ``offset`` or ``tags`` cannot be understood.
    """
    bears = _tag_filter(call.query)
    shown = rows if nested else filter(bears, rows)
    return page_by_key(shown, lambda row: (row.id,), call, document, () if nested else ("tags", "size"))


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
    size = _size(call.query)
    if not (size.is_integer() and 1 <= size <= MAX_SIZE):
        raise InvalidSize(f"size must be an integer between 1 and {MAX_SIZE}")
    last = _last_key(call.query)
    behind = ((place, row) for row in rows if (place := key(row)) > last)
    found = nsmallest(int(size) + 1, behind, key=itemgetter(0))
    shown, more = found[: int(size)], len(found) > size
    offset = _token(shown[-1][0]) if more else None
    return _page(call, [document(row) for _, row in shown], offset, repeated)


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


def _tag_filter(query: Mapping[str, Any]) -> Callable[[Entity], bool]:
    """Whether an entity bears the tags asked for: ``a,b`` all of them, ``a/b`` any of them.

    :raise InvalidOptions: the filter cannot be understood.
    """
    if "tags" not in query:
        return lambda entity: True
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
        return lambda entity: not wanted.isdisjoint(entity.tags or ())
    return lambda entity: wanted.issubset(entity.tags or ())


def _invalid_tags(reason: str) -> InvalidOptions:
    return InvalidOptions(f"invalid option (tags: {reason})", {"tags": reason})
