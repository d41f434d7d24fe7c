"""``kong-gateway token``: a new token for the Admin API, shown once, and the line that lets its bearer in.

The file of tokens is never written here unless somebody says so: it may be kept where only another account writes.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path

from twisted_kong.admin.tokens import Role, make_token
from twisted_kong.errors import StartupError


def token(options: argparse.Namespace) -> None:
    """Make one. The token alone goes to standard output, all about it to standard error.

    :raise StartupError: the name is none, or the file cannot be written.
    """
    role = Role.READ_ONLY if options.read_only else Role.READ_WRITE
    try:
        made, line = make_token(options.name, role, secrets.token_bytes)
    except ValueError as error:
        raise StartupError(str(error)) from None
    if options.append is None:
        note = f"The line for the file that admin_tokens names:\n{line}\n"
    else:
        append(options.append, line)
        note = f"Its line is in {options.append}.\n"
    sys.stderr.write(f"The token is shown this once. {note}A gateway that runs reads its file at SIGHUP.\n")
    sys.stdout.write(f"{made}\n")


def append(file: Path, line: str) -> None:
    """Write a line to the end of a file, which is made for its owner alone if it is not there.

    :raise StartupError: it cannot be written.
    """
    try:
        with open(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+", encoding="utf-8") as lines:
            text = lines.read()
            lines.write(line + "\n" if not text or text.endswith("\n") else f"\n{line}\n")
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"{file}: expected a file to write to: {error}") from None
