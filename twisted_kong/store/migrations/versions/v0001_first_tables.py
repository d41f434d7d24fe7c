"""Services, routes, upstreams, targets, and the log of changes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "services",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("first_change", sa.Integer, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_services"),
        sa.UniqueConstraint("name", name="uq_services_name"),
    )
    op.create_table(
        "routes",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("service_id", sa.Text),
        sa.Column("name", sa.Text),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("first_change", sa.Integer, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_routes"),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], name="fk_routes_service_id", ondelete="RESTRICT"),
        sa.UniqueConstraint("name", name="uq_routes_name"),
    )
    op.create_index("ix_routes_service_id", "routes", ["service_id"])
    op.create_table(
        "upstreams",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("first_change", sa.Integer, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_upstreams"),
        sa.UniqueConstraint("name", name="uq_upstreams_name"),
    )
    op.create_table(
        "targets",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("upstream_id", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("first_change", sa.Integer, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_targets"),
        sa.ForeignKeyConstraint(["upstream_id"], ["upstreams.id"], name="fk_targets_upstream_id", ondelete="CASCADE"),
        sa.UniqueConstraint("target", "upstream_id", name="uq_targets_target_upstream_id"),
    )
    op.create_index("ix_targets_upstream_id", "targets", ["upstream_id"])
    op.create_table(
        "changes",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("collection", sa.Text, nullable=False),
        sa.Column("entity_id", sa.Text, nullable=False),
        sa.Column("document", sa.JSON(none_as_null=True)),
        sa.PrimaryKeyConstraint("id", name="pk_changes"),
        sa.CheckConstraint("operation IN ('put', 'delete')", name="ck_changes_operation"),
        sqlite_autoincrement=True,
    )
    # REPLACE removes rows without firing the trigger for deletions, hence the third.
    for name, event in {
        "altered": "UPDATE ON changes",
        "removed": "DELETE ON changes",
        "replaced": "INSERT ON changes WHEN EXISTS (SELECT 1 FROM changes WHERE id = NEW.id)",
    }.items():
        op.execute(
            f"CREATE TRIGGER changes_are_never_{name} BEFORE {event}"
            " BEGIN SELECT RAISE(ABORT, 'changes is append-only'); END"
        )
