"""Add this application's columns, and see to it that a connection's id is never given twice.

Nothing that stood before is rewritten. The default platform is seeded from the older
application's marks: the lowest id that was marked.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add, then seed."""
    # In words, not op.add_column: SQLite takes a foreign key only with its new column.
    op.execute(
        "ALTER TABLE users ADD COLUMN default_platform_connection_id INTEGER"
        " REFERENCES platform_connections (id) ON DELETE SET NULL"
    )
    op.add_column(
        "users", sa.Column("session_epoch", sa.Integer, nullable=False, server_default="0")
    )
    op.add_column(
        "users",
        sa.Column("must_change_password", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.execute(
        "UPDATE users SET default_platform_connection_id ="
        " (SELECT min(marked.id) FROM platform_connections AS marked"
        "  WHERE marked.user_id = users.id AND marked.is_default IS TRUE)"
    )
    if op.get_bind().dialect.name == "sqlite":
        _remember_the_highest_id()


def _remember_the_highest_id() -> None:
    """SQLite gives the highest id again once its row is deleted; PostgreSQL's sequences don't.

    Ids that other tables still name (their foreign keys were off) count as given, too.
    """
    op.create_table("platform_connection_ids", sa.Column("highest", sa.Integer, nullable=False))
    op.execute(
        "INSERT INTO platform_connection_ids SELECT coalesce(max(id), 0) FROM platform_connections"
    )
    inspector = sa.inspect(op.get_bind())
    for table in inspector.get_table_names():
        for key in inspector.get_foreign_keys(table):
            if key["referred_table"] == "platform_connections" and table != "users":
                quote = op.get_bind().dialect.identifier_preparer.quote
                (column,) = key["constrained_columns"]
                op.execute(
                    "UPDATE platform_connection_ids SET highest = max(highest, coalesce((SELECT"
                    f" max({quote(column)}) FROM {quote(table)}"
                    f" WHERE typeof({quote(column)}) = 'integer'), 0))"
                )
    op.execute(
        "CREATE TRIGGER platform_connection_ids_remember AFTER DELETE ON platform_connections"
        " BEGIN UPDATE platform_connection_ids SET highest = max(highest, OLD.id); END"
    )
