"""What people install: the wheel holds everything, and ``twistd`` finds the gateway however it was installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGED = ("MANIFEST.in", "README.md", "pyproject.toml", "setup.py", "twisted", "twisted_kong")


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
    where = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", where, checkout, cwd=where)
    (built,) = where.glob("*.whl")
    return built


class Environment:
    """A virtual environment that has our dependencies, lent by the one the tests run in, but not ourselves."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.python = where / "bin" / "python"
        venv.create(where, symlinks=True, with_pip=False)
        # Of a directory that a .pth file adds, the .pth files count for nothing: an editable install stays where it is.
        (site,) = where.glob("lib/python*/site-packages")
        (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def install(self, *what: str | Path) -> None:
        """Install without a look at the network."""
        pip = (sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet", "--no-index", "--no-deps")
        run(*pip, "--no-build-isolation", *what, cwd=self.where)

    def twistd(self, *arguments: str) -> str:
        """What ``twistd`` prints."""
        start = "from twisted.scripts.twistd import run; run()"
        return run(self.python, "-c", start, *arguments, cwd=self.where)

    def origin(self) -> Path:
        """Where ``twisted_kong`` is imported from."""
        return Path(run(self.python, "-c", "import twisted_kong; print(twisted_kong.__path__[0])", cwd=self.where))


def run(*command: str | Path, cwd: Path) -> str:
    """What ``command`` prints, without the blanks around it; it must succeed."""
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PIP_CONSTRAINT")}
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


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
