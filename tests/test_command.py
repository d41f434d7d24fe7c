"""``kong-gateway`` as people and scripts use it: what it does, what it says, how it ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from components import ALGORITHM, put_drop_in
from desk import ANEW, FAULTS, READY, SOUND, Desk, Gateway

from twisted_kong import VERSION, __version__


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def gateway(desk: Desk) -> Iterator[Gateway]:
    """A gateway with a database."""
    with Gateway(desk) as gateway:
        gateway.logs_until(READY)
        yield gateway


# -- config init ---------------------------------------------------------------------------------------------------


def test_init(desk: Desk) -> None:
    """An example is written that can be loaded, as it is and without its comment signs, and nothing is overwritten."""
    desk.done("config", "init")
    assert desk.done("config", "parse", "kong.yml") == "parse successful\n"
    text = (desk.where / "kong.yml").read_text()
    desk.put("whole.yml", re.sub("^# ([^A])", r"\1", text, flags=re.MULTILINE))
    assert "services:\n- name: orders\n" in (desk.where / "whole.yml").read_text()
    assert desk.done("config", "parse", "whole.yml") == "parse successful\n"
    assert desk.refused("config", "init", "whole.yml") == "whole.yml already exists.\nWill not overwrite it.\n"


# -- config parse ----------------------------------------------------------------------------------------------


def test_parse(desk: Desk) -> None:
    """A sound file is told to be one, JSON or YAML."""
    desk.put("kong.json", '{"_format_version": "1.1"}')
    assert desk.done("config", "parse", "sound.yml") == "parse successful\n"
    assert desk.done("config", "parse", "kong.json") == "parse successful\n"


def test_parse_refuses(desk: Desk) -> None:
    """Of a faulty one every fault is told, with its line."""
    assert desk.refused("config", "parse", "faulty.yml") == f"Failed parsing:\n{FAULTS}"
    desk.put("twice.yml", "a: 1\na: 2\n")
    assert "line 2: 'a' is given twice, for the first time in line 1" in desk.refused("config", "parse", "twice.yml")
    desk.put("kong.txt", SOUND)
    assert "unknown file type: kong.txt. (Accepted types: json, yaml)" in desk.refused("config", "parse", "kong.txt")
    assert (
        desk.refused("config", "parse", "no.yml")
        == "no.yml: expected a file that can be read: No such file or directory\n"
    )


# -- config db_import and db_export ----------------------------------------------------------------------------


def test_import_and_export(desk: Desk) -> None:
    """What is imported is in the database, once however often it is imported, and is exported as it is."""
    said = "parse successful, beginning import\nimport successful\n"
    assert desk.done("config", "db_import", "sound.yml", "--conf", "kong.conf") == said
    text = desk.exported()
    assert "name: r\n" in text
    assert "target: a.test:8000\n" in text
    assert desk.done("config", "db-import", "sound.yml", "-p", str(desk.where / "run")) == said
    assert desk.exported() == text
    desk.put("again.yml", text)
    assert desk.done("config", "db_import", "again.yml", prefix=str(desk.where / "run")) == said
    assert desk.exported() == text


def test_import_adds(desk: Desk) -> None:
    """An import replaces what has the same name and leaves the rest."""
    desk.done("config", "db_import", "sound.yml", "-c", "kong.conf")
    desk.put("more.yml", '_format_version: "3.0"\nservices: [{name: s, host: b.test}, {name: t, host: a.test}]\n')
    desk.done("config", "db_import", "more.yml", "-c", "kong.conf")
    text = desk.exported()
    assert "host: b.test\n" in text
    assert "host: a.test\n" in text
    assert "name: r\n" in text


def test_import_refuses(desk: Desk) -> None:
    """What cannot be imported changes nothing."""
    desk.done("config", "db_import", "sound.yml", "-c", "kong.conf")
    before = desk.exported()
    assert desk.refused("config", "db_import", "faulty.yml", "-c", "kong.conf") == f"Failed parsing:\n{FAULTS}"
    id = "5f1d7e76-2fed-4806-a6af-869984f025cb"
    desk.put(
        "other.yml",
        f'_format_version: "3.0"\nconsumers: [{{username: c}}]\nservices: [{{id: {id}, name: s, host: a}}]\n',
    )
    assert desk.refused("config", "db_import", "other.yml", "-c", "kong.conf") == (
        "UNIQUE violation detected on '{name=\"s\"}'\n"
    )
    assert desk.exported() == before


def test_export_overwrites_nothing(desk: Desk) -> None:
    """An export makes a new file, for its owner only, and never overwrites one."""
    desk.done("config", "db_import", "sound.yml", "-c", "kong.conf")
    assert desk.done("config", "db_export", "-c", "kong.conf") == "exported to kong.yml\n"
    assert (desk.where / "kong.yml").stat().st_mode & 0o777 == 0o600
    assert (
        desk.refused("config", "db_export", "-c", "kong.conf") == "kong.yml already exists.\nWill not overwrite it.\n"
    )
    assert "no/kong.yml: expected a file to write" in desk.refused(
        "config", "db_export", "no/kong.yml", "-c", "kong.conf"
    )


def test_no_database(desk: Desk) -> None:
    """Without a database there is nothing to import into or to export."""
    told = "only works with a database."
    assert desk.refused("config", "db_import", "sound.yml", database="off").startswith(
        f"'kong config db_import' {told}\n"
    )
    assert desk.refused("config", "db_export", database="off") == f"'kong config db_export' {told}\n"
    assert desk.refused("config", "db_export", "-c", "kong.conf").startswith("expected a database to export")
    assert not (desk.where / "run").exists()


def test_damaged_database(desk: Desk) -> None:
    """A database that cannot be used is told in one line."""
    (desk.where / "run").mkdir()
    desk.put("run/kong.sqlite", "no database" * 100)
    told = desk.refused("config", "db_import", "sound.yml", "-c", "kong.conf")
    assert told.startswith(f"cannot use the database {desk.where}/run/kong.sqlite: ")
    assert told.count("\n") == 1


def test_import_below_a_gateway(desk: Desk, gateway: Gateway) -> None:
    """A gateway that runs on the database is told, and has what was imported."""
    assert desk.names() == []
    said = desk.done("config", "db_import", "sound.yml", "-c", "kong.conf").splitlines()
    assert said[1:] == ["import successful", f"told the running gateway, process {gateway.process.pid}, to read it"]
    gateway.logs_until(ANEW)
    assert desk.names() == ["s"]


# -- the others ------------------------------------------------------------------------------------------------


def test_check(desk: Desk) -> None:
    """Settings are sound or not, and so is the document they name."""
    assert desk.done("check", "kong.conf") == "configuration at kong.conf is valid\n"
    assert desk.done("check") == "configuration is valid\n"
    desk.put("bad.conf", "proxy_listen = x\n")
    assert desk.refused("check", "bad.conf").startswith("bad.conf:1: proxy_listen: expected addr:port")
    assert desk.refused("check", "no.conf").startswith("no.conf: expected a readable file")
    assert desk.done("check", database="off", declarative_config="sound.yml") == "configuration is valid\n"
    assert desk.refused("check", database="off", declarative_config="faulty.yml") == f"Failed parsing:\n{FAULTS}"
    assert "unknown field" in desk.refused("check", database="off", declarative_config_string="{foo: 1}")


def test_health(desk: Desk, gateway: Gateway) -> None:
    """The gateway is healthy while its Admin API answers."""
    assert desk.done("health", "--conf", "kong.conf") == f"the gateway is healthy at unix:{desk.socket}\n"
    gateway.stop()
    assert desk.refused("health", "--conf", "kong.conf").startswith(
        f"the Admin API does not answer at unix:{desk.socket}: "
    )
    assert desk.refused("health", admin_listen="127.0.0.1:1").startswith(
        "the Admin API does not answer at 127.0.0.1:1: "
    )
    assert desk.refused("health", admin_listen="off").endswith("in admin_listen, got off\n")


def test_version(desk: Desk) -> None:
    """The version is one word, and all versions are a line each."""
    assert desk.done("version") == f"{VERSION}\n"
    assert [line.partition(": ")[0] for line in desk.done("version", "--all").splitlines()] == [
        "Kong",
        "twisted-kong",
        "Twisted",
        "Python",
    ]


@pytest.mark.parametrize(
    "arguments", [(), ("config",), ("config", "parse"), ("config", "load"), ("nonsense",), ("health", "x")]
)
def test_usage(desk: Desk, arguments: tuple[str, ...]) -> None:
    """What is not understood ends with 2."""
    found = desk.command(*arguments)
    assert (found.returncode, found.stdout, found.stderr[:6]) == (2, "", "usage:")


# -- components ------------------------------------------------------------------------------------------------


def test_components(desk: Desk) -> None:
    """Every component is a row, whether a setting, a variable or an option names where it is."""
    file = put_drop_in(desk.where / "plugins", "mine", ALGORITHM.format(name="mine") + "__version__ = '3'\n")
    desk.put("plugins.conf", f"plugin_dirs = {file.parent}\n")
    told = desk.done("components", "--plugin-dir", "plugins")
    assert told == desk.done("components", "--conf", "plugins.conf") == desk.done("components", plugin_dirs="plugins")
    rows = [line.split() for line in told.splitlines()]
    assert rows[:2] == [["KIND", "NAME", "ORIGIN", "VERSION"], ["algorithm", "round-robin", "built-in", __version__]]
    assert ["algorithm", "mine", str(file), "3"] in rows
    assert all(row[1] != "mine" for row in map(str.split, desk.done("components").splitlines()))


def test_components_count_everywhere(desk: Desk) -> None:
    """What names an algorithm of somebody else is sound where that is installed, and nowhere else."""
    file = put_drop_in(desk.where / "plugins", "mine", ALGORITHM.format(name="mine"))
    desk.put("mine.yml", SOUND.replace("- name: u\n", "- name: u\n  algorithm: mine\n"))
    desk.put("off.conf", "database = off\ndeclarative_config = mine.yml\n")
    assert "expected one of: " in desk.refused("config", "parse", "mine.yml")
    assert "expected one of: " in desk.refused("check", "off.conf")
    option = ("--plugin-dir", str(file.parent))
    assert desk.done("config", "parse", "mine.yml", *option) == "parse successful\n"
    assert "is valid" in desk.done("check", "off.conf", *option)
    desk.done("config", "db_import", "mine.yml", "-c", "kong.conf", *option)
    assert "algorithm: mine\n" in desk.exported()


@pytest.mark.parametrize("command", [("components",), ("check",), ("config", "parse", "sound.yml")])
def test_broken_components(desk: Desk, command: tuple[str, ...]) -> None:
    """A broken component ends every command that needs components, with one line."""
    file = put_drop_in(desk.where, "broken", "1 / 0")
    told = desk.refused(*command, "--plugin-dir", ".")
    assert told == f"{file}: cannot be imported: ZeroDivisionError: division by zero (broken.py, line 1)\n"


def test_check_of_names(desk: Desk) -> None:
    """A setting that names a component which is not there is told."""
    for setting in ("dns_resolver_plugin", "algorithm_fallback"):
        assert desk.refused("check", **{setting: "nope"}).startswith(f"{setting}: expected one of ")


def test_picture(desk: Desk) -> None:
    """A picture that could not be what its name says is refused before the run, one that cannot be written after it."""
    assert desk.refused("simulate", "--picture", "shares.png") == (
        "--picture: expected a name that ends in .svg, got 'shares.png'\n"
    )
    desk.put("one.yml", '_format_version: "3.0"\nupstreams: [{name: u, targets: [{target: "10.0.0.1:80"}]}]\n')
    run = ("simulate", "one.yml", "--duration", "1", "--picture", "no/shares.svg")
    assert "no/shares.svg: expected a file to write" in desk.refused(*run)
