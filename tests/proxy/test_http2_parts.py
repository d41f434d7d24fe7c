"""The pure parts of HTTP/2: frames passed by, allowances, heads there and back, trailers."""

from __future__ import annotations

import pytest
from hpack import Decoder, HeaderTuple, NeverIndexedHeaderTuple
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.errors import ProxyError
from twisted_kong.proxy.headers import RequestParser, ResponseParser
from twisted_kong.proxy.http2.frames import LONGEST, Allowance, FrameRefused, FrameScanner, GoAway
from twisted_kong.proxy.http2.heads import LineFields, RequestHeads, ResponseHeads
from twisted_kong.proxy.http2.packing import Packer
from twisted_kong.proxy.trailers import passed_on

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


NAMES = st.sampled_from([b":status", b"server", b"set-cookie", b"x-a", b"x-" + b"n" * 200])
VALUES = st.sampled_from([b"", b"200", b"404", b"a", b"b" * 126, b"c" * 127, b"d" * 300, b"e" * 5000])
FIELDS = st.builds(
    lambda name, value, never: (NeverIndexedHeaderTuple if never else HeaderTuple)(name, value),
    NAMES,
    st.one_of(VALUES, st.integers(0, 200).map(lambda number: b"%d" % number)),
    st.booleans(),
)


@given(st.lists(st.one_of(st.lists(FIELDS, max_size=30), st.sampled_from([0, 40, 100, 1000, 4096]))))
def test_heads_are_unpacked_as_they_were(said: list[list[HeaderTuple] | int]) -> None:
    """Whatever was said before, and however large the table may be meanwhile, a decoder reads the fields that went in;
    those that must never be remembered say so."""
    packer, decoder = Packer(), Decoder(max_header_list_size=1 << 20)
    for one in said:
        if isinstance(one, int):
            packer.header_table_size = one
            decoder.max_allowed_table_size = max(one, 4096)
            continue
        found = decoder.decode(packer.encode(one), raw=True)
        assert list(found) == one
        assert [field.indexable for field in found] == [field.indexable for field in one]
        assert list(decoder.header_table.dynamic_entries) == list(packer.header_table.dynamic_entries)


def test_what_is_said_again_is_short() -> None:
    """A field that a connection has seen takes a byte or two, however many others it has seen."""
    packer = Packer()
    fields = [HeaderTuple(b"x-%d" % number, b"v" * 10) for number in range(80)]
    packer.encode(fields)
    assert len(packer.encode(fields)) <= 2 * len(fields)


frames = st.lists(
    st.one_of(
        st.builds(frame, st.sampled_from([0, 2, 3, 4, 6, 8, 200]), st.binary(max_size=40), st.just(0), st.just(1)),
        st.builds(frame, st.just(7), st.binary(min_size=8, max_size=20)),
        st.builds(frame, st.just(7), st.binary(max_size=12), st.just(0), st.just(1)),
    )
)


@given(frames, st.lists(st.integers(1, 60)), st.booleans())
def test_frames_pass_in_order(sent: list[bytes], cuts: list[int], from_client: bool) -> None:
    """However the bytes are cut, all pass but well-formed GOAWAYs, which are told where they came."""
    scanner = FrameScanner(from_client=from_client)
    data = (PREFACE if from_client else b"") + b"".join(sent)
    expected: list[bytes | GoAway] = [PREFACE] if from_client else []
    for each in sent:
        if each[3] == 7 and each[5:9] == bytes(4) and len(each) >= 17:
            last, code = int.from_bytes(each[9:13], "big") & 0x7FFFFFFF, int.from_bytes(each[13:17], "big")
            expected.append(GoAway(last, code))
        else:
            expected.append(each)
    found: list[bytes | GoAway] = []
    for cut in [*cuts, len(data) + 1]:
        found += scanner.feed(data[:cut])
        data = data[cut:]
    assert joined(found) == joined(expected)


def joined(pieces: list[bytes | GoAway]) -> list[bytes | GoAway]:
    """Bytes that follow each other in one piece."""
    whole: list[bytes | GoAway] = []
    for piece in pieces:
        if whole and isinstance(piece, bytes) and isinstance(whole[-1], bytes):
            whole[-1] += piece
        elif piece != b"":
            whole.append(piece)
    return whole


def test_frames_that_carry_nothing_are_counted() -> None:
    """Pings, settings, priorities, unknown kinds and empty data count; content and the end of a body do not."""
    scanner = FrameScanner(from_client=False)
    scanner.feed(frame(6, bytes(8)) + frame(4) + frame(2, bytes(5), 0, 1) + frame(99) + frame(0, b"", 0, 1))
    assert scanner.idle == 5
    scanner.feed(frame(0, b"x", 0, 1) + frame(0, b"", 1, 1) + frame(8, bytes(4)) + frame(3, bytes(4), 0, 1))
    assert (scanner.idle, scanner.updates) == (5, 1)


@pytest.mark.parametrize("size", [LONGEST + 1, 0xFFFFFF])
def test_long_frame_is_refused_by_its_header(size: int) -> None:
    """A frame that is too long is refused before its content."""
    with pytest.raises(FrameRefused):
        FrameScanner(from_client=False).feed(size.to_bytes(3, "big") + bytes(6))


def test_allowance() -> None:
    """So many at once, so many a second on, and what is earned; never more saved up than at first."""
    allowance = Allowance(3, 2.0, 100.0)
    assert [allowance.spend(1, 100.0) for _ in range(4)] == [True, True, True, False]
    allowance.earn(10)
    assert [allowance.spend(1, 100.0) for _ in range(4)] == [True, True, True, False]
    assert [allowance.spend(1, 101.0) for _ in range(2)] == [True, False]


# -- heads -----------------------------------------------------------------------------------------------------

BASE = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a.test"), (b":path", b"/")]
nasty = st.one_of(
    st.binary(max_size=12),
    st.text(alphabet="ab:\r\n\0\t _-XÄ", max_size=12).map(lambda text: text.encode()),
    st.sampled_from([b"host", b"content-length", b"transfer-encoding", b"chunked", b"cookie", b"connection", b"te"]),
)
fields = st.lists(st.tuples(nasty, nasty), max_size=6)


@given(fields, st.booleans())
def test_no_request_becomes_two(sent: list[tuple[bytes, bytes]], ended: bool) -> None:
    """Whatever the fields: refused, or exactly themselves as lines that our parser for HTTP/1 reads alike."""
    parser = RequestParser(8192, 32768)
    try:
        head = RequestHeads(parser).read([*BASE, *sent], ended=ended)
    except ProxyError:
        return
    assert head.passing.count(b"\n") == head.passing.count(b"\r\n") == head.passing.count(b"\r")
    again = parser.parse(
        b"GET / HTTP/1.1\r\nHost: a.test\r\n" + head.passing[:-2] if head.passing else b"GET / HTTP/1.1\r\nHost: a.test"
    )
    assert again.passing == head.passing
    names = [name for name, _ in sent if name not in (b"cookie", b"host", b"te")]
    kept = [line.partition(b":")[0] for line in head.passing.split(b"\r\n")[:-1] if not line.startswith(b"cookie:")]
    assert set(kept) <= set(names)
    assert head.meaning.chunked == (not ended and head.meaning.length is None)


@pytest.mark.parametrize(
    ("ended", "sent", "length", "chunked"),
    [
        (True, [], None, False),
        (True, [(b"content-length", b"0")], 0, False),
        (False, [(b"content-length", b"12")], 12, False),
        (False, [], None, True),
    ],
)
def test_framing(ended: bool, sent: list[tuple[bytes, bytes]], length: int | None, chunked: bool) -> None:
    """A body of unknown length is chunked to HTTP/1, and no body is none."""
    meaning = RequestHeads(RequestParser(8192, 32768)).read([*BASE, *sent], ended=ended).meaning
    assert (meaning.length, meaning.chunked, meaning.has_body) == (length, chunked, chunked or bool(length))


def test_answer_s_head() -> None:
    """An answer's fields become the head our parser for HTTP/1 would yield."""
    parser = ResponseParser(b"UTF-8")
    sent = [(b":status", b"200"), (b"content-type", b"text/plain"), (b"content-length", b"3"), (b"x", b"y")]
    head = ResponseHeads(parser).read(sent)
    assert (head.status, head.meaning.length) == (200, 3)
    assert head.passing == b"content-type: text/plain; charset=UTF-8\r\nx: y\r\n"


def test_lines_to_fields() -> None:
    """Names lose their case, what concerns a connection is left out, and secrets are kept out of the tables."""
    found = LineFields().fields(
        ((b":status", b"200"),),
        b"X-A: b: c\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nSet-Cookie: s=1\r\n",
    )
    assert found == [(b":status", b"200"), (b"x-a", b"b: c"), (b"te", b"trailers"), (b"set-cookie", b"s=1")]
    assert [getattr(field, "indexable", True) for field in found] == [True, True, True, False]


@pytest.mark.parametrize(
    "name",
    ["Content-Length", "transfer-encoding", "Host", "Authorization", "Cookie", "X-Forwarded-For", "If-Match", "Te"],
)
def test_trailers_that_decide_nothing(name: str) -> None:
    """What a head decides is not decided anew behind the body."""
    assert passed_on([f"{name}: 1".encode(), b"X-Sum:  7 "]) == b"X-Sum: 7\r\n"
