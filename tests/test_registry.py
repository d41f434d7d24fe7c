"""Components by name: where they are found, and that nothing that is wrong with one is passed over."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from components import ALGORITHM, put_distribution, put_drop_in
from zope.interface import implementer

import twisted_kong.plugins
from twisted_kong import __version__
from twisted_kong.balancing.roundrobin import RoundRobin
from twisted_kong.errors import ComponentError
from twisted_kong.interfaces import IAlgorithm, IAlgorithmFactory
from twisted_kong.model.components import Component
from twisted_kong.model.entities import Upstream
from twisted_kong.registry import BUILT_IN, Registry
from twisted_kong.testing import an_upstream


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a test imports from its own directories is not there for the next one."""
    modules, path = set(sys.modules), list(twisted_kong.plugins.__path__)
    yield
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    twisted_kong.plugins.__path__[:] = path


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on ``sys.path``."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    return site


def complaint(*directories: Path) -> str:
    """What stops the start; it is one line."""
    with pytest.raises(ComponentError) as stopped:
        Registry.installed(directories)
    assert "\n" not in str(stopped.value)
    return str(stopped.value)


# -- what there is ---------------------------------------------------------------------------------------------


def test_built_in() -> None:
    """Our own components are there, with our version, whatever else is."""
    found = Registry.installed().components
    assert found[: len(BUILT_IN)] == Registry().components
    assert Component("algorithm", "round-robin", "built-in", __version__) in found
    assert Component("resolver", "system", "built-in", __version__) in found


def test_entry_point(site: Path) -> None:
    """An entry point of a distribution is a component with the name and version of the distribution."""
    put_distribution(site, "acme-kong", "acme_kong", ALGORITHM.format(name="acme"))
    registry = Registry.installed()
    assert Component("algorithm", "acme", "entry point of acme-kong 1.2", "1.2") in registry.components
    assert isinstance(registry.algorithms["acme"].build(an_upstream("orders")[0]), RoundRobin)


def test_plugin_directory(tmp_path: Path) -> None:
    """Every module of a named directory is a drop-in, whose file and own version are told."""
    first = put_drop_in(tmp_path / "a", "first", ALGORITHM.format(name="one") + '__version__ = "7"\n')
    second = put_drop_in(tmp_path / "b" / "second", "__init__", ALGORITHM.format(name="two"))
    found = Registry.installed([tmp_path / "a", tmp_path / "b"]).components
    assert [each for each in found if each.name in ("one", "two")] == [
        Component("algorithm", "one", str(first), "7"),
        Component("algorithm", "two", str(second), None),
    ]


def test_drop_in_on_the_path(site: Path) -> None:
    """A directory ``twisted_kong/plugins`` of any place on ``sys.path`` needs no naming."""
    file = put_drop_in(site / "twisted_kong" / "plugins", "dropped", ALGORITHM.format(name="dropped"))
    assert Component("algorithm", "dropped", str(file), None) in Registry.installed().components


def test_no_drop_ins(tmp_path: Path) -> None:
    """Directories that are no packages, other files, and modules that begin with ``_`` are left alone."""
    (tmp_path / "wheel-example").mkdir()
    (tmp_path / "README").write_text("no module")
    put_drop_in(tmp_path, "_shared", "NAME = 'shared'")
    put_drop_in(
        tmp_path, "sharing", f"from twisted_kong.plugins._shared import NAME\n{ALGORITHM}".replace('"{name}"', "NAME")
    )
    assert "shared" in Registry.installed([tmp_path]).algorithms


def test_directory_named_twice(tmp_path: Path) -> None:
    """A directory that is named twice, also by another way, is searched once."""
    put_drop_in(tmp_path / "real", "once", ALGORITHM.format(name="once"))
    (tmp_path / "link").symlink_to("real")
    found = Registry.installed([tmp_path / "real", tmp_path / "real", tmp_path / "link"]).components
    assert [each.name for each in found].count("once") == 1


def test_of_another_gateway(tmp_path: Path) -> None:
    """Who names no directory has no components from there, though another gateway of the process has."""
    put_drop_in(tmp_path, "theirs", ALGORITHM.format(name="theirs"))
    assert "theirs" in Registry.installed([tmp_path]).algorithms
    assert "theirs" not in Registry.installed().algorithms


def test_imported_factory(tmp_path: Path) -> None:
    """A factory that one drop-in imports from another is one component."""
    file = put_drop_in(tmp_path, "maker", ALGORITHM.format(name="made"))
    put_drop_in(tmp_path, "user", "from twisted_kong.plugins.maker import factory\n")
    assert [each for each in Registry.installed([tmp_path]).components if each.name == "made"] == [
        Component("algorithm", "made", str(file), None)
    ]


# -- what is wrong ---------------------------------------------------------------------------------------------


def test_missing_directory(tmp_path: Path) -> None:
    """A directory that is not there, or is a file, is named."""
    missing, file = tmp_path / "missing", tmp_path / "file"
    file.touch()
    expected = "plugin_dirs: expected a directory we can read, got"
    assert complaint(missing) == f"{expected} {missing}: No such file or directory"
    assert complaint(file) == f"{expected} {file}: Not a directory"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "import nowhere.at.all",
            "cannot be imported: ModuleNotFoundError: No module named 'nowhere' (broken.py, line 1)",
        ),
        ("x = 1\nx = 1 / 0", "cannot be imported: ZeroDivisionError: division by zero (broken.py, line 2)"),
        ("def f(:", "cannot be imported: SyntaxError: invalid syntax (broken.py, line 1)"),
        ("raise SystemExit('enough')", "cannot be imported: SystemExit: enough (broken.py, line 1)"),
        ("raise ValueError('two\\nlines')", "cannot be imported: ValueError: two lines (broken.py, line 1)"),
        ("", "expected a component, found none: no value at its top level provides IPlugin"),
        (ALGORITHM.replace("factory = Factory()", ""), "expected a component, found none"),
    ],
)
def test_broken_drop_in(tmp_path: Path, text: str, reason: str) -> None:
    """A drop-in that cannot be imported, or holds no component, is told with its file and the reason."""
    file = put_drop_in(tmp_path, "broken", text)
    assert complaint(tmp_path).startswith(f"{file}: {reason}")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 / 0", "cannot import broken:factory: ZeroDivisionError: division by zero (broken.py, line 1)"),
        ("fabric = 1", "cannot import broken:factory: AttributeError: module 'broken' has no attribute 'factory'"),
        ("factory = 7", "expected a factory of a component, got an instance of int"),
        (
            ALGORITHM.replace("Factory()", "Factory"),
            "expected a factory of a component, got the class Factory, not an instance of it",
        ),
    ],
)
def test_broken_entry_point(site: Path, text: str, reason: str) -> None:
    """An entry point that leads to no component is told with its distribution and the reason."""
    put_distribution(site, "acme-kong", "broken", text)
    assert complaint() == f"entry point of acme-kong 1.2: {reason}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ALGORITHM.replace("def build(self, upstream)", "def built(self, upstream)"), "build"),
        (ALGORITHM.replace("(self, upstream)", "(self)"), "doesn't allow enough arguments"),
        (ALGORITHM.replace("name = ", "title = "), "name"),
        (ALGORITHM.replace('name = "{name}"', "name = property(lambda self: 1 / 0)"), "ZeroDivisionError"),
    ],
)
def test_wrong_interface(tmp_path: Path, site: Path, text: str, reason: str) -> None:
    """A factory that does not do what its interface says is told, the same from whatever source."""
    file = put_drop_in(tmp_path / "plugins", "wrong", text)
    dropped = complaint(tmp_path / "plugins")
    assert dropped.startswith(f"{file}: an instance of Factory is no IAlgorithmFactory: ")
    assert reason in dropped
    file.unlink()
    put_distribution(site, "acme-kong", "wrong", text)
    assert complaint() == dropped.replace(str(file), "entry point of acme-kong 1.2").replace(
        "twisted_kong.plugins.wrong", "wrong"
    )


@pytest.mark.parametrize("name", ["", "two words", "a,b", "-", "x" * 65, "naïve"])
def test_bad_name(tmp_path: Path, name: str) -> None:
    """A name that nobody could write in a setting is refused."""
    file = put_drop_in(tmp_path, "named", ALGORITHM.format(name=name))
    assert complaint(tmp_path) == (
        f"{file}: an instance of Factory: expected a name of up to 64 letters, digits and -._, got {name!r}"
    )


def test_clash(tmp_path: Path, site: Path) -> None:
    """Two components of a kind with one name are told, with the origin of both, whatever their sources."""
    put_distribution(site, "acme-kong", "acme_kong", ALGORITHM.format(name="acme"))
    file = put_drop_in(tmp_path / "plugins", "mine", ALGORITHM.format(name="acme"))
    assert complaint(tmp_path / "plugins") == (
        f"{file}: expected a name of its own, got 'acme', which is algorithm acme (entry point of acme-kong 1.2)"
    )
    file.write_text(ALGORITHM.format(name="round-robin"))
    del sys.modules["twisted_kong.plugins.mine"]
    assert complaint(tmp_path / "plugins") == (
        f"{file}: expected a name of its own, got 'round-robin', which is algorithm round-robin (built-in)"
    )


def test_two_files_of_a_name(tmp_path: Path) -> None:
    """Two modules of one name are told: only one of them could ever be imported."""
    first = put_drop_in(tmp_path / "a", "same", ALGORITHM.format(name="one"))
    second = put_drop_in(tmp_path / "b", "same", ALGORITHM.format(name="two"))
    assert complaint(tmp_path / "a", tmp_path / "b") == (
        f"{second}: expected a module of another name, there is {first} already"
    )
    Registry.installed([tmp_path / "a"])
    assert complaint(tmp_path / "b") == (
        f"{second}: expected a module of another name, {first} has been imported already"
    )


# -- what a program hands over ---------------------------------------------------------------------------------


@implementer(IAlgorithmFactory)
class OwnFactory:
    name = "own"

    def build(self, upstream: Upstream) -> IAlgorithm:
        return RoundRobin()


def test_own_components() -> None:
    """A program may add factories of its own, which are verified like any other."""
    registry = Registry([*BUILT_IN, OwnFactory()])
    assert registry.components[1 : len(registry.algorithms)][-1] == Component("algorithm", "own", f"module {__name__}")
    with pytest.raises(ComponentError, match="expected a name of its own, got 'own'"):
        Registry([OwnFactory(), OwnFactory()])
