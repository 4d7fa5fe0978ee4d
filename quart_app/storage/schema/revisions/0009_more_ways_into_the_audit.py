"""Index the audit log by actor, and by event and day with the counts (a covering index)."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create both indexes."""
    op.create_index("ix_audit_actor_user_id_id", "audit", ["actor_user_id", "id"])
    op.create_index("ix_audit_event_at_count", "audit", ["event", "at", "count"])
