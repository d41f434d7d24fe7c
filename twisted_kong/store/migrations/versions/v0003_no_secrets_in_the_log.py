"""The log of changes forgets the secrets that it has told of until now."""

from alembic import op

revision = "0003"
down_revision = "0002"

SECRETS = {"certificates": ("key", "key_alt"), "keyauth_credentials": ("key",)}


def upgrade() -> None:
    op.execute("DROP TRIGGER changes_are_never_altered")
    for collection, fields in SECRETS.items():
        for field in fields:
            op.execute(
                f"UPDATE changes SET document = json_set(document, '$.{field}', '******')"
                f" WHERE collection = '{collection}' AND json_extract(document, '$.{field}') IS NOT NULL"
            )
    op.execute(
        "CREATE TRIGGER changes_are_never_altered BEFORE UPDATE ON changes"
        " BEGIN SELECT RAISE(ABORT, 'changes is append-only'); END"
    )
