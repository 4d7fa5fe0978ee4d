"""Add alerts, and to logins their device and the last alert that it had seen.

`users.device_epoch` counts how often the user's known devices were forgotten: a device of an
earlier epoch is unknown.
"""

import sqlalchemy as sa
from alembic import op

from quart_app.storage.schema import SchemaRefused

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# SQLite numbers rows automatically only if the column's type is exactly INTEGER.
_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the table, and add the columns and indexes."""
    if "alerts" in sa.inspect(op.get_bind()).get_table_names():
        raise SchemaRefused(
            "There is already a table alerts, and it is not this application's."
            " Nothing was changed."
        )
    op.create_table(
        "alerts",
        sa.Column("id", _BIG_ID, primary_key=True),
        sa.Column(
            "user_id",
            sa.Integer,
            sa.ForeignKey("users.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("expires_at", sa.DateTime, nullable=False, index=True),
        sa.Column("address", sa.String(45)),
        sa.Column("user_agent", sa.String(255)),
        sa.Column("device_id", sa.String(22)),
        sa.Index("ix_alerts_user_id_id", "user_id", "id"),
        sqlite_autoincrement=True,  # `logins.alerts_seen` relies on ids not being reused
    )
    op.add_column("logins", sa.Column("device_id", sa.String(22)))
    op.add_column(
        "logins", sa.Column("alerts_seen", sa.BigInteger, nullable=False, server_default="0")
    )
    op.add_column(
        "users", sa.Column("device_epoch", sa.Integer, nullable=False, server_default="0")
    )
    # Partial indexes: ended logins are kept for a while, and queries for live ones skip them.
    is_live = sa.text("ended_at IS NULL")
    for name, columns in (
        ("ix_logins_live", ["id"]),
        ("ix_logins_live_user_id", ["user_id", "created_at"]),
    ):
        op.create_index(name, "logins", columns, sqlite_where=is_live, postgresql_where=is_live)
    op.create_index("ix_logins_user_id_device_id", "logins", ["user_id", "device_id"])
