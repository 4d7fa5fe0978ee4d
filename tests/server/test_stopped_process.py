"""A process that was stopped for a while does not answer from its old revocation list."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import URL

from quart_app.settings import Settings, with_setting
from quart_app.storage.revocations import FOLLOWER
from tests.processes import (
    end_without_notification,
    log_in,
    log_out,
    psycopg_connection,
    seconds_until_refused,
    two_processes,
    wait_until_recovered,
)
from tests.servers import Server

pytestmark = pytest.mark.alone

BOUND_SECONDS = 2  # short, so that a process that cannot poll exceeds it soon


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return with_setting(settings, refuse_after=timedelta(seconds=BOUND_SECONDS))


def connected(server: Server) -> HTTPConnection:
    """Connect, so that requests can be sent before any response is read."""
    connection = HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    connection.connect()
    return connection


def send(connection: HTTPConnection, cookie: str) -> None:
    connection.request("GET", "/api/session_state", headers={"Cookie": f"session={cookie}"})


def status_on(connection: HTTPConnection) -> int:
    response = connection.getresponse()
    response.read()
    return response.status


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """Stop the process at any point of its work, until the block ends."""
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


def test_a_resumed_process_never_answers_from_its_old_revocation_list(
    settings: Settings,
    tmp_path: Path,
    thorough: bool,  # noqa: FBT001 a fixture
) -> None:
    with two_processes(settings, tmp_path) as processes:
        name, stopping = processes.new_user(), processes.b
        for _ in range(10 if thorough else 1):
            ended, alive = log_in(processes.a, name), log_in(stopping, name)
            with ExitStack() as stack:
                kept = [stack.enter_context(closing(connected(stopping))) for _ in range(10)]
                for connection in kept:
                    send(connection, ended)
                    assert status_on(connection) == 200
                with stopped(stopping):
                    log_out(processes.a, ended)
                    new = [stack.enter_context(closing(connected(stopping))) for _ in range(10)]
                    for connection in (*kept, *new):
                        send(connection, ended)
                    time.sleep(BOUND_SECONDS + 0.5)
                since = time.monotonic()
                # These requests waited, and are the very first that it answers.
                statuses = [status_on(connection) for connection in (*kept, *new)]
            assert set(statuses) <= {401, 503}
            while time.monotonic() - since < 1:
                assert stopping.status(ended) in {401, 503}
            wait_until_recovered(stopping, alive)
            assert stopping.status(ended) == 401


@contextmanager
def polls_under_way(url: URL) -> Iterator[None]:
    """Delay the response to both processes' polls until the block ends."""
    with psycopg_connection(url) as connection:
        connection.execute("LOCK TABLE revocations IN ACCESS EXCLUSIVE MODE")
        deadline = time.monotonic() + 2
        while polls_delayed(url) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield
        connection.rollback()


def polls_delayed(url: URL) -> int:
    with psycopg_connection(url.set(database="postgres")) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = %s AND application_name = %s AND wait_event_type = 'Lock'",
            [url.database, FOLLOWER],
        ).fetchone()
    assert row
    return int(row[0])


@pytest.mark.parametrize("engine_name", ["postgresql"])  # the engine whose polls can be delayed
def test_a_poll_read_before_the_pause_does_not_confirm_the_list_after_it(
    settings: Settings, tmp_path: Path
) -> None:
    with two_processes(settings, tmp_path) as processes, ExitStack() as stack:
        name, stopping = processes.new_user(), processes.b
        ended, alive = log_in(processes.a, name), log_in(stopping, name)
        with polls_under_way(settings.database_url):
            assert stopping.status(ended) == 200
            stack.enter_context(stopped(stopping))
        # The poll is answered, but its result, that the session is valid, is not read yet.
        time.sleep(0.5)
        end_without_notification(settings, ended)
        seconds_until_refused(processes.a, ended, since=time.monotonic())
        time.sleep(BOUND_SECONDS)
        stack.close()
        since = time.monotonic()
        while time.monotonic() - since < 1:
            assert stopping.status(ended) in {401, 503}
        wait_until_recovered(stopping, alive)
        assert stopping.status(ended) == 401
