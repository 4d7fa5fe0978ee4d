"""Login records: when and from where each session began, and how it ended."""

from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from quart_app.model.lengths import (
    ADDRESS_LENGTH,
    DEVICE_ID_LENGTH,
    END_REASON_LENGTH,
    SID_LENGTH,
    USER_AGENT_LENGTH,
)
from quart_app.model.types import Base, BigId, StoredText, UtcDateTime

_IS_LIVE: Final = text("ended_at IS NULL")


class Login(Base):
    """One login: written when its session begins and when it ends.

    Pages of devices and alerts read it. No request is validated by it, so deleting it logs nobody
    out.
    """

    __tablename__ = "logins"
    __table_args__ = (
        Index("ix_logins_live", "id", sqlite_where=_IS_LIVE, postgresql_where=_IS_LIVE),
        Index(
            "ix_logins_live_user_id",
            "user_id",
            "created_at",
            sqlite_where=_IS_LIVE,
            postgresql_where=_IS_LIVE,
        ),
        Index("ix_logins_user_id_device_id", "user_id", "device_id"),
        Index("ix_logins_user_id_created_at", "user_id", "created_at"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    sid: Mapped[str] = mapped_column(String(SID_LENGTH), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    address: Mapped[str | None] = mapped_column(StoredText(ADDRESS_LENGTH))
    user_agent: Mapped[str | None] = mapped_column(StoredText(USER_AGENT_LENGTH))
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    end_reason: Mapped[str | None] = mapped_column(String(END_REASON_LENGTH))
    # The user's browser, as named by the cookie that stays there after a logout.
    device_id: Mapped[str | None] = mapped_column(String(DEVICE_ID_LENGTH))
    # The id of the last alert about a new device that is not shown on this one, because this device
    # was not known yet.
    alerts_seen: Mapped[int] = mapped_column(BigInteger, server_default="0", default=0)
    # The id of the last alert about the password that was answered on this device. Other devices
    # still show it.
    password_alerts_answered: Mapped[int] = mapped_column(BigInteger, server_default="0", default=0)
