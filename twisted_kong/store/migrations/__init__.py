"""The steps by which a database came to be what this version reads, run by Alembic when the store opens.

A step is a module in `versions`; it is explicit, and never altered once released. Whoever adds one moves `HEAD`.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

HEAD = "0004"
"""The last step. Databases that have taken it are not migrated, and do not pay for Alembic's import."""


class UnknownRevision(Exception):
    """The database has taken a step that this version does not know: a newer one wrote it."""

    def __init__(self, revision: str) -> None:
        super().__init__(revision)
        self.revision = revision


def migrate(connection: Connection) -> None:
    """Take the steps that the database lacks, all within the transaction that ``connection`` is in.

    :raise UnknownRevision: the database is ahead of us.
    """
    revision = _revision(connection)
    if revision == HEAD:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise UnknownRevision(revision)
    command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    """The last step taken; None for an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision
