"""Users whom the older application's login refused: locked, or with an unverified address.

Adoption deactivates those who were active, and `users.legacy_refusal` remembers why. The way back
gives `is_active` its old value and keeps the reason, so that this application still refuses them.
The older application's own columns stay as they are.
"""

from dataclasses import dataclass

from sqlalchemy import URL, Connection, inspect, text

from quart_app.model import REFUSED, LegacyRefusal
from quart_app.storage.database import Database
from quart_app.storage.schema import SchemaRefused
from quart_app.text.printable import printable

_OF_REFUSED = f"({', '.join(map(repr, map(str, REFUSED)))})"
# The columns hold booleans. A copy made by hand may have integers or text instead. As text, these
# are false.
_FALSE = "('', '0', '0.0', 'f', 'false', 'n', 'no', 'off')"
_NAMES_SHOWN = 20


@dataclass(frozen=True)
class RefusedUsers:
    """Names of users who are inactive, or will be, because the older application refused them."""

    locked: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()

    def in_words(self, *, every: bool = False) -> list[str]:
        """Return lines for a terminal, with some or every name; empty without users."""
        if not self.locked and not self.unverified:
            return []
        return [
            "Inactive  The older application refused these users, and so does this one:",
            *_line("  locked", self.locked, every=every),
            *_line("  e-mail address not verified", self.unverified, every=every),
            "  To activate one: .venv/bin/python -m quart_app user activate NAME",
        ]


def _line(title: str, names: tuple[str, ...], *, every: bool) -> list[str]:
    if not names:
        return []
    shown = names if every else names[:_NAMES_SHOWN]
    more = f" and {len(names) - len(shown):,} more" if len(names) > len(shown) else ""
    return [f"{title}, {len(names):,}: {', '.join(map(printable, shown))}{more}"]


def refused_users(connection: Connection) -> RefusedUsers:
    """Return the users whom adoption makes inactive, or has made inactive."""
    columns = _columns(connection)
    reason, condition = _reason(columns), _is_to_be_deactivated(connection, columns)
    if "legacy_refusal" in columns:
        is_active = _is_active(connection, columns)
        condition += f" OR legacy_refusal IN {_OF_REFUSED} AND NOT {is_active}"
        reason = f"CASE WHEN {is_active} THEN {reason} ELSE legacy_refusal END"
    rows = connection.execute(
        text(f"SELECT username, {reason} FROM users WHERE {condition} ORDER BY username")
    ).all()
    return RefusedUsers(
        tuple(str(name) for name, why in rows if why == LegacyRefusal.LOCKED),
        tuple(str(name) for name, why in rows if why == LegacyRefusal.UNVERIFIED),
    )


def can_log_in(connection: Connection) -> str:
    """Return SQL for whether a row of users is, or will be, one of a user who can log in here."""
    columns = _columns(connection)
    can = f"{_is_active(connection, columns)} AND NOT {_is_to_be_deactivated(connection, columns)}"
    return f"({can})"


def cannot_log_in_there(connection: Connection) -> str:
    """Return SQL for whether the older application refuses a row of users, whatever the password.

    Its login refuses users who are inactive, locked or not verified; after a restoration.
    """
    columns = _columns(connection)
    reasons = [f"NOT {_is_active(connection, columns)}"]
    if locked := columns.get("account_locked"):
        reasons.append(_is_true(locked))
    if verified := columns.get("email_verified"):
        reasons.append(f"NOT {_is_true(verified)}")
    return f"({' OR '.join(reasons)})"


async def refused_by_the_legacy_login(url: URL) -> RefusedUsers:
    """Return them for a database that was adopted. Raises Unavailable."""
    database = Database(url)
    try:
        async with database.read() as db:
            return await (await db.connection()).run_sync(refused_users)
    finally:
        await database.close()


def deactivate_refused(connection: Connection) -> None:
    """Deactivate active users whom the older application refused.

    Users about whom adoption or an administrator decided before are left unchanged, unless a
    restoration made them active since. Raises SchemaRefused if a trigger or rule of the database
    itself keeps one active.
    """
    columns = _columns(connection)
    connection.execute(
        text(
            f"UPDATE users SET is_active = {_literal(connection, value=False)},"
            f" legacy_refusal = {_reason(columns)}"
            f" WHERE {_is_to_be_deactivated(connection, columns)}"
        )
    )
    # After a restoration, the older application may have unlocked or verified some of them.
    connection.execute(
        text(
            f"UPDATE users SET legacy_refusal = NULL WHERE legacy_refusal IN {_OF_REFUSED}"
            f" AND {_is_active(connection, columns)} AND {_reason(columns)} IS NULL"
        )
    )
    still_active = connection.execute(
        text(
            "SELECT count(*) FROM users"
            f" WHERE {_is_active(connection, columns)} AND legacy_refusal IS NULL"
            f" AND {_reason(columns)} IS NOT NULL"
            f" OR legacy_refusal IN {_OF_REFUSED} AND {_is_active(connection, columns)}"
        )
    ).scalar_one()
    if still_active:
        raise SchemaRefused(
            f"{still_active} locked or unverified users would stay active: a trigger or rule on"
            " users prevents their deactivation. Disable it, or deactivate them first."
            " Nothing was changed."
        )


def reactivate_refused(connection: Connection) -> int:
    """Restore the `is_active` from before adoption; return for how many users.

    This application still refuses them. Users whom an administrator activated or deactivated here
    are left unchanged; the next migration decides about them again.
    """
    columns = _columns(connection)
    if "legacy_refusal" not in columns:
        return 0
    activated = connection.execute(
        text(
            f"UPDATE users SET is_active = {_literal(connection, value=True)}"
            f" WHERE legacy_refusal IN {_OF_REFUSED} AND NOT {_is_active(connection, columns)}"
        )
    )
    connection.execute(
        text(
            "UPDATE users SET legacy_refusal = NULL"
            f" WHERE legacy_refusal = '{LegacyRefusal.DECIDED}'"
        )
    )
    return activated.rowcount


def _columns(connection: Connection) -> dict[str, str]:
    """Return the spelling of each column of users, by its name in lower case."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    names = [column["name"] for column in inspect(connection).get_columns("users")]
    return {name.lower(): quote(name) for name in names}


def _reason(columns: dict[str, str]) -> str:
    """Return SQL for why the older application refused a user; NULL if it did not."""
    whens = []
    if locked := columns.get("account_locked"):
        whens.append(f"WHEN {_is_true(locked)} THEN '{LegacyRefusal.LOCKED}'")
    if verified := columns.get("email_verified"):
        # For users who were created here, or logged in here, that column has no meaning.
        is_legacy = "password_hash <> '' AND substr(password_hash, 1, 7) <> '$argon2'"
        if "legacy_refusal" in columns:  # a new password here does not verify the address
            is_legacy += f" OR legacy_refusal IN {_OF_REFUSED}"
        whens.append(
            f"WHEN NOT {_is_true(verified)} AND ({is_legacy}) THEN '{LegacyRefusal.UNVERIFIED}'"
        )
    return f"CASE {' '.join(whens)} END" if whens else "NULL"


def _is_true(column: str) -> str:
    """Return SQL for whether the older application takes a value as true; NULL is not true."""
    return f"coalesce(lower(trim(CAST({column} AS TEXT))) NOT IN {_FALSE}, 1 = 0)"


def _is_active(connection: Connection, columns: dict[str, str]) -> str:
    if "is_active" not in columns:  # adoption adds it, and then everybody is active
        return "(1 = 1)"
    return f"(is_active IS NOT NULL AND is_active = {_literal(connection, value=True)})"


def _is_to_be_deactivated(connection: Connection, columns: dict[str, str]) -> str:
    undecided = (
        f"coalesce(legacy_refusal, '') <> '{LegacyRefusal.DECIDED}' AND "
        if "legacy_refusal" in columns
        else ""
    )
    is_refused = f"{_reason(columns)} IS NOT NULL"
    return f"({undecided}{_is_active(connection, columns)} AND {is_refused})"


def _literal(connection: Connection, *, value: bool) -> str:
    if connection.dialect.name == "sqlite":
        return "1" if value else "0"
    return "true" if value else "false"
