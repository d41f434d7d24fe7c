"""Texts become trees, whatever they are: values, bounds, refusals, lines."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from twisted_kong.model.declarative.reading import MAX_DEPTH, MAX_REPEATED, Unreadable, Way, locate, read

trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(), inside, max_size=4),
    max_leaves=20,
)
PRINTABLE = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\x85\u2028\u2029\ufeff")


def refusal(text: str, name: str | None = None) -> str:
    with pytest.raises(Unreadable) as caught:
        read(text, name)
    return str(caught.value)


# -- values ----------------------------------------------------------------------------------------------------


@given(tree=trees)
def test_json(tree: object) -> None:
    """Any JSON is read as what it says, with and without the name of a file."""
    text = json.dumps(tree)
    assert read(text) == read(text, "kong.json") == tree


@given(tree=trees)
def test_yaml(tree: object) -> None:
    """What a writer of YAML writes is read as what was written."""
    text = yaml.safe_dump(tree)
    assert read(text, "kong.yml") == read(text, "a/kong.yaml") == tree


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("", None),
        ("~", None),
        ("Null", None),
        ("yes", True),
        ("On", True),
        ("TRUE", True),
        ("no", False),
        ("off", False),
        ("y", "y"),
        ("12", 12),
        ("-12", -12),
        ("+1", 1),
        ("1_000", 1000),
        ("010", 8),
        ("0o10", 8),
        ("0x1F", 31),
        ("0b11", 3),
        ("08", 8.0),
        ("3.0", 3.0),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.5e-1", -0.05),
        ("1.", 1.0),
        (".", "."),
        ("-", "-"),
        ("1.2.3", "1.2.3"),
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("10:30", "10:30"),
        ("2001-01-01", "2001-01-01"),
        ("0x", "0x"),
        ("0x_", "0x_"),
        ("!!str 12", "12"),
        ("! 12", "12"),
        ("!!int 12", 12),
        ("'12'", "12"),
        ('"yes"', "yes"),
    ],
)
def test_words(word: str, value: object) -> None:
    """Plain words are what YAML 1.1 takes them for, but dates and numbers to the base of sixty stay texts."""
    found = read(f"a: {word}\n" if word != "-" else "a: '-'", "kong.yml")
    assert found == {"a": value}
    assert type(found["a"]) is type(value)


def test_names_are_texts() -> None:
    """The name of a member is what is written, whatever it looks like."""
    assert read("1: a\nyes: b\n'2': c\n") == {"1": "a", "yes": "b", "2": "c"}


def test_aliases_and_merging() -> None:
    """An alias repeats a value; ``<<`` adds what is not there yet, the first of several others first."""
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: *a\nd:\n  y: 5\n  <<: [*a, *b]\ne:\n  <<: *b\n  x: &n 7\nf: *n\n"
    assert read(text) == {
        "a": {"x": 1, "y": 2},
        "b": {"y": 3, "z": 4},
        "c": {"x": 1, "y": 2},
        "d": {"y": 5, "x": 1, "z": 4},
        "e": {"x": 7, "y": 3, "z": 4},
        "f": 7,
    }


def test_json_comes_first() -> None:
    """A text without a name that is JSON is read as JSON, where YAML would read something else."""
    assert read('{"a": "\\ud83d\\ude00", "b": 1e3}') == {"a": "😀", "b": 1000.0}


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufeff"])
def test_nothing(text: str) -> None:
    """A text that says nothing is null."""
    assert read(text) is None


def test_byte_order_mark() -> None:
    """What some editors put before a text is not part of it."""
    assert read('\ufeff{"a": 1}', "kong.json") == read("\ufeffa: 1") == {"a": 1}


# -- refusals --------------------------------------------------------------------------------------------------


@given(text=st.text() | st.text("[]{}:,&*a<!-'\"\n "))
@example(text="&a [*a]")
@example(text="a: 'x\x01'")
@example(text="9" * 5000)
@example(text='{"a": ' + "9" * 5000 + "}")
def test_anything(text: str) -> None:
    """Whatever the text, it is read or refused, and then located or not; nothing else happens."""
    with suppress(Unreadable):
        read(text)
    locate(text)(("a", 0))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: 'a' is given twice, for the first time in line 1"),
        ("- b:\n    a: 1\n    'a': 3\n", "line 3: 'a' is given twice, for the first time in line 2"),
        ('{"a": 1,\n "b": 2,\n "a": 3}', "line 3: 'a' is given twice, for the first time in line 1"),
        ('{"\\ud83d\\ude00": 1, "\\ud83d\\ude00": 1}', "'😀' is given twice"),
        ("a: 1\nb: c: d", "line 2: mapping values are not allowed in this context"),
        ("a: 1\nb: !!python/name:os.system x", "line 2: expected a plain value; got one with the tag"),
        ("a: 1\nb: !!python/tuple [1]", "line 2: expected a plain value; got one with the tag"),
        ("a: 1\nb: !!set {x}", "line 2: expected a plain value; got one with the tag"),
        ("a: !!binary aGVsbG8=", "line 1: expected a plain value; got one with the tag"),
        ("a: 1\n? [b]\n: c", "line 2: expected a name before the colon; got a list or an object"),
        ("a: &a 1\n*a : c", "line 2: expected a name before the colon; got an alias"),
        ("a: 1\nb: *a", "line 2: nothing before this has the anchor a"),
        ("a: &a\n  b: *a", "line 2: nothing before this has the anchor a"),
        ("a: 1\n---\nb: 2", "line 2: expected one document; a second one begins here"),
        ("a:\n  <<: 1", "line 2: expected an object, or a list of objects, to merge"),
        ("a: \x01", "control characters are not allowed"),
        ('{"a": NaN}', "NaN is no number of JSON"),
        ('{"a": "\\ud800"}', "expected text that UTF-8 can carry; got half a surrogate pair"),
    ],
)
def test_refused(text: str, why: str) -> None:
    """A refusal says why, and in which line."""
    assert refusal(text).startswith(why)


def test_file_types() -> None:
    """The name of a file decides; one that says nothing of its kind is refused."""
    assert refusal("a: 1", "kong.json").startswith("line 1: ")
    assert refusal('{"a":\n1,}', "kong.json").startswith("line 2: ")
    assert refusal("{}", "kong.txt") == "unknown file type: kong.txt. (Accepted types: json, yaml)"
    assert refusal("{}", "kong") == "unknown file type: kong. (Accepted types: json, yaml)"


def test_depth() -> None:
    """Nothing is deeper than it may be, by itself or through aliases, however much deeper it is."""
    for levels in (MAX_DEPTH, MAX_DEPTH + 1, 500, 100_000):
        lists = "[" * levels + "]" * levels
        members = "".join(f"{' ' * level}a:\n" for level in range(min(levels, 500)))
        for text in (lists, members, f"# YAML\n{lists}"):
            if levels == MAX_DEPTH:
                read(text)
            else:
                assert "levels deep" in refusal(text)
    chain = "".join(f"- &a{level} [*a{level - 1}]\n" for level in range(1, MAX_DEPTH + 1))
    assert "levels deep" in refusal("- &a0 []\n" + chain)


def test_bomb() -> None:
    """Aliases of aliases that would come to billions of values are refused at once."""
    lines = ["- &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"- &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 12)]
    assert refusal("\n".join(lines)) == f"line 5: aliases repeat more than {MAX_REPEATED} values"


def test_repetition_within_bounds() -> None:
    """An alias that people write is no bomb."""
    text = "a: &a {x: [1, 2, 3]}\nb:\n" + "- *a\n" * 1000
    assert len(read(text)["b"]) == 1000  # type: ignore[index]  # it is an object


# -- lines -----------------------------------------------------------------------------------------------------


def leaves(tree: Any, way: Way = ()) -> list[tuple[Way, Any]]:
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [leaf for step, part in parts for leaf in leaves(part, (*way, step))] or [(way, tree)]


@given(
    tree=st.recursive(
        st.just("LEAF"),
        lambda inside: (
            st.lists(inside, min_size=1, max_size=3)
            | st.dictionaries(st.text(PRINTABLE, min_size=1, max_size=9), inside, min_size=1, max_size=3)
        ),
        max_leaves=12,
    )
)
def test_every_part_is_found(tree: Any) -> None:
    """Each part of a tree is found in the line in which it stands."""
    text = yaml.safe_dump(tree, allow_unicode=True, width=10_000, sort_keys=False)
    line = locate(text)
    lines = text.splitlines()
    found = [line(way) for way, _ in leaves(tree) if way]
    assert found == [number for number, content in enumerate(lines, 1) if "LEAF" in content][: len(found)]


def test_nearest_line() -> None:
    """What is not there is in the line of what would be around it; of the whole nobody asks."""
    line = locate("a:\n  b:\n  - c: 1\n    d: 2\n")
    assert [line(("a", "b", 0, "d")), line(("a", "b", 0, "x", "y")), line(("a", "b", 1)), line(("a", "x"))] == [
        4,
        3,
        2,
        1,
    ]
    assert (line(()), line(("x",))) == (None, None)


def test_lines_of_what_is_merged() -> None:
    """What was merged stands where it was written."""
    line = locate("a: &a\n  x: 1\n  y: 2\nb:\n  <<: *a\n  y: 3\n")
    assert [line(("b", "x")), line(("b", "y")), line(("a", "y"))] == [2, 6, 3]


def test_lines_of_json() -> None:
    """JSON has lines, too, where it is YAML; elsewhere nobody knows."""
    assert locate('{"a":\n {"b":\n 1}}')(("a", "b")) == 2
    assert locate('{"\\ud83d\\ude00":\n {"b":\n 1}}')(("😀", "b")) is None
