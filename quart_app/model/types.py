"""The base of all tables, the largest ids, and column types that several tables use."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, cast

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    Integer,
    String,
    Table,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

# Of an INTEGER in PostgreSQL: users and platform connections. Every other table has BIGINTs.
LARGEST_ID: Final = 2**31 - 1

# SQLite numbers rows automatically only in a column whose type is spelled INTEGER.
BigId: Final = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """All our tables; the schema's revisions must arrive at `Base.metadata`."""

    @classmethod
    def table(cls) -> Table:
        """Return the table itself: writing a row that need not become an object costs half."""
        return cast(Table, cls.__table__)


class _SqliteDateTime(sqlite.DATETIME):
    """A time in SQLite, which keeps any value: one that is not a time reads as None."""

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """Return the function that reads a value."""
        read = super().result_processor(dialect, coltype)

        def process(value: Any) -> Any:
            try:
                return value if read is None else read(value)
            except (TypeError, ValueError):
                return None

        return process


class _SqliteBoolean(Boolean):
    """A flag in SQLite, which keeps 2 or 't', too: they read as IS TRUE compares them."""

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], bool | None]:
        """Return the function that reads a value. SQLAlchemy writes IS TRUE for SQLite as IS 1."""
        return lambda value: None if value is None else bool(value == 1)


Flag: Final = Boolean().with_variant(_SqliteBoolean(), "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in Python; in the database naive UTC, as the older application wrote it."""

    impl = DateTime(timezone=False).with_variant(
        _SqliteDateTime(),  # type: ignore[no-untyped-call]
        "sqlite",
    )
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive datetime, which says nothing about its time zone. Raises ValueError."""
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


def text_of_any_type(length: int) -> String:
    """Return the type of a text column that an adopted database may hold as an enumeration."""
    return String(length).with_variant(_UntypedText(length), "postgresql")


class StoredText(TypeDecorator[str]):
    """Text that reads as text, whatever an old database holds in the column.

    SQLite keeps bytes in a column of text, and they are decoded. NULL reads as `null`: a column
    that we declare NOT NULL may allow it in the older application's table. With `may_be_enum` it
    is bound so that PostgreSQL accepts it for an enumeration, too.
    """

    impl = String
    cache_ok = True

    def __init__(self, length: int, *, null: str | None = None, may_be_enum: bool = False) -> None:
        super().__init__(length)
        self.null, self.may_be_enum = null, may_be_enum

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type that values are bound as."""
        length = cast(String, self.impl).length or 0
        kind = text_of_any_type(length) if self.may_be_enum else String(length)
        return dialect.type_descriptor(kind)

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Return it as text."""
        if isinstance(value, str):
            return value
        if value is None:
            return self.null
        return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
