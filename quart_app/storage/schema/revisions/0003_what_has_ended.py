"""Add revocations, which end sessions, and logins, a record of each session.

Validating a request queries neither table.
"""

import sqlalchemy as sa
from alembic import op

from quart_app.storage.schema import SchemaRefused

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# SQLite numbers rows automatically only if the column's type is exactly INTEGER.
_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create both tables."""
    standing = set(sa.inspect(op.get_bind()).get_table_names())
    for name in ("revocations", "logins"):
        if name in standing:
            raise SchemaRefused(
                f"There is already a table {name}, and it is not this application's."
                " Nothing was changed."
            )
    op.create_table(
        "revocations",
        sa.Column("seq", _BIG_ID, primary_key=True),
        sa.Column("sid", sa.String(22)),
        sa.Column("user_id", sa.Integer),
        sa.Column("epoch", sa.Integer),
        sa.Column("not_before", sa.DateTime),
        sa.Column("expires_at", sa.DateTime, nullable=False, index=True),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
    )
    op.create_table(
        "logins",
        sa.Column("id", _BIG_ID, primary_key=True),
        sa.Column("sid", sa.String(22), nullable=False, unique=True),
        sa.Column(
            "user_id",
            sa.Integer,
            sa.ForeignKey("users.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("expires_at", sa.DateTime, nullable=False, index=True),
        sa.Column("address", sa.String(45)),
        sa.Column("user_agent", sa.String(255)),
        sa.Column("ended_at", sa.DateTime),
        sa.Column("end_reason", sa.String(32)),
    )
