"""Many users log in at the same moment at two processes: every login succeeds, once."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import URL, func, insert, select

from quart_app.model import Login, Role, User
from quart_app.services.identity.passwords import Passwords
from quart_app.settings import Settings
from quart_app.storage.database import Database
from tests.conftest import ENCRYPTION_KEY, PASSWORD, SECRET_KEY
from tests.processes import Processes, cookie_of, two_processes

# A slow machine may take this long: the test checks that no login is lost. A queue that does not
# advance would be found much earlier.
QUEUE = timedelta(minutes=4)
ADDRESSES = 20
# Memory for the hashes, 19 MiB for each thread, and for a thousand connections.
_HASH_BYTES = 19456 * 1024
_CONNECTION_BYTES = 150_000


@pytest.fixture
def count(*, thorough: bool) -> int:
    """The number of users who log in."""
    return 1000 if thorough else 40


@pytest.fixture
def names(count: int) -> list[str]:
    return [f"user{number}" for number in range(count)]


@pytest.fixture
def both(database_url: URL, tmp_path: Path, names: Sequence[str]) -> Iterator[Processes]:
    """Two processes behind a proxy that reports the addresses, and users with the same hash."""
    asyncio.run(_fill(database_url, names))
    settings = Settings(
        secret_key=SECRET_KEY,
        platform_encryption_keys=(ENCRYPTION_KEY,),
        database_url=database_url,
        login_queue=QUEUE,
        trusted_proxies=1,
    )
    with two_processes(settings, tmp_path) as both:
        yield both


async def _fill(url: URL, names: Sequence[str]) -> None:
    passwords, database = Passwords(), Database(url)
    made = await passwords.hash(PASSWORD)
    passwords.close()
    rows = [
        {
            "username": name,
            "email": f"{name}@example.com",
            "password_hash": made,
            "role": Role.VIEWER,
            "active_flag": True,
        }
        for name in names
    ]
    async with database.begin() as db:
        await db.execute(insert(User), rows)
    await database.close()


async def _logins_in(url: URL) -> tuple[int, int]:
    """Return the number of login records in the database, and of users with one."""
    database = Database(url)
    async with database.read() as db:
        row = (await db.execute(select(func.count(), func.count(Login.user_id.distinct())))).one()
    await database.close()
    return row[0], row[1]


async def _all_at_once(
    both: Processes, names: Sequence[str], addresses: int
) -> list[tuple[httpx2.Response, str | None]]:
    """Log all of them in, half at either process; return the responses and their cookies."""
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(limits=limits, timeout=QUEUE.total_seconds()) as client:

        async def log_in(number: int, name: str) -> httpx2.Response:
            server = both.a if number % 2 else both.b
            return await client.post(
                f"{server.url}/api/login",
                json={"username": name, "password": PASSWORD},
                headers={"X-Forwarded-For": f"198.51.100.{number % addresses + 1}"},
            )

        answers = await asyncio.gather(*map(log_in, range(len(names)), names))
    return [(answer, cookie_of(answer)) for answer in answers]


def _peak_bytes(process_id: int) -> int:
    """Return a process's largest resident memory, as Linux counts it."""
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError


@pytest.mark.sqlite_unless_thorough
@pytest.mark.timeout(600)
@pytest.mark.parametrize("addresses", [ADDRESSES, 1], ids=["of many addresses", "of one address"])
async def test_every_user_of_a_login_storm_gets_in(
    both: Processes,
    names: Sequence[str],
    addresses: int,
    measured: Callable[[str], None],
) -> None:
    before = [_peak_bytes(server.process.pid) for server in both]
    answered = await _all_at_once(both, names, addresses)
    grown = [
        _peak_bytes(server.process.pid) - was for server, was in zip(both, before, strict=True)
    ]

    logs = [server.log.read_text() for server in both]
    assert Counter(answer.status_code for answer, _ in answered) == {200: len(names)}, [
        answer.text for answer, _ in answered if answer.status_code != 200
    ][:3]
    assert not any("is locked" in log or "Traceback" in log for log in logs)
    assert await _logins_in(both.settings.database_url) == (len(names), len(names))
    cookies = [cookie for _, cookie in answered if cookie]
    assert len(set(cookies)) == len(names)
    # Each on the process where it did not log in, which knows it as well.
    for number, cookie in enumerate(cookies):
        assert (both.b if number % 2 else both.a).status(cookie) == 200
    threads = Passwords().threads
    assert max(grown) <= threads * _HASH_BYTES + len(names) * _CONNECTION_BYTES
    measured(
        f"{len(names)} logins at once on {both.settings.database_url.get_backend_name()}:"
        f" a process grew by {max(grown) / 1e6:.0f} MB"
    )
