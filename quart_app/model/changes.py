"""Changes of a user's accounts, for the pages that are open in their browsers."""

from datetime import datetime

from sqlalchemy import Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from quart_app.model.lengths import SID_LENGTH
from quart_app.model.types import Base, BigId, UtcDateTime


class Change(Base):
    """A change that a user's open pages are notified of, kept for an hour.

    With `sid`, that session's current account changed, to `platform_connection_id` or to no
    account. Without it, the list of the user's accounts changed. The order of `seq` is the order of
    commits, as for revocations.
    """

    __tablename__ = "changes"
    seq: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(Integer)
    sid: Mapped[str | None] = mapped_column(String(SID_LENGTH))
    platform_connection_id: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
