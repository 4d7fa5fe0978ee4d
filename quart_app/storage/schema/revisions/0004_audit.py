"""Add the audit log, an append-only table that triggers protect.

The database refuses to change a row, or to delete one before `keep_until` by its own clock.
"""

import sqlalchemy as sa
from alembic import op

from quart_app.storage.schema import SchemaRefused

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# SQLite numbers rows automatically only if the column's type is exactly INTEGER.
_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")

_ON_SQLITE = [
    (
        "CREATE TRIGGER audit_is_not_rewritten BEFORE UPDATE ON audit"
        " BEGIN SELECT RAISE(ABORT, 'the audit is not rewritten'); END"
    ),
    # Times in exactly the format of the column: SQLite compares them as text.
    (
        "CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit"
        " WHEN OLD.keep_until > strftime('%Y-%m-%d %H:%M:%f000', 'now')"
        " BEGIN SELECT RAISE(ABORT, 'the audit is kept until its time'); END"
    ),
    # INSERT OR REPLACE deletes a row with the same id without calling the DELETE trigger.
    (
        "CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit"
        " WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)"
        " BEGIN SELECT RAISE(ABORT, 'the audit is not rewritten'); END"
    ),
]
_ON_POSTGRESQL = [
    (
        "CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF TG_OP = 'DELETE' THEN"
        "  IF OLD.keep_until <= clock_timestamp() AT TIME ZONE 'utc' THEN RETURN OLD; END IF;"
        "  RAISE EXCEPTION 'the audit is kept until its time';"
        " END IF;"
        " RAISE EXCEPTION 'the audit is not rewritten';"
        " END $$"
    ),
    (
        "CREATE TRIGGER audit_is_kept BEFORE UPDATE OR DELETE ON audit"
        " FOR EACH ROW EXECUTE FUNCTION audit_refuse()"
    ),
    (
        "CREATE TRIGGER audit_is_not_emptied BEFORE TRUNCATE ON audit"
        " FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()"
    ),
]


def upgrade() -> None:
    """Create the table and its triggers."""
    if "audit" in sa.inspect(op.get_bind()).get_table_names():
        raise SchemaRefused(
            "There is already a table audit, and it is not this application's. Nothing was changed."
        )
    op.create_table(
        "audit",
        sa.Column("id", _BIG_ID, primary_key=True),
        sa.Column("at", sa.DateTime, nullable=False, index=True),
        sa.Column("event", sa.String(32), nullable=False),
        # No foreign keys: entries outlive the rows that they are about.
        sa.Column("user_id", sa.Integer),
        sa.Column("actor_user_id", sa.Integer),
        sa.Column("address", sa.String(45)),
        sa.Column("request_id", sa.String(32)),
        sa.Column("session", sa.String(16)),
        sa.Column("detail", sa.Text),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("keep_until", sa.DateTime, nullable=False, index=True),
        sa.Index("ix_audit_user_id_id", "user_id", "id"),
        sa.Index("ix_audit_event_id", "event", "id"),
        sa.Index("ix_audit_address_id", "address", "id"),
    )
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in _ON_SQLITE if is_sqlite else _ON_POSTGRESQL:
        op.execute(statement)
