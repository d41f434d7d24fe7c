"""What declarative clients do all day: look, compare, write what differs, look again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from copy import deepcopy
from uuid import uuid4

import pytest
from declarative_client import KINDS, DeclarativeClient, Rows, comparable, declared
from declared import State, a_state, certificate
from running_gateway import Admin, RunningGateway, running

CONNECTIONS = 10
"""As many as decK has where it is not told otherwise."""


@pytest.fixture(name="gateway", scope="module")
def make_gateway() -> Iterator[RunningGateway]:
    with running() as gateway:
        yield gateway


@pytest.fixture(name="admin")
def emptied(gateway: RunningGateway) -> Iterator[Admin]:
    """The Admin API of a gateway with nothing in it."""
    with gateway.admin() as admin:
        yield admin
        DeclarativeClient(admin).reset()


def count(rows: Rows) -> int:
    return sum(map(len, rows.values()))


def total(state: State) -> int:
    """How many entities a file declares."""
    return sum(1 for _ in declared(state))


def alike(one: Rows, other: Rows) -> bool:
    """Whether two dumps tell the same."""
    return all(
        {id: comparable(row) for id, row in one[name].items()}
        == {id: comparable(row) for id, row in other[name].items()}
        for name in one
    )


def test_version(admin: Admin) -> None:
    """The version is one for which a client knows what to do."""
    assert DeclarativeClient(admin).ping() == (3, 9)


def test_nothing(admin: Admin) -> None:
    """A gateway with nothing in it has everything a client wants to read."""
    assert count(DeclarativeClient(admin).dump()) == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("entities", [5, 2000])
def test_life(gateway: RunningGateway, admin: Admin, entities: int) -> None:
    """Whatever the size: valid, different, written, no different from then on, dumped, taken away, written back as it
    was; after each step there is as much as there should be, and what is there already is not written.
    """
    with ExitStack() as stack:
        others = [stack.enter_context(gateway.admin()) for _ in range(CONNECTIONS - 1)]
        state, client = a_state(entities), DeclarativeClient(admin, others=others)
        client.validate(state)
        assert sum(map(len, client.diff(state).values())) == total(state)
        assert client.sync(state) == count(client.dump()) == total(state) >= entities
        assert client.diff(state) == {}
        assert client.sync(state) == 0
        first = client.dump()
        client.reset()
        assert count(client.dump()) == 0
        assert client.restore(first) == total(state)
        assert alike(client.dump(), first)
        assert client.diff(state) == {}


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.alone])
def test_deleting_what_is_gone(admin: Admin, name: str) -> None:
    """What somebody else has deleted meanwhile is deleted without complaint, of whatever kind it was."""
    assert admin.ask("DELETE", f"{KINDS[name].path}/{uuid4()}").status == 204


def test_changes(admin: Admin) -> None:
    """What a file says anew is changed, and nothing else is written; what it says no more goes."""
    state, client = a_state(40), DeclarativeClient(admin)
    client.sync(state)
    before = client.dump()
    changed = deepcopy(state)
    changed["services"][1]["routes"][0]["paths"] = ["/other"]
    changed["services"][2]["read_timeout"] = 7
    changed["upstreams"][0]["targets"][0]["weight"] = 1
    changed["upstreams"][1]["healthchecks"]["active"]["healthy"]["interval"] = 0
    del changed["consumers"][0]["keyauth_credentials"]
    del changed["services"][3]
    cert, key = certificate("other.test")
    changed["certificates"][0] |= {"cert": cert, "key": key}
    assert {name: len(rows) for name, rows in client.diff(changed).items()} == {
        "services": 2,
        "routes": 2,
        "upstreams": 1,
        "targets": 1,
        "keyauth_credentials": 1,
        "certificates": 2,
        "snis": 2,
    }
    client.sync(changed)
    assert client.diff(changed) == {}
    client.sync(state)
    assert client.diff(state) == {}
    assert {name: len(rows) for name, rows in client.dump().items()} == {
        name: len(rows) for name, rows in before.items()
    }


def test_backup(admin: Admin) -> None:
    """What was dumped, taken away and written again with its ids is what it was."""
    client = DeclarativeClient(admin)
    client.sync(a_state(20))
    dumped = client.dump()
    client.reset()
    assert count(client.dump()) == 0
    assert client.restore(dumped) == count(dumped)
    assert alike(client.dump(), dumped)


def test_two_owners(admin: Admin) -> None:
    """Who writes with a tag of their own finds, changes and takes away what bears it, and nothing of anybody else's."""
    mine, theirs = DeclarativeClient(admin, "mine"), DeclarativeClient(admin, "theirs", "really")
    mine.sync(only("services", "upstreams", "consumers"))
    other: State = {
        "services": [{"name": "other", "host": "other.test", "routes": [{"name": "other", "paths": ["/o"]}]}]
    }
    theirs.sync(other)
    before = mine.dump()
    assert {row["name"] for row in theirs.dump()["services"].values()} == {"other"}
    assert before["services"].keys().isdisjoint(theirs.dump()["services"])
    assert theirs.diff(other) == {}
    theirs.reset()
    assert alike(mine.dump(), before)
    assert count(DeclarativeClient(admin, "mine", "really").dump()) == 0
    assert alike(DeclarativeClient(admin).dump(), before)


def only(*names: str) -> State:
    """These parts of a small file."""
    return {name: a_state(10)[name] for name in names}
