"""Requests that wait until a peer has room for them."""

from __future__ import annotations

import spoken
from loopback import GET, OK, Lab

BOUND = {"max_connections": 1, "queue": {"size": 5, "timeout": 2}}


def test_waiting() -> None:
    """A request that waits is sent when the one before it has ended, and answered with its own answer."""
    lab = Lab(upstream=BOUND)
    first, second = lab.client(GET), lab.client(GET)
    origin = lab.origin()
    assert (origin.take().count(b"GET "), len(lab.dials)) == (1, 1)
    origin.send(OK)
    assert spoken.answer(first.received).status == 200
    assert origin.take().count(b"GET ") == 1
    origin.send(OK)
    assert spoken.answer(second.received).status == 200
    lab.assert_idle()


def test_too_long() -> None:
    """Who waits too long is answered as where there is nobody; the one under way is not disturbed."""
    lab = Lab(upstream=BOUND, settings={"gateway_reason_header": "on"})
    first, second = lab.client(GET), lab.client(GET)
    origin = lab.origin()
    lab.wait(2.1)
    answer = spoken.answer(second.received)
    assert (answer.status, answer.value(b"x-gateway-reason")) == (503, b"waited-too-long")
    assert b"failure to get a peer from the ring-balancer" in answer.body
    origin.send(OK)
    assert spoken.answer(first.received).status == 200
    lab.assert_idle()


def test_gone() -> None:
    """A client that goes away while it waits leaves nothing behind."""
    lab = Lab(upstream=BOUND)
    lab.client(GET)
    lab.client(GET).reset()
    third = lab.client(GET)
    origin = lab.origin()
    origin.send(OK)
    origin.send(OK)
    lab.wait()
    assert spoken.answer(third.received).status == 200
    lab.assert_idle()
