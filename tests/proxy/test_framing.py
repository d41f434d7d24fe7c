"""Bodies: where they end, whatever the pieces they come in."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_kong.proxy.framing import LAST_CHUNK, Body, ChunkedBody, MalformedBody, SizedBody, UnsizedBody, chunk

FIXED = settings(derandomize=True, deadline=None)

Reading = tuple[bytes, bytes] | str | None
"""Content and leftover of a complete body; why it was refused; None while it is not complete."""


def read(body: Body, pieces: Iterable[bytes]) -> Reading:
    """What ``body`` makes of ``pieces``, nothing being fed to a body that has ended."""
    content = b""
    pieces = list(pieces)
    try:
        for number, piece in enumerate(pieces, 1):
            if body.ended:
                return content, b"".join(pieces[number - 1 :])
            more, rest = body.feed(piece)
            content += more
            if body.ended:
                return content, rest + b"".join(pieces[number:])
            assert rest == b""
    except MalformedBody:
        return "refused"
    return (content, b"") if body.ended else None


@st.composite
def cut(draw: st.DrawFn, data: st.SearchStrategy[bytes]) -> tuple[bytes, list[bytes]]:
    """Bytes, and the same bytes in pieces, some of them perhaps empty."""
    whole = draw(data)
    ends = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    return whole, [whole[begin:end] for begin, end in zip([0, *ends], [*ends, len(whole)], strict=True)]


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


SIZES = st.builds(
    lambda size, zeros, upper: b"0" * zeros + (b"%X" if upper else b"%x") % size,
    st.integers(0, 40),
    st.integers(0, 3),
    st.booleans(),
)
EXTENSIONS = st.sampled_from([b"", b"", b"", b";a", b';a="b"', b" ; a=b", b"\t", b";\xff"])
CHUNKS = st.builds(
    lambda content, extension: b"%x%b\r\n%b\r\n" % (len(content), extension, content),
    st.binary(min_size=1, max_size=40),
    EXTENSIONS,
)
TRAILERS = st.lists(st.sampled_from([b"X: y\r\n", b"x-y:\r\n", b"A: \xff \t\r\n"]), max_size=3).map(b"".join)
CHUNKED = st.builds(
    lambda chunks, extension, trailers, rest: b"".join(chunks) + b"0" + extension + b"\r\n" + trailers + b"\r\n" + rest,
    st.lists(CHUNKS, max_size=4),
    EXTENSIONS,
    TRAILERS,
    st.binary(max_size=10),
)
BROKEN = st.builds(
    lambda data, at, new: data[: at % len(data)] + new + data[at % len(data) + 1 :],
    CHUNKED,
    st.integers(0, 1000),
    st.sampled_from([b"", b"\n", b"\r", b"\r\n", b"0", b"x", b"-", b"\0", b" ", b";"]) | st.binary(max_size=2),
)
FRAGMENTS = st.lists(
    st.sampled_from(
        [b"0", b"1", b"a", b"F", b"\r\n", b"\r", b"\n", b";", b" ", b"x", b"\0", b"0\r\n\r\n", b"X: y\r\n"]
    ),
    max_size=20,
).map(b"".join)


# -- any pieces ------------------------------------------------------------------------------------------------


@FIXED
@given(st.integers(0, 60), cut(st.binary(max_size=80)))
def test_sized_body_in_pieces(length: int, data: tuple[bytes, list[bytes]]) -> None:
    """A body of announced length is exactly its first bytes, however they come."""
    whole, pieces = data
    expected = (whole[:length], whole[length:]) if len(whole) >= length else None
    assert read(SizedBody(length), [whole]) == expected
    assert read(SizedBody(length), pieces) == expected
    assert read(SizedBody(length), bytewise(whole)) == expected


@settings(FIXED, max_examples=400)
@given(cut(CHUNKED | BROKEN | FRAGMENTS))
def test_chunked_body_in_pieces(data: tuple[bytes, list[bytes]]) -> None:
    """All at once, byte by byte or in any pieces: the same content and leftover, or the same refusal."""
    whole, pieces = data
    expected = read(ChunkedBody(), [whole])
    assert read(ChunkedBody(), pieces) == expected
    assert read(ChunkedBody(), bytewise(whole)) == expected


@FIXED
@given(cut(st.binary(max_size=80)))
def test_unsized_body(data: tuple[bytes, list[bytes]]) -> None:
    """A body that lasts until its connection closes is everything, and never ends by itself."""
    body = UnsizedBody()
    whole, pieces = data
    assert b"".join(body.feed(piece)[0] for piece in pieces) == whole
    assert not body.ended


@FIXED
@given(st.lists(st.binary(min_size=1, max_size=100)), cut(st.binary(max_size=10)))
def test_round_trip(contents: list[bytes], rest: tuple[bytes, list[bytes]]) -> None:
    """What is framed anew is read back whole, and nothing of what follows is touched."""
    framed = b"".join(map(chunk, contents)) + LAST_CHUNK
    assert read(ChunkedBody(), [framed + rest[0]]) == (b"".join(contents), rest[0])
    assert read(ChunkedBody(), [framed, *rest[1]]) == (b"".join(contents), rest[0])


@settings(FIXED, max_examples=300)
@given(CHUNKED | BROKEN | FRAGMENTS)
def test_reading_stops_at_the_end(data: bytes) -> None:
    """Bytes behind a body decide nothing about it: it ends where it ends."""
    reading = read(ChunkedBody(), [data])
    if isinstance(reading, tuple):
        body, (content, rest) = data[: len(data) - len(reading[1])], reading
        assert read(ChunkedBody(), [body]) == (content, b"")
        assert read(ChunkedBody(), [body + b"\r\n\r\nGET"]) == (content, b"\r\n\r\nGET")
        assert data == body + rest
        assert read(ChunkedBody(), [body[:-1]]) is None


# -- exactly these ---------------------------------------------------------------------------------------------

END = b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (END, b""),
        (b"1\r\na\r\n" + END, b"a"),
        (b"0001\r\na\r\n0000\r\n\r\n", b"a"),
        (b"A\r\n0123456789\r\n" + END, b"0123456789"),
        (b'1;a="b;c\r"'.replace(b"\r", b"") + b"\r\na\r\n0;c\r\n\r\n", b"a"),
        (b"1 \t\r\na\r\n" + END, b"a"),
        (b"2\r\n\r\n\r\n" + END, b"\r\n"),
        (b"0\r\nX: y\r\nZ:\r\n\r\n", b""),
    ],
)
@pytest.mark.parametrize("how", [lambda data: [data], bytewise], ids=["at once", "byte by byte"])
def test_understood(data: bytes, content: bytes, how: Callable[[bytes], list[bytes]]) -> None:
    """Sizes are hexadecimal, extensions and trailers are dropped, line ends may be content."""
    assert read(ChunkedBody(), [*how(data), b"GET"]) == (content, b"GET")


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b" 1\r\na\r\n",
        b"+1\r\na\r\n",
        b"-1\r\na\r\n",
        b"0x1\r\na\r\n",
        b"1_0\r\n",
        b"g\r\n",
        b"\xd9\xa1\r\n",
        b"1,1\r\n",
        b"1;\0\r\n",
        b"1\ra\r\n",
        b"1\n",
        b"1;a\n\r\n",
        b"0000000000000001\r\na\r\n",
        b"ffffffffffffffff\r\n",
        b"1\r\nab",
        b"1\r\na\n",
        b"1\r\na\r\r\n",
        b"2\r\na\r\n",
        b"1\r\na\r\n\r\n",
        b"0\r\nnonsense\r\n",
        b"0\r\nX : y\r\n",
        b"0\r\n X: y\r\n",
        b"0\r\n: y\r\n",
        b"0\r\nX: \0\r\n",
        b"0\r\nX: y\n",
        b"0\r\n\n",
        b"0\n\r\n",
    ],
)
@pytest.mark.parametrize("how", [lambda data: [data], bytewise], ids=["at once", "byte by byte"])
def test_refused(data: bytes, how: Callable[[bytes], list[bytes]]) -> None:
    """What is not exactly a size, a chunk or a trailer is refused as soon as it is seen."""
    assert read(ChunkedBody(), how(data)) == "refused"


@pytest.mark.parametrize("data", [b"1;" + b"a" * 5000, b"0\r\nX: " + b"a" * 5000, b"0" * 5000])
def test_endless_lines(data: bytes) -> None:
    """A line of the coding that does not end is refused before it fills the memory."""
    assert read(ChunkedBody(), bytewise(data)) == "refused"


@pytest.mark.parametrize("length", [4093, 4094, 4095, 4096, 4097, 8000, 16_000, 17_000])
@pytest.mark.parametrize(
    "line", [b"1;%b\r\na\r\n0\r\n\r\n", b"0;%b\r\n\r\n", b"0\r\nX:%b\r\n\r\n"], ids=["size", "last", "trailer"]
)
def test_long_lines_in_pieces(length: int, line: bytes) -> None:
    """Whether a line is too long does not depend on the pieces it comes in."""
    data = line % (b"a" * (length - 2))
    assert read(ChunkedBody(), bytewise(data)) == read(ChunkedBody(), [data])


def test_endless_trailers() -> None:
    """Trailers that do not end are refused, too."""
    assert read(ChunkedBody(), [b"0\r\n", *[b"X: y\r\n"] * 10_000]) == "refused"


def test_empty_trailers() -> None:
    """However short the lines of the trailers are, there is an end to them."""
    assert read(ChunkedBody(), [b"0\r\n", *[b"X:\r\n"] * 100_000]) == "refused"


def test_large_chunk_is_not_kept() -> None:
    """Content is handed on as it comes, however large its chunk."""
    body = ChunkedBody()
    body.feed(b"7fffffff\r\n")
    for _ in range(10):
        assert body.feed(bytes(1000)) == (bytes(1000), b"")
