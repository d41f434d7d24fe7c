"""The hosts file."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.resolving.hosts import LOCALHOST, parse_hosts

FILE = """
# a comment
10.0.0.1  One.test two.TEST   # another
; and another
10.0.0.2 one.test
::1 one.test ip6-localhost
fe80::1%eth0 link.test
10.0.0.300 wrong.test
10.0.0.4
\t10.0.0.5\tdotted.test.\t; the end
"""


def test_names() -> None:
    """Every name of a line is known in lower case, with the first address of each family."""
    assert parse_hosts(FILE) == {
        **LOCALHOST,
        "one.test": {"A": "10.0.0.1", "AAAA": "::1"},
        "two.test": {"A": "10.0.0.1"},
        "ip6-localhost": {"AAAA": "::1"},
        "dotted.test": {"A": "10.0.0.5"},
    }


def test_localhost() -> None:
    """What the file says of localhost is all that is known of it."""
    assert parse_hosts("127.0.0.9 localhost")["localhost"] == {"A": "127.0.0.9"}
    assert parse_hosts("")["localhost"] == {"A": "127.0.0.1", "AAAA": "::1"}


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    """Whatever the file holds, it is read."""
    assert parse_hosts(text).keys() >= LOCALHOST.keys()
