"""A session check executes no query: statements are counted in the database."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest
from sqlalchemy import URL

from quart_app.session.follower import POLL_SECONDS
from quart_app.settings import Settings
from quart_app.storage.revocations import FOLLOWER
from tests.conftest import administer
from tests.event_streams import listening
from tests.processes import Processes, database_locked, log_in, new_user, psycopg_connection
from tests.servers import Server, hypercorns
from tests.tracing import TRACE_FILE

VALIDATED = [("GET", "/api/session_state"), ("POST", "/api/session/renew")]
POLL = re.compile("FROM (revocations|changes)")


class Carried(NamedTuple):
    """An executed statement and its connection."""

    connection: int
    statement: str


class Trace(Protocol):
    """The record of an engine's executed statements."""

    def length(self) -> int:
        """Return the current length of the record."""

    def since(self, length: int) -> list[Carried]:
        """Return the statements after this position."""

    def followers(self) -> set[int]:
        """Return the connections of the revocation follower."""


class SqliteTrace:
    """Written by the process, as SQLite reports it: see tests/tracing.py."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def length(self) -> int:
        return self.path.stat().st_size

    def since(self, length: int) -> list[Carried]:
        lines = self.path.read_bytes()[length:].decode().splitlines()
        parts = [line.split(" ", 1) for line in lines]
        return [Carried(int(number), statement) for number, statement in parts]

    def followers(self) -> set[int]:
        return {each.connection for each in self.since(0) if POLL.search(each.statement)}


class PostgresTrace:
    """Written by the server to its log, for this database only."""

    logged = re.compile(r"\[(\d+)\] LOG:  (?:statement|execute [^:]+): (.*(?:\n\t.*)*)")

    def __init__(self, url: URL) -> None:
        self.url = url
        administer(
            url.set(database="postgres"), f"ALTER DATABASE {url.database} SET log_statement = 'all'"
        )
        with psycopg_connection(url.set(database="postgres")) as connection:
            row = connection.execute("SHOW data_directory").fetchone()
        assert row
        self.path = Path(row[0], "log")

    def length(self) -> int:
        return self.path.stat().st_size

    def since(self, length: int) -> list[Carried]:
        text = self.path.read_bytes()[length:].decode()
        return [Carried(int(pid), statement) for pid, statement in self.logged.findall(text)]

    def followers(self) -> set[int]:
        with psycopg_connection(self.url.set(database="postgres")) as connection:
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name = %s",
                [self.url.database, FOLLOWER],
            ).fetchall()
        return {int(pid) for (pid,) in rows}


class Traced(NamedTuple):
    """A process whose statements are recorded."""

    server: Server
    trace: Trace


@pytest.fixture
def traced(settings: Settings, tmp_path: Path) -> Iterator[Traced]:
    trace: Trace
    environ = {}
    if settings.database_url.get_backend_name() == "postgresql":
        app, trace = "quart_app.app:create_app()", PostgresTrace(settings.database_url)
    else:
        path = tmp_path / "trace"
        app, trace, environ = (
            "tests.tracing:create_app()",
            SqliteTrace(path),
            {TRACE_FILE: str(path)},
        )
    with hypercorns(1, settings, tmp_path, app=app, environ=environ) as (server,):
        yield Traced(server, trace)


def test_session_checks_execute_no_sql_statement(
    traced: Traced,
    settings: Settings,
    thorough: bool,  # noqa: FBT001 a fixture
) -> None:
    server, trace = traced
    cookie = log_in(server, new_user(settings))
    before, began = trace.length(), time.monotonic()
    with ExitStack() as stack:
        for _ in range(5):  # and while streams are opened and open
            stack.enter_context(listening(server, cookie))
        for _ in range(500 if thorough else 50):
            for method, path in VALIDATED:
                assert server.ask(method, path, cookie).status_code == 200
    seconds, carried = time.monotonic() - began, trace.since(before)
    followers = trace.followers()
    assert followers
    assert [each for each in carried if each.connection not in followers] == []
    # The follower polls on a schedule, not because of requests or streams.
    for table in ("revocations", "changes"):
        polls = [each for each in carried if f"FROM {table}" in each.statement]
        assert len(polls) <= seconds / POLL_SECONDS + 2

    before = trace.length()
    assert server.ask("GET", "/api/platforms", cookie).status_code == 200
    carried = [each for each in trace.since(before) if each.connection not in followers]
    assert any("FROM platform_connections" in each.statement for each in carried)
    assert not any(POLL.search(each.statement) for each in carried)


def test_session_checks_are_answered_while_another_process_locks_the_database(
    processes: Processes, name: str
) -> None:
    cookie, other_device = log_in(processes.a, name), log_in(processes.a, name)
    with ThreadPoolExecutor(1) as thread:
        with database_locked(processes.settings.database_url):
            logout = thread.submit(processes.a.ask, "POST", "/api/logout", other_device)
            for _ in range(20):
                for server in processes:
                    for method, path in VALIDATED:
                        assert server.ask(method, path, cookie).status_code == 200
            assert not logout.done()  # the lock is held
        assert logout.result().status_code == 204
