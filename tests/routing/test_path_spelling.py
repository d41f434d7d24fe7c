"""How a request's path is spelled before it is matched."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from twisted_kong.errors import RequestRefused
from twisted_kong.routing.paths import escape, normalise

SPELLINGS = [
    (b"/", b"/"),
    (b"/a/%62//./c%2f", b"/a/b/c%2F"),
    # escapes
    (b"/%41%7a%30%2D%2e%5F%7e", b"/Az0-._~"),
    (
        b"/%2f%3a%3F%23%5b%5d%40%21%24%26%27%28%29%2a%2b%2c%3b%3d%25",
        b"/%2F%3A%3F%23%5B%5D%40%21%24%26%27%28%29%2A%2B%2C%3B%3D%25",
    ),
    (b"/a%20b%0d%0a%f0%9f%98%80", b"/a%20b%0D%0A%F0%9F%98%80"),
    (b"/%252e%252e/", b"/%252e%252e/"),
    (b"/a!$&'()*+,;=:@[]~b", b"/a!$&'()*+,;=:@[]~b"),
    # bytes outside the URI character set
    (b'/a\\b"<>^`{|} c', b"/a%5Cb%22%3C%3E%5E%60%7B%7C%7D%20c"),
    (b"/\x80\xff\xc3\xa4", b"/%80%FF%C3%A4"),
    # slashes
    (b"//", b"/"),
    (b"//a///b//", b"/a/b/"),
    # dots
    (b"/.", b"/"),
    (b"/a/.", b"/a/"),
    (b"/a/./b", b"/a/b"),
    (b"/a/..", b"/"),
    (b"/a/b/..", b"/a/"),
    (b"/a/b/../c", b"/a/c"),
    (b"/a/%2E%2e/b", b"/b"),
    (b"/a//../b", b"/b"),
    (b"/.well-known/a", b"/.well-known/a"),
    (b"/...", b"/..."),
    (b"/a./b../.c/..d", b"/a./b../.c/..d"),
    (b"/a/..%2Fb", b"/a/..%2Fb"),
]
REFUSED = {
    b"": "slash",
    b"*": "slash",
    b"foo": "slash",
    b"/a%zz": "'%zz'",
    b"/a%": "'%'",
    b"/a%4": "'%4'",
    b"/a%4 1": "'%4 '",
    b"/a%+1": "'%+1'",
    b"/a%00": "'%00'",
    b"/a\x00b": "control",
    b"/a\x01b": "control",
    b"/a\tb": "control",
    b"/a\x7fb": "control",
    b"/a#b": "fragment",
    b"/..": "above the root",
    b"/../private": "above the root",
    b"/%2e%2e/private": "above the root",
    b"/.%2E/private": "above the root",
    b"//../private": "above the root",
    b"/public/../../private": "above the root",
    b"/./../private": "above the root",
    b"/public%2f..%2f..%2fprivate": "above the root",
    b"/public/..%2F../private": "above the root",
}


@pytest.mark.parametrize(("path", "expected"), SPELLINGS)
def test_spelling(path: bytes, expected: bytes) -> None:
    """Spellings that mean the same become one."""
    assert normalise(path) == expected


@pytest.mark.parametrize("path", REFUSED)
def test_refused(path: bytes) -> None:
    """What has no meaning, or could mean another path to the origin, is refused and says why."""
    with pytest.raises(RequestRefused, match=re.escape(REFUSED[path])):
        normalise(path)


def test_normal_path_is_not_copied() -> None:
    """A path that is normalised already is given back itself."""
    path = b"/api/v1/users/12345;v=1/.hidden/a.b/"
    assert normalise(path) is path


PIECES = st.sampled_from(b"/ // . .. /./ /../ a b 4 %2e %2E %2f %41 %25 % \\ \xe4".split())
PATHS = st.lists(PIECES).map(lambda pieces: b"/" + b"".join(pieces)) | st.binary().map(lambda tail: b"/" + tail)


@given(PATHS)
@example(b"/a/b/..//../c")
def test_normal_form(path: bytes) -> None:
    """What comes out is stable, begins with a slash and has no empty or dot segments, nor a byte that URIs lack."""
    try:
        normal = normalise(path)
    except RequestRefused:
        return
    assert normalise(normal) == normal
    assert normal.startswith(b"/")
    assert not {b".", b".."} & set(normal.split(b"/"))
    assert b"//" not in normal
    assert normal.isascii()
    assert normal.decode().isprintable()


@pytest.mark.parametrize("piece", [b"/", b"/.", b"/a/..", b"%2e/", b"%2F", b"\\", b"a/"])
def test_hostile_path(piece: bytes) -> None:
    """A path of a megabyte takes no longer than its length explains."""
    path = b"/" + piece * (1_000_000 // len(piece))
    begin = time.process_time()
    normalise(path)
    assert time.process_time() - begin < 5


def test_escape_keeps_escapes() -> None:
    """A configured path is escaped where it must be and nowhere else."""
    assert escape("/ä b?#%2f%zz/../".encode()) == b"/%C3%A4%20b%3F%23%2f%zz/../"
