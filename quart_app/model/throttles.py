"""Throttles: counts of wrong passwords, for the rate limits of logins."""

from datetime import datetime

from sqlalchemy import Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from quart_app.model.lengths import THROTTLE_KEY_LENGTH
from quart_app.model.types import Base, UtcDateTime


class Throttle(Base):
    """The number of wrong passwords in a row, for a name, an address or a device.

    The key is a keyed hash, because people sometimes type their password as their name.
    """

    __tablename__ = "throttles"

    key: Mapped[str] = mapped_column(String(THROTTLE_KEY_LENGTH), primary_key=True)
    failures: Mapped[int] = mapped_column(Integer)
    last_failure_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    # The number of passwords that are being compared, and since when there was always at least one.
    # Each counts as the failure that it may become.
    reserved: Mapped[int] = mapped_column(Integer, server_default="0", default=0)
    reserved_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
