"""Add to users the one link by which each may set a password: its token's hash, and until when."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both columns, and the index by which a token finds its user."""
    op.add_column("users", sa.Column("reset_token_hash", sa.String(64)))
    op.add_column("users", sa.Column("reset_expires_at", sa.DateTime))
    op.create_index("ix_users_reset_token_hash", "users", ["reset_token_hash"], unique=True)
