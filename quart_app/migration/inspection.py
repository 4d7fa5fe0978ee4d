"""Look at a database without changing it."""

import dataclasses

from sqlalchemy import Connection, text

from quart_app.migration.engine import Engine
from quart_app.migration.facts import DatabaseState, SessionTable, TableFacts
from quart_app.migration.progress import Reporter
from quart_app.migration.record import removals
from quart_app.storage.schema import newest_revision, refuse_unknown_revision, revision_of
from quart_app.storage.schema.legacy_refusals import can_log_in, refused_users

_NAMES_SHOWN = 5
_ROWS_ASKED = 1000  # for those names


def inspect(engine: Engine, connection: Connection) -> DatabaseState:
    """Return the state of the database by names alone, without counting rows.

    Raises SchemaRefused for a newer schema.
    """
    revision = revision_of(connection)
    refuse_unknown_revision(revision)
    sessions = engine.session_table(connection)
    names = engine.tables(connection)
    return DatabaseState(
        database=engine.display_url,
        revision=revision,
        newest_revision=newest_revision(),
        tables=tuple(TableFacts(name, 0, None) for name in names),
        sessions=sessions,
        removals=removals(connection),
        unknown_here=engine.unknown_here(connection) if sessions is not None else None,
        elsewhere=engine.session_table_elsewhere(connection) if sessions is None else None,
        hidden=engine.hidden(connection),
    )


def inspect_closely(engine: Engine, connection: Connection, reporter: Reporter) -> DatabaseState:
    """Return the state of the database with rows and sizes, for the plan."""
    state = inspect(engine, connection)
    if state.unknown_here or state.hidden:  # counting rows may need it
        return state
    with reporter.step("inspecting", total=len(state.tables), unit="tables") as step:
        tables = []
        for table in state.tables:
            tables.append(_facts(engine, connection, table.name))
            step.advance(1)
        sessions = state.sessions
        if sessions is not None and state.refusal is None:
            sessions = _with_rows(engine, connection, sessions)
    refused = refused_users(connection) if state.refusal is None else state.refused
    return dataclasses.replace(state, tables=tuple(tables), sessions=sessions, refused=refused)


def _facts(engine: Engine, connection: Connection, name: str) -> TableFacts:
    quoted = connection.dialect.identifier_preparer.quote_identifier(name)
    # Not by text(), which doubles a % that quoting doubled already.
    rows = connection.exec_driver_sql(f"SELECT count(*) FROM {quoted}").scalar_one()
    return TableFacts(name, rows, engine.size_bytes(connection, name))


def _with_rows(engine: Engine, connection: Connection, table: SessionTable) -> SessionTable:
    """Count the rows, their users, and the rows without a user or connection."""
    can = f"CASE WHEN {can_log_in(connection)} THEN 1 ELSE 0 END"
    users_table = f"(SELECT id, username, {can} AS counts FROM users)"
    rows, users, orphans = _grouped(engine, connection, table, "user_id", users_table)
    lost_platforms = 0
    if table.active_platform_column is not None:
        others = "(SELECT id, 1 AS counts FROM platform_connections)"
        column = table.active_platform_column
        lost_platforms = _grouped(engine, connection, table, column, others)[2]
    quoted = connection.dialect.identifier_preparer.quote_identifier(table.name)
    some = connection.scalars(
        text(
            f"SELECT DISTINCT u.username FROM (SELECT user_id FROM {quoted} LIMIT {_ROWS_ASKED})"
            f" AS s JOIN {users_table} AS u ON {engine.key('u.id')} = {engine.key('s.user_id')}"
            f" WHERE u.counts = 1 ORDER BY u.username LIMIT {_NAMES_SHOWN}"
        )
    )
    return dataclasses.replace(
        table,
        rows=rows,
        users=users,
        some_users=tuple(str(name) for name in some),
        rows_without_user=orphans,
        rows_without_platform=lost_platforms,
    )


def _grouped(
    engine: Engine, connection: Connection, table: SessionTable, column: str, others: str
) -> tuple[int, int, int]:
    """Count all rows, the ids that they name, and the rows whose id is missing in `others`.

    `others` has columns `id` and `counts`: 1 for ids that are counted, otherwise 0.
    """
    quote = connection.dialect.identifier_preparer.quote_identifier
    row = connection.execute(
        text(
            "SELECT coalesce(sum(s.number), 0), coalesce(sum(o.counts), 0), coalesce(sum("
            " CASE WHEN o.id IS NULL AND s.id IS NOT NULL THEN s.number ELSE 0 END), 0)"
            f" FROM (SELECT {quote(column)} AS id, count(*) AS number FROM {quote(table.name)}"
            f" GROUP BY 1) AS s LEFT JOIN {others} AS o"
            f" ON {engine.key('o.id')} = {engine.key('s.id')}"
        )
    ).one()
    return int(row[0]), int(row[1]), int(row[2])
