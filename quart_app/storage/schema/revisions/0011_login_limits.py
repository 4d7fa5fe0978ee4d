"""Count login attempts before their password is compared, and index a user's latest logins."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both columns and the index, which processes of an older version ignore."""
    op.add_column(
        "throttles", sa.Column("reserved", sa.Integer, nullable=False, server_default="0")
    )
    op.add_column("throttles", sa.Column("reserved_since", sa.DateTime))
    op.create_index("ix_logins_user_id_created_at", "logins", ["user_id", "created_at"])
