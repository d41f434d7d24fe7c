"""What people install: the wheel holds everything, and ``twistd`` finds the gateway however it was installed."""

from __future__ import annotations

import re
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import image
import pytest
from packages import Environment, run
from stage import StagedGateway, origins
from wheelhouse import build, fill

ROOT = Path(__file__).parents[1]
NOT_PACKAGED = shutil.ignore_patterns("__pycache__", "dropin.cache", "*.so")
PACKAGED = ("MANIFEST.in", "README.md", "plugins", "pyproject.toml", "setup.py", "twisted", "twisted_kong")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is packaged, so that building leaves no trace here."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in PACKAGED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=NOT_PACKAGED)
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
    assert {name for name in names if not name.endswith(".so")} == modules(ROOT) | {"twisted_kong/py.typed"}


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_compiled(wheel: Path, tmp_path: Path) -> None:
    """Where there is a compiler, the wheel holds the accelerator, for this Python alone, and it is used."""
    environment = Environment(tmp_path)
    environment.install(wheel)
    assert environment.accelerated()
    assert wheel.name.split("-")[-3:-1] == [f"cp3{sys.version_info.minor}"] * 2


def test_without_a_compiler(checkout: Path, tmp_path: Path) -> None:
    """Where the compiler fails there is a wheel all the same, and Python does the work."""
    environment = Environment(tmp_path / "venv")
    environment.install(build(checkout, tmp_path, CC="false"))
    assert not environment.accelerated()
    assert "kong-gateway" in environment.twistd("--help")


def test_for_any_machine(checkout: Path, tmp_path: Path) -> None:
    """With ``TWISTED_KONG_PURE=1`` the wheel is of Python alone, and says so."""
    assert build(checkout, tmp_path, TWISTED_KONG_PURE="1").name.endswith("-py3-none-any.whl")


def test_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    """After ``pip install`` of the wheel twistd knows the gateway, and finds it in the wheel."""
    environment = Environment(tmp_path)
    environment.install(wheel)
    assert "kong-gateway" in environment.twistd("--help")
    assert "--admin-listen" in environment.twistd("kong-gateway", "--help")
    assert environment.origin().is_relative_to(tmp_path)


def test_source_distribution(tmp_path: Path) -> None:
    """What one needs to work on it is in the source distribution, and nothing that work leaves behind."""
    copy = tmp_path / "copy"
    left_out = shutil.ignore_patterns(
        ".*", "__pycache__", "*.egg-info", "*.so", "build", "dist", "wheelhouse", "dropin.cache"
    )
    shutil.copytree(ROOT, copy, ignore=left_out)
    wanted = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()}
    for name in (
        "tests/__pycache__/a.pyc",
        "twisted/plugins/dropin.cache",
        "twisted_kong/proxy/_accelerator.so",
        ".run/kong.sqlite",
        "wheelhouse/a.whl",
    ):
        left = copy / name
        left.parent.mkdir(parents=True, exist_ok=True)
        left.write_text("left behind")
    (copy / "tests" / ".hypothesis").mkdir()
    run(sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", tmp_path, copy, cwd=tmp_path)
    (source,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        packed = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    made = {name for name in packed if name in ("PKG-INFO", "setup.cfg") or ".egg-info/" in name}
    assert packed - made - wanted == set()
    for name in ("Dockerfile", "Makefile", "LICENSE", "constraints.txt", "etc/kong.conf", "docs/operating.md"):
        assert name in packed
    assert {name for name in wanted if name.startswith(("twisted", "tests", "etc", "docs", "benchmarks"))} <= packed


@pytest.fixture(scope="module")
def house(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, and those of all that it needs."""
    return fill(tmp_path_factory.mktemp("house"), wheel)


def test_into_an_empty_environment(house: Path, tmp_path: Path) -> None:
    """Where there is nothing but Python, ``pip install`` of the wheel makes a gateway that runs and passes requests on,
    with the commands that people type, wherever one stands."""
    where = tmp_path / "venv"
    run(sys.executable, "-m", "venv", where, cwd=tmp_path)
    offline = ("--quiet", "--no-index", "--find-links", house)
    run(where / "bin" / "pip", "install", *offline, "twisted-kong", cwd=tmp_path)
    run(where / "bin" / "pip", "check", cwd=tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert "--admin-listen" in run(where / "bin" / "twistd", "kong-gateway", "--help", cwd=elsewhere)
    assert run(where / "bin" / "kong-gateway", "version", cwd=elsewhere)
    with origins(1) as (origin,), StagedGateway(elsewhere, python=where / "bin" / "python") as gateway:
        gateway.put_upstream("orders", {origin.target: 100})
        assert gateway.shares("/orders", 3) == {origin.port: 3}
    assert "Traceback" not in gateway.printed


# -- the image -------------------------------------------------------------------------------------------------


def test_dockerfile() -> None:
    """The image is built from wheels alone, runs as nobody known, keeps all in one volume, and says how it is."""
    known = {"ARG", "FROM", "COPY", "RUN", "ENV", "USER", "WORKDIR", "VOLUME", "EXPOSE", "HEALTHCHECK", "STOPSIGNAL"}
    found = image.instructions()
    assert {each.name for each in found} == {*known, "ENTRYPOINT"}
    installs = [each.arguments for each in found if each.name == "RUN" and "pip install" in each.arguments]
    assert installs
    assert all("--no-index" in each for each in installs)
    assert not any(word in each.arguments for each in found for word in ("apt-get", "curl ", "wget ", "ADD"))
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", image.one("USER"))
    stages = [number for number, each in enumerate(found) if each.name == "FROM"]
    assert found.index(image.Instruction("USER", image.one("USER"))) > stages[-1]
    assert [each.arguments for each in found if each.name == "VOLUME"] == ["/var/lib/kong-gateway"]
    assert image.one("STOPSIGNAL") == "SIGTERM"
    assert "/status/ready" in image.command("HEALTHCHECK")


ASKING = """
import sys
from urllib.request import Request, urlopen

url, sent = sys.argv[1:]
body = bytes(int(sent)) if sent.isdigit() else sent.encode()
print(urlopen(Request(url, data=body), timeout=30).status)
"""
SLOW = """
import time
from http.server import BaseHTTPRequestHandler, HTTPServer


class Slow(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        print("asked", flush=True)
        time.sleep(2)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


server = HTTPServer(("127.0.0.1", 9001), Slow)
print("there", flush=True)
server.handle_request()
"""


def test_image(house: Path, tmp_path: Path) -> None:
    """Its steps make a gateway that runs without network, rights and a root to write to, is told to be healthy, takes
    large bodies, answers what is under way when it is stopped, and then ends in order."""
    (tmp_path / "asking.py").write_text(ASKING)
    (tmp_path / "slow.py").write_text(SLOW)
    told = image.follow(
        house,
        tmp_path,
        f"""
        ask() {{ as_image "python - $1 '$2'" < {tmp_path}/asking.py; }}
        said() {{ until grep -q "$1" {tmp_path}/origin; do sleep 0.1; done; }}
        ready
        as_image 'id -u; touch /anywhere 2> /dev/null || echo read-only; ls -A'
        ask http://127.0.0.1:8001/services 'url=http://127.0.0.1:9001&name=s'
        ask http://127.0.0.1:8001/services/s/routes 'paths[]=/'
        as_image 'python -' < {tmp_path}/slow.py > {tmp_path}/origin 2>&1 &
        said there
        ask http://127.0.0.1:8000/ 4000000 &
        client=$!
        said asked
        stop
        wait $client
        """,
    )
    lines = told.splitlines()
    assert lines[:3] == ["healthy", image.one("USER").partition(":")[0], "read-only"]
    assert "kong.sqlite" in lines
    assert lines.count("201") == 2
    assert "200" in lines
    assert re.search(r"^ended with (0|143)$", told, re.MULTILINE)
    assert "Server Shut Down." in told
    assert '"POST / HTTP/1.1" 200' in told
    assert "Traceback" not in told


# -- other ways ------------------------------------------------------------------------------------------------


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
