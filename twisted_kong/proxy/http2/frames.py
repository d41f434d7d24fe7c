"""Frames before `h2` sees them, and how much nonsense a connection may send. Pure.

`h2` takes a GOAWAY for the end of everything, but streams under way go on after it (RFC 9113 §6.8): so it never gets
to see one that is well-formed. Nor does it refuse a frame that is too long before the whole of it has come, or bound
the pieces of a head by their size. Passing by every frame's header is also the cheapest place to count those that only
make work (CVE-2019-9512, 9513, 9515, 9518).
"""

from __future__ import annotations

from dataclasses import dataclass

from twisted_kong.errors import ProxyError

DATA, HEADERS, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 7, 8, 9
FRAME_SIZE_ERROR, ENHANCE_YOUR_CALM = 6, 11
LONGEST = 16384
"""Bytes of the longest frame we take: what every endpoint has to (RFC 9113 §4.2)."""
_HEADER = 9
_PREFACE = 24
_WORK = frozenset([0, 1, 3, 8])
"""DATA, HEADERS, RST_STREAM and WINDOW_UPDATE are counted by what they say, all other frames by their number."""


class FrameRefused(ProxyError):
    """A frame that ends its connection, with the error ``code``."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class GoAway:
    """The other side takes no streams beyond ``last``, and says why by ``code``."""

    last: int
    code: int


class FrameScanner:
    """Follows the frames in what comes over a connection, a client's with its preface. ``head_limit`` bounds the
    bytes of a head as they come.

    ``idle`` counts the frames seen that carried nothing of a message, until somebody sets it back; ``updates`` those
    that open a window.
    """

    def __init__(self, *, from_client: bool, head_limit: int = 1 << 24) -> None:
        self.idle = 0
        self.updates = 0
        self._kept = b""
        self._skip = _PREFACE if from_client else 0
        self._head_limit = head_limit
        self._head = 0  # bytes of the head that has begun last

    def feed(self, data: bytes) -> list[bytes | GoAway]:
        """``data`` with what was kept of earlier: pieces for `h2`, and every GOAWAY in its place between them.

        :raise FrameRefused: the connection has to end.
        """
        if self._kept:
            data, self._kept = self._kept + data, b""
        found: list[bytes | GoAway] = []
        size = len(data)
        start, at = 0, self._skip
        while at + _HEADER <= size:
            length = int.from_bytes(data[at : at + 3], "big")
            kind = data[at + 3]
            if length > LONGEST:
                raise FrameRefused(FRAME_SIZE_ERROR, "a frame that is too long")
            if kind in (HEADERS, CONTINUATION):
                self._head = length + (self._head if kind == CONTINUATION else 0)
                if self._head > self._head_limit:
                    raise FrameRefused(ENHANCE_YOUR_CALM, "a head in too many pieces")
            if kind not in _WORK or (kind == DATA and not length and not data[at + 4] & 1):
                self.idle += 1
            elif kind == WINDOW_UPDATE:
                self.updates += 1
            end = at + _HEADER + length
            if kind == GOAWAY and length >= 8 and not any(data[at + 5 : at + _HEADER]):
                if end > size:
                    break
                if at > start:
                    found.append(data[start:at])
                last, code = data[at + 9 : at + 13], data[at + 13 : at + 17]
                found.append(GoAway(int.from_bytes(last, "big") & 0x7FFFFFFF, int.from_bytes(code, "big")))
                start = end
            at = end
        if at >= size:
            self._skip = at - size
            at = size
        else:
            self._skip = 0
            self._kept = data[at:]
        if at > start:
            found.append(data[start:at])
        return found


class Allowance:
    """How often something may happen that costs us more than the other side: ``burst`` times at once, and
    ``per_second`` on; what is worth something earns more of it."""

    def __init__(self, burst: int, per_second: float, now: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = float(burst)
        self._at = now

    def earn(self, amount: float) -> None:
        """Something was of use."""
        self._left = min(self._left + amount, self._burst)

    def spend(self, amount: float, now: float) -> bool:
        """It has happened again; False once it was too often."""
        self._left = min(self._left + (now - self._at) * self._per_second, self._burst) - amount
        self._at = now
        return self._left >= 0
