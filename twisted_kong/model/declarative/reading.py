"""From texts to trees: JSON and YAML, and where in a text a part of its tree stands.

A text may be made to do harm. Nothing in it becomes anything but JSON's kinds of values, and neither its depth nor what
its aliases repeat grows beyond bounds. A name that is given twice is refused: one of the two would be lost in silence.

YAML is that of version 1.1, which Kong reads: ``yes`` and ``on`` are true, ``010`` is eight, ``<<`` merges. Its dates
and its numbers to the base of sixty stay texts: nobody means one where they write ``10:30``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any, NamedTuple

import yaml

Way = tuple[str | int, ...]
"""From the root of a tree to one of its parts: names of members, and positions in lists from 0."""
Locate = Callable[[Way], int | None]
"""The line, from 1, of the part at a way, or of the nearest part around it; None where nobody knows."""

MAX_DEPTH = 64
MAX_REPEATED = 100_000
"""Values that aliases may repeat, all together."""

JSON_NAMES = (".json",)
YAML_NAMES = (".yaml", ".yml")

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TOO_DEEP = f"it is more than {MAX_DEPTH} levels deep"


class Unreadable(ValueError):
    """A text that is neither JSON nor YAML, or not of the kind we read; the message says where and why."""


class GivenTwice(Unreadable):
    """A name that two members of one object have."""


def read(text: str, name: str | None = None) -> object:
    """The tree that a text says.

    The end of a file's ``name`` decides what it is; without a name it is JSON, or else YAML.

    :raise Unreadable: it cannot be read, or the name is of another kind of file.
    """
    kind = None if name is None else PurePath(name).suffix
    if kind is not None and kind not in JSON_NAMES + YAML_NAMES:
        raise Unreadable(f"unknown file type: {name}. (Accepted types: json, yaml)")
    text = text.removeprefix("\ufeff")
    if kind in YAML_NAMES:
        return _Builder().build(text)
    try:
        return _read_json(text)
    except json.JSONDecodeError as error:
        if kind in JSON_NAMES:
            raise Unreadable(f"line {error.lineno}: {error.msg}") from None
    return _Builder().build(text)


def locate(text: str) -> Locate:
    """Where the parts of what `read` made of ``text`` stand in it."""
    lines: _Lines = {}
    try:
        root = _Builder(lines).build(text.removeprefix("\ufeff"))
    except Unreadable:  # JSON that is no YAML
        return lambda way: None

    def line(way: Way) -> int | None:
        found, part = None, root
        for step in way:
            known = lines.get(id(part), {}) if isinstance(part, (dict, list)) else {}
            if step not in known:
                break
            found, part = known[step], part[step]
        return found

    return line


# -- JSON ------------------------------------------------------------------------------------------------------


def _read_json(text: str) -> object:
    try:
        tree = json.loads(text, object_pairs_hook=_members, parse_constant=_no_number)
        if "\\u" in text:
            json.dumps(tree, ensure_ascii=False).encode()  # fails for half a surrogate pair
    except GivenTwice as refusal:
        raise _with_line(refusal, text) from None
    except UnicodeEncodeError:
        raise Unreadable("expected text that UTF-8 can carry; got half a surrogate pair") from None
    except RecursionError:
        raise Unreadable(_TOO_DEEP) from None
    except ValueError as error:
        if isinstance(error, (json.JSONDecodeError, Unreadable)):
            raise
        raise Unreadable(f"expected numbers that a computer can keep: {error}") from None
    _check_depth(tree)
    return tree


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise GivenTwice(f"'{twice}' is given twice")
    return members


def _with_line(refusal: GivenTwice, text: str) -> Unreadable:
    """The same refusal, with the line where YAML can tell it: nearly all JSON is YAML."""
    try:
        _Builder().build(text)
    except GivenTwice as located:
        return located
    except Unreadable:
        pass
    return refusal


def _no_number(text: str) -> object:
    raise Unreadable(f"{text} is no number of JSON")


def _check_depth(tree: object) -> None:
    level = [tree]
    for _ in range(MAX_DEPTH):
        inside = (part.values() if isinstance(part, dict) else part for part in level if isinstance(part, (dict, list)))
        level = [part for parts in inside for part in parts if isinstance(part, (dict, list))]
        if not level:
            return
    raise Unreadable(_TOO_DEEP)


# -- YAML ------------------------------------------------------------------------------------------------------

_Lines = dict[int, dict[str | int, int]]
"""By the identity of a list or an object, which the tree keeps alive: the line of each of its parts."""
_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = ("!", f"{_TAG}str")
_WORD_TAGS = tuple(f"{_TAG}{name}" for name in ("int", "float", "bool", "null"))


class _Open:
    """A list or an object that is not at its end yet; it began in ``line``."""

    def __init__(self, whole: list[Any] | dict[str, Any], anchor: str | None, line: int) -> None:
        self.whole = whole
        self.anchor = anchor
        self.line = line
        self.name: str | None = None
        """The member whose value comes next."""
        self.merging = False
        """Whether what comes next is to be merged."""
        self.merged: list[tuple[int, object]] = []
        """What is to be merged, and the line that says so."""
        self.lines: dict[str | int, int] = {}
        self.size = 1
        """How many values it is, with those that aliases repeat."""
        self.height = 1
        """How many levels it has."""


class _Known(NamedTuple):
    """A value with an anchor; see `_Open`."""

    value: object
    size: int
    height: int


class _Builder:
    """Builds the tree of one text from the events of PyYAML's parser. Notes lines in ``lines``, if given."""

    def __init__(self, lines: _Lines | None = None) -> None:
        self._lines = lines
        self._open: list[_Open] = []
        self._anchors: dict[str, _Known] = {}
        self._repeated = 0
        self._documents = 0
        self._line = 1
        self._root: object = None
        self._takers: dict[type, Callable[[Any], None]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: lambda event: self._begin(event, {}, "map"),
            yaml.SequenceStartEvent: lambda event: self._begin(event, [], "seq"),
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._document,
        }

    def build(self, text: str) -> Any:
        """The tree; null for a text that says nothing."""
        events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        try:
            for event in events:
                self._line = event.start_mark.line + 1
                if take := self._takers.get(type(event)):
                    take(event)
        except yaml.MarkedYAMLError as error:
            line = self._line if error.problem_mark is None else error.problem_mark.line + 1
            raise Unreadable(f"line {line}: {error.problem}") from None
        except yaml.YAMLError as error:
            raise Unreadable(getattr(error, "reason", None) or str(error)) from None
        return self._root

    def _refusal(self, why: str) -> Unreadable:
        return Unreadable(f"line {self._line}: {why}")

    def _document(self, event: yaml.DocumentStartEvent) -> None:
        self._documents += 1
        if self._documents > 1:
            raise self._refusal("expected one document; a second one begins here")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        plain = event.tag is None and event.implicit[0]
        if self._expects_name():
            self._name(event.value, merges=plain and event.value == "<<")
            return
        if event.tag is not None and event.tag not in _TEXT_TAGS + _WORD_TAGS:
            raise self._refusal(f"expected a plain value; got one with the tag {event.tag}")
        value = resolve(event.value) if plain or event.tag in _WORD_TAGS else event.value
        self._remember(event.anchor, _Known(value, 1, 0))
        self._place(value, self._line, 1, 0)

    def _expects_name(self) -> bool:
        here = self._open[-1] if self._open else None
        return here is not None and isinstance(here.whole, dict) and here.name is None and not here.merging

    def _name(self, name: str, *, merges: bool) -> None:
        here = self._open[-1]
        if merges:
            here.merging = True
            return
        if name in here.lines:
            first = here.lines[name]
            raise GivenTwice(f"line {self._line}: '{name}' is given twice, for the first time in line {first}")
        here.name = name
        here.lines[name] = self._line

    def _begin(self, event: Any, whole: list[Any] | dict[str, Any], kind: str) -> None:
        if self._expects_name():
            raise self._refusal("expected a name before the colon; got a list or an object")
        if event.tag not in (None, "!", _TAG + kind):
            raise self._refusal(f"expected a plain value; got one with the tag {event.tag}")
        if len(self._open) == MAX_DEPTH:
            raise self._refusal(_TOO_DEEP)
        opened = _Open(whole, event.anchor, self._line)
        if self._lines is not None:
            self._lines[id(whole)] = opened.lines
        self._open.append(opened)

    def _end(self, event: object) -> None:
        done = self._open.pop()
        for line, value in done.merged:
            self._merge(done, line, value)
        self._remember(done.anchor, _Known(done.whole, done.size, done.height))
        self._place(done.whole, done.line, done.size, done.height)

    def _merge(self, here: _Open, line: int, value: object) -> None:
        """Add the members of others that it has not itself; of several others the first wins."""
        for other in value if isinstance(value, list) else [value]:
            if not isinstance(other, dict):
                raise Unreadable(f"line {line}: expected an object, or a list of objects, to merge")
            known = (self._lines or {}).get(id(other), {})
            for name, part in other.items():
                if name not in here.whole:
                    here.whole[name] = part
                    here.lines[name] = known.get(name, line)

    def _remember(self, anchor: str | None, known: _Known) -> None:
        if anchor is not None:
            self._anchors[anchor] = known

    def _alias(self, event: yaml.AliasEvent) -> None:
        if self._expects_name():
            raise self._refusal("expected a name before the colon; got an alias")
        known = self._anchors.get(event.anchor or "")
        if known is None:
            raise self._refusal(f"nothing before this has the anchor {event.anchor}")
        self._repeated += known.size
        if self._repeated > MAX_REPEATED:
            raise self._refusal(f"aliases repeat more than {MAX_REPEATED} values")
        if len(self._open) + known.height > MAX_DEPTH:
            raise self._refusal(_TOO_DEEP)
        self._place(known.value, self._line, known.size, known.height)

    def _place(self, value: object, line: int, size: int, height: int) -> None:
        """Put a value that begins in ``line`` where it belongs."""
        if not self._open:
            self._root = value
            return
        here = self._open[-1]
        here.size += size
        here.height = max(here.height, height + 1)
        if isinstance(here.whole, list):
            here.lines[len(here.whole)] = line
            here.whole.append(value)
        elif here.merging:
            here.merged.append((line, value))
        else:
            assert here.name is not None
            here.whole[here.name] = value
        here.name, here.merging = None, False


_WORDS: dict[str, object] = dict.fromkeys(("", "~", "null", "Null", "NULL"))
_WORDS |= {spelled: True for word in ("true", "yes", "on") for spelled in (word, word.title(), word.upper())}
_WORDS |= {spelled: False for word in ("false", "no", "off") for spelled in (word, word.title(), word.upper())}
_INTEGER = re.compile(
    r"[-+]?(?:0b(?P<b2>[01_]{1,99})|0x(?P<b16>[0-9a-fA-F_]{1,99})|0o?(?P<b8>[0-7_]{1,99})"
    r"|(?P<b10>0|[1-9][0-9_]{0,99}))"
)
_FRACTION = re.compile(r"[-+]?(?:[0-9][0-9_]{0,99}(?:\.[0-9_]{0,99})?|\.[0-9][0-9_]{0,99})(?:[eE][-+]?[0-9]{1,9})?")


def resolve(text: str) -> object:
    """What a plain word of YAML is: null, a boolean, a number, or else itself."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if found := _INTEGER.fullmatch(text):
        kind = str(found.lastgroup)
        digits = found[kind].replace("_", "")
        return int(f"-{digits}" if text[0] == "-" else digits, int(kind[1:])) if digits else text
    if _FRACTION.fullmatch(text):
        return float(text.replace("_", ""))
    return text
