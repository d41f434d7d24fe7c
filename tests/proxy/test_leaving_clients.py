"""Clients that leave before they have been answered: whatever the phase, nothing goes on behind their backs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from loopback import GET, Lab, Line, post

from twisted_kong.errors import NameNotFound
from twisted_kong.model.traffic import Outcome

TWO = ("10.0.0.1:80", "10.0.0.2:80")
BODY = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
Phase = Callable[[], tuple[Lab, Line]]


def connecting() -> tuple[Lab, Line]:
    lab = Lab(TWO)
    return lab, lab.client(GET)


def connecting_again() -> tuple[Lab, Line]:
    lab = Lab(TWO)
    client = lab.client(GET)
    lab.dials[0].refuse()
    return lab, client


def waiting() -> tuple[Lab, Line]:
    lab = Lab(TWO)
    client = lab.client(GET)
    lab.origin()
    return lab, client


def waiting_for_the_answer_to_a_body() -> tuple[Lab, Line]:
    lab = Lab(TWO)
    client = lab.client(post(b"body"))
    lab.origin()
    return lab, client


def waiting_for_the_answer_to_a_streamed_body() -> tuple[Lab, Line]:
    lab = Lab(TWO, route={"request_buffering": False})
    client = lab.client(post(b"body"))
    lab.origin()
    return lab, client


def uploading() -> tuple[Lab, Line]:
    lab = Lab(TWO)
    client = lab.client(post(bytes(1_000_000)))
    lab.dials[0].accept(room=1000)
    return lab, client


def streaming() -> tuple[Lab, Line]:
    lab = Lab(TWO, route={"request_buffering": False})
    client = lab.client(post(b"half", length=8))
    lab.origin()
    lab.wait()
    return lab, client


def half_a_head() -> tuple[Lab, Line]:
    lab, client = waiting()
    lab.origins()[0].send(b"HTTP/1.1 200 OK\r\nX")
    return lab, client


def answering() -> tuple[Lab, Line]:
    lab, client = waiting()
    lab.origins()[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
    return lab, client


def answering_until_the_end() -> tuple[Lab, Line]:
    lab, client = waiting()
    lab.origins()[0].send(b"HTTP/1.1 200 OK\r\n\r\nx")
    return lab, client


def congested() -> tuple[Lab, Line]:
    lab = Lab(TWO)
    client = lab.client(GET, room=1000)
    lab.origin().send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(5000))
    return lab, client


LEASED: list[Phase] = [
    connecting,
    connecting_again,
    waiting,
    waiting_for_the_answer_to_a_body,
    waiting_for_the_answer_to_a_streamed_body,
    uploading,
    streaming,
    half_a_head,
    answering,
    answering_until_the_end,
    congested,
]


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("phase", LEASED)
def test_leaving(phase: Phase, how: str) -> None:
    """The lease comes back at once, having taught nothing; the peer's connection ends; no other attempt is made."""
    lab, client = phase()
    dials, outcomes = len(lab.dials), len(lab.outcomes)
    assert (lab.core.exchanges, lab.algorithm.leases()) == (1, 1)
    getattr(client, how)()
    assert lab.outcomes[outcomes:] == [(f"{lab.dials[-1].address.host}:80", Outcome())]
    lab.wait()
    assert [line.lost is None for line in lab.origins()] == [False] * len(lab.origins())
    lab.wait(1000)
    assert len(lab.dials) == dials
    assert len(lab.outcomes) == outcomes + 1
    lab.assert_idle()


def test_leaving_before_the_body_is_complete() -> None:
    """While a body is being kept nobody has been asked, and nobody will be."""
    lab = Lab()
    client = lab.client(BODY + b"4\r\nhalf\r\n")
    client.close()
    assert (lab.dials, lab.outcomes) == ([], [])
    lab.assert_idle()


@pytest.mark.parametrize("late", ["answer", "failure", "nothing"])
def test_leaving_while_a_name_is_resolved(late: str) -> None:
    """Nobody is connected to when the name's address is known after all."""
    lab = Lab(("n.test:80",))
    client = lab.client(GET)
    client.close()
    if late == "answer":
        lab.names.answer("n.test", "10.0.0.9")
    elif late == "failure":
        lab.names.fail("n.test", NameNotFound())
    lab.assert_idle()
    assert (lab.dials, lab.outcomes) == ([], [])


def test_leaving_after_a_refusal() -> None:
    """A client that was not being read from when it was refused is read from again, so its leaving is noticed."""
    lab = Lab(route={"request_buffering": False}, service={"retries": 0})
    client = lab.client(post(b"half", length=8, lines=b"Connection: close\r\n"))
    assert not client.reading
    lab.dials[0].refuse()
    assert client.received.startswith(b"HTTP/1.1 502 ")
    client.close()
    lab.wait()
    assert client.lost is not None
    lab.assert_idle()


def test_leaving_with_requests_in_the_pipeline() -> None:
    """Requests behind the one under way are forgotten."""
    lab = Lab()
    client = lab.client(GET * 3)
    lab.origin()
    client.close()
    lab.wait()
    assert len(lab.dials) == 1
    lab.assert_idle()


def test_leaving_does_not_disturb_others() -> None:
    """Who asked for the same name at the same time gets its answer."""
    lab = Lab(("n.test:80",))
    leaving, staying = lab.client(GET), lab.client(GET)
    leaving.close()
    lab.names.answer("n.test", "10.0.0.9")
    lab.wait()
    lab.origin().send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert staying.received.startswith(b"HTTP/1.1 204")
    lab.assert_idle()


@pytest.mark.parametrize("spoil", [b"zz\r\n", b"1\r\nab"])
@pytest.mark.parametrize("targets", [TWO, ("n.test:80",)], ids=["connecting", "resolving"])
def test_refused_while_on_the_way(spoil: bytes, targets: tuple[str, ...]) -> None:
    """A body that turns out to be broken while its peer is being reached ends the attempt, with one answer."""
    lab = Lab(targets, route={"request_buffering": False})
    client = lab.client(BODY + b"1\r\na\r\n" + spoil)
    assert client.received.count(b"HTTP/1.1 400 ") == client.received.count(b"HTTP/1.1 ") == 1
    assert [outcome for _, outcome in lab.outcomes] == ([Outcome()] if targets is TWO else [])
    lab.wait(1000)
    assert len(lab.dials) == (1 if targets is TWO else 0)
    lab.assert_idle()


def test_everybody_leaves() -> None:
    """When the listener is aborted everything under way ends, in whatever phase."""
    lab = Lab(TWO)
    for data in (b"", b"GET", GET, BODY, post(b"body")):
        lab.client(data)
    lab.origin()
    lab.listener.abort()
    lab.wait()
    assert all(client.aborted for client in lab.lines)
    assert lab.listener.connections == set()
    lab.assert_idle()
