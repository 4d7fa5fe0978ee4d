"""The tables, which are the words we think in. No queries, and nothing loads by itself.

`users` and `platform_connections` are older than this application: their columns keep the names,
types and values that the older one gave them, and ours stand beside them.
"""

import enum
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, cast

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

from quart_app.text.login_names import LONGEST_KEY, email_key, name_key

# The columns' lengths, for those who check what people type.
USERNAME_LENGTH = 64
EMAIL_LENGTH = 120
PLATFORM_NAME_LENGTH = 100
INSTANCE_URL_LENGTH = 500
PLATFORM_USERNAME_LENGTH = 200
SID_LENGTH = 22  # 128 bits as base64url without padding
ADDRESS_LENGTH = 45  # an IPv6 address that embeds an IPv4 one
USER_AGENT_LENGTH = 255
END_REASON_LENGTH = 32
EVENT_LENGTH = 32
REQUEST_ID_LENGTH = 32
SESSION_HASH_LENGTH = 16
DEVICE_ID_LENGTH = 22
ALERT_KIND_LENGTH = 32
THROTTLE_KEY_LENGTH = 32
LEGACY_REFUSAL_LENGTH = 16
RESET_TOKEN_HASH_LENGTH = 64  # SHA-256 in hex


# SQLite counts rows by themselves only in a column whose type is INTEGER to the letter.
_BigId = BigInteger().with_variant(Integer, "sqlite")


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


class _SqliteDateTime(sqlite.DATETIME):
    """SQLite keeps whatever was written; what is no time reads as none."""

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """Return what reads a value."""
        read = super().result_processor(dialect, coltype)

        def process(value: Any) -> Any:
            try:
                return value if read is None else read(value)
            except (TypeError, ValueError):
                return None

        return process


class _SqliteBoolean(Boolean):
    """SQLite keeps 2 or 't', too; they read as what a query by IS TRUE takes them for."""

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], bool | None]:
        """Return what reads a value. SQLAlchemy writes IS TRUE for SQLite as IS 1."""
        return lambda value: None if value is None else bool(value == 1)


_Flag = Boolean().with_variant(_SqliteBoolean(), "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in Python; in the database naive UTC, as the older application wrote it."""

    impl = DateTime(timezone=False).with_variant(
        _SqliteDateTime(),  # type: ignore[no-untyped-call]
        "sqlite",
    )
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


class _UntypedText(UserDefinedType[str]):
    """Text that is bound without a cast, so that PostgreSQL gives it the column's own type.

    SQLAlchemy binds a String as VARCHAR, which PostgreSQL does not assign to an enumeration type.
    """

    cache_ok = True

    def __init__(self, length: int) -> None:
        self.length = length

    def get_col_spec(self, **_: object) -> str:
        """Return the type that a new database gets."""
        return f"VARCHAR({self.length})"


def _text_of_any_type(length: int) -> String:
    """Return the type of a text column that an adopted database may hold as an enumeration."""
    return String(length).with_variant(_UntypedText(length), "postgresql")


class StoredText(TypeDecorator[str]):
    """Text that reads as text, whatever an old database holds in the column.

    SQLite keeps bytes in a column of text, and they are decoded. NULL reads as `null`: a column
    that we declare NOT NULL may not be so in the older application's table. With `may_be_enum` it
    is bound so that PostgreSQL takes it for an enumeration, too.
    """

    impl = String
    cache_ok = True

    def __init__(self, length: int, *, null: str | None = None, may_be_enum: bool = False) -> None:
        super().__init__(length)
        self.null, self.may_be_enum = null, may_be_enum

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type by which values are bound."""
        length = cast(String, self.impl).length or 0
        kind = _text_of_any_type(length) if self.may_be_enum else String(length)
        return dialect.type_descriptor(kind)

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Return it as text."""
        if isinstance(value, str):
            return value
        if value is None:
            return self.null
        return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


class RoleByName(TypeDecorator[Role]):
    """A role in the database is its member's name, as the older application wrote it.

    The column is VARCHAR, or an enumeration type where the older application made it on PostgreSQL.
    Null, or a name nobody knows, reads as VIEWER: the fewest rights.
    """

    impl = _text_of_any_type(9)
    cache_ok = True

    def process_bind_param(self, value: Role | None, dialect: Dialect) -> str | None:
        """Return the member's name."""
        return None if value is None else value.name

    def process_result_value(self, value: Any, dialect: Dialect) -> Role:
        """Return the member of that name, else VIEWER. A char(n) column pads it with spaces."""
        return Role.__members__.get(str(value).rstrip(), Role.VIEWER)


class Base(DeclarativeBase):
    """All our tables; `Base.metadata` is what the schema's revisions must arrive at."""

    @classmethod
    def table(cls) -> Table:
        """Return the table itself: to write a row that need not become an object costs half."""
        return cast(Table, cls.__table__)


class LegacyRefusal(enum.StrEnum):
    """Why a user came over from the older application as inactive. The column holds the value."""

    LOCKED = "locked"
    UNVERIFIED = "unverified"  # the e-mail address
    DECIDED = "decided"  # one of both, and an administrator has activated or deactivated them since


# How the older application's hashes begin, which are Werkzeug's.
LEGACY_HASHES: Final = ("scrypt:", "pbkdf2:")
NOT_KEPT: Final = ""  # in place of a legacy hash: there is no way back that would need one


def _key_of(column: str, key: Callable[[str], str]) -> Callable[[Any], str]:
    """Return a column's default: the key of what is inserted into another column."""
    return lambda context: key(context.get_current_parameters()[column])


NO_PASSWORD: Final = ""  # in place of a hash: whoever waits for the link by which they choose one


class User(Base):
    """A person who logs in."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(
        StoredText(USERNAME_LENGTH, null=""), unique=True, index=True
    )
    email: Mapped[str] = mapped_column(StoredText(EMAIL_LENGTH, null=""), unique=True, index=True)
    # The name and the address as they are looked up in any spelling: see login_names. Not unique,
    # for the older application let names differ in case; null in rows of an older process.
    username_key: Mapped[str | None] = mapped_column(
        String(LONGEST_KEY), index=True, default=_key_of("username", name_key)
    )
    email_key: Mapped[str | None] = mapped_column(
        String(LONGEST_KEY), index=True, default=_key_of("email", email_key)
    )
    password_hash: Mapped[str] = mapped_column(String(256))
    role: Mapped[Role] = mapped_column(RoleByName, nullable=True)
    # Null counts as false, as it did in the older application: compare with IS TRUE.
    is_active: Mapped[bool | None] = mapped_column(_Flag)
    created_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_login: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # One column of the user, so that there is never more than one default.
    default_platform_connection_id: Mapped[int | None] = mapped_column(
        Integer, ForeignKey("platform_connections.id", ondelete="SET NULL", use_alter=True)
    )
    # A session that began at an older epoch than this is over.
    session_epoch: Mapped[int] = mapped_column(Integer, server_default="0", default=0)
    # A device that was known at an older epoch than this is a new one.
    device_epoch: Mapped[int] = mapped_column(Integer, server_default="0", default=0)
    must_change_password: Mapped[bool] = mapped_column(_Flag, server_default=false(), default=False)
    # Of the one link by which they may set a password: the SHA-256 of its token, never the token.
    reset_token_hash: Mapped[str | None] = mapped_column(
        String(RESET_TOKEN_HASH_LENGTH), unique=True, index=True
    )
    reset_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    legacy_refusal: Mapped[str | None] = mapped_column(String(LEGACY_REFUSAL_LENGTH))
    # The older application's hash of the same password, which its login reads after the way back.
    # No login here compares with it, and nothing else reads it: it is never loaded.
    legacy_password_hash: Mapped[str | None] = mapped_column(
        Text, deferred=True, deferred_raiseload=True
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
    name: Mapped[str] = mapped_column(StoredText(PLATFORM_NAME_LENGTH, null=""))
    platform_type: Mapped[str] = mapped_column(StoredText(50, null="", may_be_enum=True))
    instance_url: Mapped[str] = mapped_column(StoredText(INSTANCE_URL_LENGTH, null=""))
    username: Mapped[str | None] = mapped_column(StoredText(PLATFORM_USERNAME_LENGTH))
    # Fernet tokens: see services.credentials.
    access_token: Mapped[str] = mapped_column(Text)
    client_key: Mapped[str | None] = mapped_column(Text)
    client_secret: Mapped[str | None] = mapped_column(Text)
    is_active: Mapped[bool | None] = mapped_column(_Flag)
    # The older application's mark of a default; users.default_platform_connection_id replaced it.
    legacy_is_default: Mapped[bool | None] = mapped_column("is_default", _Flag, default=False)
    created_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used: Mapped[datetime | None] = mapped_column(UtcDateTime)


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
    TOO_MANY = "too_many"  # the user's newer logins are as many as may live
    DISOWNED = "disowned"  # the user was told of something, and said that it wasn't they


class Revocation(Base):
    """That something has ended: one session, all of a user's before an epoch, or all before a time.

    Each process keeps these in memory (services.revocations) and hears of new ones by `seq`, whose
    order is the order of commits (storage.revocations). Just one of `sid`, `user_id` with `epoch`,
    and `not_before` is given.
    """

    __tablename__ = "revocations"
    seq: Mapped[int] = mapped_column(_BigId, primary_key=True)
    sid: Mapped[str | None] = mapped_column(String(SID_LENGTH))
    user_id: Mapped[int | None] = mapped_column(Integer)
    epoch: Mapped[int | None] = mapped_column(Integer)
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # When the last of the sessions that it ends would have ended by itself.
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    reason: Mapped[str] = mapped_column(String(END_REASON_LENGTH))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Change(Base):
    """What open pages of a user are to hear of, kept for an hour for those who follow.

    With `sid` that session acts for another connection now, or for none; without, the list of the
    user's connections is another than it was. As of revocations, the order of `seq` is that of
    commits.
    """

    __tablename__ = "changes"
    seq: Mapped[int] = mapped_column(_BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(Integer)
    sid: Mapped[str | None] = mapped_column(String(SID_LENGTH))
    platform_connection_id: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


_IS_LIVE = text("ended_at IS NULL")


class Login(Base):
    """One sign-in: written when it begins and when it ends.

    Pages read it, to tell of devices and of alerts. No request is validated by it, and to delete it
    logs nobody out.
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

    id: Mapped[int] = mapped_column(_BigId, primary_key=True)
    sid: Mapped[str] = mapped_column(String(SID_LENGTH), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    address: Mapped[str | None] = mapped_column(StoredText(ADDRESS_LENGTH))
    user_agent: Mapped[str | None] = mapped_column(StoredText(USER_AGENT_LENGTH))
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    end_reason: Mapped[str | None] = mapped_column(String(END_REASON_LENGTH))
    # Which browser of the user's it was, by the cookie that stays when it logs out.
    device_id: Mapped[str | None] = mapped_column(String(DEVICE_ID_LENGTH))
    # Logins on new devices up to this alert are not shown there: the device was not known yet.
    alerts_seen: Mapped[int] = mapped_column(BigInteger, server_default="0", default=0)


class AlertKind(enum.StrEnum):
    """What a user is told of. The column holds the value, and may hold one of a newer version."""

    NEW_DEVICE = "new_device"  # somebody logged in who had never done so in that browser
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 a kind
    PASSWORD_RESET = "password_reset"  # noqa: S105
    DISOWNED = "disowned"  # somebody said "this wasn't me"


class Alert(Base):
    """What a user is asked about on their other devices; an answer on one of them deletes it.

    The ids of one user's alerts follow the order of commits, because adding one takes the user's
    lock. No id is given twice, because `logins.alerts_seen` remembers ids.
    """

    __tablename__ = "alerts"
    __table_args__ = (
        Index("ix_alerts_user_id_id", "user_id", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(_BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(StoredText(ALERT_KIND_LENGTH, null=""))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    address: Mapped[str | None] = mapped_column(StoredText(ADDRESS_LENGTH))
    user_agent: Mapped[str | None] = mapped_column(StoredText(USER_AGENT_LENGTH))
    device_id: Mapped[str | None] = mapped_column(String(DEVICE_ID_LENGTH))


class Throttle(Base):
    """How often in a row a password was wrong, for a name, an address or a device.

    The key is a hash by the application's key: what was typed as a name may be a password.
    """

    __tablename__ = "throttles"

    key: Mapped[str] = mapped_column(String(THROTTLE_KEY_LENGTH), primary_key=True)
    failures: Mapped[int] = mapped_column(Integer)
    last_failure_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    # Passwords that are being compared now, and since when there was always one: each counts as
    # the failure that it may become.
    reserved: Mapped[int] = mapped_column(Integer, server_default="0", default=0)
    reserved_since: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AuditEvent(enum.StrEnum):
    """What the audit writes down. The column holds the value, and may hold one of a newer version.

    Those that a stranger can cause as often as they like are counted, not written one by one.
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
    PLATFORM_CHANGED = "platform_changed"
    PLATFORM_DEFAULT_CHANGED = "platform_default_changed"
    PLATFORM_REMOVED = "platform_removed"
    REFUSED_RIGHTS = "refused_rights"  # counted
    REFUSED_CROSS_SITE = "refused_cross_site"  # counted


class AuditEntry(Base):
    """What happened once, or `count` times within a minute. Neither changed nor deleted early.

    That the database itself sees to, by triggers. Times are by its clock.
    """

    __tablename__ = "audit"
    __table_args__ = (
        Index("ix_audit_user_id_id", "user_id", "id"),
        Index("ix_audit_event_id", "event", "id"),
        Index("ix_audit_address_id", "address", "id"),
        Index("ix_audit_actor_user_id_id", "actor_user_id", "id"),
        Index("ix_audit_event_at_count", "event", "at", "count"),
    )

    id: Mapped[int] = mapped_column(_BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    event: Mapped[str] = mapped_column(StoredText(EVENT_LENGTH, null=""))
    user_id: Mapped[int | None] = mapped_column(Integer)  # whom it concerns
    # Who did it. Null is the command line where there is no request, else a stranger.
    actor_user_id: Mapped[int | None] = mapped_column(Integer)
    address: Mapped[str | None] = mapped_column(StoredText(ADDRESS_LENGTH))
    request_id: Mapped[str | None] = mapped_column(String(REQUEST_ID_LENGTH))
    session: Mapped[str | None] = mapped_column(String(SESSION_HASH_LENGTH))
    detail: Mapped[str | None] = mapped_column(Text)  # a small JSON object
    count: Mapped[int] = mapped_column(Integer)
    keep_until: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
