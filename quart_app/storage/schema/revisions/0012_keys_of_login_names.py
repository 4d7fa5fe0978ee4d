"""Add by what users are found in any spelling of their name or address, and fill it in."""

import sqlalchemy as sa
from alembic import op

from quart_app.storage.login_keys import fill_missing_keys

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both columns, their indexes and, for every user, their values."""
    for name in ("username_key", "email_key"):
        op.add_column("users", sa.Column(name, sa.String(255)))
        op.create_index(f"ix_users_{name}", "users", [name])
    fill_missing_keys(op.get_bind())
