"""Pages of lists: what of a list is answered, and how a client gets at the rest.

Lists are ordered by id and a page begins behind the last id of the one before, so that rows which come and go in
between are neither repeated nor lost. Only the targets of an upstream are different: newest first, pages by number.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from twisted_kong.admin.answers import Answer
from twisted_kong.admin.request import Call
from twisted_kong.errors import InvalidOffset, InvalidOptions, InvalidSize
from twisted_kong.model.entities import Entity
from twisted_kong.model.values import is_id

DEFAULT_SIZE = 100
MAX_SIZE = 1000
MAX_TAGS = 5

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_TAG = re.compile(r"[^\x00-\x1f\x7f,/]+")


def page_by_id(rows: Iterable[Entity], call: Call, *, nested: bool) -> Answer:
    """A page of ``rows``, which may come in any order; a list below a parent knows no filter by tags.

    :raise AdminError: the query's ``size``, ``offset`` or ``tags`` cannot be understood.
    """
    size = _size(call.query)
    if not (size.is_integer() and 1 <= size <= MAX_SIZE):
        raise InvalidSize(f"size must be an integer between 1 and {MAX_SIZE}")
    bears = _tag_filter(call.query)
    last = _last_id(call.query)
    found = sorted((row for row in rows if row.id > last and (nested or bears(row))), key=lambda row: row.id)
    shown, more = found[: int(size)], len(found) > size
    repeated = () if nested else ("tags", "size")
    return _page(call, shown, _token(shown[-1].id) if more else None, repeated)


def page_by_position(rows: Sequence[Entity], call: Call) -> Answer:
    """A page of ``rows`` in their order; a size out of range is cut to what can be given, as Kong does with targets.

    :raise AdminError: the query's ``size`` or ``offset`` is no number.
    """
    size = int(min(max(_size(call.query), 1), MAX_SIZE))
    offset = call.query.get("offset", "0")
    if not (isinstance(offset, str) and re.fullmatch(r"[0-9]{1,9}", offset)):
        raise InvalidOffset(f"'{offset}' is not a valid offset: expected the number of a row")
    end = int(offset) + size
    return _page(call, rows[int(offset) : end], str(end) if end < len(rows) else None)


def _page(call: Call, rows: Sequence[Entity], offset: str | None, repeated: Iterable[str] = ()) -> Answer:
    """The envelope; ``repeated`` are the query's arguments that the next page's query repeats."""
    page: dict[str, Any] = {"data": [row.document() for row in rows], "next": None}
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


def _token(last: str) -> str:
    """What a client gives back to get the page after the row of this id."""
    return base64.b64encode(json.dumps([last]).encode()).decode().rstrip("=")


def _last_id(query: Mapping[str, Any]) -> str:
    """The id a page begins behind; empty for the first page.

    :raise InvalidOffset: it is nothing that `_token` could have made.
    """
    token = query.get("offset")
    if token is None:
        return ""
    told = f"'{token}' is not a valid offset"
    try:
        text = base64.b64decode(f"{token}{'=' * (-len(str(token)) % 4)}", validate=True)
    except ValueError:
        raise InvalidOffset(f"{told}: bad base64 encoding") from None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidOffset(f"{told}: bad json encoding") from None
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], str) and is_id(found[0]):
        return found[0].lower()
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
