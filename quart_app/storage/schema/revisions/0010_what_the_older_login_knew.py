"""Add columns for the way back to the older application.

`users.legacy_refusal` says why adoption deactivated a user. `users.legacy_password_hash` is the
older application's hash of the same password.
"""

import sqlalchemy as sa
from alembic import op

from quart_app.storage.schema.legacy_refusals import deactivate_refused

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both columns, and deactivate the users whom the older application refused."""
    op.add_column("users", sa.Column("legacy_refusal", sa.String(16)))
    op.add_column("users", sa.Column("legacy_password_hash", sa.Text))
    deactivate_refused(op.get_bind())
