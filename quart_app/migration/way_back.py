"""The values in users' rows that the older application needs back, and erasing them."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, func, inspect, or_, select, text, update
from sqlalchemy import true as sql_true

from quart_app.model import LEGACY_HASHES, NO_PASSWORD, NOT_KEPT, PlatformConnection, User
from quart_app.storage.schema.legacy_refusals import cannot_log_in_there, reactivate_refused
from quart_app.text.printable import printable

_USERS, _CONNECTIONS = User.table(), PlatformConnection.table()
_NAMES_SHOWN = 20


@dataclass(frozen=True)
class GivenBack:
    """The restoration's changes to the rows of users and of their connections.

    `without_hash` names users whose password the older application can't compare: they were created
    here, or changed their password here. Of these, `refused` are inactive, locked or not verified
    there. `defaults` is None if they were not requested.
    """

    hashes: int
    reactivated: int
    without_hash: tuple[str, ...]
    refused: tuple[str, ...]
    defaults: int | None

    @property
    def is_change(self) -> bool:
        """Whether any row was changed."""
        return bool(self.hashes or self.reactivated or self.defaults)

    def in_words(self) -> list[str]:
        """Return lines for a terminal."""
        lines = []
        if self.hashes:
            lines.append(f"Password hashes given back: {self.hashes:,}")
        if self.reactivated:
            lines.append(
                "Users whose is_active is true again, but whom both applications still refuse:"
                f" {self.reactivated:,}"
            )
        if self.defaults is not None:
            lines.append(f"Default platforms carried back: {self.defaults:,} rows changed")
        if self.without_hash:
            lines += [
                (
                    "The older application can't read the passwords of"
                    f" {len(self.without_hash):,} users, who were created here or chose another"
                    f" password here: {_some(self.without_hash)}"
                ),
                "  To give one a password that it reads:",
                "  .venv/bin/python -m quart_app user passwd NAME --for-legacy",
            ]
        if self.refused:
            lines.append(
                f"  {len(self.refused):,} of these can't log in there anyway, because they are"
                f" locked, not verified or inactive: {_some(self.refused)}"
            )
        return lines


def _some(names: tuple[str, ...]) -> str:
    shown = names[:_NAMES_SHOWN]
    more = f" and {len(names) - len(shown):,} more" if len(names) > len(shown) else ""
    return f"{', '.join(map(printable, shown))}{more}"


def give_back(connection: Connection, *, carry_back_default: bool) -> GivenBack:
    """Give the older application its hashes and its old values of `is_active` back."""
    hashes = _give_back_hashes(connection)
    reactivated = reactivate_refused(connection)
    without_hash = (
        select(_USERS.c.username)
        .where(or_(_is_ours(), _USERS.c.password_hash == NO_PASSWORD))
        .order_by(_USERS.c.username)
    )
    refused = without_hash.where(text(cannot_log_in_there(connection)))
    return GivenBack(
        hashes=hashes,
        reactivated=reactivated,
        without_hash=tuple(connection.scalars(without_hash)),
        refused=tuple(connection.scalars(refused)),
        defaults=_carry_back_defaults(connection) if carry_back_default else None,
    )


def _is_ours() -> ColumnElement[bool]:
    return _USERS.c.password_hash.startswith("$argon2")


def _is_legacy() -> ColumnElement[bool]:
    return or_(*(_USERS.c.password_hash.startswith(start) for start in LEGACY_HASHES))


def _give_back_hashes(connection: Connection) -> int:
    if not keeps_hashes(connection):
        return 0
    given = connection.execute(
        update(_USERS)
        .where(_is_ours(), _USERS.c.legacy_password_hash != NOT_KEPT)
        .values(password_hash=_USERS.c.legacy_password_hash)
    ).rowcount
    # From here on the older application decides; another migration starts from its values.
    is_noted = _USERS.c.legacy_password_hash.is_not(None)
    connection.execute(update(_USERS).where(is_noted).values(legacy_password_hash=None))
    return given


def _carry_back_defaults(connection: Connection) -> int:
    """Mark each user's default, if there is one, and unmark the other connections."""
    default = (
        select(_USERS.c.default_platform_connection_id)
        .where(_USERS.c.id == _CONNECTIONS.c.user_id)
        .scalar_subquery()
    )
    is_default = _CONNECTIONS.c.is_default
    unmarked = connection.execute(
        update(_CONNECTIONS)
        .where(is_default.is_(sql_true()), _CONNECTIONS.c.id != default)
        .values(is_default=False)
    )
    marked = connection.execute(
        update(_CONNECTIONS)
        .where(is_default.is_not(sql_true()), _CONNECTIONS.c.id == default)
        .values(is_default=True)
    )
    return unmarked.rowcount + marked.rowcount


# --- no return -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class KeptHashes:
    """How many legacy hashes are kept, and how many more the next logins would keep."""

    kept: int
    to_come: int

    @property
    def are_pending(self) -> bool:
        """Whether there is anything to erase, now or after later logins."""
        return bool(self.kept or self.to_come)


def keeps_hashes(connection: Connection) -> bool:
    """Return whether the schema has a column for kept hashes."""
    columns = {column["name"] for column in inspect(connection).get_columns("users")}
    return "legacy_password_hash" in columns


def kept_hashes(connection: Connection) -> KeptHashes:
    """Count the kept hashes, and those that later logins would keep."""
    kept, to_come = connection.execute(
        select(
            func.count().filter(_USERS.c.legacy_password_hash != NOT_KEPT),
            func.count().filter(and_(_is_legacy(), _USERS.c.legacy_password_hash.is_(None))),
        ).select_from(_USERS)
    ).one()
    return KeptHashes(kept, to_come)


def erase_kept_hashes(connection: Connection) -> None:
    """Erase the kept hashes, and keep no more from here on."""
    if connection.dialect.name == "sqlite":  # not only forgotten: overwritten in the file
        connection.execute(text("PRAGMA secure_delete = ON"))
    is_kept = _USERS.c.legacy_password_hash != NOT_KEPT
    connection.execute(
        update(_USERS).where(or_(is_kept, _is_legacy())).values(legacy_password_hash=NOT_KEPT)
    )
