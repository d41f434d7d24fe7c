"""The compiled half of the proxy does what its twin in Python does, byte for byte and refusal for refusal."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.errors import ProxyError
from twisted_kong.proxy import accelerator, headers, plain

try:
    compiled: Any = import_module("twisted_kong.proxy._accelerator")
except ImportError:
    pytest.skip("the accelerator has not been compiled: there was no C compiler", allow_module_level=True)

BOTH = pytest.mark.parametrize("half", [plain, compiled], ids=["python", "c"])


def fresh() -> tuple[Any, Any]:
    """The tables that a parser of requests and one of responses know their lines by."""
    return headers.RequestParser(8192, 65536)._memory._known, headers.ResponseParser(b"utf-8")._memory._known


NAMES = (
    st.sampled_from([name for known in fresh() for name in sorted(known.watched)])
    | st.sampled_from([b"X-Own", b"Accept", b"x" * 70, b"te1", b"via-", b"", b"A b", b"H\x80"])
    | st.binary(max_size=4)
)
LINES = st.builds(
    lambda name, upper, colon, value, end: (name.upper() if upper else name) + colon + value + end,
    NAMES,
    st.booleans(),
    st.sampled_from([b":", b": ", b":\t ", b" :", b""]),
    st.sampled_from([b"", b"a.test", b"5", b"05", b"close, x-own", b"text/html", b"chunked", b"a" * 300])
    | st.binary(max_size=6),
    st.sampled_from([b"", b" ", b"\t", b"\r", b"\n", b"\0", b"\x7f", b"\xff"]),
)
HEADS = st.lists(LINES, max_size=6).map(lambda lines: b"\r\n".join([b"GET / HTTP/1.1", *lines])) | st.binary(
    max_size=60
)


def told(half: Any, known: Any, head: bytes) -> object:
    """All that a reader makes of a head; special fields by what they say, since each table has its own."""
    try:
        first, passing, special = half.LineReader(known, known.watched).read(head)
    except ProxyError as error:
        return type(error), str(error)
    return first, passing, [(field.name, field.value, field.size, field.remembered) for field in special]


@given(HEADS)
def test_reads_alike(head: bytes) -> None:
    """Whatever the head, both read the same of it or refuse it in the same words."""
    for mine, yours in zip(fresh(), fresh(), strict=True):
        assert told(plain, mine, head) == told(compiled, yours, head)


@pytest.mark.parametrize("value", [bytes([code]) for code in range(256)])
def test_every_character(value: bytes) -> None:
    """Every character means the same to both: in a name, in a value, at either end of it, and behind a line."""
    for line in (b"X%bY: a", b"X: a%bb", b"X:%ba", b"X: a%b", b"%b: a", b"X: a\r\n%bY: b", b"Via%b: x"):
        head = b"GET / HTTP/1.1\r\n" + line % value
        for mine, yours in zip(fresh(), fresh(), strict=True):
            assert told(plain, mine, head) == told(compiled, yours, head)


@pytest.mark.parametrize("size", [0, 1, 2047, 2048, 4093, 4094, 4095, 4096, 4097, 20_000])
def test_long_heads(size: int) -> None:
    """Lines of any length are passed on whole, one or many of them."""
    known, _ = fresh()
    for head in (b"GET / HTTP/1.1\r\nX:%b" % (b"x" * size), b"GET / HTTP/1.1" + b"\r\nX:y" * size):
        assert told(plain, known, head) == told(compiled, known, head)


@BOTH
def test_special_fields_are_the_known_ones(half: Any) -> None:
    """A special field is the very object that the table has, the next time as well."""
    known, _ = fresh()
    read = half.LineReader(known, known.watched).read
    head = b"GET / HTTP/1.1\r\nHost: a.test\r\nVia: 1.1 x"
    assert [id(field) for field in read(head)[2]] == [id(known[line]) for line in (b"Host: a.test", b"Via: 1.1 x")]
    assert read(head)[2] == read(head)[2]


def test_only_watched_lines_are_asked_about() -> None:
    """The C does not ask about a line that it knows to be plain, and so a table does not fill up with those."""
    known, _ = fresh()
    compiled.LineReader(known, known.watched).read(b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Own: 1\r\nHosts: 2")
    assert list(known) == [b"Host: a.test"]


NAMES = st.sampled_from([b"a", b"b-c", b"host", b""])
LINES = st.lists(
    st.sampled_from([b"A: 1", b"a:\t 2 \t", b"B-c:", b"b-C : 3", b"Host:x\ny", b"hosts: 4", b"a\n:5", b"", b":", b"a"])
)


@given(LINES, NAMES)
def test_same_values(lines: list[bytes], name: bytes) -> None:
    """Both find the same values of a field, whatever its spelling; the first line is none."""
    head = b"\r\n".join(lines)
    assert plain.values_of(head, name) == compiled.values_of(head, name)


@BOTH
def test_values(half: Any) -> None:
    """They come in order and without the blanks around them."""
    head = b"GET /a:1 HTTP/1.1\r\nA:1\r\nb: x\r\nCA: 9\r\na:  2 3\t"
    assert half.values_of(head, b"a") == [b"1", b"2 3"]
    assert half.values_of(head, b"c") == []


@BOTH
def test_no_bytes(half: Any) -> None:
    """What is no head of bytes is a mistake of whoever calls."""
    with pytest.raises((TypeError, AttributeError)):
        half.LineReader({}, ()).read(None)


def test_leaves_nothing_behind() -> None:
    """Reading, and refusing to read, keeps nothing."""
    known, _ = fresh()
    reader = compiled.LineReader(known, known.watched)
    heads = [b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 9000, b"GET / HTTP/1.1\r\nHost: a\r\nbroken", b""]

    def work() -> int:
        for head in heads * 50:
            told(compiled, known, head)
        gc.collect()
        return len(gc.get_objects()) + sys.getrefcount(known) + sys.getrefcount(known[b"Host: a"])

    work()
    assert work() - work() == 0
    assert reader.read(heads[0])[0] == b"GET / HTTP/1.1"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection that do not block."""
    here, there = socket.socketpair()
    here.setblocking(False)
    there.setblocking(False)
    with here, there:
        yield here, there


@BOTH
class TestSockets:
    def test_receives(self, half: Any, pair: tuple[socket.socket, socket.socket]) -> None:
        """What has come, up to a size; None while there is nothing; empty at the end."""
        here, there = pair
        assert half.receive(here.fileno(), 100) is None
        there.sendall(b"x" * 150)
        assert half.receive(here.fileno(), 100) == b"x" * 100
        assert half.receive(here.fileno(), 100) == b"x" * 50
        there.close()
        assert half.receive(here.fileno(), 100) == b""

    def test_what_was_received_stays(self, half: Any, pair: tuple[socket.socket, socket.socket]) -> None:
        """Little or much of it, it is the receiver's own and does not change with what comes next."""
        here, there = pair
        kept = []
        for number in range(12):
            size = (1, 24, 25, 99, 100)[number % 5]
            there.sendall(bytes([number]) * size)
            kept.append(half.receive(here.fileno(), 100))
            assert kept == [bytes([each]) * (1, 24, 25, 99, 100)[each % 5] for each in range(number + 1)]

    def test_broken(self, half: Any, pair: tuple[socket.socket, socket.socket]) -> None:
        """Reading from what is no connection raises, and nothing can be sent to it."""
        descriptor, other = os.pipe()
        os.close(descriptor)
        os.close(other)
        with pytest.raises(OSError):  # noqa: PT011  # which one is the system's affair
            half.receive(descriptor, 100)
        assert half.send(descriptor, b"x") == 0
        here, there = pair
        there.close()
        assert half.send(here.fileno(), b"x") == 0

    def test_sends(self, half: Any, pair: tuple[socket.socket, socket.socket]) -> None:
        """As much goes as there is room for, and that arrives; then nothing."""
        here, there = pair
        size = 1 << 24
        sent = half.send(here.fileno(), b"x" * size)
        assert 0 < sent < size
        assert half.send(here.fileno(), b"y" * size) < size
        assert there.recv(100) == b"x" * 100


@pytest.mark.parametrize(("said", "accelerated"), [("1", False), ("0", True), ("", True)])
def test_the_environment_decides(said: str, accelerated: bool) -> None:
    """``TWISTED_KONG_PURE=1`` has the Python used."""
    code = "from twisted_kong.proxy.accelerator import ACCELERATED; print(ACCELERATED)"
    environ = {**os.environ, "TWISTED_KONG_PURE": said}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(accelerated)
    assert (os.environ.get("TWISTED_KONG_PURE", "0") in ("", "0")) == accelerator.ACCELERATED
