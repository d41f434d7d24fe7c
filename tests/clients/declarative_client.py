"""A client that makes a gateway be what a file declares, by the requests that decK makes of the same file.

It reads everything there is in pages of a thousand, fills the file with the defaults that the published schemas tell,
compares, and writes what differs by ids of its own choice: with PUT, and a target for which that is a 404 with POST;
parents first, and what is of one kind through several connections at once. A reference goes out with the name beside
the id. Like a client in Go it cannot live with ``1.0`` where an integer is due.
Nothing here knows more of the gateway than such a client does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

from declared import State
from running_gateway import Admin, Answer

Row = dict[str, Any]
Rows = dict[str, dict[str, Row]]
"""kind → id → what is, or should be."""
Pair = tuple[Row | None, Row | None]
"""What is there, and what should be."""


@dataclass(frozen=True)
class Kind:
    """How such entities are listed, found in a file and told apart; ``below`` is the field of their parent."""

    path: str
    key: str
    in_file: str
    below: str = ""
    defaults: bool = False
    alone: bool = field(default=True, kw_only=True)
    """Whether there is a path to them but the parent's."""


KINDS = {
    "certificates": Kind("/certificates", "cert", "certificates"),
    "ca_certificates": Kind("/ca_certificates", "cert", "ca_certificates"),
    "consumers": Kind("/consumers", "username", "consumers"),
    "snis": Kind("/snis", "name", "snis", "certificate"),
    "services": Kind("/services", "name", "services", defaults=True),
    "upstreams": Kind("/upstreams", "name", "upstreams", defaults=True),
    "keyauth_credentials": Kind("/key-auths", "key", "keyauth_credentials", "consumer"),
    "routes": Kind("/routes", "name", "routes", "service", defaults=True),
    "targets": Kind("/upstreams/{}/targets", "target", "targets", "upstream", defaults=True, alone=False),
    "plugins": Kind("/plugins", "name", "plugins"),
}
"""In the order in which they are made; they are taken away in the opposite one."""
PARENTS = {"certificate": "certificates", "consumer": "consumers", "service": "services", "upstream": "upstreams"}
WRITTEN_BELOW = {"keyauth_credentials": "/consumers/{}/key-auth"}
OPTIONAL = (
    *("/vaults", "/partials", "/keys", "/key-sets", "/consumer_groups", "/filter-chains"),
    *("/hmac-auths", "/jwts", "/basic-auths", "/oauth2", "/acls", "/mtls-auths"),
)
"""Lists that a gateway may not know; a 404 says so."""
OF_THE_GATEWAY = ("created_at", "updated_at", "cert_digest")
"""What no file says."""
FRACTIONS = {"targets": ("created_at", "updated_at"), "upstreams": ("threshold",)}
"""Numbers that need not be whole."""


class Failed(AssertionError):
    """The gateway did not answer as such a client needs it."""

    def __init__(self, method: str, path: str, body: object, answer: Answer) -> None:
        super().__init__(f"{method} {path} {json.dumps(body)} was answered {answer.status} {answer.document}")


class DeclarativeClient:
    """``tags`` are those of the entities that are its business, all of them each. What is of one kind is written
    through ``admin`` and all the ``others`` at once, each connection taking what no other has."""

    def __init__(self, admin: Admin, *tags: str, others: Sequence[Admin] = ()) -> None:
        self._admin = admin
        self._all = (admin, *others)
        self._tags = tags

    def ping(self) -> tuple[int, ...]:
        """The gateway's version, as far as such a client understands it."""
        version = self._ask("GET", "/").document["version"]
        return tuple(int(part) for part in version.split(".")[:2])

    def dump(self) -> Rows:
        """Everything there is."""
        for path in OPTIONAL:
            self._ask("GET", f"{path}?size=1000", also=404)
        found: Rows = {}
        for name, kind in KINDS.items():
            paths = [kind.path.format(parent) for parent in found["upstreams"]] if kind.alone is False else [kind.path]
            found[name] = {row["id"]: self._read(name, row) for path in paths for row in self._list(path)}
        return found

    def wanted(self, state: State, there: Rows) -> Rows:
        """What ``state`` declares, whole, with the ids of what is there already."""
        rows: Rows = {name: {} for name in KINDS}
        defaults = {name: self._defaults(name) for name, kind in KINDS.items() if kind.defaults}
        for name, row in declared(state):
            row = merged(defaults.get(name, {}), row)
            row["tags"] = sorted({*row.get("tags", []), *self._tags})
            old = next((old for old in there[name].values() if same(name, old, row)), None)
            row["id"] = str(uuid4()) if old is None else old["id"]
            if old is not None and name != "targets":
                row["created_at"] = old["created_at"]
            parent = KINDS[name].below
            if parent:
                row[parent] = reference(rows[PARENTS[parent]], row[parent])
            if name == "plugins":
                row["service"] = reference(rows["services"], row["service"])
                row["config"] = merged(self._plugin_defaults(row["name"]), row["config"])
                row = {"enabled": True, "protocols": ["grpc", "grpcs", "http", "https"], **row}
            rows[name][row["id"]] = row
        return rows

    def validate(self, state: State) -> None:
        """Have every entity looked at by itself."""
        nothing: Rows = {name: {} for name in KINDS}
        for name, rows in self.wanted(state, nothing).items():
            for row in rows.values():
                self._ask("POST", f"/schemas/{name}/validate", row)

    def sync(self, state: State) -> int:
        """Make the gateway be what ``state`` declares; how many writes that took."""
        there = self.dump()
        return self._change(there, self.wanted(state, there))

    def diff(self, state: State) -> dict[str, list[Pair]]:
        """What differs, by kind: what is there and what should be."""
        there = self.dump()
        return {name: rows for name, rows in differences(there, self.wanted(state, there)).items() if rows}

    def restore(self, rows: Rows) -> int:
        """Make the gateway be what was dumped; how many writes that took."""
        return self._change(self.dump(), rows)

    def reset(self) -> None:
        """Take everything away."""
        self._change(self.dump(), {name: {} for name in KINDS})

    def _change(self, there: Rows, wanted: Rows) -> int:
        different = differences(there, wanted)
        writes = 0
        for name in KINDS:
            writes += self._at_once(partial(self._write, name), [pair for pair in different[name] if pair[1]])
        for name in reversed(KINDS):
            writes += self._at_once(partial(self._delete, name), [pair for pair in different[name] if not pair[1]])
        return writes

    def _at_once(self, work: Callable[[Admin, Pair], None], pairs: Sequence[Pair]) -> int:
        """Do ``work`` with all of them, through all connections; how many they were."""
        turns = iter(pairs)  # `next` of it is one step, so that no pair is taken twice

        def through(admin: Admin) -> None:
            for pair in turns:
                work(admin, pair)

        with ThreadPoolExecutor(len(self._all)) as threads:
            for done in [threads.submit(through, admin) for admin in self._all]:
                done.result()
        return len(pairs)

    def _delete(self, name: str, admin: Admin, pair: Pair) -> None:
        old = known(pair[0])
        path = f"{self._collection(name, old)}/{old['id']}"
        asked(admin, "DELETE", path, None, 204)

    def _write(self, name: str, admin: Admin, pair: Pair) -> None:
        old, new = pair[0], known(pair[1])
        path = self._collection(name, new)
        one = f"{path}/{new['id']}"
        if old is not None:
            answer = asked(admin, "PUT", one, new, 200)
        elif KINDS[name].alone:
            asked(admin, "GET", f"{KINDS[name].path}/{new['id']}", None, 404)
            answer = asked(admin, "PUT", one, new, 200)
        else:
            asked(admin, "PUT", one, new, 404)
            answer = asked(admin, "POST", path, new, 201)
        made = self._read(name, answer.document)
        if comparable(made) != comparable(new):
            raise Failed("PUT or POST", path, new, answer)

    def _collection(self, name: str, row: Row) -> str:
        kind = KINDS[name]
        template = WRITTEN_BELOW.get(name, kind.path)
        return template.format(row[kind.below]["id"]) if kind.below else template

    def _list(self, path: str) -> Iterator[Row]:
        tags = f"&tags={'%2C'.join(self._tags)}" if self._tags else ""
        offset = ""
        while True:
            page = self._ask("GET", f"{path}?{offset}size=1000{tags}").document
            yield from page["data"]
            if not page.get("offset"):
                return
            offset = f"offset={page['offset']}&"

    def _read(self, name: str, row: Row) -> Row:
        """A row as it is decoded: nulls are nothing, and numbers are integers but for a few."""
        read = {key: value for key, value in without_nulls(row).items() if (name, key) != ("certificates", "snis")}
        assert_whole(read, FRACTIONS.get(name, ()))
        return read

    def _defaults(self, name: str) -> Row:
        return defaults(self._ask("GET", f"/schemas/{name}").document["fields"])

    def _plugin_defaults(self, name: str) -> Row:
        found: Row = defaults(self._ask("GET", f"/schemas/plugins/{name}").document["fields"])["config"]
        return found

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, also: int = 200) -> Answer:
        answer = self._admin.ask(method, path, body)
        if not (200 <= answer.status < 400 or answer.status == also):
            raise Failed(method, path, body, answer)
        return answer


def asked(admin: Admin, method: str, path: str, body: Row | None, status: int) -> Answer:
    """The answer, which must have this ``status``."""
    answer = admin.ask(method, path, body)
    if answer.status != status:
        raise Failed(method, path, body, answer)
    return answer


def known(row: Row | None) -> Row:
    assert row is not None
    return row


def declared(state: State) -> Iterator[tuple[str, Row]]:
    """Every entity of a file, parents first, each with the key of its parent in the parent's place."""
    for name, kind in KINDS.items():
        if not kind.below:
            nested = {other.in_file for other in KINDS.values()}
            for row in state.get(kind.in_file, ()):
                yield name, {key: deepcopy(value) for key, value in row.items() if key not in nested}
            continue
        parent = KINDS[PARENTS[kind.below]]
        for owner in state.get(parent.in_file, ()):
            for row in owner.get(kind.in_file, ()):
                yield name, {**deepcopy(row), kind.below: owner[parent.key]}


def reference(parents: Mapping[str, Row], key: str) -> Row:
    """A reference as it goes out: the id, and beside it the name if there is one."""
    (found,) = (row for row in parents.values() if key in (row.get("name"), row.get("username"), row.get("cert")))
    return {name: found[name] for name in ("id", "name", "username") if name in found}


def same(name: str, old: Row, new: Row) -> bool:
    """Whether a file means by ``new`` what is there as ``old``."""
    return bool(old[KINDS[name].key] == new[KINDS[name].key])


def defaults(fields: list[dict[str, Row]]) -> Row:
    """What a published schema says of the fields that nobody sends."""
    found: Row = {}
    for one in fields:
        for name, said in one.items():
            if "fields" in said:
                found[name] = defaults(said["fields"])
            elif said.get("default") is not None:
                found[name] = said["default"]
    return found


def merged(base: Row, over: Row) -> Row:
    """``over`` with what only ``base`` says, at every depth."""
    both = {**base, **over}
    nested = {key for key in base.keys() & over.keys() if isinstance(base[key], dict) and isinstance(over[key], dict)}
    return both | {key: merged(base[key], over[key]) for key in nested}


def differences(there: Rows, wanted: Rows) -> dict[str, list[Pair]]:
    """For each kind the pairs that are not alike; None where there is only one."""
    return {
        name: [
            pair
            for id in {**there[name], **wanted[name]}
            if comparable((pair := (there[name].get(id), wanted[name].get(id)))[0]) != comparable(pair[1])
        ]
        for name in KINDS
    }


def comparable(row: Row | None) -> Row | None:
    """What two rows must have in common to be alike: tags in any order, references by their ids."""
    if row is None:
        return None
    alike = {name: value for name, value in without_nulls(row).items() if name not in OF_THE_GATEWAY}
    alike["tags"] = sorted(row.get("tags") or [])
    for name in (*PARENTS, "route"):
        if name in alike:
            alike[name] = alike[name]["id"]
    return alike


def without_nulls(value: Any) -> Any:
    """A document without its nulls and without maps that had nothing else."""
    if not isinstance(value, dict):
        return value
    return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}


def assert_whole(value: Any, but: tuple[str, ...], name: str = "") -> None:
    """:raise AssertionError: a number is written with a decimal point, and it is not one of ``but``."""
    if isinstance(value, dict):
        for key, inner in value.items():
            assert_whole(inner, but, key)
    elif isinstance(value, list):
        for inner in value:
            assert_whole(inner, but, name)
    elif isinstance(value, float):
        assert name in but, f"{name}: expected an integer, got {value}"
