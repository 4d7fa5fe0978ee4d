"""Revocations: sessions that were ended before their time, and why."""

import enum
from datetime import datetime

from sqlalchemy import Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from quart_app.model.lengths import END_REASON_LENGTH, SID_LENGTH
from quart_app.model.types import Base, BigId, UtcDateTime


class EndReason(enum.StrEnum):
    """Why sessions ended. The columns hold the value, and may hold one of a newer version."""

    LOGGED_OUT = "logged_out"
    LOGGED_OUT_EVERYWHERE = "logged_out_everywhere"
    REPLACED = "replaced"  # by a new login in the same browser
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 a reason
    PASSWORD_RESET = "password_reset"  # noqa: S105
    DEACTIVATED = "deactivated"
    ADMINISTRATOR = "administrator"
    REMOVED = "removed"  # from the list of devices
    TOO_MANY = "too_many"  # the user has as many newer sessions as are allowed
    DISOWNED = "disowned"  # the user answered an alert with "this wasn't me"


class Revocation(Base):
    """The end of one session, of a user's sessions before an epoch, or of all before a time.

    Each process keeps these in memory and reads new ones by `seq`, whose order is the order of
    commits (session.table). Exactly one of `sid`, `user_id` with `epoch`, and `not_before` is
    given.
    """

    __tablename__ = "revocations"
    seq: Mapped[int] = mapped_column(BigId, primary_key=True)
    sid: Mapped[str | None] = mapped_column(String(SID_LENGTH))
    user_id: Mapped[int | None] = mapped_column(Integer)
    epoch: Mapped[int | None] = mapped_column(Integer)
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # When the last of the sessions that it ends would have expired anyway.
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    reason: Mapped[str] = mapped_column(String(END_REASON_LENGTH))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
