"""What people install: the wheel holds everything, and ``twistd`` finds the gateway however it was installed."""

from __future__ import annotations

import re
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packages import Environment, run
from stage import StagedGateway, origins

ROOT = Path(__file__).parents[1]
PACKAGED = ("MANIFEST.in", "README.md", "plugins", "pyproject.toml", "setup.py", "twisted", "twisted_kong")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is packaged, so that building leaves no trace here."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in PACKAGED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
        else:
            shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution, so that what is missing there is missing here."""
    return build(checkout, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with a component that is somebody else's."""
    copy = tmp_path_factory.mktemp("stranger") / "wheel-example"
    return shutil.copytree(ROOT / "plugins" / "wheel-example", copy, ignore=shutil.ignore_patterns("__pycache__"))


def build(project: Path, where: Path) -> Path:
    """The wheel of a project, built in ``where`` without a look at the network."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", where, project, cwd=where)
    (built,) = where.glob("*.whl")
    return built


def modules(root: Path) -> set[str]:
    """The Python files below ``root`` that are to be installed."""
    found = [*root.glob("twisted_kong/**/*.py"), *root.glob("twisted/**/*.py")]
    return {str(path.relative_to(root)) for path in found}


def test_no_packages_of_twisted() -> None:
    """The directories of the plugin are no packages: an ``__init__.py`` there would hide Twisted's own."""
    assert modules(ROOT) & {"twisted/__init__.py", "twisted/plugins/__init__.py"} == set()


def test_wheel(wheel: Path) -> None:
    """The wheel holds every module, the migrations and the plugin among them, the mark of types, and nothing else."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert "twisted/plugins/twisted_kong_plugin.py" in names
    assert "twisted_kong/store/migrations/versions/v0001_first_tables.py" in names
    assert names == modules(ROOT) | {"twisted_kong/py.typed"}


def test_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    """After ``pip install`` of the wheel twistd knows the gateway, and finds it in the wheel."""
    environment = Environment(tmp_path)
    environment.install(wheel)
    assert "kong-gateway" in environment.twistd("--help")
    assert "--admin-listen" in environment.twistd("kong-gateway", "--help")
    assert environment.origin().is_relative_to(tmp_path)


def test_editable_install(checkout: Path, tmp_path: Path) -> None:
    """After ``pip install -e`` twistd knows the gateway, and finds it in the checkout."""
    environment = Environment(tmp_path)
    assert "kong-gateway" not in environment.twistd("--help")
    environment.install("-e", checkout)
    assert "kong-gateway" in environment.twistd("--help")
    assert environment.origin() == checkout / "twisted_kong"


def test_nothing_of_plugins(wheel: Path, checkout: Path) -> None:
    """The examples are in the source distribution, and not in the wheel."""
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if "weighted_random" in name or "first_available" in name]
    (source,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    examples = [path for path in (checkout / "plugins").rglob("*") if path.is_file()]
    assert {str(path.relative_to(checkout)) for path in examples} <= packed


def test_component_of_a_stranger(wheel: Path, stranger: Path, tmp_path: Path) -> None:
    """An algorithm out of somebody else's wheel, installed beside ours, is listed and picks, by its name alone."""
    environment = Environment(tmp_path / "venv")
    environment.install(wheel, build(stranger, tmp_path))
    listed = run(environment.python, "-m", "twisted_kong.command", "components", cwd=tmp_path)
    rows = [line.split("  ") for line in listed.splitlines() if "first-available" in line]
    assert [[cell.strip() for cell in row if cell] for row in rows] == [
        ["algorithm", "first-available", "entry point of kong-first-available 1.0", "1.0"]
    ]
    with origins(2) as (light, heavy), StagedGateway(tmp_path, python=environment.python) as gateway:
        gateway.put_upstream("orders", {light.target: 10, heavy.target: 20}, algorithm="first-available")
        assert gateway.shares("/orders", 5) == {heavy.port: 5}
        gateway.admin("PATCH", f"/upstreams/orders/targets/{heavy.target}", weight=0)
        assert gateway.shares("/orders", 5) == {light.port: 5}


def test_tests_of_a_stranger(wheel: Path, stranger: Path, tmp_path: Path) -> None:
    """Whoever has our wheel can test a component with it: the contract suite is all there, and the example passes."""
    environment = Environment(tmp_path / "venv")
    environment.install(wheel, build(stranger, tmp_path))
    told = run(environment.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", stranger / "tests", cwd=tmp_path)
    passed = re.search(r"(\d+) passed", told)
    assert passed is not None
    assert int(passed[1]) > 10
