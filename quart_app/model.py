"""The tables, which are the words we think in. No queries, and nothing loads by itself.

`users` and `platform_connections` are older than this application: their columns keep the names,
types and values that the older one gave them, and ours stand beside them.
"""

import enum
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

# The columns' lengths, for those who check what people type.
USERNAME_LENGTH = 64
EMAIL_LENGTH = 120
PLATFORM_NAME_LENGTH = 100
INSTANCE_URL_LENGTH = 500
PLATFORM_USERNAME_LENGTH = 200


class Role(enum.Enum):
    """What a user may do: ADMIN administers, the others have the same rights here."""

    ADMIN = "admin"
    MODERATOR = "moderator"
    REVIEWER = "reviewer"
    VIEWER = "viewer"


class PlatformType(enum.Enum):
    """Which software an instance runs. The column holds the value, in lower case."""

    MASTODON = "mastodon"
    PIXELFED = "pixelfed"


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in Python; in the database naive UTC, as the older application wrote it."""

    impl = DateTime(timezone=False)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive datetime: whose clock it is from, nobody could say."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a timestamp must be aware")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return it aware."""
        return None if value is None else value.replace(tzinfo=UTC)


class RoleByName(TypeDecorator[Role]):
    """A role in the database is its member's name, as the older application wrote it.

    Null, or a name nobody knows, reads as VIEWER: the fewest rights.
    """

    impl = String(9)
    cache_ok = True

    def process_bind_param(self, value: Role | None, dialect: Dialect) -> str | None:
        """Return the member's name."""
        return None if value is None else value.name

    def process_result_value(self, value: Any, dialect: Dialect) -> Role:
        """Return the member of that name, else VIEWER."""
        return Role.__members__.get(value, Role.VIEWER)


class Base(DeclarativeBase):
    """All our tables; `Base.metadata` is what the schema's revisions must arrive at."""


class User(Base):
    """A person who logs in."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(USERNAME_LENGTH), unique=True, index=True)
    email: Mapped[str] = mapped_column(String(EMAIL_LENGTH), unique=True, index=True)
    password_hash: Mapped[str] = mapped_column(String(256))
    role: Mapped[Role] = mapped_column(RoleByName, nullable=True)
    # Null counts as false, as it did in the older application: compare with IS TRUE.
    is_active: Mapped[bool | None] = mapped_column(Boolean)
    created_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_login: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # One column of the user, so that there is never more than one default.
    default_platform_connection_id: Mapped[int | None] = mapped_column(
        Integer, ForeignKey("platform_connections.id", ondelete="SET NULL", use_alter=True)
    )
    # A session that began at an older epoch than this is over.
    session_epoch: Mapped[int] = mapped_column(Integer, server_default="0", default=0)
    must_change_password: Mapped[bool] = mapped_column(
        Boolean, server_default=false(), default=False
    )


class PlatformConnection(Base):
    """A user's account at a Mastodon or Pixelfed instance, with sealed credentials.

    Ids are never given twice (see storage.platforms), for a session may remember one that is gone.
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
    name: Mapped[str] = mapped_column(String(PLATFORM_NAME_LENGTH))
    platform_type: Mapped[str] = mapped_column(String(50))
    instance_url: Mapped[str] = mapped_column(String(INSTANCE_URL_LENGTH))
    username: Mapped[str | None] = mapped_column(String(PLATFORM_USERNAME_LENGTH))
    # Fernet tokens: see services.credentials.
    access_token: Mapped[str] = mapped_column(Text)
    client_key: Mapped[str | None] = mapped_column(Text)
    client_secret: Mapped[str | None] = mapped_column(Text)
    is_active: Mapped[bool | None] = mapped_column(Boolean)
    # The older application's mark of a default; users.default_platform_connection_id replaced it.
    legacy_is_default: Mapped[bool | None] = mapped_column("is_default", Boolean, default=False)
    created_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used: Mapped[datetime | None] = mapped_column(UtcDateTime)
