"""How forms and queries spell trees.

A form is a flat list of arguments; the key of each says where its value belongs:

==================  ========================================
``a.b=v``           ``{"a": {"b": v}}``
``a[b]=v``          the same; a dot between brackets splits nothing
``a[]=v&a[]=w``     ``{"a": [v, w]}``
``a[2]=w&a[1]=v``   ``{"a": [v, w]}``, positions start at 1
``a=v&a=w``         ``{"a": [v, w]}``
``a``               ``{"a": True}``
==================  ========================================

Positions that do not run from 1 without a hole make no list: they stay keys, and the schema refuses them. A key that
follows no notation (``a.``, ``.a``, ``a[``) is taken literally. What the values mean is the schema's business, and
how a body came here is `twisted_kong.admin.codec`'s. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted_kong.admin.answers import Refused, TooManyArguments

MAX_ARGUMENTS = 1000
MAX_DEPTH = 32

Argument = tuple[str, Any]
"""A key as written, percent-decoded, and its value."""

Step = str | int | None
"""From a node to the next: the name of a member, a position in a list, or None: one more element."""


def _keys(index: str) -> re.Pattern[str]:
    part = rf"[^.\[\]]+(?:{index})*"
    return re.compile(rf"{part}(?:\.{part})*")


_FORM_KEY = _keys(r"\[[^\[\]]*\]")
_QUERY_KEY = _keys(r"\[[0-9]*\]")
_STEP = re.compile(r"\[([^\[\]]*)\]|([^.\[\]]+)")
_POSITION = re.compile(r"[0-9]{1,9}")


def decode_form(text: bytes) -> dict[str, Any]:
    """The tree of an urlencoded form.

    :raise Refused: too many arguments, bytes that are not UTF-8, notations that contradict one another.
    """
    return plant(_arguments(text))


def decode_query(text: bytes) -> dict[str, Any]:
    """The tree of a query: a form whose ``a[b]`` is a literal key. Raises what `decode_form` does."""
    return plant(_arguments(text), _QUERY_KEY)


def plant(arguments: Sequence[Argument], notation: re.Pattern[str] = _FORM_KEY) -> dict[str, Any]:
    """The tree of arguments that are decoded already. Raises what `decode_form` does."""
    if len(arguments) > MAX_ARGUMENTS:
        raise TooManyArguments
    entries = [(_steps(key, notation), value) for key, value in arguments]
    tree: dict[str, Any] = _grow("", entries) if entries else {}
    return tree


def _arguments(text: bytes) -> list[Argument]:
    arguments: list[Argument] = []
    for piece in islice(re.finditer(rb"[^&]+", text), MAX_ARGUMENTS + 1):
        key, equals, value = piece[0].partition(b"=")
        if key:
            arguments.append((_decoded(key), _decoded(value) if equals else True))
    return arguments


def _decoded(text: bytes) -> str:
    try:
        return unquote_to_bytes(text.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise Refused(400, "Cannot parse arguments: expected UTF-8") from None


def _steps(key: str, notation: re.Pattern[str]) -> list[Step]:
    """The way from the root to where the value belongs; its first step is a name."""
    if not notation.fullmatch(key):
        return [key]
    steps = [name or _index(index) for index, name in _STEP.findall(key)]
    if len(steps) > MAX_DEPTH:
        raise Refused(400, f"Cannot parse arguments: a key has at most {MAX_DEPTH} parts, not {len(steps)}")
    return steps


def _index(text: str) -> Step:
    """What brackets contain."""
    return int(text) if _POSITION.fullmatch(text) else text or None


def _grow(way: str, entries: Sequence[tuple[list[Step], Any]]) -> Any:
    """What the arguments below one node amount to; each is the steps left to go and the value there."""
    kinds = {type(steps[0]) if steps else Any for steps, _ in entries}
    if len(kinds) > 1:
        raise Refused(400, f"Cannot parse arguments: '{way}' is given in notations that exclude one another")
    (kind,) = kinds
    if kind is Any:
        values = [value for _, value in entries]
        return values if len(values) > 1 else values[0]
    if kind is type(None):
        return [_grow(f"{way}[]", [(steps[1:], value)]) for steps, value in entries]
    branches: dict[Step, list[tuple[list[Step], Any]]] = {}
    for (step, *rest), value in entries:
        branches.setdefault(step, []).append((rest, value))
    grown = {step: _grow(f"{way}.{step}" if way else str(step), below) for step, below in branches.items()}
    if kind is int and grown.keys() == set(range(1, len(grown) + 1)):
        return [grown[position] for position in range(1, len(grown) + 1)]
    return {str(step): branch for step, branch in grown.items()}
