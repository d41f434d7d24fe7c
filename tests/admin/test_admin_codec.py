"""Bodies: JSON, urlencoded and multipart forms."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.admin.answers import Refused
from twisted_kong.admin.codec import Document, decoder_for, encode

JSON = "application/json"
MULTIPART = "multipart/form-data; boundary=edge"


def decode(content_type: str, body: bytes) -> Document:
    return decoder_for(content_type)(body)


def multipart(*parts: tuple[str, bytes]) -> bytes:
    """A body of parts, each its head (without the last line end) and its content."""
    lines = [b"--edge\r\n%b\r\n\r\n%b\r\n" % (head.encode(), content) for head, content in parts]
    return b"".join(lines) + b"--edge--\r\n"


def named(name: str, content: bytes) -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"', content


@pytest.mark.parametrize("content_type", [None, "", "text/html", "Application/json", "application/yaml"])
def test_foreign_content_types(content_type: str | None) -> None:
    """Nobody reads a body of another content type."""
    with pytest.raises(Refused) as refusal:
        decoder_for(content_type)
    assert refusal.value.status == 415


def test_form_values_have_no_type() -> None:
    """The values of a form are text, those of JSON have types."""
    assert decode("application/x-www-form-urlencoded; charset=utf-8", b"a=1") == Document({"a": "1"}, typed=False)
    assert decode("application/json; charset=utf-8", b'{"a": 1}') == Document({"a": 1}, typed=True)


@pytest.mark.parametrize(
    ("text", "value"), [("20.0", "20"), ("2e1", "20"), ("0.5", "0.5"), ("-0.0", "0"), ("1", "1"), ("1e2", "100")]
)
def test_whole_numbers(text: str, value: str) -> None:
    """A whole number is printed whole, however it was written."""
    assert encode(decode(JSON, b'{"a":%b}' % text.encode()).tree) == b'{"a":%b}' % value.encode()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"{a: 1}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b"\xef\xbb\xbf{}",
    ],
)
def test_broken_json(text: bytes) -> None:
    """What is announced as JSON must be JSON, and text that UTF-8 can carry."""
    with pytest.raises(Refused, match="Cannot parse JSON body") as refusal:
        decode(JSON, text)
    assert refusal.value.status == 400


@pytest.mark.parametrize("text", [b"1", b"null", b"true", b'"a"', b"[1]"])
def test_json_that_is_no_object(text: bytes) -> None:
    """A document is an object."""
    with pytest.raises(Refused, match="expected an object"):
        decode(JSON, text)


def test_empty_list_is_an_empty_document() -> None:
    """The empty list stands for the empty object."""
    assert decode(JSON, b"[]").tree == {}


def test_multipart() -> None:
    """Parts are the arguments of a form; a file is its content, a part of JSON is decoded."""
    body = multipart(
        named("name", b"u"),
        named("tags[]", "日".encode()),
        ('Content-Disposition: form-data; name="日.x"; filename="f"\r\nContent-Type: text/plain', b"two\r\nlines\n"),
        ('Content-Disposition: form-data; name="config"\r\nContent-Type: application/json', b'{"a": [1]}'),
    )
    tree = {"name": "u", "tags": ["日"], "日": {"x": "two\r\nlines\n"}, "config": {"a": [1]}}
    assert decode(MULTIPART, body) == Document(tree, typed=False)


def test_empty_multipart() -> None:
    """No body is no arguments."""
    assert decode(MULTIPART, b"").tree == {}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", multipart(named("a", b"b"))),
        (MULTIPART, b"no edge"),
        (MULTIPART, multipart(("X-A: b", b"nameless"))),
        (MULTIPART, multipart(named("a", b"\xff"))),
        (MULTIPART, multipart(named("a", b"b"))[:-4]),
        (MULTIPART, multipart(('Content-Disposition: form-data; name="a"\r\nContent-Type: application/json', b"{"))),
        ('multipart/form-data; boundary=""', multipart(named("a", b"b"))),
        ("multipart/form-data; boundary*=utf-8''%E6%97%A5", multipart(named("a", b"b"))),
    ],
)
def test_broken_multipart(content_type: str, body: bytes) -> None:
    """Parts have a name and a content that is text, and stand between boundaries that were announced."""
    with pytest.raises(Refused) as refusal:
        decode(content_type, body)
    assert refusal.value.status == 400


pieces = st.one_of(
    st.sampled_from(
        [b"--edge", b"--edge--", b"\r\n", b"\n", b'Content-Disposition: form-data; name="a"', b"Content-Type: ", b": "]
    ),
    st.binary(max_size=8),
)


def test_too_many_parts() -> None:
    """A multipart form has at most 1000 parts."""
    parts = [named("a[]", b"")] * 1001
    assert len(decode(MULTIPART, multipart(*parts[1:])).tree["a"]) == 1000
    for body in (multipart(*parts), multipart(*parts * 2)):
        with pytest.raises(Refused, match="Too many arguments"):
            decode(MULTIPART, body)


@given(st.lists(pieces, max_size=12).map(b"".join), st.sampled_from([MULTIPART[:-5], MULTIPART]), st.text(max_size=5))
def test_any_multipart_body(body: bytes, content_type: str, more: str) -> None:
    """Whatever comes becomes a document or a 400."""
    status = 200
    try:
        decode(content_type + more, body)
    except Refused as refusal:
        status = refusal.status
    assert status in (200, 400)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.text()))
def test_multipart_round_trip(tree: dict[str, str]) -> None:
    """Any text goes through a part unchanged."""
    body = multipart(*(named(name, value.encode()) for name, value in tree.items()))
    assert decode(MULTIPART, body if tree else b"").tree == tree


json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inside: st.one_of(st.lists(inside, max_size=3), st.dictionaries(st.text(), inside, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values, max_size=3))
def test_json_round_trip(tree: dict[str, Any]) -> None:
    """What we print, we read; what others print, with escapes or without, too."""
    assert decode(JSON, encode(tree)).tree == tree
    assert decode(JSON, json.dumps(tree).encode()).tree == tree
