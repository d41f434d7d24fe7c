"""The steps by which an older database becomes what this version reads, run by Alembic when the store opens.

A new one is that from the beginning (`twisted_kong.store.tables`), and is marked as if it had taken all of them. A step
is a module in `versions`; it is explicit, and never altered once released. Whoever adds one moves `HEAD`.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from twisted_kong.store.tables import METADATA

HEAD = "0004"
"""The last step. Only databases that have not taken it pay for Alembic's import: half a second and ten megabytes."""

_MARKS = (
    "CREATE TABLE alembic_version "
    "(version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)
"""As Alembic makes it."""


class UnknownRevision(Exception):
    """The database has taken a step that this version does not know: a newer one wrote it."""

    def __init__(self, revision: str) -> None:
        super().__init__(revision)
        self.revision = revision


def migrate(connection: Connection) -> None:
    """Make the tables of a new database, or take the steps that an older one lacks.

    All of it happens within the transaction that ``connection`` is in.

    :raise UnknownRevision: the database is ahead of us.
    """
    revision = _revision(connection)
    if revision == HEAD:
        return
    if revision is None:
        METADATA.create_all(connection, checkfirst=False)
        connection.execute(text(_MARKS))
        connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
        return
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    if revision not in known:
        raise UnknownRevision(revision)
    command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    """The last step taken; None for an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision
