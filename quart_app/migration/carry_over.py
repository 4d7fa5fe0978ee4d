"""Make each user's last active platform the default account, in our own column."""

from sqlalchemy import Connection, text

from quart_app.migration.engine import Engine
from quart_app.migration.facts import SessionTable
from quart_app.migration.outcome import Refused

_TIMES = ("updated_at", "created_at")
_COLLATION = {"sqlite": "", "postgresql": ' COLLATE "C"'}
_NOW = {
    "sqlite": "strftime('%Y-%m-%d %H\\:%M\\:%f', 'now')",
    "postgresql": "(now() AT TIME ZONE 'utc')\\:\\:text",
}


def carry_over_active_platforms(engine: Engine, connection: Connection, table: SessionTable) -> int:
    """Set the defaults and return how many changed.

    The last is by `updated_at`, then `created_at`; a time in the future, from a wrong clock,
    counts less than any other. A connection that is deleted, switched off or another user's does
    not become a default.
    """
    column = table.active_platform_column
    if column is None:
        raise Refused(
            f"No column of {table.name} says which platform was active. Run the migration without"
            " --carry-over-active-platform."
        )
    quote = connection.dialect.identifier_preparer.quote_identifier
    # As text in ISO 8601 they sort by time, on both engines and whatever the column's type.
    times = [
        f"CAST(s.{quote(name)} AS text){_COLLATION[engine.name]}"
        for name in _TIMES
        if name in table.columns
    ]
    order = [
        term
        for time in times
        for term in (f"({time} IS NULL OR {time} > {_NOW[engine.name]})", f"{time} DESC")
    ]
    changed = connection.execute(
        text(
            "UPDATE users SET default_platform_connection_id = latest.id FROM"
            " (SELECT p.user_id AS user_id, p.id AS id, row_number() OVER"
            f" (PARTITION BY p.user_id ORDER BY {', '.join([*order, 'p.id'])}) AS place"
            f" FROM {quote(table.name)} AS s JOIN platform_connections AS p"
            f" ON {engine.key('p.id')} = {engine.key(f's.{quote(column)}')}"
            f" AND {engine.key('p.user_id')} = {engine.key('s.user_id')}"
            " WHERE p.is_active IS TRUE) AS latest"
            " WHERE latest.user_id = users.id AND latest.place = 1"
            " AND (users.default_platform_connection_id IS NULL"
            " OR users.default_platform_connection_id <> latest.id)"
        )
    )
    return changed.rowcount
