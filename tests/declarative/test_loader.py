"""Documents come into force: whole or not at all, one after the other, away from everybody else's work."""

# mypy: allow-untyped-calls
# Trial's assertions carry no types.

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from document_making import NOW, SCHEMA, document
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from twisted_kong.errors import StartupError
from twisted_kong.model.declarative.faults import InvalidDocument
from twisted_kong.model.snapshot import Snapshot
from twisted_kong.store.declarative import NOTHING_LOADED, Loader, digest, text_of
from twisted_kong.store.memory import MemoryStore

T = TypeVar("T")


class Desk:
    """Work that lies aside until somebody does it."""

    def __init__(self) -> None:
        self._work: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def __call__(self, work: Callable[[], T], /) -> Deferred[T]:
        done: Deferred[T] = Deferred()
        self._work.append((work, done))
        return done

    def __len__(self) -> int:
        return len(self._work)

    def do_one(self) -> None:
        """Do what has waited longest."""
        work, done = self._work.pop(0)
        try:
            result = work()
        except Exception:
            done.errback(Failure())
        else:
            done.callback(result)


class LoaderTests(SynchronousTestCase):
    """A loader whose work is done when the test says so."""

    def setUp(self) -> None:
        self.store = MemoryStore()
        self.desk = Desk()
        self.loader = Loader(self.store, SCHEMA, now=lambda: NOW, aside=self.desk)
        self.told: list[tuple[Snapshot, Snapshot]] = []
        self.store.subscribe(lambda old, new: self.told.append((old, new)))

    def load(self, given: Any, name: str | None = None) -> Deferred[Snapshot]:
        return Deferred.fromCoroutine(self.loader.load(given, name))

    def names(self) -> set[str | None]:
        return {service.name for service in self.store.snapshot().services.values()}

    def test_one_change(self) -> None:
        """A document is one change, in force when it is answered, and its hash with it."""
        tree = document(
            services=[{"name": "s", "host": "a", "routes": [{"paths": ["/"]}]}], consumers=[{"username": "c"}]
        )
        answer = self.load(tree)
        self.assertNoResult(answer)
        self.assertEqual((self.names(), self.loader.hash), (set(), NOTHING_LOADED))
        self.desk.do_one()
        self.assertIs(self.successResultOf(answer), self.store.snapshot())
        self.assertEqual((self.names(), self.loader.hash, len(self.told)), ({"s"}, digest(tree), 1))

    def test_refused(self) -> None:
        """A refused document changes nothing, and stands in nobody's way."""
        good, bad = '_format_version: "3.0"\nservices: [{name: s, host: a}]', '_format_version: "3.0"\nservices: [{}]'
        answers = [self.load(good), self.load(bad), self.load("[")]
        while self.desk:
            self.desk.do_one()
        self.successResultOf(answers[0])
        self.failureResultOf(answers[1], InvalidDocument)
        self.failureResultOf(answers[2], InvalidDocument)
        self.assertEqual((self.names(), self.loader.hash, len(self.told)), ({"s"}, digest(good), 1))

    def test_one_at_a_time(self) -> None:
        """Documents come into force in their order, each upon the one before it, whose work is finished by then."""
        answers = [self.load(document(services=[{"name": name, "host": "a"}])) for name in "abc"]
        for name, answer in zip("abc", answers, strict=True):
            self.assertEqual(len(self.desk), 1)
            self.desk.do_one()
            self.successResultOf(answer)
            self.assertEqual(self.names(), {name})

    def test_nothing_new(self) -> None:
        """A document that says what is in force disturbs nobody, but is the one in force from now on."""
        tree = document(services=[{"name": "s", "host": "a"}])
        for given in (tree, str(tree).replace("'", '"')):
            answer = self.load(given)
            self.desk.do_one()
            self.successResultOf(answer)
            self.assertEqual(self.loader.hash, digest(given))
        self.assertEqual(len(self.told), 1)

    def test_export(self) -> None:
        """The export is of the configuration at the moment in which it was asked for."""
        export = Deferred.fromCoroutine(self.loader.export())
        _ = self.load(document(services=[{"name": "s", "host": "a"}]))
        self.desk.do_one()
        self.assertEqual(self.successResultOf(export), "_format_version: '3.0'\n_transform: false\n")

    def test_told_to_a_person(self) -> None:
        """A person is told which document is faulty, and all faults with their lines."""
        loader = Loader(self.store, SCHEMA, now=lambda: NOW, aside=maybeDeferred)
        refused = Deferred.fromCoroutine(loader.load_named("services:\n- name: s\n", "a.yml", "/etc/a.yml"))
        self.assertEqual(
            str(self.failureResultOf(refused, StartupError).value),
            "/etc/a.yml: expected a configuration in Kong's declarative format\n"
            "in '_format_version': required field missing\n"
            "in 'services':\n"
            "  - in entry 1 of 'services':\n"
            "    in 'host': required field missing (line 2)",
        )

    def test_texts_of_files(self) -> None:
        """What is no file, or not UTF-8, is told in one line."""
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = Path(directory.name) / "kong.yml"
        for content, why in ((None, "No such file or directory"), (b"a: 1\nb: \xff", "expected UTF-8 in line 2")):
            if content is not None:
                path.write_bytes(content)
            with self.assertRaises(StartupError) as refusal:
                text_of(path)
            self.assertIn(why, str(refusal.exception))
        path.write_bytes("é".encode())
        self.assertEqual(text_of(path), "é")

    def test_digest(self) -> None:
        """Texts are told apart by every character, trees by what they say."""
        self.assertNotEqual(digest("a: 1"), digest("a: 1\n"))
        self.assertEqual(digest({"a": 1, "b": 2}), digest({"b": 2, "a": 1}))
        self.assertEqual(len(digest("")), len(NOTHING_LOADED))
