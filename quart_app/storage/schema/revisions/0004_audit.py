"""Add the audit: a table that the database itself lets nobody rewrite.

No row is ever changed, and none is deleted before its time, by the database's clock.
"""

import sqlalchemy as sa
from alembic import op

from quart_app.storage.schema import SchemaRefused

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# SQLite counts rows by themselves only in a column whose type is INTEGER to the letter.
_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")

_ON_SQLITE = [
    (
        "CREATE TRIGGER audit_is_not_rewritten BEFORE UPDATE ON audit"
        " BEGIN SELECT RAISE(ABORT, 'the audit is not rewritten'); END"
    ),
    # Written as the column is, to the letter: SQLite compares text.
    (
        "CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit"
        " WHEN OLD.keep_until > strftime('%Y-%m-%d %H:%M:%f000', 'now')"
        " BEGIN SELECT RAISE(ABORT, 'the audit is kept until its time'); END"
    ),
    # INSERT OR REPLACE deletes what has the same id, and asks no trigger about that.
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
    """Make the table and its guards."""
    if "audit" in sa.inspect(op.get_bind()).get_table_names():
        raise SchemaRefused(
            "There is already a table audit, and it is not this application's. Nothing was changed."
        )
    op.create_table(
        "audit",
        sa.Column("id", _BIG_ID, primary_key=True),
        sa.Column("at", sa.DateTime, nullable=False, index=True),
        sa.Column("event", sa.String(32), nullable=False),
        # No foreign keys: what is written down here outlasts what it is about.
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
