"""Connections to PostgreSQL: one only for reading, and one for changes."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import psycopg
from psycopg import sql
from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from quart_app.migration.facts import SESSIONS
from quart_app.migration.interruption import Interruption
from quart_app.migration.postgres.definition import identifier
from quart_app.storage import postgresql
from quart_app.storage.sqlite import BUSY_TIMEOUT_SECONDS

APPLICATION_NAME = "quart_app migration"
# Errors when two runs meet before either changed anything, so that beginning again helps.
# https://www.postgresql.org/docs/18/errcodes-appendix.html: undefined_table, undefined_column,
# internal_error ("could not open relation", a moment earlier), deadlock_detected
STATES_OF_ANOTHER_RUN = {"42P01", "42703", "XX000", "40P01"}
_TURNS = 3
_SETTINGS = {
    "lock_timeout": f"{BUSY_TIMEOUT_SECONDS}s",
    # The limit of a database or a role for requests is too short for a table of millions.
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    # An error, instead of rows that a policy hides from the owner.
    "row_security": "off",
    # Rows come in their physical order, the same each time.
    "synchronize_seqscans": "off",
    "max_parallel_workers_per_gather": "0",
    # Values are written as they are read, whatever the database's own settings.
    "datestyle": "ISO,YMD",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}

_SETTINGS_KEY = "settings"


def raw(connection: Connection) -> psycopg.Connection:
    """Return the driver's own connection."""
    driver_connection = connection.connection.driver_connection
    assert isinstance(driver_connection, psycopg.Connection)  # noqa: S101 of our own engine
    return driver_connection


@contextmanager
def connected(url: URL, interruption: Interruption, *, read_only: bool) -> Iterator[Connection]:
    """Give a connection whose transaction sees one state: that at its first query."""
    settings = postgresql.set_local(postgresql.settings_of(url, _SETTINGS))
    engine = create_engine(
        postgresql.without_options(url),
        poolclass=NullPool,
        isolation_level="REPEATABLE READ",
        hide_parameters=True,
        connect_args=postgresql.connect_args(
            url, name=APPLICATION_NAME, timeout_seconds=BUSY_TIMEOUT_SECONDS
        ),
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: psycopg.Connection, record: ConnectionPoolEntry) -> None:
        postgresql.prepare(connection)
        connection.commit()
        record.info[_SETTINGS_KEY] = settings

    try:
        with engine.connect() as connection:
            connection.execution_options(postgresql_readonly=read_only)
            begin(connection)
            with interruption.canceling(lambda: raw(connection).cancel_safe(timeout=1)):
                try:
                    yield connection
                except BaseException:
                    interruption.disarm()
                    raise
    finally:
        engine.dispose()


def lock(connection: Connection) -> None:
    """Lock the tables to change, before the transaction's first query.

    So the transaction sees a state that nobody else can change.
    """
    for turn in range(_TURNS):
        names = _lockable(connection)
        if not names:
            return
        try:
            raw(connection).execute(
                sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(
                    sql.SQL(", ").join(sql.Identifier(schema, name) for schema, name in names)
                )
            )
        except psycopg.Error as error:  # usually another run was first
            if error.sqlstate not in STATES_OF_ANOTHER_RUN or turn == _TURNS - 1:
                raise
        else:
            return


def _lockable(connection: Connection) -> list[tuple[str, str]]:
    """Return schema and name of the tables to change, in a transaction of its own."""
    begin(connection)
    rows = (
        raw(connection)
        .execute(
            "SELECT current_schema()::text, relname FROM pg_class"
            " WHERE relnamespace = quote_ident(current_schema())::regnamespace"
            " AND relkind IN ('r', 'p') AND relname = ANY(%s) ORDER BY relname = %s DESC, relname",
            ([SESSIONS, "users", "platform_connections"], SESSIONS),
        )
        .fetchall()
    )
    begin(connection)
    return rows


def begin(connection: Connection) -> None:
    """Begin a new transaction with its settings, which take no snapshot.

    Each transaction sets them, because a pooler may give it another connection to the server.
    """
    driver = raw(connection)
    driver.rollback()
    driver.execute(str(connection.info[_SETTINGS_KEY]).encode())


@contextmanager
def search_path(connection: psycopg.Connection, schemas: Sequence[str]) -> Iterator[None]:
    """Look names up in these schemas, in this order, until the block ends."""
    row = connection.execute("SELECT current_setting('search_path')").fetchone()
    path = ", ".join(identifier(schema) for schema in schemas)
    connection.execute("SELECT set_config('search_path', %s, true)", [path])
    yield
    connection.execute("SELECT set_config('search_path', %s, true)", row)


def nothing_in_search_path(connection: psycopg.Connection) -> AbstractContextManager[None]:
    """Make PostgreSQL write every name with its schema, so that its meaning never changes."""
    return search_path(connection, [])
