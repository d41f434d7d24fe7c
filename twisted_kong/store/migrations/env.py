"""Run by Alembic for every command: the steps happen on the connection that the caller put into the configuration."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
