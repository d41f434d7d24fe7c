"""Attempts: which failures are worth another one, on whom, how often, and what the client is told in the end."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import spoken
from loopback import GET, OK, Lab, Line, post

from twisted_kong.errors import NameNotFound
from twisted_kong.model.traffic import Outcome

THREE = ("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
JSON = b"Accept: application/json\r\n"
TIMEOUTS = {"connect_timeout": 1000, "write_timeout": 2000, "read_timeout": 4000}


def asking(method: bytes) -> bytes:
    return b"%b / HTTP/1.1\r\nHost: a.test\r\n\r\n" % method


def refused(lab: Lab) -> None:
    lab.dials[-1].refuse()


def connecting_too_long(lab: Lab) -> None:
    lab.wait(1.1)


def closed(lab: Lab) -> None:
    lab.origin().close()


def broken(lab: Lab) -> None:
    lab.origin().reset()


def reading_too_long(lab: Lab) -> None:
    lab.origin()
    lab.wait(4.1)


def writing_too_long(lab: Lab) -> None:
    assert lab.dials[-1].accept(room=0).backlog
    lab.wait(2.1)


def half_a_head(lab: Lab) -> None:
    origin = lab.origin()
    origin.send(b"HTTP/1.1 200 OK\r\nX")
    origin.close()


def nonsense(lab: Lab) -> None:
    lab.origin().send(b"nonsense\r\n\r\n")


BEFORE = [(refused, "tcp"), (connecting_too_long, "timeout")]
"""Failures before anything was sent."""
AFTER = [
    (closed, "tcp"),
    (broken, "tcp"),
    (reading_too_long, "timeout"),
    (writing_too_long, "timeout"),
    (half_a_head, "tcp"),
]
"""Failures when something was sent."""
Failing = Callable[[Lab], None]


@pytest.mark.parametrize(("fail", "failure"), BEFORE + AFTER)
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACED"])
def test_repeated(method: bytes, fail: Failing, failure: str) -> None:
    """Most methods are tried again on the next peer whatever failed; the peer that failed is known to have failed."""
    lab = Lab(THREE, service=TIMEOUTS)
    client = lab.client(asking(method))
    fail(lab)
    assert [dial.address.host for dial in lab.dials] == ["10.0.0.1", "10.0.0.2"]
    origin = lab.origin()
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert client.received.startswith(b"HTTP/1.1 200")
    assert [(address, outcome.failure) for address, outcome in lab.outcomes] == [
        ("10.0.0.1:80", failure),
        ("10.0.0.2:80", None),
    ]
    lab.assert_idle()


@pytest.mark.parametrize(("fail", "failure"), BEFORE)
@pytest.mark.parametrize("method", [b"POST", b"PATCH", b"LOCK"])
@pytest.mark.parametrize("buffering", [True, False])
def test_nothing_was_sent(method: bytes, fail: Failing, failure: str, buffering: bool) -> None:
    """While nothing was sent any method is tried again, with its whole body, kept or streamed."""
    lab = Lab(THREE, service=TIMEOUTS, route={"request_buffering": buffering})
    client = lab.client(post(b"body", method=method))
    fail(lab)
    origin = lab.origin()
    origin.send(OK)
    assert spoken.requests(origin.received)[0].body == b"body"
    assert spoken.answer(client.received).status == 200
    assert lab.outcomes[0] == ("10.0.0.1:80", Outcome(failure))
    lab.assert_idle()


@pytest.mark.parametrize(("fail", "failure"), AFTER)
@pytest.mark.parametrize("method", [b"POST", b"PATCH", b"LOCK"])
def test_never_sent_twice(method: bytes, fail: Failing, failure: str) -> None:
    """Once anything was sent, a POST, PATCH or LOCK is not sent again."""
    lab = Lab(THREE, service=TIMEOUTS)
    client = lab.client(post(b"body", method=method))
    fail(lab)
    assert spoken.answer(client.received).status == (504 if failure == "timeout" else 502)
    assert len(lab.dials) == 1
    assert lab.outcomes == [("10.0.0.1:80", Outcome(failure))]
    assert all(lab.algorithm.errors)  # a person is told why
    lab.assert_idle()


@pytest.mark.parametrize(("fail", "failure"), AFTER)
def test_streamed_body_is_never_sent_twice(fail: Failing, failure: str) -> None:
    """A body that was passed on as it came is gone: the request is not sent again, whatever its method."""
    lab = Lab(THREE, service=TIMEOUTS, route={"request_buffering": False})
    client = lab.client(post(b"body", method=b"PUT"))
    fail(lab)
    assert spoken.answer(client.received).status == (504 if failure == "timeout" else 502)
    assert len(lab.dials) == 1
    lab.assert_idle()


def test_body_is_sent_again_from_the_start() -> None:
    """Every attempt carries the whole body, even if an earlier one had sent a part of it."""
    lab = Lab(THREE)
    body = bytes(range(256)) * 4000
    lab.client(post(body, method=b"PUT"))
    lab.dials[0].accept(room=300_000).reset()
    origin = lab.origin()
    assert spoken.requests(origin.received)[0].body == body
    origin.send(OK)
    lab.assert_idle()


def test_answer_that_is_no_answer() -> None:
    """A malformed answer is not asked for again: whoever sent it has understood the request."""
    lab = Lab(THREE)
    client = lab.client(GET)
    nonsense(lab)
    assert spoken.answer(client.received).status == 502
    assert len(lab.dials) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_error_is_an_answer(status: int) -> None:
    """Whatever the status, an answer is an answer."""
    lab = Lab(THREE)
    client = lab.client(GET)
    lab.origin().send(b"HTTP/1.1 %d X\r\nContent-Length: 4\r\n\r\nmine" % status)
    answer = spoken.answer(client.received)
    assert (answer.status, answer.body) == (status, b"mine")
    assert lab.outcomes == [("10.0.0.1:80", Outcome(None, status, 0.0))]


def test_begun_is_begun() -> None:
    """Once an answer has begun there is no other attempt."""
    lab = Lab(THREE)
    client = lab.client(GET)
    origin = lab.origin()
    origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
    origin.reset()
    lab.wait()
    assert len(lab.dials) == 1
    assert not spoken.answer(client.received).complete
    assert client.lost is not None
    assert lab.outcomes == [("10.0.0.1:80", Outcome("tcp", 200))]
    lab.assert_idle()


# -- how often, and where --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (1, 2), (3, 4), (5, 6), (None, 6)])
def test_number_of_attempts(retries: int | None, attempts: int) -> None:
    """A service makes one attempt and ``retries`` more, five where that is null; then the client is told 502."""
    lab = Lab(service={"retries": retries})
    client = lab.client(GET)
    for _ in range(attempts):
        assert client.received == b""
        refused(lab)
    answer = spoken.answer(client.received)
    assert (answer.status, client.lost) == (502, None)
    assert answer.body.startswith(b"An invalid response was received from the upstream server\nrequest_id: ")
    assert len(lab.dials) == len(lab.outcomes) == attempts
    lab.assert_idle()


def test_tried_peers_come_last() -> None:
    """A peer that was tried is tried again only when there is no other left."""
    lab = Lab(THREE, service={"retries": 4})
    client = lab.client(GET)
    for _ in range(5):
        refused(lab)
    hosts = [dial.address.host[-1] for dial in lab.dials]
    assert hosts == ["1", "2", "3", "1", "1"]
    assert spoken.answer(client.received).status == 502


@pytest.mark.parametrize(("last", "status"), [(connecting_too_long, 504), (refused, 502)])
def test_last_failure_counts(last: Failing, status: int) -> None:
    """What the client is told follows from the last attempt: 504 for a timeout, else 502."""
    lab = Lab(THREE, service={**TIMEOUTS, "retries": 1})
    client = lab.client(b"GET / HTTP/1.1\r\nHost: a.test\r\n" + JSON + b"\r\n")
    (refused if status == 504 else connecting_too_long)(lab)
    last(lab)
    answer = spoken.answer(client.received)
    told = {
        502: b"An invalid response was received from the upstream server",
        504: b"The upstream server is timing out",
    }
    assert answer.status == status
    assert b'"message":"%b"' % told[status] in answer.body
    assert answer.value(b"x-kong-upstream-latency") is not None
    assert answer.values(b"x-kong-response-latency") == []


def test_nobody_to_ask() -> None:
    """An upstream without targets is a 503 without any attempt."""
    lab = Lab(())
    answer = spoken.answer(lab.client(GET).received)
    assert answer.status == 503
    assert b'"message":"failure to get a peer from the ring-balancer"' in answer.body
    assert answer.values(b"x-kong-upstream-latency") == []
    assert answer.value(b"x-kong-response-latency") is not None
    lab.assert_idle()


def test_nobody_left_to_ask() -> None:
    """A pool that has run empty between two attempts is a 503."""
    lab = Lab()
    client = lab.client(GET)
    lab.algorithm.update([])
    refused(lab)
    answer = spoken.answer(client.received)
    assert answer.status == 503
    assert answer.body.startswith(b"The upstream server is currently unavailable\n")


def test_every_attempt_has_its_own_host() -> None:
    """The Host follows the peer; all else is the same in every attempt."""
    lab = Lab(("10.0.0.1:80", "10.0.0.2:8080"))
    lab.client(GET)
    first = lab.origin()
    first.close()
    second = lab.origin()
    assert b"\r\nHost: 10.0.0.1\r\n" in first.received
    assert first.received.replace(b"Host: 10.0.0.1", b"Host: 10.0.0.2:8080") == second.received


# -- kept connections that have died ---------------------------------------------------------------------------


def with_a_kept_connection(request: bytes, buffering: bool = True) -> tuple[Lab, Line, Line]:
    """A lab whose service allows no retries, a client that has just asked, and the kept connection it is asked on."""
    lab = Lab(THREE, service={"retries": 0}, route={"request_buffering": buffering})
    client = lab.client(GET)
    origin = lab.origin()
    origin.send(OK)
    client.take()
    origin.take()
    lab.outcomes.clear()
    client.send(request)
    assert len(lab.dials) == 1
    assert origin.take()
    return lab, client, origin


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("request_", [GET, post(b"body", method=b"PUT")], ids=["GET", "PUT"])
def test_dead_connection_is_replaced(request_: bytes, how: str) -> None:
    """A kept connection that dies under a request is replaced by a fresh one to the same peer, at no expense."""
    lab, client, origin = with_a_kept_connection(request_)
    getattr(origin, how)()
    assert [dial.address.host for dial in lab.dials] == ["10.0.0.1"] * 2
    lab.origin().send(OK)
    assert spoken.answer(client.received).status == 200
    assert lab.outcomes == [("10.0.0.1:80", Outcome(None, 200, 0.0))]
    lab.assert_idle()


def test_replaced_by_a_fresh_one() -> None:
    """Another kept connection may be as dead: the one that takes the place of a dead one is new."""
    lab = Lab(THREE, service={"retries": 0})
    clients = [lab.client(GET), lab.client(GET)]
    for number in (0, 1):
        lab.origin(number).send(OK)
    clients[0].send(GET)
    lab.origins()[1].reset()
    assert len(lab.dials) == 3
    lab.origin().send(OK)
    assert [answer.status for answer in spoken.answers(clients[0].received)] == [200, 200]
    lab.assert_idle()


def test_replaced_only_once() -> None:
    """When the fresh connection fails as well, the attempt has failed."""
    lab, client, origin = with_a_kept_connection(GET)
    origin.close()
    closed(lab)
    assert spoken.answer(client.received).status == 502
    assert lab.outcomes == [("10.0.0.1:80", Outcome("tcp"))]
    lab.assert_idle()


@pytest.mark.parametrize(
    ("request_", "buffering"),
    [(post(b"body"), True), (post(b"body", method=b"PUT"), False)],
    ids=["POST", "streamed PUT"],
)
def test_dead_connection_is_not_replaced(request_: bytes, buffering: bool) -> None:
    """What must not be sent twice is not, not even then."""
    lab, client, origin = with_a_kept_connection(request_, buffering)
    origin.close()
    assert len(lab.dials) == 1
    assert spoken.answer(client.received).status == 502
    lab.assert_idle()


@pytest.mark.parametrize("how", ["silence", "half a head"])
def test_living_connection_is_not_replaced(how: str) -> None:
    """A kept connection that was not dead is an attempt like any other."""
    lab, client, origin = with_a_kept_connection(GET)
    if how == "silence":
        lab.wait(61)
    else:
        origin.send(b"HTTP/1.1 2")
        origin.close()
    assert len(lab.dials) == 1
    assert spoken.answer(client.received).status == (504 if how == "silence" else 502)


# -- names -----------------------------------------------------------------------------------------------------


def test_name_is_resolved() -> None:
    """A peer with a name is asked at its address, under its name."""
    lab = Lab(("n.test:8080",))
    client = lab.client(GET)
    assert lab.dials == []
    lab.names.answer("n.test", "10.0.0.9")
    lab.wait()
    origin = lab.origin()
    assert (lab.dials[0].address.host, lab.dials[0].address.port) == ("10.0.0.9", 8080)
    origin.send(OK)
    assert b"\r\nHost: n.test:8080\r\n" in origin.received
    assert spoken.answer(client.received).status == 200
    lab.assert_idle()


def test_name_that_does_not_exist() -> None:
    """A service whose host is a name without an address is a 503 that says so, without a lease."""
    lab = Lab((), service={"host": "n.test"})
    client = lab.client(GET)
    lab.names.fail("n.test", NameNotFound())
    answer = spoken.answer(client.received)
    assert answer.status == 503
    assert b'"message":"name resolution failed"' in answer.body
    assert lab.outcomes == []
    lab.assert_idle()


def test_pool_of_names_that_do_not_exist() -> None:
    """A pool none of whose targets has an address is one without peers."""
    lab = Lab(("n.test:80", "m.test:80"))
    client = lab.client(GET)
    lab.names.fail("n.test", NameNotFound())
    assert client.received == b""
    lab.names.fail("m.test", NameNotFound())
    lab.wait()
    answer = spoken.answer(client.received)
    assert answer.status == 503
    assert b'"message":"failure to get a peer from the ring-balancer"' in answer.body
    assert lab.outcomes == []
    lab.assert_idle()
