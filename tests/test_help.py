"""What ``--help`` tells, of every command: options with their defaults, how it ends, and examples that work."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from twisted_kong.command import COMMANDS
from twisted_kong.commandline import make_parser
from twisted_kong.service import Options


def parsers(whole: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser, and those of all its commands."""
    yield whole
    for action in whole._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in {id(made): made for made in action.choices.values()}.values():
                yield from parsers(each)


ALL = list(parsers(make_parser(COMMANDS)))
LEAVES = [each for each in ALL if each.get_default("command") is not None]


def test_all_of_them() -> None:
    """Every command can be said, and is described."""
    assert {each.get_default("command") for each in LEAVES} == set(COMMANDS.values())


@pytest.mark.parametrize("parser", ALL, ids=lambda parser: parser.prog)
def test_status(parser: argparse.ArgumentParser) -> None:
    """Every page tells what it is about, and the three ways to end."""
    told = parser.format_help()
    assert parser.description
    assert re.search(r"^exit status:\n  0  .*\n  1  .*\n  2  ", told, re.MULTILINE)
    assert all(len(line) <= 100 for line in told.splitlines())


@pytest.mark.parametrize("parser", LEAVES, ids=lambda parser: parser.prog)
def test_options(parser: argparse.ArgumentParser) -> None:
    """Every option says what it is, and what holds without it; only what must be given has no default."""
    for action in parser._actions:
        assert action.help
        if action.dest != "help" and action.nargs != 0 and (action.option_strings or action.nargs == "?"):
            assert "(default: " in action.help or "such as" in action.help, action.dest


@pytest.mark.parametrize("parser", LEAVES, ids=lambda parser: parser.prog)
def test_examples(parser: argparse.ArgumentParser) -> None:
    """The example of every command is one of that command, and is understood."""
    (line,) = re.findall(r"^  (kong-gateway .*)$", parser.format_help(), re.MULTILINE)
    found = make_parser(COMMANDS).parse_args(shlex.split(line)[1:])
    assert found.command is parser.get_default("command")


def test_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """twistd's page of the gateway tells every option with its default, signals, files, variables, and its examples are
    understood."""
    told = Options().getUsage()
    options: list[Any] = re.findall(r"^ +(?:-\w, )?--([a-z-]+)=", told, re.MULTILINE)
    assert {"conf", "prefix", "proxy-listen", "admin-listen", "database", "set", "plugin-dir"} == set(options)
    assert told.count("(default:") == len(options)
    for title in ("settings", "exit status", "signals", "files", "environment", "examples"):
        assert re.search(rf"^{title}.*:$", told, re.MULTILINE)
    examples = told.partition("examples:\n")[2].replace("\\\n", " ").strip().splitlines()
    assert len(examples) == 3
    for example in examples:
        _, _, given = example.partition("kong-gateway ")
        parsed = Options()
        monkeypatch.setattr(parsed, "postOptions", lambda: None)
        parsed.parseOptions(shlex.split(given))  # type: ignore[no-untyped-call]  # Twisted's
