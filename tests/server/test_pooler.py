"""Two processes behind PgBouncer, which pools transactions and refuses startup options."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import URL

from quart_app.settings import with_setting
from quart_app.storage.database import Database
from quart_app.storage.revocations import DatabaseRevocationStore
from tests.conftest import migrated_database, settings_for
from tests.listening import free_port
from tests.poolers import pgbouncer
from tests.processes import (
    Processes,
    connect,
    log_in,
    log_out,
    psycopg_connection,
    revocation_of,
    seconds_until_refused,
    two_processes,
)
from tests.servers import hypercorn


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


def test_a_wrong_url_for_notifications_is_logged_and_costs_no_logout(
    pooled: tuple[Processes, URL], tmp_path: Path
) -> None:
    processes, url = pooled
    closed = url.set(host="127.0.0.1", port=free_port(), query={})
    settings = with_setting(processes.settings, database_listen_url=closed)
    with hypercorn(settings, tmp_path) as server:
        cookie = log_in(processes.a, processes.new_user())
        assert server.status(cookie) == 200
        log_out(processes.a, cookie)
        seconds_until_refused(server, cookie, since=time.monotonic())
    assert "can't be received, so they are read every 0.5 s: OperationalError" in (
        server.log.read_text()
    )


@pytest.mark.parametrize("is_direct", [True, False], ids=["direct", "pooled"])
async def test_notifications_come_by_the_direct_connection_only(
    pooled: tuple[Processes, URL], *, is_direct: bool
) -> None:
    processes, url = pooled
    name = await asyncio.to_thread(processes.new_user)
    cookie = await asyncio.to_thread(log_in, processes.a, name)
    pooler_url = processes.settings.database_url
    store = DatabaseRevocationStore(
        Database(pooler_url), listen_database=Database(url) if is_direct else None
    )
    notified = asyncio.Event()
    listening = asyncio.create_task(store.listen(notified.set))
    with suppress(TimeoutError):
        async with asyncio.timeout(10 if is_direct else 2):
            while not notified.is_set():  # until it listens
                await store.append([revocation_of(cookie)])
                await asyncio.sleep(0.1)
    assert notified.is_set() == is_direct
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await store.close()
