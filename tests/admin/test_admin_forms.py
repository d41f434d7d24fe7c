"""The notations of forms and queries."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.admin.answers import Refused
from twisted_kong.admin.forms import MAX_ARGUMENTS, MAX_DEPTH, decode_form, decode_query


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", {}),
        ("&&", {}),
        ("=v", {}),
        ("a=v", {"a": "v"}),
        ("a", {"a": True}),
        ("a=", {"a": ""}),
        ("a=b=c", {"a": "b=c"}),
        ("a=b+c%20d", {"a": "b c d"}),
        ("a=v&a=w", {"a": ["v", "w"]}),
        ("a[]=v", {"a": ["v"]}),
        ("a[]=v&b=1&a[]=w", {"a": ["v", "w"], "b": "1"}),
        ("a%5B%5d=v&a[]=w", {"a": ["v", "w"]}),
        ("a[2]=w&a[1]=v", {"a": ["v", "w"]}),
        ("a[1].x=1&a[2].x=2&a[1].y=3", {"a": [{"x": "1", "y": "3"}, {"x": "2"}]}),
        ("a[].x=1&a[].x=2", {"a": [{"x": "1"}, {"x": "2"}]}),
        ("a.b.c=v&a.d=w", {"a": {"b": {"c": "v"}, "d": "w"}}),
        ("a[b][c]=v&a.d=w", {"a": {"b": {"c": "v"}, "d": "w"}}),
        ("a[x.y]=v", {"a": {"x.y": "v"}}),
        ("a.b[]=v&a.b[]=w", {"a": {"b": ["v", "w"]}}),
        ("a.1=v", {"a": {"1": "v"}}),
        ("%E6%97%A5=%E6%9C%AC", {"日": "本"}),
    ],
)
def test_notations(text: str, tree: dict[str, Any]) -> None:
    """The key of an argument says where in the tree its value belongs."""
    assert decode_form(text.encode()) == tree


@pytest.mark.parametrize("key", ["a.", ".a", "a..b", "[a]", "a[", "a]", "a[b", "a[b]c", "a[[b]]", "."])
def test_literal_keys(key: str) -> None:
    """A key that follows no notation is the name of a member."""
    assert decode_form(f"{quote(key)}=v".encode()) == {key: "v"}


@pytest.mark.parametrize("text", ["a[0]=v", "a[1]=v&a[3]=w", "a[0]=v&a[1]=w", "a[999999999]=v"])
def test_positions_with_holes(text: str) -> None:
    """Positions that do not run from 1 without a hole make no list."""
    assert isinstance(decode_form(text.encode())["a"], dict)


@pytest.mark.parametrize("text", ["a=v&a[]=w", "a=v&a.b=w", "a[]=v&a[1]=w", "a[b]=v&a[1]=w", "x.a=v&x.a[]=w"])
def test_contradicting_notations(text: str) -> None:
    """A node is a value, a list or a tree; who says two of these is told so."""
    with pytest.raises(Refused, match="exclude one another") as refusal:
        decode_form(text.encode())
    assert refusal.value.status == 400


def test_members_in_brackets_are_literal_in_queries() -> None:
    """In a query only positions go between brackets."""
    assert decode_query(b"a[b]=1&c[]=2&d.e=3") == {"a[b]": "1", "c": ["2"], "d": {"e": "3"}}


def test_too_many_arguments() -> None:
    """A form has so many arguments and no more."""
    pieces = [b"a[]=1"] * (MAX_ARGUMENTS + 1)
    assert len(decode_form(b"&".join(pieces[1:]))["a"]) == MAX_ARGUMENTS
    with pytest.raises(Refused, match="Too many arguments"):
        decode_form(b"&".join(pieces))


def test_too_deep() -> None:
    """A key leads so deep and no deeper."""
    decode_form(b".".join([b"a"] * MAX_DEPTH) + b"=v")
    with pytest.raises(Refused, match="at most"):
        decode_form(b".".join([b"a"] * (MAX_DEPTH + 1)) + b"=v")


keys = st.text(st.sampled_from("ab01.[]%&=+"), max_size=12).map(str.encode)


@given(st.lists(st.one_of(keys, st.binary(max_size=12)), max_size=8).map(b"&".join))
def test_any_bytes(text: bytes) -> None:
    """Whatever comes becomes a tree or a 400, in forms and queries."""
    for decode in (decode_form, decode_query):
        status = 200
        try:
            decode(text)
        except Refused as refusal:
            status = refusal.status
        assert status in (200, 400)


names = st.text(min_size=1).filter(lambda name: not set(name) & set(".[]") and not name.isdecimal())
values = st.text()
trees: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.dictionaries(names, st.one_of(values, st.lists(values, min_size=1, max_size=3)), min_size=1, max_size=3),
    lambda inside: st.dictionaries(names, st.one_of(values, inside), min_size=1, max_size=3),
    max_leaves=6,
)


def spelled(tree: dict[str, Any], member: str, element: str) -> list[tuple[str, str]]:
    """The arguments of a tree, members and elements written in these notations."""
    found: list[tuple[str, str]] = []

    def walk(key: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, inside in value.items():
                walk(member.format(key=key, name=name) if key else name, inside)
        elif isinstance(value, list):
            for position, inside in enumerate(value, 1):
                found.append((key + element.format(position=position), inside))
        else:
            found.append((key, value))

    walk("", tree)
    return found


@given(trees, st.sampled_from(["{key}.{name}", "{key}[{name}]"]), st.sampled_from(["[]", "[{position}]"]))
def test_round_trip(tree: dict[str, Any], member: str, element: str) -> None:
    """A tree spelled as a form is that tree again, in every notation."""
    text = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in spelled(tree, member, element))
    assert decode_form(text.encode()) == tree
