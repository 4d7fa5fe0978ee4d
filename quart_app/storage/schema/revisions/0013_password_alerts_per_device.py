"""Remember which alerts about the password each device has answered."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. An older process leaves it alone, and deletes an alert with its answer."""
    op.add_column(
        "logins",
        sa.Column("password_alerts_answered", sa.BigInteger, nullable=False, server_default="0"),
    )
