"""Many clients that write the same things at the same time.

Which of them comes first is chance. What must hold for every order is compared with the log of all changes, which the
store keeps beside the entities: it tells the order in which the writes were made.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain
from pathlib import Path
from random import Random
from threading import Barrier
from typing import Any, NamedTuple, TypeVar

import pytest
from running_gateway import Admin, Answer, RunningGateway, running

T = TypeVar("T")

WRITERS = 16
TURNS = 40

Row = dict[str, Any]


@pytest.fixture(name="gateway", scope="module")
def make_gateway() -> Iterator[RunningGateway]:
    """One for all tests: what they write has different names, except for the last one's, which has a log of its own."""
    with running() as gateway:
        yield gateway


def together(gateway: RunningGateway, work: Callable[[int, Admin], T]) -> list[T]:
    """What ``work`` returns for each writer; they begin at the same moment, each with a connection of its own."""
    start = Barrier(WRITERS)

    def one(number: int) -> T:
        with gateway.admin() as admin:
            start.wait(20)
            return work(number, admin)

    with ThreadPoolExecutor(WRITERS) as threads:
        return list(threads.map(one, range(WRITERS)))


class Entry(NamedTuple):
    """A row of the log; ``document`` is None for a deletion."""

    generation: int
    collection: str
    id: str
    document: Row | None


def log(database: Path) -> list[Entry]:
    """Every change there ever was, in its order."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT generation, collection, entity_id, document FROM changes ORDER BY id")
        return [Entry(row[0], row[1], row[2], row[3] and json.loads(row[3])) for row in rows]


def replayed(entries: list[Entry]) -> dict[str, dict[str, Row]]:
    """collection → id → what the log says of it in the end."""
    found: dict[str, dict[str, Row]] = defaultdict(dict)
    for entry in entries:
        if entry.document is None:
            del found[entry.collection][entry.id]
        else:
            found[entry.collection][entry.id] = entry.document
    return found


def by_id(rows: Iterable[Row]) -> dict[str, Row]:
    return {row["id"]: row for row in rows}


def kept(admin: Admin) -> dict[str, dict[str, Row]]:
    """collection → id → what the Admin API tells of it."""
    found = {
        collection: by_id(admin.everything(f"/{collection}")) for collection in ("services", "routes", "upstreams")
    }
    targets = [admin.everything(f"/upstreams/{upstream}/targets") for upstream in found["upstreams"]]
    history = [admin.everything(f"/upstreams/{upstream}/targets/history") for upstream in found["upstreams"]]
    return {**found, "targets": by_id(chain(*targets)), "target_history": by_id(chain(*history))}


def canonical(row: Row) -> str:
    return json.dumps(row, sort_keys=True)


# -- one winner --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/services", {"name": "same", "host": "a.test"}),
        ("/routes", {"name": "same", "paths": ["/"]}),
        ("/upstreams", {"name": "same"}),
        ("/consumers", {"username": "same"}),
    ],
)
def test_one_name(gateway: RunningGateway, path: str, body: Row) -> None:
    """Of those who create the same name one succeeds, the others are told of the conflict, and it exists once."""
    answers = together(gateway, lambda number, admin: admin.ask("POST", path, body))
    assert Counter(answer.status for answer in answers) == {201: 1, 409: WRITERS - 1}
    (made,) = (answer.document for answer in answers if answer.status == 201)
    with gateway.admin() as admin:
        assert [row for row in admin.everything(path) if row.items() >= body.items()] == [made]


def test_one_target(gateway: RunningGateway) -> None:
    """Those who create the same target all succeed with the same id; it exists once, as the last of them left it."""
    with gateway.admin() as admin:
        admin.ask("POST", "/upstreams", {"name": "u"})

    def work(number: int, admin: Admin) -> Answer:
        return admin.ask("POST", "/upstreams/u/targets", {"target": "127.0.0.1:80", "weight": number})

    answers = together(gateway, work)
    assert {answer.status for answer in answers} == {201}
    assert [answer.document["weight"] for answer in answers] == list(range(WRITERS))
    assert len({answer.document["id"] for answer in answers}) == 1
    with gateway.admin() as admin:
        (target,) = admin.everything("/upstreams/u/targets")
    assert target in [answer.document for answer in answers]
    assert target == replayed(log(gateway.database))["targets"][target["id"]]


# -- nothing is lost ---------------------------------------------------------------------------------------------


LEAVES = [
    *(("active", "healthy", name) for name in ("interval", "successes")),
    *(("active", "unhealthy", name) for name in ("interval", "http_failures", "tcp_failures", "timeouts")),
    *(("passive", "unhealthy", name) for name in ("http_failures", "tcp_failures", "timeouts")),
    *(("active", name) for name in ("timeout", "concurrency")),
    ("passive", "healthy", "successes"),
    ("threshold",),
]


def test_no_lost_update(gateway: RunningGateway) -> None:
    """Writers who patch one entity, each a field of their own at some depth, all find their last value there."""
    fields: list[tuple[str, ...]] = [
        ("slots",),
        ("host_header",),
        ("tags",),
        *(("healthchecks", *leaf) for leaf in LEAVES),
    ]
    assert len(fields) == WRITERS

    def value(field: tuple[str, ...], turn: int) -> Any:
        return {"slots": 100 + turn, "host_header": f"h{turn}.test", "tags": [f"t{turn}"]}.get(field[0], turn)

    def work(number: int, admin: Admin) -> set[int]:
        seen = set()
        for turn in range(1, TURNS + 1):
            patch: Any = value(fields[number], turn)
            for name in reversed(fields[number]):
                patch = {name: patch}
            answer = admin.ask("PATCH", "/upstreams/patched", patch)
            assert at(answer.document, fields[number]) == value(fields[number], turn)
            seen.add(answer.status)
        return seen

    with gateway.admin() as admin:
        admin.ask("POST", "/upstreams", {"name": "patched"})
        assert set().union(*together(gateway, work)) == {200}
        _, upstream = admin.ask("GET", "/upstreams/patched")
    assert [at(upstream, field) for field in fields] == [value(field, TURNS) for field in fields]


def at(document: Any, field: tuple[str, ...]) -> Any:
    for name in field:
        document = document[name]
    return document


# -- anything at once --------------------------------------------------------------------------------------------


class Write(NamedTuple):
    """A write and its answer."""

    method: str
    path: str
    answer: Answer


ALLOWED = {"POST": {201, 400, 404, 409}, "PUT": {200, 400, 409}, "PATCH": {200, 404, 409}, "DELETE": {204, 400, 404}}
"""What Kong may answer to well-formed writes; 400 is a reference to what has just gone, or from what has just come."""


def any_write(random: Random) -> tuple[str, str, Row | None]:
    """Something that others write at the same time, too: method, path, body."""
    name, other, value = f"n{random.randrange(4)}", f"n{random.randrange(4)}", random.randrange(1, 1000)
    target, upstream = f"127.0.0.{random.randrange(1, 5)}:80", f"u{random.randrange(2)}"
    service = {"name": name, "host": "a.test", "port": value}
    route = {"name": other, "paths": [f"/{value}"]}
    writes: list[tuple[str, str, Row | None]] = [
        ("POST", "/services", service),
        ("PUT", f"/services/{name}", service),
        ("PATCH", f"/services/{name}", {"retries": value}),
        ("PATCH", f"/services/{name}", {"name": other}),
        ("DELETE", f"/services/{name}", None),
        ("POST", f"/services/{name}/routes", route),
        ("PUT", f"/routes/{other}", {**route, "service": {"name": name}}),
        ("PATCH", f"/routes/{other}", {"paths": [f"/{value}"]}),
        ("DELETE", f"/routes/{other}", None),
        ("POST", "/upstreams", {"name": upstream}),
        ("DELETE", f"/upstreams/{upstream}", None),
        ("POST", f"/upstreams/{upstream}/targets", {"target": target, "weight": value}),
        ("POST", f"/upstreams/{upstream}/targets", {"target": target, "weight": value}),
        ("PATCH", f"/upstreams/{upstream}/targets/{target}", {"weight": value}),
        ("DELETE", f"/upstreams/{upstream}/targets/{target}", None),
    ]
    return random.choice(writes)


def test_anything_at_once() -> None:
    """Everybody writes anything: what was answered was done, once and whole, what was refused was not, and it lasts."""
    with running() as gateway:
        check_anything(gateway)


def check_anything(gateway: RunningGateway) -> None:

    def work(number: int, admin: Admin) -> list[Write]:
        random = Random(number)
        return [
            Write(method, path, admin.ask(method, path, body))
            for method, path, body in (any_write(random) for _ in range(TURNS))
        ]

    written = together(gateway, work)
    writes = [*chain(*written)]
    assert [write for write in writes if write.answer.status not in ALLOWED[write.method]] == []
    entries = log(gateway.database)
    assert answered(writes) == Counter(
        canonical(entry.document) for entry in entries if entry.document and entry.collection != "target_history"
    )
    for own in written:
        assert in_this_order(own, entries)
    assert_whole(entries)
    with gateway.admin() as admin:
        found = kept(admin)
    assert found == {collection: replayed(entries)[collection] for collection in found}
    gateway.stop()
    gateway.start()
    with gateway.admin() as admin:
        assert kept(admin) == found


def answered(writes: list[Write]) -> Counter[str]:
    """The documents that clients were told to be there now."""
    return Counter(canonical(write.answer.document) for write in writes if write.answer.status in (200, 201))


def in_this_order(own: list[Write], entries: list[Entry]) -> bool:
    """Whether the log has one client's writes in the order in which it made them."""
    made = iter(canonical(entry.document) for entry in entries if entry.document)
    return all(canonical(write.answer.document) in made for write in own if write.answer.status in (200, 201))


def assert_whole(entries: list[Entry]) -> None:
    """Every write of a target has left its entry in the history in the same change, and nobody is an orphan."""
    changes: dict[int, list[Entry]] = defaultdict(list)
    for entry in entries:
        changes[entry.generation].append(entry)
    for change in changes.values():
        targets = [entry.document for entry in change if entry.collection == "targets" and entry.document]
        history = [entry.document for entry in change if entry.collection == "target_history" and entry.document]
        if targets:
            assert [(one["target"], one["weight"]) for one in targets] == [
                (one["target"], one["weight"]) for one in history
            ]
    end = replayed(entries)
    assert {one["upstream"]["id"] for one in end["targets"].values()} <= end["upstreams"].keys()
    assert {one["service"]["id"] for one in end["routes"].values() if one["service"]} <= end["services"].keys()
