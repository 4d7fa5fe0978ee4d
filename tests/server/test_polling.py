"""A process learns of revocations without notifications, because it polls twice a second."""

import time

import pytest

from quart_app.storage.revocations import FOLLOWER
from tests.processes import (
    RECOVERED_WITHIN_SECONDS,
    Processes,
    end_without_notification,
    log_in,
    log_out,
    psycopg_connection,
    seconds_until_refused,
)

ON_POSTGRESQL = pytest.mark.parametrize("processes", ["postgresql"], indirect=True)


def test_polling_finds_a_revocation_without_a_notification(processes: Processes, name: str) -> None:
    cookie = log_in(processes.a, name)
    assert [server.status(cookie) for server in processes] == [200, 200]

    end_without_notification(processes.settings, cookie)
    since = time.monotonic()
    for server in processes:
        seconds_until_refused(server, cookie, since=since)


# The last statements of a connection that listens, and of its heartbeat.
LISTENING = "^(LISTEN |SELECT 1$)"


def followers(processes: Processes, last_query: str) -> list[int]:
    """Return the backends of following connections whose last statement matches a pattern."""
    url = processes.settings.database_url
    with psycopg_connection(url.set(database="postgres")) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = %s AND application_name = %s AND query ~ %s",
            [url.database, FOLLOWER, last_query],
        ).fetchall()
    return [int(pid) for (pid,) in rows]


def wait_until_both_listen(processes: Processes) -> None:
    deadline = time.monotonic() + RECOVERED_WITHIN_SECONDS
    while len(followers(processes, LISTENING)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@ON_POSTGRESQL
# The listening connection; all connections of the follower.
@pytest.mark.parametrize("killed", [LISTENING, ""])
def test_polling_finds_a_revocation_after_the_listening_connection_was_lost(
    processes: Processes,
    name: str,
    thorough: bool,  # noqa: FBT001 a fixture
    killed: str,
) -> None:
    for _ in range(20 if thorough else 2):
        wait_until_both_listen(processes)
        cookie = log_in(processes.a, name)
        assert processes.b.status(cookie) == 200
        with psycopg_connection(processes.settings.database_url) as connection:
            for pid in followers(processes, killed):
                connection.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        since = time.monotonic()
        log_out(processes.a, cookie)
        seconds_until_refused(processes.b, cookie, since=since)
    wait_until_both_listen(processes)
