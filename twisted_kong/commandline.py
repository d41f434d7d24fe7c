"""The command lines of ``kong-gateway`` and of ``twistd kong-gateway``, told as a manual page would tell them.

What ``--help`` says lives here, and nothing that is done. Every command tells what it does, its options with their
units and defaults, how it ends, which files and variables count, and an example that works.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Command = Callable[[argparse.Namespace], None]

STATUS = """\
exit status:
  0  what was asked for has been done
  1  it could not be done; standard error says why, after "Error: "
  2  the command line was not understood
"""
SETTINGS = """\
environment:
  KONG_NAME          the setting "name": KONG_PREFIX, KONG_DATABASE and so on;
                     wins over the file, and an option wins over it
"""
TOKEN = """\
  KONG_ADMIN_TOKEN   the token to show where the Admin API wants one
"""
FILES = """\
files, below the prefix:
  kong.sqlite        the configuration, with a log of all changes
  kong.id            the id of this node
"""

GATEWAY = """
settings:
  Every setting has the name that Kong gives it, and comes from the file of
  --conf, then from the environment, then from --set, then from the other
  options; what comes later wins. etc/kong.conf lists all with their defaults.

exit status:
  0, or ended by the signal that ended it   it was told to stop, and has
  1   it did not start; one line says where the mistake is, what was expected
      and what came

signals:
  TERM, INT, QUIT   stop: no new connections, requests under way are answered
  HUP               read anew what can change without a restart
  USR1              open the access log anew, after it was moved away

files, below the prefix:
  kong.sqlite       the configuration, with a log of all changes
  kong.id           the id of this node
  kong.lock         held while it runs; its process id
  health.json       what is held against targets, for the next start
  logs/access.log   a line for each request
  ssl/              certificates of its own making, where none are given

environment:
  KONG_NAME         the setting "name": KONG_PREFIX, KONG_DATABASE and so on
  NOTIFY_SOCKET, WATCHDOG_USEC, LISTEN_FDS
                    set by systemd, which is told how the gateway is

examples:
  twistd --nodaemon --pidfile= kong-gateway --conf /etc/kong/kong.conf
  twistd --nodaemon --pidfile= kong-gateway --prefix /tmp/try \\
      --proxy-listen 127.0.0.1:8000 --set log_level=debug
  twistd --nodaemon --pidfile= kong-gateway --database off \\
      --set declarative_config=kong.yml
"""


def make_parser(commands: Mapping[str, Command]) -> argparse.ArgumentParser:
    """The options of every command. ``commands`` says what does them, by their words: ``config init``."""
    whole = argparse.ArgumentParser(
        prog="kong-gateway",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Everything there is to do with a gateway, beside running it, which twistd does:\n\n"
        "  twistd --nodaemon --pidfile= kong-gateway --help",
        epilog=f"{STATUS}\nkong-gateway COMMAND --help tells of each.",
    )
    actions = whole.add_subparsers(required=True, metavar="COMMAND")
    _configurations(actions, commands)
    _simulation(actions, commands)
    _questions(actions, commands)
    _token(actions, commands)
    return whole


def _configurations(actions: Any, commands: Mapping[str, Command]) -> None:
    config = actions.add_parser(
        "config",
        help="declarative configuration, from and to files",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Declarative configuration in Kong's format, from and to files in YAML or JSON.",
        epilog=f"{STATUS}\nkong-gateway config ACTION --help tells of each.",
    )
    of_config = config.add_subparsers(required=True, metavar="ACTION")
    file: dict[str, Any] = {"metavar": "FILE", "type": Path}
    new: dict[str, Any] = {**file, "nargs": "?", "default": Path("kong.yml")}
    add = _add(
        of_config,
        commands["config init"],
        "init",
        "write an example to begin with",
        "Writes an example whose entities are comments. A file that is there is not overwritten.",
        "kong-gateway config init kong.yml",
        sections=(),
    )
    add.add_argument("file", help="the file to write, for example kong.yml (default: kong.yml)", **new)
    add = _add(
        of_config,
        commands["config parse"],
        "parse",
        "tell whether a file can be loaded",
        "Says 'parse successful', or tells every fault of the file with its line. Nothing is changed.",
        "kong-gateway config parse kong.yml",
        _common() + _plugins(),
    )
    add.add_argument("file", help="a declarative file, YAML or JSON, for example kong.yml (required)", **file)
    add = _add(
        of_config,
        commands["config db_import"],
        "db_import",
        "add a file to the database",
        "Adds the entities of a file to the database, all of them or none: what has the same id or the same name is "
        "replaced, everything else stays. A gateway that runs on the database is told (SIGHUP). The log of changes "
        "has the name of your account.",
        "kong-gateway config db_import kong.yml --conf /etc/kong/kong.conf",
        _common() + _plugins(),
        aliases=["db-import"],
        sections=(SETTINGS + TOKEN, FILES),
    )
    add.add_argument("file", help="a declarative file, YAML or JSON, for example kong.yml (required)", **file)
    add = _add(
        of_config,
        commands["config db_export"],
        "db_export",
        "write the database to a file",
        "Writes the whole configuration to a new file that its owner alone may read: it holds private keys.",
        "kong-gateway config db_export backup.yml --conf /etc/kong/kong.conf",
        _common(),
        aliases=["db-export"],
        sections=(SETTINGS, FILES),
    )
    add.add_argument("file", help="the file to write, for example backup.yml (default: kong.yml)", **new)


def _simulation(actions: Any, commands: Mapping[str, Command]) -> None:
    add = _add(
        actions,
        commands["simulate"],
        "simulate",
        "tell what an upstream would do under a load",
        "Runs an upstream under a load on a virtual clock, with the gateway's own algorithms, and tells who got which "
        "share, how long requests took and how many failed. docs/simulator.md describes loads.",
        "kong-gateway simulate kong.yml --rate 200 --duration 60 --algorithm least-connections",
        _common() + _plugins(),
    )
    add.add_argument(
        "file", metavar="FILE", type=Path, nargs="?", help="a declarative file that has the upstream, such as kong.yml"
    )
    add.add_argument(
        "--admin",
        metavar="URL",
        help="the Admin API of a gateway that has it, not a file, such as http://localhost:8001 (default: none)",
    )
    add.add_argument("--upstream", metavar="NAME", help="which upstream, such as orders (default: the only one)")
    add.add_argument("--load", metavar="FILE", type=Path, help="a file that describes the load (default: a steady one)")
    add.add_argument("--rate", metavar="NUMBER", type=float, help="requests a second, such as 200 (default: 100)")
    add.add_argument("--duration", metavar="SECONDS", type=float, help="seconds for which they come (default: 60)")
    add.add_argument(
        "--algorithm",
        metavar="NAME",
        action="append",
        help="an algorithm in place of its own, such as latency; repeat it to compare (default: its own)",
    )
    add.add_argument(
        "--seed", metavar="NUMBER", type=int, default=1, help="another number, other requests alike (default: 1)"
    )
    add.add_argument(
        "--picture", metavar="FILE", type=Path, help="an SVG file to draw the shares over time into (default: none)"
    )


def _questions(actions: Any, commands: Mapping[str, Command]) -> None:
    _add(
        actions,
        commands["components"],
        "components",
        "list the components, and where they come from",
        "A line for each algorithm, resolver and health checker that a gateway with these settings would have.",
        "kong-gateway components --plugin-dir plugins",
        _common() + _plugins(),
    )
    add = _add(
        actions,
        commands["check"],
        "check",
        "tell whether a settings file is sound",
        "Whether a gateway would start with these settings, as far as that shows without starting it: names and "
        "values, the components they name, the declarative file, the file of tokens, and that the Admin API is not "
        "open to others.",
        "kong-gateway check /etc/kong/kong.conf",
        _plugins(),
    )
    add.add_argument("conf", metavar="CONF", nargs="?", help="settings, in the syntax of kong.conf (default: none)")
    add.set_defaults(prefix=None)
    _add(
        actions,
        commands["health"],
        "health",
        "ask the gateway's Admin API whether it is there",
        "Asks GET /status where admin_listen says. It has five seconds to answer.",
        "kong-gateway health --conf /etc/kong/kong.conf",
        _common(),
        sections=(SETTINGS + TOKEN,),
    )
    add = _add(
        actions,
        commands["version"],
        "version",
        "tell the version",
        "The version as clients of Kong read it: that of the Kong we are like, and ours.",
        "kong-gateway version --all",
        sections=(),
    )
    add.add_argument("-a", "--all", action="store_true", help="tell also the versions of what it is made of")


def _token(actions: Any, commands: Mapping[str, Command]) -> None:
    add = _add(
        actions,
        commands["token"],
        "token",
        "make a token for the Admin API",
        "Makes a token of 256 random bits and prints it, once: it is kept nowhere. What is kept is a line with its "
        "SHA-256, for the file that admin_tokens names. A gateway that runs reads that file anew at SIGHUP.",
        "kong-gateway token prometheus --read-only --append /etc/kong/tokens",
        sections=(),
    )
    add.add_argument("name", metavar="NAME", help="whose it is: up to 64 letters, digits and . _ @ -, such as deploy")
    add.add_argument(
        "--read-only",
        action="store_true",
        help="it may read, secrets included, and change nothing (default: it may do both)",
    )
    add.add_argument(
        "--append",
        metavar="FILE",
        type=Path,
        help="write the line to the end of this file, such as /etc/kong/tokens (default: only print it)",
    )


def _add(
    actions: Any,
    command: Command,
    name: str,
    short: str,
    description: str,
    example: str,
    parents: Sequence[argparse.ArgumentParser] = (),
    *,
    aliases: Sequence[str] = (),
    sections: Sequence[str] = (SETTINGS,),
) -> argparse.ArgumentParser:
    """A command among ``actions``: in a line, in a paragraph, and by an example."""
    made: argparse.ArgumentParser = actions.add_parser(
        name,
        aliases=aliases,
        parents=parents,
        help=short,
        description=textwrap.fill(description, 79),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join((STATUS, *sections, f"example:\n  {example}")),
    )
    made.set_defaults(command=command)
    return made


def _common() -> list[argparse.ArgumentParser]:
    made = argparse.ArgumentParser(add_help=False)
    made.add_argument(
        "-c",
        "--conf",
        metavar="FILE",
        help="settings, in the syntax of kong.conf, such as etc/kong.conf (default: none)",
    )
    made.add_argument(
        "-p", "--prefix", metavar="DIRECTORY", help="where the gateway keeps everything (default: the setting's, .run)"
    )
    return [made]


def _plugins() -> list[argparse.ArgumentParser]:
    made = argparse.ArgumentParser(add_help=False)
    made.add_argument(
        "--plugin-dir",
        metavar="DIR",
        action="append",
        help="a directory of drop-in components, such as plugins; may be repeated (default: those of plugin_dirs)",
    )
    return [made]
