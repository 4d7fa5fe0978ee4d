"""Without its database a process answers no session from memory, and recovers by itself."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import URL, text

from quart_app.settings import Settings
from quart_app.storage.database import Database
from quart_app.storage.schema import upgrade_schema
from tests.conftest import (
    ENCRYPTION_KEY,
    PASSWORD,
    SECRET_KEY,
    migrated_database,
    postgres_server,
    url_of,
)
from tests.processes import (
    RECOVERED_WITHIN_SECONDS,
    database_unreachable,
    log_in,
    log_out,
    new_user,
    seconds_until_refused,
    two_processes,
    wait_until_recovered,
)
from tests.servers import Server, hypercorn

pytestmark = pytest.mark.alone

BOUND_SECONDS = 2  # short, so that a process that cannot poll exceeds it soon


def settings_for(url: URL) -> Settings:
    return Settings(
        secret_key=SECRET_KEY,
        platform_encryption_keys=(ENCRYPTION_KEY,),
        database_url=url,
        refuse_after=timedelta(seconds=BOUND_SECONDS),
    )


class Outage(NamedTuple):
    """A database of the test's own, and a context manager that makes it unreachable."""

    url: URL
    away: Callable[[], AbstractContextManager[None]]


@contextmanager
def server_stopped(server: Any) -> Iterator[None]:
    """Stop a PostgreSQL server, and start it again."""
    server.stop()
    try:
        yield
    finally:
        server.ensure_postgres_running()


@pytest.fixture
def outage(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Outage]:
    if engine_name == "sqlite":
        with migrated_database(engine_name, request, tmp_path) as url:
            yield Outage(url, lambda: database_unreachable(url))
        return
    with postgres_server(request.config) as server:
        asyncio.run(upgrade_schema(url_of(server)))
        yield Outage(url_of(server), lambda: server_stopped(server))


def assert_sessions_are_refused(server: Server, cookie: str, name: str) -> None:
    """Check that every answer that needs the list is refused without changing the cookie."""
    body = {"username": name, "password": PASSWORD}
    for response in (
        server.ask("GET", "/api/session_state", cookie),
        server.ask("GET", "/api/platforms", cookie),
        server.ask("GET", "/", cookie),
        server.ask("GET", "/login", cookie),
        server.ask("POST", "/api/logout", cookie),
        server.ask("POST", "/logout", cookie),
        server.ask("POST", "/api/login", json=body),
        server.ask("POST", "/login", data=body),
    ):
        assert response.status_code == 503, response.request.url
        assert int(response.headers["Retry-After"]) > 0
        assert "Set-Cookie" not in response.headers
    assert server.ask("GET", "/api/session_state", cookie).json()["code"] == "unavailable"
    assert server.ask("GET", "/api/session_state").status_code == 401
    assert server.ask("GET", "/healthz").status_code == 200
    readiness = server.ask("GET", "/readyz")
    assert readiness.status_code == 503
    assert readiness.json()["reasons"]


def wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + RECOVERED_WITHIN_SECONDS
    while server.ask("GET", "/readyz").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_survives_a_database_that_goes_away_and_comes_back(
    outage: Outage, tmp_path: Path
) -> None:
    settings = settings_for(outage.url)
    with two_processes(settings, tmp_path) as processes:
        name = processes.new_user()
        alive, ended = log_in(processes.a, name), log_in(processes.b, name)
        since = time.monotonic()
        log_out(processes.a, ended)
        seconds_until_refused(processes.b, ended, since=since)
        with outage.away():
            time.sleep(BOUND_SECONDS + 0.5)
            for server in processes:
                assert_sessions_are_refused(server, alive, name)
                assert server.status(ended) == 401  # this end is already known
        for server in processes:
            wait_until_recovered(server, alive)
            wait_until_ready(server)
            assert server.status(ended) == 401
        for server in processes:
            cookie = log_in(server, name)
            assert [each.status(cookie) for each in processes] == [200, 200]
            since = time.monotonic()
            log_out(server, cookie)
            for each in processes:
                seconds_until_refused(each, cookie, since=since)


@pytest.mark.sqlite_unless_thorough
def test_a_process_started_without_its_database_becomes_ready_when_it_appears(
    database_url: URL, tmp_path: Path
) -> None:
    settings = settings_for(database_url)
    name = new_user(settings)
    with hypercorn(settings, tmp_path) as earlier:
        alive, ended = log_in(earlier, name), log_in(earlier, name)
        log_out(earlier, ended)
    with ExitStack() as outage:
        outage.enter_context(database_unreachable(database_url))
        with hypercorn(settings, tmp_path) as server:  # which waits until the server is alive
            for cookie in (alive, ended):
                assert_sessions_are_refused(server, cookie, name)
            outage.close()
            wait_until_recovered(server, alive)
            wait_until_ready(server)
            assert server.status(ended) == 401
            assert server.status(log_in(server, name)) == 200


@contextmanager
def revocations_unreadable(url: URL) -> Iterator[None]:
    """Make only the table of revocations unreadable."""

    async def rename(old: str, new: str) -> None:
        database = Database(url)
        async with database.begin() as db:
            await db.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))
        await database.close()

    asyncio.run(rename("revocations", "revocations_away"))
    yield
    asyncio.run(rename("revocations_away", "revocations"))


@pytest.mark.sqlite_unless_thorough
def test_logins_are_refused_while_only_the_revocation_list_is_unreadable(
    database_url: URL, tmp_path: Path
) -> None:
    settings = settings_for(database_url)
    name = new_user(settings)
    with hypercorn(settings, tmp_path) as server:
        cookie = log_in(server, name)
        with revocations_unreadable(database_url):
            time.sleep(BOUND_SECONDS + 0.5)
            assert_sessions_are_refused(server, cookie, name)
        wait_until_recovered(server, cookie)
        wait_until_ready(server)
        assert server.status(log_in(server, name)) == 200
