"""Two processes behind PgBouncer, which pools transactions and refuses startup options."""

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import URL

from tests.conftest import migrated_database, settings_for
from tests.poolers import pgbouncer
from tests.processes import (
    Processes,
    connect,
    log_in,
    log_out,
    psycopg_connection,
    seconds_until_refused,
    two_processes,
)


@pytest.fixture(scope="module")
def pooled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Processes, URL]]:
    """Two processes that reach their database only through PgBouncer, and the server's own URL."""
    folder = tmp_path_factory.mktemp("pooled")
    with (
        migrated_database("postgresql", request, folder) as url,
        pgbouncer(request.config, url) as pooler_url,
        two_processes(settings_for(pooler_url), folder) as processes,
    ):
        yield processes, url


def test_a_logout_through_a_pooler_ends_the_session_everywhere_within_a_second(
    pooled: tuple[Processes, URL],
) -> None:
    processes, _ = pooled
    for _ in range(3):
        name = processes.new_user()
        cookie = log_in(processes.a, name)
        first, second = (connect(processes.a, cookie, each) for each in ("One", "Two"))
        assert first != second
        answer = processes.b.ask("POST", f"/api/platforms/{second}/switch", cookie)
        assert (answer.status_code, answer.json()["platform_connection_id"]) == (200, second)
        log_out(processes.a, cookie)
        since = time.monotonic()
        seconds_until_refused(processes.b, cookie, since=since)


def test_pooled_connections_keep_none_of_our_settings(pooled: tuple[Processes, URL]) -> None:
    processes, url = pooled
    log_in(processes.a, processes.new_user())
    with psycopg_connection(processes.settings.database_url) as connection:
        shown = [
            connection.execute(f"SHOW {name}".encode()).fetchone()
            for name in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
        ]
    assert shown == [("0",)] * 3
    assert url.database
