"""Add reset links to users, at most one for each: the hash of its token, and when it expires."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both columns, and the index that finds a user by token."""
    op.add_column("users", sa.Column("reset_token_hash", sa.String(64)))
    op.add_column("users", sa.Column("reset_expires_at", sa.DateTime))
    op.create_index("ix_users_reset_token_hash", "users", ["reset_token_hash"], unique=True)
