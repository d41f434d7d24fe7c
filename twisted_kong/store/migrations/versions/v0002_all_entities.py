"""Consumers and their keys, plugins, certificates, the history of targets, the apis of 0.10."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    make_table("certificates")
    make_table(
        "snis",
        sa.Column("certificate_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        belongs_to("snis", "certificate", "certificates"),
        sa.UniqueConstraint("name", name="uq_snis_name"),
    )
    make_table(
        "ca_certificates",
        sa.Column("cert_digest", sa.Text),
        sa.UniqueConstraint("cert_digest", name="uq_ca_certificates_cert_digest"),
    )
    make_table(
        "consumers",
        sa.Column("username", sa.Text),
        sa.Column("custom_id", sa.Text),
        sa.UniqueConstraint("username", name="uq_consumers_username"),
        sa.UniqueConstraint("custom_id", name="uq_consumers_custom_id"),
    )
    make_table(
        "keyauth_credentials",
        sa.Column("consumer_id", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        belongs_to("keyauth_credentials", "consumer", "consumers"),
        sa.UniqueConstraint("key", name="uq_keyauth_credentials_key"),
    )
    make_table(
        "plugins",
        sa.Column("route_id", sa.Text),
        sa.Column("service_id", sa.Text),
        sa.Column("consumer_id", sa.Text),
        sa.Column("instance_name", sa.Text),
        sa.Column("unique_key", sa.Text, nullable=False),
        belongs_to("plugins", "route", "routes"),
        belongs_to("plugins", "service", "services"),
        belongs_to("plugins", "consumer", "consumers"),
        sa.UniqueConstraint("instance_name", name="uq_plugins_instance_name"),
        sa.UniqueConstraint("unique_key", name="uq_plugins_unique_key"),
    )
    make_table(
        "target_history",
        sa.Column("upstream_id", sa.Text, nullable=False),
        belongs_to("target_history", "upstream", "upstreams"),
    )
    make_table(
        "apis",
        sa.Column("name", sa.Text, nullable=False),
        sa.UniqueConstraint("name", name="uq_apis_name"),
    )
    for table, fields in {
        "snis": ["certificate"],
        "keyauth_credentials": ["consumer"],
        "plugins": ["route", "service", "consumer"],
        "target_history": ["upstream"],
    }.items():
        for field in fields:
            index(table, field)
    for table in ("services", "upstreams"):
        # Alembic would copy the table, and lose what refers to it.
        op.execute(
            f"ALTER TABLE {table} ADD COLUMN client_certificate_id TEXT"
            f" CONSTRAINT fk_{table}_client_certificate_id REFERENCES certificates (id) ON DELETE RESTRICT"
        )
        index(table, "client_certificate")


def make_table(name: str, *more: sa.schema.SchemaItem) -> None:
    """A table with what all collections have, and ``more``."""
    op.create_table(
        name,
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("first_change", sa.Integer, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
        *more,
    )


def belongs_to(table: str, field: str, parent: str) -> sa.ForeignKeyConstraint:
    """Rows go with the row that ``field`` refers to."""
    return sa.ForeignKeyConstraint(
        [f"{field}_id"], [f"{parent}.id"], name=f"fk_{table}_{field}_id", ondelete="CASCADE"
    )


def index(table: str, field: str) -> None:
    op.create_index(f"ix_{table}_{field}_id", table, [f"{field}_id"])
