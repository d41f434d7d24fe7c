"""Writes take time: what others may see and do meanwhile, and what happens when one fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from admin_api import AdminApi, Conversation, SlowStore
from twisted.logger import LogEvent, capturedLogs
from zope.interface.verify import verifyObject

from twisted_kong.interfaces import IConfigStore

UNEXPECTED = {"message": "An unexpected error occurred"}


@pytest.fixture
def store() -> SlowStore:
    """A store that applies a change when it is told to."""
    return SlowStore()


@pytest.fixture
def api(store: SlowStore) -> AdminApi:
    """An Admin API on that store."""
    return AdminApi(store)


@pytest.fixture
def logged() -> Iterator[Sequence[LogEvent]]:
    """What is logged during the test."""
    with capturedLogs() as events:
        yield events


def status(conversation: Conversation) -> int | None:
    return conversation.answer.status if conversation.answer else None


def test_the_double_is_a_store(store: SlowStore) -> None:
    """The slow store keeps the contract of any store."""
    assert verifyObject(IConfigStore, store)


def test_a_write_is_answered_when_it_is_in_force(api: AdminApi, store: SlowStore) -> None:
    """A write is answered when the store has it; until then everybody reads what was before."""
    writing = api.send_json("POST", "/services", {"host": "a.test"})
    assert status(writing) is None
    assert api.get("/services")["data"] == []
    store.go_on()
    assert status(writing) == 201
    assert len(api.get("/services")["data"]) == 1


def test_writes_stand_in_line(api: AdminApi, store: SlowStore) -> None:
    """A write decides on what the one before it has made: two changes of one entity are both in force."""
    made = api.send_json("PUT", "/services/s", {"host": "a.test"})
    changes = [api.send_json("PATCH", "/services/s", change) for change in ({"retries": 1}, {"port": 443})]
    assert len(store) == 1
    for writing in (made, *changes):
        store.go_on()
        assert status(writing) == 200
    service = api.get("/services/s")
    assert (service["retries"], service["port"]) == (1, 443)


def test_two_posts_of_one_target(api: AdminApi, store: SlowStore) -> None:
    """A target posted twice at once is one target."""
    upstream = api.send_json("POST", "/upstreams", {"name": "u"})
    store.go_on()
    assert status(upstream) == 201
    posts = [api.send_json("POST", "/upstreams/u/targets", {"target": "a:80", "weight": n}) for n in (1, 2)]
    store.go_on()
    store.go_on()
    assert [status(post) for post in posts] == [201, 201]
    assert [row["weight"] for row in api.get("/upstreams/u/targets")["data"]] == [2]


def test_what_changes_nothing_does_not_reach_the_store(api: AdminApi, store: SlowStore) -> None:
    """To delete what is not there asks nothing of the store."""
    assert status(api.send("DELETE", "/services/nobody")) == 204
    assert len(store) == 0


def test_a_client_that_hangs_up(api: AdminApi, store: SlowStore, logged: Sequence[LogEvent]) -> None:
    """A write goes on when its client does not wait for the answer, and nobody else notices."""
    writing = api.send_json("POST", "/services", {"host": "a.test"})
    writing.hang_up()
    store.go_on()
    assert len(api.get("/services")["data"]) == 1
    assert status(writing) is None
    assert not [event for event in logged if "log_failure" in event]


def test_a_refused_write_lets_others_go_on(api: AdminApi, store: SlowStore) -> None:
    """What the store refuses is told to its client; the next write goes on."""
    posts = [api.send_json("POST", "/services", {"host": "a.test", "name": "s"}) for _ in range(2)]
    store.go_on()
    store.go_on()
    assert [status(post) for post in posts] == [201, 409]
    assert status(api.send("DELETE", "/services/nobody")) == 204


def test_a_store_that_fails(api: AdminApi, store: SlowStore, logged: Sequence[LogEvent]) -> None:
    """A failure is logged, its client is told nothing of it, and the next write goes on."""
    failing = api.send_json("POST", "/services", {"host": "a.test"})
    following = api.send_json("POST", "/services", {"host": "b.test"})
    store.fail(OSError("the disk is full"))
    assert failing.answer is not None
    assert (failing.answer.status, failing.answer.json) == (500, UNEXPECTED)
    (event,) = (event for event in logged if "log_failure" in event)
    assert "the disk is full" in event["log_failure"].getErrorMessage()
    store.go_on()
    assert status(following) == 201
