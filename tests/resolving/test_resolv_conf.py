"""resolv.conf: servers, suffixes and options."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.resolving.resolvconf import Config, parse_resolv_conf

FILE = """
# comment
domain first.test
search One.test two.test. ; comment
nameserver 10.0.0.1
nameserver fe80::1%eth0
nameserver ::1
nameserver nonsense
nameserver 10.0.0.2
nameserver 10.0.0.3
options ndots:2 timeout:7 attempts:3 rotate edns0
"""


def test_file() -> None:
    """Three servers that can be asked, the last list of suffixes, and the options that mean something."""
    servers = (("10.0.0.1", 53), ("::1", 53), ("10.0.0.2", 53))
    assert parse_resolv_conf(FILE, {}) == Config(servers, ("one.test", "two.test"), 2, 7.0, 3, True)


def test_environment() -> None:
    """The environment has the last word on suffixes and options."""
    found = parse_resolv_conf(FILE, {"LOCALDOMAIN": "here.test", "RES_OPTIONS": "ndots:0 attempts:1"})
    assert (found.search, found.ndots, found.attempts, found.timeout) == (("here.test",), 0, 1, 7.0)


@pytest.mark.parametrize(
    ("text", "search"),
    [
        ("search .", ()),
        ("search a.test\ndomain b.test c.test", ("b.test",)),
        ("search " + " ".join(f"n{number}.test" for number in range(9)), tuple(f"n{n}.test" for n in range(6))),
        ("", ()),
    ],
)
def test_search(text: str, search: tuple[str, ...]) -> None:
    """At most six suffixes, the last line wins, and a dot is none."""
    assert parse_resolv_conf(text, {}).search == search


@pytest.mark.parametrize("text", ["options timeout:0", "options timeout:-1", "options timeout:x", "options timeout"])
def test_no_timeout(text: str) -> None:
    """A timeout that is none is the usual one."""
    assert parse_resolv_conf(text, {}).timeout == 2.0


@pytest.mark.parametrize(
    ("name", "ndots", "expected"),
    [
        ("host", 1, ["host.one.", "host.two.", "host."]),
        ("local.host", 1, ["local.host.", "local.host.one.", "local.host.two."]),
        ("local.host", 2, ["local.host.one.", "local.host.two.", "local.host."]),
        ("host.", 1, ["host."]),
        ("host", 0, ["host.", "host.one.", "host.two."]),
    ],
)
def test_candidates(name: str, ndots: int, expected: list[str]) -> None:
    """A name with few dots is tried with the suffixes first, another without; a dot at its end says there are none."""
    assert list(Config(search=("one", "two"), ndots=ndots).candidates(name)) == expected


@given(st.text(alphabet="searchdomainoptionsnameserver:.0129 \n#;", max_size=200))
def test_any_text(text: str) -> None:
    """Whatever the file holds, it is read."""
    config = parse_resolv_conf(text, {})
    assert len(config.servers) <= 3
    assert config.timeout > 0
    assert config.attempts > 0
