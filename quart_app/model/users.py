"""Users: their names, role, password hash, and how their sessions and devices are counted."""

import enum
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Dialect, ForeignKey, Integer, String, Text, false
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from quart_app.model.lengths import (
    EMAIL_LENGTH,
    LEGACY_REFUSAL_LENGTH,
    PASSWORD_HASH_LENGTH,
    ROLE_LENGTH,
    USERNAME_LENGTH,
)
from quart_app.model.types import Base, Flag, StoredText, UtcDateTime, text_of_any_type
from quart_app.text.login_names import LONGEST_KEY, email_key, name_key

# The beginnings of the older application's hashes, which are Werkzeug's.
LEGACY_HASHES: Final = ("scrypt:", "pbkdf2:")
NOT_KEPT: Final = ""  # in place of a legacy hash: there is no way back that would need one
_SHA_256_HEX_LENGTH: Final = 64
NO_PASSWORD: Final = ""  # in place of a hash: the user has yet to choose one by a reset link


class Role(enum.Enum):
    """A user's rights: ADMIN administers, the others have the same rights here."""

    ADMIN = "admin"
    MODERATOR = "moderator"
    REVIEWER = "reviewer"
    VIEWER = "viewer"


class LegacyRefusal(enum.StrEnum):
    """Why a user came over from the older application as inactive. The column holds the value."""

    LOCKED = "locked"
    UNVERIFIED = "unverified"  # the e-mail address
    DECIDED = "decided"  # one of both, and an administrator has activated or deactivated them since


# The older application refused these users, and no administrator has decided since.
REFUSED: Final = (LegacyRefusal.LOCKED, LegacyRefusal.UNVERIFIED)


class RoleByName(TypeDecorator[Role]):
    """A role in the database is its member's name, as the older application wrote it.

    The column is VARCHAR, or an enumeration type where the older application made it on PostgreSQL.
    Null or an unknown name reads as VIEWER: the fewest rights.
    """

    impl = text_of_any_type(ROLE_LENGTH)
    cache_ok = True

    def process_bind_param(self, value: Role | None, dialect: Dialect) -> str | None:
        """Return the member's name."""
        return None if value is None else value.name

    def process_result_value(self, value: Any, dialect: Dialect) -> Role:
        """Return the member of that name, else VIEWER. A char(n) column pads it with spaces."""
        return Role.__members__.get(str(value).rstrip(), Role.VIEWER)


def _key_of(column: str, key: Callable[[str], str]) -> Callable[[Any], str]:
    """Return a column's default: the key of the text that is inserted into another column."""
    return lambda context: key(context.get_current_parameters()[column])


class User(Base):
    """A person who logs in."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(
        StoredText(USERNAME_LENGTH, null=""), unique=True, index=True
    )
    email: Mapped[str] = mapped_column(StoredText(EMAIL_LENGTH, null=""), unique=True, index=True)
    # Lookup keys of the name and the address, equal for every spelling: see login_names. Not
    # unique, because the older application let names differ in case; null in rows that a process of
    # an older version wrote.
    username_key: Mapped[str | None] = mapped_column(
        String(LONGEST_KEY), index=True, default=_key_of("username", name_key)
    )
    email_key: Mapped[str | None] = mapped_column(
        String(LONGEST_KEY), index=True, default=_key_of("email", email_key)
    )
    password_hash: Mapped[str] = mapped_column(String(PASSWORD_HASH_LENGTH))
    role: Mapped[Role] = mapped_column(RoleByName, nullable=True)
    # The older application's value, which --restore gives back. Here `is_active` counts.
    active_flag: Mapped[bool | None] = mapped_column("is_active", Flag)
    created_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_login: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # One column of the user, so that there is never more than one default.
    default_platform_connection_id: Mapped[int | None] = mapped_column(
        Integer, ForeignKey("platform_connections.id", ondelete="SET NULL", use_alter=True)
    )
    # Sessions that began at an older epoch than this have ended.
    session_epoch: Mapped[int] = mapped_column(Integer, server_default="0", default=0)
    # A device that was known at an older epoch than this counts as a new device.
    device_epoch: Mapped[int] = mapped_column(Integer, server_default="0", default=0)
    must_change_password: Mapped[bool] = mapped_column(Flag, server_default=false(), default=False)
    # The SHA-256 of the token of the user's one reset link, never the token itself.
    reset_token_hash: Mapped[str | None] = mapped_column(
        String(_SHA_256_HEX_LENGTH), unique=True, index=True
    )
    reset_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    legacy_refusal: Mapped[str | None] = mapped_column(String(LEGACY_REFUSAL_LENGTH))
    # The older application's hash of the same password, for its login after a migration was
    # restored. No login here compares with it, so it is never loaded.
    legacy_password_hash: Mapped[str | None] = mapped_column(
        Text, deferred=True, deferred_raiseload=True
    )

    @hybrid_property
    def is_active(self) -> bool:
        """Whether the user may log in here.

        False for users whom the older application refused, also after `--restore` gave their flag
        its old value back. A null flag counts as false, as it did in the older application.
        """
        return bool(self.active_flag) and self.legacy_refusal not in REFUSED

    @is_active.inplace.setter
    def _decide(self, is_active: bool) -> None:  # noqa: FBT001 a setter
        """Write an administrator's decision, which overrides the older application's refusal."""
        self.active_flag = is_active
        if self.legacy_refusal is not None:
            self.legacy_refusal = LegacyRefusal.DECIDED

    @is_active.inplace.expression
    @classmethod
    def _may_log_in(cls) -> ColumnElement[bool]:
        is_refused = cls.legacy_refusal.is_not(None) & cls.legacy_refusal.in_(REFUSED)
        return cls.active_flag.is_(True) & ~is_refused
