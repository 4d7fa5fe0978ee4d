"""The account behind a platform connection, as its server describes it, and its picture."""

import enum
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ForeignKey, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from quart_app.model.lengths import (
    ACCOUNT_ID_LENGTH,
    AVATAR_DIGEST_LENGTH,
    AVATAR_TYPE_LENGTH,
    DISPLAY_NAME_LENGTH,
    HOST_LENGTH,
    PROBLEM_LENGTH,
    PROFILE_URL_LENGTH,
    SCOPES_LENGTH,
    SOFTWARE_LENGTH,
)
from quart_app.model.types import Base, UtcDateTime

# Of access that is not renewed by itself: Pixelfed's personal access tokens last a year.
_EXPIRY_SHOWN_BEFORE: Final = timedelta(days=14)


class ConnectionState(enum.StrEnum):
    """Whether a connection can be used, and if not, what its user has to do."""

    ACTIVE = "active"
    RECONNECT_NEEDED = "reconnect_needed"  # the server no longer accepts the access token
    DISABLED = "disabled"  # the user switched it off


class PlatformAccount(Base):
    """The account of a connection, and its access token, as its server described them.

    A connection has none until it is checked for the first time, as after a migration. Two
    connections are to the same account if `host`, the server that was spoken to, and `account_id`
    are equal; both are None until a check succeeds.
    """

    __tablename__ = "platform_accounts"
    __table_args__ = (
        Index("ix_platform_accounts_identity", "host", "account_id"),
        Index("ix_platform_accounts_next_check", "next_check_at"),
    )

    platform_connection_id: Mapped[int] = mapped_column(
        ForeignKey("platform_connections.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    )
    host: Mapped[str | None] = mapped_column(String(HOST_LENGTH))
    account_id: Mapped[str | None] = mapped_column(String(ACCOUNT_ID_LENGTH))
    display_name: Mapped[str | None] = mapped_column(String(DISPLAY_NAME_LENGTH))
    profile_url: Mapped[str | None] = mapped_column(String(PROFILE_URL_LENGTH))
    software: Mapped[str | None] = mapped_column(String(SOFTWARE_LENGTH))
    scopes: Mapped[str | None] = mapped_column(String(SCOPES_LENGTH))
    token_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    refresh_token: Mapped[str | None] = mapped_column(Text)  # a Fernet token, as access_token
    # While a request for a new access token is under way: a refresh token serves once.
    refresh_began_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reconnect_needed_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # The code of the error that the last check ended with; None if it succeeded.
    problem: Mapped[str | None] = mapped_column(String(PROBLEM_LENGTH))
    # Checks in a row that ended with a problem of the server's.
    failed_checks: Mapped[int] = mapped_column(Integer, default=0)
    checked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    next_check_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    avatar_digest: Mapped[str | None] = mapped_column(String(AVATAR_DIGEST_LENGTH))

    def expires_soon(self, at: datetime) -> bool:
        """Return whether the access ends within two weeks, or has ended, and is not renewed."""
        return (
            self.token_expires_at is not None
            and self.refresh_token is None
            and self.token_expires_at - at <= _EXPIRY_SHOWN_BEFORE
        )


class Avatar(Base):
    """The picture of an account, as its server had it. It changes with its digest's change."""

    __tablename__ = "avatars"

    platform_connection_id: Mapped[int] = mapped_column(
        ForeignKey("platform_connections.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    )
    content_type: Mapped[str] = mapped_column(String(AVATAR_TYPE_LENGTH))
    body: Mapped[bytes] = mapped_column(LargeBinary)
