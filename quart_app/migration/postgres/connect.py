"""Connections to PostgreSQL: one that only reads, and the one that changes."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from sqlalchemy import URL, Connection, create_engine
from sqlalchemy.pool import NullPool

from quart_app.migration.facts import SESSIONS
from quart_app.migration.interruption import Interruption
from quart_app.storage.database import options_unless_in
from quart_app.storage.sqlite import BUSY_TIMEOUT_SECONDS

APPLICATION_NAME = "quart_app migration"
# How two runs at once find each other before anything was changed, so that to begin again helps.
# https://www.postgresql.org/docs/18/errcodes-appendix.html: undefined_table, undefined_column,
# internal_error ("could not open relation", a moment earlier), deadlock_detected
STATES_OF_ANOTHER_RUN = {"42P01", "42703", "XX000", "40P01"}
_TURNS = 3
_OPTIONS = " ".join(
    [
        f"-c lock_timeout={BUSY_TIMEOUT_SECONDS}s",
        # What a database or a role sets for requests is too short for a table of millions.
        "-c statement_timeout=0",
        "-c idle_in_transaction_session_timeout=0",
        # Rows come in the order in which they stand, each time the same.
        "-c synchronize_seqscans=off",
        "-c max_parallel_workers_per_gather=0",
        # Values are written as they are read, whatever the database's own habits.
        "-c datestyle=ISO,YMD",
        "-c intervalstyle=postgres",
        "-c extra_float_digits=1",
        "-c bytea_output=hex",
    ]
)


def raw(connection: Connection) -> psycopg.Connection:
    """Return the driver's own connection."""
    driver_connection = connection.connection.driver_connection
    assert isinstance(driver_connection, psycopg.Connection)  # noqa: S101 of our own engine
    return driver_connection


@contextmanager
def connected(url: URL, interruption: Interruption, *, read_only: bool) -> Iterator[Connection]:
    """Give a connection of which the transaction sees one state: that at its first query."""
    given = url.query.get("options", "")
    engine = create_engine(
        url,
        poolclass=NullPool,
        isolation_level="REPEATABLE READ",
        hide_parameters=True,
        connect_args={
            **options_unless_in(
                url,
                fallback_application_name=APPLICATION_NAME,
                connect_timeout=BUSY_TIMEOUT_SECONDS,
            ),
            "prepare_threshold": None,
            "options": f"{given if isinstance(given, str) else ' '.join(given)} {_OPTIONS}",
        },
    )
    try:
        with engine.connect() as connection:
            connection.execution_options(postgresql_readonly=read_only)
            with interruption.canceling(lambda: raw(connection).cancel_safe(timeout=1)):
                try:
                    yield connection
                except BaseException:
                    interruption.let_go()
                    raise
    finally:
        engine.dispose()


def lock(connection: Connection) -> None:
    """Take the tables that are changed, before the transaction's first query.

    What it sees is then what stood there when nobody else could write to them any more.
    """
    for turn in range(_TURNS):
        names = _lockable(raw(connection))
        if not names:
            return
        try:
            raw(connection).execute(
                sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(
                    sql.SQL(", ").join(sql.Identifier(schema, name) for schema, name in names)
                )
            )
        except psycopg.Error as error:  # another run was first, as a rule
            if error.sqlstate not in STATES_OF_ANOTHER_RUN or turn == _TURNS - 1:
                raise
            raw(connection).rollback()
        else:
            return


def _lockable(connection: psycopg.Connection) -> list[tuple[str, str]]:
    """Return schema and name of what is changed, in a transaction of its own."""
    connection.rollback()
    rows = connection.execute(
        "SELECT current_schema()::text, relname FROM pg_class"
        " WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')"
        " AND relname = ANY(%s) ORDER BY relname = %s DESC, relname",
        ([SESSIONS, "users", "platform_connections"], SESSIONS),
    ).fetchall()
    connection.rollback()
    return rows


@contextmanager
def nothing_in_search_path(connection: psycopg.Connection) -> Iterator[None]:
    """Let every name come with its schema, so that it means the same to whoever reads it later."""
    row = connection.execute("SELECT current_setting('search_path')").fetchone()
    connection.execute("SELECT set_config('search_path', '', true)")
    yield
    connection.execute("SELECT set_config('search_path', %s, true)", row)
