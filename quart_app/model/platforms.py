"""Platform connections: a user's accounts at Fediverse servers, with sealed credentials."""

import enum
from datetime import datetime

from sqlalchemy import ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from quart_app.model.lengths import (
    INSTANCE_URL_LENGTH,
    PLATFORM_NAME_LENGTH,
    PLATFORM_TYPE_LENGTH,
    PLATFORM_USERNAME_LENGTH,
)
from quart_app.model.platform_accounts import ConnectionState, PlatformAccount
from quart_app.model.types import Base, Flag, StoredText, UtcDateTime


class PlatformType(enum.Enum):
    """Which software an instance runs. The column holds the value, in lower case."""

    MASTODON = "mastodon"
    PIXELFED = "pixelfed"


class PlatformConnection(Base):
    """A user's account at a Mastodon or Pixelfed instance, with sealed credentials.

    No id is given twice (see storage.platforms), because a session may remember a removed one.
    """

    __tablename__ = "platform_connections"
    __table_args__ = (
        UniqueConstraint("user_id", "name", name="uq_user_platform_name"),
        UniqueConstraint("user_id", "instance_url", "username", name="uq_user_instance_username"),
        Index("ix_platform_user_active", "user_id", "is_active"),
        Index("ix_platform_type_active", "platform_type", "is_active"),
        Index("ix_platform_instance_type", "instance_url", "platform_type"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(StoredText(PLATFORM_NAME_LENGTH, null=""))
    platform_type: Mapped[str] = mapped_column(
        StoredText(PLATFORM_TYPE_LENGTH, null="", may_be_enum=True)
    )
    instance_url: Mapped[str] = mapped_column(StoredText(INSTANCE_URL_LENGTH, null=""))
    username: Mapped[str | None] = mapped_column(StoredText(PLATFORM_USERNAME_LENGTH))
    # Fernet tokens: see services.platforms.credentials.
    access_token: Mapped[str] = mapped_column(Text)
    client_key: Mapped[str | None] = mapped_column(Text)
    client_secret: Mapped[str | None] = mapped_column(Text)
    is_active: Mapped[bool | None] = mapped_column(Flag)
    # The older application's mark of a default; users.default_platform_connection_id replaced it.
    legacy_is_default: Mapped[bool | None] = mapped_column("is_default", Flag, default=False)
    created_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Loaded only by queries that ask for it.
    account: Mapped[PlatformAccount | None] = relationship(lazy="raise", viewonly=True)

    @property
    def state(self) -> ConnectionState:
        """Whether the connection can be used. `account` must be loaded."""
        if not self.is_active:
            return ConnectionState.DISABLED
        if self.account is not None and self.account.reconnect_needed_since is not None:
            return ConnectionState.RECONNECT_NEEDED
        return ConnectionState.ACTIVE
