"""Add keys that find users by any spelling of their name or e-mail address."""

import sqlalchemy as sa
from alembic import op

from quart_app.storage.login_keys import fill_missing_keys

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both columns with their indexes, and fill them in for every user."""
    for name in ("username_key", "email_key"):
        op.add_column("users", sa.Column(name, sa.String(255)))
        op.create_index(f"ix_users_{name}", "users", [name])
    fill_missing_keys(op.get_bind())
