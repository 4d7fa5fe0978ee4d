"""The audit log: the record of who did what, when and from where."""

import enum
from datetime import datetime

from sqlalchemy import Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from quart_app.model.lengths import (
    ADDRESS_LENGTH,
    EVENT_LENGTH,
    REQUEST_ID_LENGTH,
    SESSION_HASH_LENGTH,
)
from quart_app.model.types import Base, BigId, StoredText, UtcDateTime


class AuditEvent(enum.StrEnum):
    """An event in the audit log. The column holds the value, and may hold one of a newer version.

    Events that a stranger can cause at will are counted, not written one by one.
    """

    LOGIN = "login"
    LOGIN_FAILED = "login_failed"  # counted
    LOGIN_INCOMPLETE = "login_incomplete"  # counted; a right password that began no session
    LOGIN_THROTTLED = "login_throttled"  # counted; nothing was compared
    REAUTHENTICATION_FAILED = "reauthentication_failed"  # counted; the current password was wrong
    LOGOUT = "logout"
    SESSIONS_ENDED = "sessions_ended"
    ALERT_ANSWERED = "alert_answered"  # "it was me", on one device
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 an event
    PASSWORD_RESET = "password_reset"  # noqa: S105
    PASSWORD_RESET_LINK_MADE = "password_reset_link_made"  # noqa: S105
    USER_CREATED = "user_created"
    USER_DEACTIVATED = "user_deactivated"
    USER_ACTIVATED = "user_activated"
    ROLE_CHANGED = "role_changed"
    PLATFORM_SWITCHED = "platform_switched"
    PLATFORM_CONNECTED = "platform_connected"
    PLATFORM_RECONNECTED = "platform_reconnected"  # its access token was replaced
    PLATFORM_CHANGED = "platform_changed"
    PLATFORM_DEFAULT_CHANGED = "platform_default_changed"
    PLATFORM_REMOVED = "platform_removed"
    REFUSED_RIGHTS = "refused_rights"  # counted
    REFUSED_CROSS_SITE = "refused_cross_site"  # counted


class AuditEntry(Base):
    """An event that happened once, or `count` times within a minute.

    Triggers of the database refuse to change an entry, or to delete it early. Times are by the
    database's clock.
    """

    __tablename__ = "audit"
    __table_args__ = (
        Index("ix_audit_user_id_id", "user_id", "id"),
        Index("ix_audit_event_id", "event", "id"),
        Index("ix_audit_address_id", "address", "id"),
        Index("ix_audit_actor_user_id_id", "actor_user_id", "id"),
        Index("ix_audit_event_at_count", "event", "at", "count"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    event: Mapped[str] = mapped_column(StoredText(EVENT_LENGTH, null=""))
    user_id: Mapped[int | None] = mapped_column(Integer)  # the user that it concerns
    # The user who did it. Null is the command line where there is no request, else a stranger.
    actor_user_id: Mapped[int | None] = mapped_column(Integer)
    address: Mapped[str | None] = mapped_column(StoredText(ADDRESS_LENGTH))
    request_id: Mapped[str | None] = mapped_column(String(REQUEST_ID_LENGTH))
    session: Mapped[str | None] = mapped_column(String(SESSION_HASH_LENGTH))
    detail: Mapped[str | None] = mapped_column(Text)  # a small JSON object
    count: Mapped[int] = mapped_column(Integer)
    keep_until: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
