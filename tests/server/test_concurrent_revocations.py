"""Concurrent revocations: many at once, a late commit, and a client that disconnects."""

import asyncio
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle
from threading import Barrier, Event
from urllib.parse import urlsplit

import pytest

from quart_app.storage.database import Database
from quart_app.storage.revocations import add_revocations
from tests.processes import (
    Processes,
    database_locked,
    log_in,
    log_out,
    revocation_of,
    seconds_until_refused,
)
from tests.servers import Server

HELD_AT_MOST_SECONDS = 10


@contextmanager
def end_held_open(processes: Processes, cookie: str) -> Iterator[None]:
    """End the session in a transaction that commits only when the block ends."""
    is_written, may_commit = Event(), Event()

    async def end() -> None:
        database = Database(processes.settings.database_url)
        async with database.begin() as db:
            await add_revocations(db, [revocation_of(cookie)])
            is_written.set()
            await asyncio.to_thread(may_commit.wait, HELD_AT_MOST_SECONDS)
        await database.close()

    with ThreadPoolExecutor(1) as thread:
        ending = thread.submit(asyncio.run, end())
        assert is_written.wait(HELD_AT_MOST_SECONDS)
        try:
            yield
        finally:
            may_commit.set()
            ending.result()


def test_a_revocation_that_commits_late_is_not_skipped(processes: Processes, name: str) -> None:
    first, second = log_in(processes.a, name), log_in(processes.a, name)
    with ThreadPoolExecutor(1) as thread:
        with end_held_open(processes, first):
            answer = thread.submit(processes.a.ask, "POST", "/api/logout", second)
            time.sleep(1)  # two polls; the caller waits, and the session is not yet ended
            assert not answer.done()  # it waits for the lock, and has announced nothing
            assert [processes.b.status(cookie) for cookie in (first, second)] == [200, 200]
            since = time.monotonic()
        status = answer.result().status_code
    assert status == 204
    for server in processes:
        for cookie in (first, second):
            seconds_until_refused(server, cookie, since=since)


def test_concurrent_revocations_are_all_kept(
    processes: Processes,
    thorough: bool,  # noqa: FBT001 a fixture
) -> None:
    count = 100 if thorough else 20
    names = [processes.new_user() for _ in range(5)]
    cookies = [log_in(processes.a, name) for _, name in zip(range(count), cycle(names))]
    bystander = log_in(processes.a, names[0])
    at_once = Barrier(count)

    def end(server: Server, cookie: str) -> None:
        at_once.wait(HELD_AT_MOST_SECONDS)
        log_out(server, cookie)

    with ThreadPoolExecutor(count) as threads:
        ends = [
            threads.submit(end, server, cookie) for server, cookie in zip(cycle(processes), cookies)
        ]
        for each in ends:
            each.result()
    since = time.monotonic()
    for server in processes:
        for cookie in cookies:
            seconds_until_refused(server, cookie, since=since)
        assert server.status(bystander) == 200


def send_and_disconnect(server: Server, cookie: str, *, after_seconds: float) -> None:
    """Send a logout and close the connection without waiting for the response."""
    address = urlsplit(server.url)
    assert address.hostname
    assert address.port
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(
            b"POST /api/logout HTTP/1.1\r\n"
            + f"Host: {address.netloc}\r\nCookie: session={cookie}\r\n".encode()
            + b"Content-Length: 0\r\n\r\n"
        )
        time.sleep(after_seconds)


@pytest.mark.parametrize("after_seconds", [0.0, 0.3])
def test_a_client_that_disconnects_during_a_logout_is_logged_out(
    processes: Processes, name: str, after_seconds: float
) -> None:
    cookies = [log_in(processes.a, name) for _ in range(3)]
    with database_locked(processes.settings.database_url):
        for cookie in cookies:
            send_and_disconnect(processes.a, cookie, after_seconds=after_seconds)
        time.sleep(0.5)
        for server in processes:
            assert [server.status(cookie) for cookie in cookies] == [200] * 3  # during the logout
        since = time.monotonic()
    for server in processes:
        for cookie in cookies:
            seconds_until_refused(server, cookie, since=since)
