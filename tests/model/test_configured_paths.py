from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.model.paths import bad_escape, compiled, normal_form, translated


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/", "/"),
        ("/a/", "/a/"),
        ("/a/../b", "/b"),
        ("/a/./b", "/a/b"),
        ("/a/b/..", "/a/"),
        ("/.", "/"),
        ("/../a", "/a"),
        ("/a%7Eb", "/a~b"),
        ("/a%2fb", "/a%2Fb"),
        ("/%2e%2E/a", "/a"),
        ("/日本", "/日本"),
    ],
)
def test_normal_form(path: str, normal: str) -> None:
    """Needless escapes and dots go, needed escapes get capital digits."""
    assert normal_form(path) == normal


@given(st.text(alphabet="/.a%2eE7F~", max_size=12).map("/{}".format))
def test_normal_form_is_stable(path: str) -> None:
    """A normal form is its own normal form, unless undoing an escape would make another one."""
    normal = normal_form(path)
    assert normal.startswith("/")
    if bad_escape(path) is None:
        assert normal_form(normal) == normal


@pytest.mark.parametrize(("path", "escape"), [("/a%zz", "%zz"), ("/%4", "%4"), ("/%", "%"), ("/%41%4g", "%4g")])
def test_bad_escape(path: str, escape: str) -> None:
    """A percent sign needs two hexadecimal digits."""
    assert bad_escape(path) == escape


@pytest.mark.parametrize(
    ("pcre", "python"),
    [
        (r"/users/(?<id>\d+)", r"/users/(?P<id>\d+)"),
        (r"(?<_a>x)(?<b>y)", r"(?P<_a>x)(?P<b>y)"),
        (r"(?<=a)b(?<!c)", r"(?<=a)b(?<!c)"),
        (r"(?:a)(?i:b)(?P<c>d)", r"(?:a)(?i:b)(?P<c>d)"),
        (r"[(?<a>]+", r"[(?<a>]+"),
        (r"[]](?<a>b)", r"[]](?P<a>b)"),
        (r"[^]\]](?<a>b)", r"[^]\]](?P<a>b)"),
        (r"\[(?<a>b)\]", r"\[(?P<a>b)\]"),
        (r"\(?<a>", r"\(?<a>"),
        (r"\\(?<a>b)", r"\\(?P<a>b)"),
    ],
)
def test_translated(pcre: str, python: str) -> None:
    """Named groups get Python's spelling, and nothing else changes."""
    assert translated(pcre) == python


def test_compiled() -> None:
    """A pattern matches the bytes of a request's path and gives its named captures."""
    found = compiled(r"/users/(?<id>\d+)").match(b"/users/12/profile")
    assert found is not None
    assert found["id"] == b"12"


@pytest.mark.parametrize("pattern", ["(a", "*", "[[:alpha:]]", "(?<a>b)(?<a>c)", "a{99999999999}", "(?<1>a)"])
def test_no_pattern(pattern: str) -> None:
    """What Python cannot compile, or would read otherwise than PCRE, is refused."""
    with pytest.raises(ValueError, match=r"."):
        compiled(pattern)
