"""``traceparent`` and ``tracestate``: who has begun a trace, and which of its spans calls us. Pure.

The grammar and what to do with whatever does not follow it are those of W3C Trace Context, level 1 (§3.2, §3.3, §4).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_NOBODY = b"0" * 32
_MOST_MEMBERS = 32
_KEY = rb"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
_VALUE = rb"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER = re.compile(_KEY + b"=" + _VALUE)
_FIELDS = re.compile(rb"^trace(?:parent|state):[^\r\n]*\r\n", re.IGNORECASE | re.MULTILINE)


class Caller(NamedTuple):
    """The span that calls: its trace and its own id, in hexadecimal, and whether the trace is recorded."""

    trace_id: bytes
    span_id: bytes
    sampled: bool


def caller(values: Sequence[bytes]) -> Caller | None:
    """Who calls by these values of ``traceparent``; None where that cannot be told, and a trace begins here."""
    if len(values) != 1:
        return None
    found = _TRACEPARENT.fullmatch(values[0])
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more is not None):
        return None
    if trace_id == _NOBODY or span_id == _NOBODY[:16]:
        return None
    return Caller(trace_id, span_id, bool(int(flags, 16) & 1))


def state(values: Sequence[bytes]) -> bytes:
    """``tracestate`` as it goes on: all values as one, or nothing where they are malformed."""
    members = [member.strip(b" \t") for value in values for member in value.split(b",")]
    members = [member for member in members if member]
    keys = {member.partition(b"=")[0] for member in members}
    if len(members) > _MOST_MEMBERS or len(keys) < len(members) or not all(map(_MEMBER.fullmatch, members)):
        return b""
    return b",".join(members)


def lines(trace_id: bytes, span_id: bytes, sampled: bool, state: bytes) -> bytes:
    """The header lines that tell a callee."""
    told = b"traceparent: 00-%b-%b-%02d\r\n" % (trace_id, span_id, sampled)
    return b"%btracestate: %b\r\n" % (told, state) if state else told


def without(block: bytes) -> bytes:
    """A block of header lines less those that tell of a trace."""
    return _FIELDS.sub(b"", block)
