"""Count passwords before they are compared, and find a user's latest logins by an index."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both columns and the index; an older process leaves all three alone."""
    op.add_column(
        "throttles", sa.Column("reserved", sa.Integer, nullable=False, server_default="0")
    )
    op.add_column("throttles", sa.Column("reserved_since", sa.DateTime))
    op.create_index("ix_logins_user_id_created_at", "logins", ["user_id", "created_at"])
