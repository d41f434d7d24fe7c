"""The headers of W3C Trace Context: what is understood, and what becomes of what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.telemetry.traceparent import Caller, caller, lines, state, without

TRACE, SPAN = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
VALID = b"00-%b-%b-01" % (TRACE, SPAN)


def hexadecimal(size: int) -> st.SearchStrategy[bytes]:
    return st.integers(1, 16**size - 1).map(lambda number: b"%0*x" % (size, number))


@given(hexadecimal(32), hexadecimal(16), st.booleans())
def test_what_is_told_is_understood(trace: bytes, span: bytes, sampled: bool) -> None:
    """What we tell a callee, we would understand as one."""
    told = lines(trace, span, sampled, b"")
    assert caller([told.removeprefix(b"traceparent: ").removesuffix(b"\r\n")]) == Caller(trace, span, sampled)


@pytest.mark.parametrize(
    ("flags", "sampled"), [(b"00", False), (b"01", True), (b"02", False), (b"03", True), (b"ff", True)]
)
def test_flags(flags: bytes, sampled: bool) -> None:
    """The lowest bit says whether the trace is recorded, the others are none of our business."""
    assert caller([VALID[:-2] + flags]) == Caller(TRACE, SPAN, sampled)


@pytest.mark.parametrize("value", [b"cc" + VALID[2:], b"cc" + VALID[2:] + b"-what-the-future-will-be-like"])
def test_later_versions(value: bytes) -> None:
    """Of a version to come the beginning is understood."""
    assert caller([value]) == Caller(TRACE, SPAN, True)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [VALID, VALID],
        [b""],
        [b"ff" + VALID[2:]],
        [VALID + b"-more"],
        [VALID + b"\n"],
        [b"cc" + VALID[2:] + b".more"],
        [VALID.upper()],
        [VALID[:-1]],
        [b" " + VALID],
        [VALID.replace(TRACE, b"0" * 32)],
        [VALID.replace(SPAN, b"0" * 16)],
        [VALID.replace(b"-", b"_")],
        [VALID.replace(b"4bf9", b"4bg9")],
    ],
)
def test_nobody_calls(values: list[bytes]) -> None:
    """What does not follow the grammar tells of no caller, and neither do two that do."""
    assert caller(values) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], b""),
        ([b"congo=t61rcWkgMzE"], b"congo=t61rcWkgMzE"),
        ([b"a=1 , b=2,", b"1@c/d=x y"], b"a=1,b=2,1@c/d=x y"),
        ([b"a=1,a=2"], b""),
        ([b"A=1"], b""),
        ([b"a=1,b"], b""),
        ([b"a=\x801"], b""),
        ([b",".join(b"k%d=1" % number for number in range(32))], b",".join(b"k%d=1" % number for number in range(32))),
        ([b",".join(b"k%d=1" % number for number in range(33))], b""),
    ],
)
def test_state(values: list[bytes], expected: bytes) -> None:
    """The state goes on as one field, or where any of it is malformed not at all."""
    assert state(values) == expected


@given(st.binary(max_size=80))
def test_anything(value: bytes) -> None:
    """Whatever comes is understood or not, and what goes on fits into a header line."""
    caller([value])
    assert all(0x20 <= byte < 0x7F for byte in state([value]))


def test_without() -> None:
    """The lines of a trace are taken out of a block, in any spelling, and no others."""
    block = b"A: 1\r\nTraceParent: x\r\nX-traceparent: 2\r\ntracestate: y=1\r\ntracestate: z=1\r\ntraceparent2: 3\r\n"
    assert without(block) == b"A: 1\r\nX-traceparent: 2\r\ntraceparent2: 3\r\n"
