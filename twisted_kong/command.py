"""``kong-gateway``: what there is to do with a gateway, beside running it.

The words are those of Kong's own command. Every command works with the settings of ``--conf``, of the environment and
of ``--prefix``, as the gateway itself does. It ends with 0 where it did what it was asked, with 1 and ``Error:`` on
standard error where it could not, with 2 where it did not understand.

``config db_import`` writes to the database itself, all of a document in one change, whether or not a gateway runs on
it. One that does would notice with its next change; so it is found by its Admin API and told, by SIGHUP, to read now.
"""

from __future__ import annotations

import argparse
import getpass
import os
import platform
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import twisted
from twisted_kong import KONG_VERSION, VERSION, __version__
from twisted_kong.asking import TokenWanted, admin_address, ask
from twisted_kong.commandline import Command, make_parser
from twisted_kong.control import database_file, make_schema, open_store
from twisted_kong.errors import GatewayError, StartupError
from twisted_kong.guarded import callers_of, check_doors
from twisted_kong.interfaces import IConfigStore
from twisted_kong.model.changes import Author
from twisted_kong.model.declarative.expansion import Stated, expand
from twisted_kong.model.declarative.export import as_yaml
from twisted_kong.model.declarative.faults import InvalidDocument
from twisted_kong.model.declarative.plan import addition
from twisted_kong.prefix import make_prefix, node_id
from twisted_kong.registry import Registry
from twisted_kong.settings import Settings, load
from twisted_kong.simulation.load import read_load
from twisted_kong.simulation.picture import picture
from twisted_kong.simulation.progress import Bar
from twisted_kong.simulation.report import told
from twisted_kong.simulation.sources import from_entities, from_gateway
from twisted_kong.simulation.world import simulate
from twisted_kong.store.declarative import report, text_of, tree_of
from twisted_kong.tokencommand import token

T = TypeVar("T")


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says.

    :raise SystemExit: it could not be done, or not be understood.
    """
    options = make_parser(COMMANDS).parse_args(arguments)
    try:
        options.command(options)
    except GatewayError as error:
        raise SystemExit(f"Error: {error}") from None


def say(text: str) -> None:
    """One line for whoever called, or for their script."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings that the gateway itself would have.

    :raise StartupError: they are not sound.
    """
    overrides = {} if options.prefix is None else {"prefix": options.prefix}
    if getattr(options, "plugin_dir", None):
        overrides["plugin_dirs"] = ",".join(options.plugin_dir)
    return load(options.conf, os.environ, overrides)


# -- config ----------------------------------------------------------------------------------------------------


EXAMPLE = """\
# A configuration to begin with. `kong-gateway config parse` tells whether it is sound.
_format_version: '3.0'

# services:
# - name: orders
#   host: orders-upstream
#   routes:
#   - name: orders
#     paths:
#     - /orders

# upstreams:
# - name: orders-upstream
#   targets:
#   - target: 127.0.0.1:9001
#     weight: 100

# consumers:
# - username: somebody
#   keyauth_credentials:
#   - key: a-secret-of-theirs
"""


def config_init(options: argparse.Namespace) -> None:
    """Write an example to a new file, whose entities are comments."""
    write_new(options.file, EXAMPLE, 0o666)


def write_new(file: Path, text: str, mode: int) -> None:
    """Write a file of this mode that is not there yet.

    :raise StartupError: it is, or it cannot be written.
    """
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        raise StartupError(f"{file} already exists.\nWill not overwrite it.") from None
    except OSError as error:
        raise StartupError(f"{file}: expected a file to write: {error.strerror}") from None


def config_parse(options: argparse.Namespace) -> None:
    """``parse successful``, or all that is wrong with the file."""
    registry = Registry.installed(settings_of(options).plugin_dirs)
    parsed(registry, text_of(options.file), str(options.file))
    say("parse successful")


def parsed(registry: Registry, text: str, name: str | None) -> tuple[Stated, ...]:
    """The entities of a document.

    :raise StartupError: it cannot be loaded.
    """
    try:
        return expand(make_schema(registry), tree_of(text, name), now=time.time())
    except InvalidDocument as refusal:
        raise StartupError(f"Failed parsing:\n{report(refusal, text)}") from None


def config_db_import(options: argparse.Namespace) -> None:
    """Add the entities of a file to the database; those with the same ids or names are replaced, others stay."""
    settings = with_database(options, "db_import")
    registry = Registry.installed(settings.plugin_dirs)
    stated = parsed(registry, text_of(options.file), str(options.file))
    say("parse successful, beginning import")
    make_prefix(settings.prefix)

    async def apply(store: IConfigStore) -> None:
        change = addition(store.snapshot(), stated)
        await store.apply(replace(change, author=Author(whoever(), "kong-gateway config db_import")))

    with_store(settings, apply)
    say("import successful")
    tell_gateway(settings)


def whoever() -> str:
    """Who has called, as the operating system knows them; by number where it knows no name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def config_db_export(options: argparse.Namespace) -> None:
    """Write the whole configuration to a new file, which only its owner may read: it holds private keys."""
    settings = with_database(options, "db_export")
    if options.file.exists():
        raise StartupError(f"{options.file} already exists.\nWill not overwrite it.")
    if not database_file(settings).exists():
        raise StartupError(f"expected a database to export, there is no {database_file(settings)}")

    async def export(store: IConfigStore) -> str:
        return as_yaml(store.snapshot())

    text = with_store(settings, export)
    write_new(options.file, text, 0o600)
    say(f"exported to {options.file}")


def with_database(options: argparse.Namespace, action: str) -> Settings:
    """The settings, if they are those of a gateway with a database.

    :raise StartupError: they are not.
    """
    settings = settings_of(options)
    if settings.database == "off":
        hint = "\nWithout one use `POST /config` of the Admin API." if action == "db_import" else ""
        raise StartupError(f"'kong config {action}' only works with a database.{hint}")
    return settings


def with_store(settings: Settings, work: Callable[[IConfigStore], Awaitable[T]]) -> T:
    """What ``work`` makes of the store of the settings. Runs the reactor, which can be done once in a process.

    :raise GatewayError: the database cannot be used, or refuses.
    """
    from sqlalchemy.exc import DatabaseError
    from twisted.internet import reactor as installed
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    reactor: Any = installed
    store = open_store(settings, reactor)
    found: list[T | Failure] = []

    async def run() -> T:
        try:
            return await work(store)
        finally:
            await store.close()

    def start() -> None:
        _ = Deferred.fromCoroutine(run()).addBoth(found.append).addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(start)
    reactor.run()
    if not found:
        raise StartupError("interrupted")
    if not isinstance(found[0], Failure):
        return found[0]
    try:
        found[0].raiseException()
    except DatabaseError as error:
        raise StartupError(f"cannot use the database {database_file(settings)}: {error.orig}") from None


def tell_gateway(settings: Settings) -> None:
    """Let the gateway that runs on the database of these settings, if any does, know that others wrote to it."""
    try:
        about = ask(settings, "/")
    except TokenWanted as error:
        say(f"a running gateway does not know of it: {error}")
        return
    except StartupError:
        return
    here = (node_id(settings.prefix), socket.gethostname())
    if (about.get("node_id"), about.get("hostname")) != here:
        return  # another gateway
    process = int(about["pids"]["master"])
    try:
        os.kill(process, signal.SIGHUP)
    except OSError as error:
        say(f"the running gateway does not know of it: kill -HUP {process}: {error.strerror}")
    else:
        say(f"told the running gateway, process {process}, to read it")


# -- the others ------------------------------------------------------------------------------------------------


def components(options: argparse.Namespace) -> None:
    """A line for each component that a gateway with these settings would have."""
    found = Registry.installed(settings_of(options).plugin_dirs).components
    rows = [(each.kind, each.name, each.origin, each.version or "-") for each in found]
    for line in columns([("KIND", "NAME", "ORIGIN", "VERSION"), *rows]):
        say(line)


def simulate_load(options: argparse.Namespace) -> None:
    """Run an upstream under a load on a virtual clock, and tell what has happened."""
    if options.picture is not None and options.picture.suffix.lower() != ".svg":
        raise StartupError(f"--picture: expected a name that ends in .svg, got {str(options.picture)!r}")
    registry = Registry.installed(settings_of(options).plugin_dirs)
    if options.admin is not None:
        upstream, targets = from_gateway(options.admin, options.upstream, make_schema(registry))
    elif options.file is not None:
        stated = parsed(registry, text_of(options.file), str(options.file))
        upstream, targets = from_entities((one.entity for one in stated), options.upstream)
    else:
        raise StartupError("simulate what? expected a declarative file, or --admin URL")
    text = "" if options.load is None else text_of(options.load)
    load = read_load(text, rate=options.rate, duration=options.duration)
    names = options.algorithm or [upstream.algorithm]
    unknown = ", ".join(name for name in names if name not in registry.algorithms)
    if unknown:
        raise StartupError(f"no algorithm {unknown}; there are: {', '.join(sorted(registry.algorithms))}")
    factories = [registry.algorithms[name] for name in names]
    results = simulate(upstream, targets, load, factories, options.seed, Bar(sys.stderr))
    say("\n\n".join(map(told, results)))
    if options.picture is not None:
        try:
            options.picture.write_text(picture(results))
        except OSError as error:
            raise StartupError(f"{options.picture}: expected a file to write: {error.strerror}") from None


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of cells as lines, every column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def check(options: argparse.Namespace) -> None:
    """Whether a gateway would start with these settings, as far as that can be told without starting it."""
    settings = settings_of(options)
    registry = Registry.installed(settings.plugin_dirs)
    registry.resolver(settings.dns_resolver_plugin)
    registry.fallback(settings.algorithm_fallback)
    check_doors(settings)
    callers_of(settings)
    if settings.declarative_config is not None:
        text = text_of(settings.declarative_config, "declarative_config")
        parsed(registry, text, str(settings.declarative_config))
    elif settings.declarative_config_string is not None:
        parsed(registry, settings.declarative_config_string, None)
    say(f"configuration at {options.conf} is valid" if options.conf else "configuration is valid")


def health(options: argparse.Namespace) -> None:
    """Whether the Admin API answers."""
    settings = settings_of(options)
    ask(settings, "/status")
    say(f"the gateway is healthy at {admin_address(settings)}")


def version(options: argparse.Namespace) -> None:
    """Our version, which begins with that of the Kong we are like."""
    if not options.all:
        say(VERSION)
        return
    parts = {"Kong": KONG_VERSION, "twisted-kong": __version__, "Twisted": twisted.__version__}
    for name, number in {**parts, "Python": platform.python_version()}.items():
        say(f"{name}: {number}")


COMMANDS: Mapping[str, Command] = {
    "config init": config_init,
    "config parse": config_parse,
    "config db_import": config_db_import,
    "config db_export": config_db_export,
    "components": components,
    "simulate": simulate_load,
    "check": check,
    "health": health,
    "token": token,
    "version": version,
}
"""What there is to do, by the words of the command line."""


if __name__ == "__main__":
    main()
