"""Why there is nobody to send a request to, where clients are to be told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import spoken
from loopback import Lab

from twisted_kong.errors import NameNotFound

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
TELL = {"gateway_reason_header": "on"}
CHECKED = {"healthchecks": {"threshold": 60, "passive": {"unhealthy": {"tcp_failures": 1}}}}


def refused(lab: Lab) -> Any:
    """The answer to a request nobody can be found for."""
    client = lab.client(GET)
    lab.wait()
    while lab.names.asked:
        lab.names.fail(next(iter(lab.names.asked)), NameNotFound())
        lab.wait()
    answer = spoken.answer(client.received)
    assert answer.status == 503
    assert b"failure to get a peer from the ring-balancer" in answer.body
    return answer


def reason(lab: Lab) -> list[bytes]:
    return [value for name, value in refused(lab).fields if name.lower() == b"x-gateway-reason"]


@pytest.mark.parametrize(
    ("targets", "weight", "expected"),
    [((), 100, b"no-targets"), (("10.0.0.1:80",), 0, b"all-weights-zero"), (("n.test:80",), 100, b"dns")],
)
def test_reasons(targets: Sequence[str], weight: int, expected: bytes) -> None:
    """No targets, none with a weight, none with an address."""
    lab = Lab(targets, settings=TELL, upstream=CHECKED, weight=weight)
    assert reason(lab) == [expected]


@pytest.mark.parametrize(
    ("targets", "expected"),
    [(("10.0.0.1:80",), b"all-unhealthy"), (("10.0.0.1:80", "10.0.0.2:80"), b"below-threshold")],
)
def test_ill(targets: Sequence[str], expected: bytes) -> None:
    """All are unhealthy, or too many."""
    lab = Lab(targets, settings=TELL, upstream=CHECKED, service={"retries": 0})
    lab.client(GET)
    lab.dials[0].refuse()
    assert reason(lab) == [expected]


def test_not_told() -> None:
    """Without the setting nothing is told."""
    assert reason(Lab(())) == []
