"""The log of changes tells who asked for each, and from where; of those there are already nobody knows."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("changes", sa.Column("author", sa.Text))
    op.add_column("changes", sa.Column("address", sa.Text))
