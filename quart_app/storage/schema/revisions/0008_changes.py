"""Add changes, which open pages are notified of: switches, and changes of a user's accounts."""

import sqlalchemy as sa
from alembic import op

from quart_app.storage.schema import SchemaRefused

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# SQLite numbers rows automatically only if the column's type is exactly INTEGER.
_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the table."""
    if "changes" in sa.inspect(op.get_bind()).get_table_names():
        raise SchemaRefused(
            "There is already a table changes, and it is not this application's."
            " Nothing was changed."
        )
    op.create_table(
        "changes",
        sa.Column("seq", _BIG_ID, primary_key=True),
        sa.Column("user_id", sa.Integer, nullable=False),
        sa.Column("sid", sa.String(22)),
        sa.Column("platform_connection_id", sa.Integer),
        sa.Column("created_at", sa.DateTime, nullable=False, index=True),
    )
