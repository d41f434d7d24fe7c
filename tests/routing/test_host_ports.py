"""Where the port of a Host begins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.routing.names import split_port

NAMES = st.one_of(
    st.from_regex(rb"[a-z0-9._-]{1,20}", fullmatch=True),
    st.ip_addresses(v=4).map(lambda address: str(address).encode()),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]".encode()),
)


@given(name=NAMES, port=st.integers(0, 65535))
def test_port(name: bytes, port: int) -> None:
    """A name, an address of either kind and its port come apart as they were put together."""
    assert split_port(b"%s:%d" % (name, port)) == (name, b"%d" % port)
    assert split_port(name) == (name, b"")


@pytest.mark.parametrize(("host", "parts"), [(b"", (b"", b"")), (b"a:", (b"a", b"")), (b"::1", (b"::1", b""))])
def test_edges(host: bytes, parts: tuple[bytes, bytes]) -> None:
    """Nothing is in nothing, a port may be empty, and of an address without brackets no part is a port."""
    assert split_port(host) == parts
