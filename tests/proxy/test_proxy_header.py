"""Headers of the PROXY protocol: what is read from them, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from introductions import SIGNATURE, Sent, addresses, attached, binary, headers, text

from twisted_kong.proxy.proxy_header import LONGEST, Introduction, MalformedProxyHeader, ProxyHeaderReader

FOUR = addresses("192.0.2.1", "198.51.100.2", 1111, 443)
SIX = addresses("2001:db8::1", "::1", 1, 2)
UNIX = b"/run/client".ljust(108, b"\0") + b"/run/here".ljust(108, b"\0")


def read(data: bytes) -> Introduction | None:
    return ProxyHeaderReader().feed(data)


@pytest.mark.parametrize(
    ("data", "source", "destination"),
    [
        (text("192.0.2.1", "198.51.100.2", 1111, 443), ("192.0.2.1", 1111), ("198.51.100.2", 443)),
        (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n", ("255.255.255.255", 65535), ("255.255.255.255", 0)),
        (text("2001:DB8:0::1", "::1", 1, 2), ("2001:db8::1", 1), ("::1", 2)),
        (text("::ffff:192.0.2.1", "::1", 1, 2), ("192.0.2.1", 1), ("::1", 2)),
        (b"PROXY UNKNOWN\r\n", None, None),
        (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None, None),
        (binary(0x11, FOUR), ("192.0.2.1", 1111), ("198.51.100.2", 443)),
        (binary(0x21, SIX), ("2001:db8::1", 1), ("::1", 2)),
        (binary(0x21, addresses("::ffff:192.0.2.1", "::1", 1, 2)), ("192.0.2.1", 1), ("::1", 2)),
        (binary(0x11, FOUR + attached(4, b"padding")), ("192.0.2.1", 1111), ("198.51.100.2", 443)),
        (binary(0x11, FOUR + b"no type and length"), ("192.0.2.1", 1111), ("198.51.100.2", 443)),
        (binary(0x11, FOUR.ljust(LONGEST - 16, b"\0")), ("192.0.2.1", 1111), ("198.51.100.2", 443)),
        (binary(0x11, FOUR, command=0), None, None),
        (binary(0xFF, b"", command=0), None, None),
        (binary(0x00, b""), None, None),
        (binary(0x10, b""), None, None),
        (binary(0x12, FOUR), None, None),
    ],
)
def test_addresses(data: bytes, source: object, destination: object) -> None:
    """Both versions tell addresses and ports, or none; what follows the header is the connection's own."""
    assert read(data + b"GET") == Introduction(b"GET", source, destination)  # type: ignore[arg-type]  # the table's


def test_unix_sockets() -> None:
    """The paths of UNIX sockets are read, and are no addresses."""
    assert read(binary(0x31, UNIX)) == Introduction(b"", paths=(b"/run/client", b"/run/here"))


@given(headers(), st.binary(max_size=30), st.data())
def test_cut_anywhere(sent: Sent, rest: bytes, data: st.DataObject) -> None:
    """However a header is cut, it says the same, not a byte too early, and every byte behind it is left."""
    stream = sent.data + rest
    places = st.lists(st.integers(1, len(stream)), max_size=8)
    cuts = sorted({*data.draw(places), len(stream)})
    reader = ProxyHeaderReader()
    start = 0
    for end in cuts:
        told = reader.feed(stream[start:end])
        start = end
        if end < len(sent.data):
            assert told is None
        else:
            assert told is not None
            assert told.rest + stream[end:] == rest
            assert (told.source, told.destination) == (sent.source, sent.destination)
            return


@given(headers())
def test_byte_by_byte(sent: Sent) -> None:
    """A header is complete with its last byte and not before."""
    reader = ProxyHeaderReader()
    found = [reader.feed(sent.data[at : at + 1]) for at in range(len(sent.data))]
    assert [told is None for told in found] == [True] * (len(found) - 1) + [False]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n", "no PROXY header"),
        (b"\x16\x03\x01", "no PROXY header"),
        (b"proxy TCP4", "no PROXY header"),
        (b"PROXY\tTCP4", "no PROXY header"),
        (b"\r\n\r\n\0\r\nQUIX", "no PROXY header"),
        (b"PROXY \r\n", "a malformed line"),
        (b"PROXY UNKNOWNX\r\n", "a malformed line"),
        (b"PROXY UNKNOWN a\rb\r\n", "a malformed line"),
        (b"PROXY UNKNOWN\n", "a line that ends in a line feed alone"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.1 1 2\n\r\n", "a line that ends in a line feed alone"),
        (b"PROXY TCP5 192.0.2.1 192.0.2.1 1 2\r\n", "a malformed line"),
        (b"PROXY TCP4 192.0.2.1  192.0.2.1 1 2\r\n", "a malformed line"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.1 1\r\n", "a malformed line"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.1 1 2 \r\n", "a malformed line"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.1 01 2\r\n", "a malformed line"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.1 -1 2\r\n", "a malformed line"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.1 1 65536\r\n", "a port above 65535"),
        (b"PROXY TCP4 192.0.2.01 192.0.2.1 1 2\r\n", "a malformed address"),
        (b"PROXY TCP4 192.0.2.256 192.0.2.1 1 2\r\n", "a malformed address"),
        (b"PROXY TCP4 ::1 ::1 1 2\r\n", "a malformed line"),
        (b"PROXY TCP6 192.0.2.1 192.0.2.1 1 2\r\n", "a malformed address"),
        (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "a malformed line"),
        (b"PROXY TCP6 1::2::3 ::1 1 2\r\n", "a malformed address"),
        (b"PROXY UNKNOWN " + b"x" * 93, "a line of more than 107 bytes"),
        (binary(0x11, FOUR, version=1), "version 1"),
        (binary(0x11, FOUR, version=3), "version 3"),
        (binary(0x11, FOUR, command=2), "the unknown command 2"),
        (binary(0x41, FOUR), "the unknown kind of addresses 0x41"),
        (binary(0x13, FOUR), "the unknown kind of addresses 0x13"),
        (binary(0x11, FOUR[:11]), "addresses that are cut short"),
        (binary(0x21, SIX[:35]), "addresses that are cut short"),
        (binary(0x31, UNIX[:215]), "addresses that are cut short"),
        (binary(0x11, FOUR, length=LONGEST - 15), "a header of more than 4096 bytes"),
        (binary(0x11, b"", command=0, length=65535), "a header of more than 4096 bytes"),
    ],
)
def test_refused(data: bytes, why: str) -> None:
    """What is no header, or could be read in two ways, is refused, and nothing more is waited for."""
    with pytest.raises(MalformedProxyHeader) as refused:
        read(data)
    assert str(refused.value) == why


@pytest.mark.parametrize("data", [b"G", b"PROXZ", b"\r\n\r\n\r", SIGNATURE + b"\x31\x11\0\x0c"])
def test_refused_early(data: bytes) -> None:
    """What has begun wrongly is refused at the byte where that is certain."""
    reader = ProxyHeaderReader()
    for at in range(len(data) - 1):
        assert reader.feed(data[at : at + 1]) is None
    with pytest.raises(MalformedProxyHeader):
        reader.feed(data[-1:])


@given(st.one_of(st.binary(), st.binary().map(lambda data: b"PROXY " + data), st.binary().map(lambda d: SIGNATURE + d)))
def test_anything(data: bytes) -> None:
    """Whatever comes is refused, waited for within bounds, or read; cut or not makes no difference."""

    def outcome(pieces: list[bytes]) -> object:
        reader = ProxyHeaderReader()
        fed = 0
        for piece in pieces:
            fed += len(piece)
            try:
                told = reader.feed(piece)
            except MalformedProxyHeader:
                return "refused"
            if told is not None:
                return told._replace(rest=told.rest + data[fed:])
        assert len(data) < LONGEST
        return None

    assert outcome([data]) == outcome([data[at : at + 1] for at in range(len(data))])
