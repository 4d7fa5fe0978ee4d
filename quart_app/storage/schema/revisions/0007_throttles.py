"""Add throttles: counts of failed logins, for rate limits."""

import sqlalchemy as sa
from alembic import op

from quart_app.storage.schema import SchemaRefused

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    if "throttles" in sa.inspect(op.get_bind()).get_table_names():
        raise SchemaRefused(
            "There is already a table throttles, and it is not this application's."
            " Nothing was changed."
        )
    op.create_table(
        "throttles",
        sa.Column("key", sa.String(32), primary_key=True),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("last_failure_at", sa.DateTime, nullable=False, index=True),
    )
