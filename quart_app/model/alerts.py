"""Alerts about a user's account, shown on their other devices until one of them answers."""

import enum
from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from quart_app.model.lengths import (
    ADDRESS_LENGTH,
    ALERT_KIND_LENGTH,
    DEVICE_ID_LENGTH,
    USER_AGENT_LENGTH,
)
from quart_app.model.types import Base, BigId, StoredText, UtcDateTime


class AlertKind(enum.StrEnum):
    """The subject of an alert. The column holds the value, and may hold one of a newer version."""

    NEW_DEVICE = "new_device"  # the first login of the user in that browser
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 a kind
    PASSWORD_RESET = "password_reset"  # noqa: S105
    DISOWNED = "disowned"  # somebody said "this wasn't me"


class Alert(Base):
    """A question to a user on their other devices; an answer on one of them deletes it.

    The ids of one user's alerts follow the order of commits, because adding one takes the user's
    lock. No id is given twice, because `logins.alerts_seen` remembers ids.
    """

    __tablename__ = "alerts"
    __table_args__ = (
        Index("ix_alerts_user_id_id", "user_id", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(StoredText(ALERT_KIND_LENGTH, null=""))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    address: Mapped[str | None] = mapped_column(StoredText(ADDRESS_LENGTH))
    user_agent: Mapped[str | None] = mapped_column(StoredText(USER_AGENT_LENGTH))
    device_id: Mapped[str | None] = mapped_column(String(DEVICE_ID_LENGTH))
