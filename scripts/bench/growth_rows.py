"""The rows of scripts/bench/growth.py: what is measured, and how its database is filled.

Each function fills the database up to a size and returns the measured values by name and unit.
"""

import asyncio
import gc
import os
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from callers import caller_of
from cryptography.fernet import Fernet
from sqlalchemy import URL, text

from quart_app.composition import Built, build_services
from quart_app.services.administration.audit_reader import AuditFilter
from quart_app.services.sessions.events import Event, Events, Kind, Stream
from quart_app.session.follower import RevocationFollower
from quart_app.session.revocations import RevocationList, RevocationRow
from quart_app.settings import Settings
from quart_app.storage.changes import ChangeFeed
from quart_app.storage.database import Database
from quart_app.storage.revocations import DatabaseRevocationStore
from quart_app.storage.users import user_by_login_name

SIZES: Final = {
    "revocations": [10_000, 100_000, 1_000_000],
    "users": [1000, 10_000, 100_000, 1_000_000],
    "audit": [10_000, 100_000, 1_000_000, 10_000_000],
    "accounts": [10, 100, 1000],
    "streams": [100, 1000, 10_000],
}
_REPEAT: Final = 21
_VERDICTS: Final = 100_000
_MEGABYTE: Final = 1e6
# The numbers n after :done up to :size, by recursion on SQLite and by a function on PostgreSQL.
_NUMBERS: Final = {
    "sqlite": (
        "WITH RECURSIVE numbers (n) AS"
        " (SELECT :done + 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :size)"
    ),
    "postgresql": (
        "WITH numbers AS"
        " (SELECT generate_series(CAST(:done AS integer) + 1, CAST(:size AS integer)) AS n)"
    ),
}
_TIMES: Final = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', '2000-01-01', '+' || (n * 60) || ' seconds')",
    "postgresql": "timestamp '2000-01-01' + n * interval '1 minute'",
}
_FUTURE: Final = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', 'now', '+1 day')",
    "postgresql": "localtimestamp + interval '1 day'",
}
_USER_COLUMNS: Final = (
    "users (id, username, email, username_key, email_key, password_hash, role, is_active,"
    " must_change_password)"
)


async def revocations(url: URL, size: int) -> dict[str, float]:
    """Load a revocation list. One in ten ends all sessions of a user."""
    await _fill(
        url,
        size,
        "revocations (sid, user_id, epoch, expires_at, reason, created_at)"
        " SELECT CASE WHEN n % 10 > 0 THEN 'sid-' || n END, CASE WHEN n % 10 = 0 THEN n END,"
        " CASE WHEN n % 10 = 0 THEN 1 END, {future}, 'logged_out', {at} FROM numbers",
    )
    store = DatabaseRevocationStore(Database(url))
    rows = RevocationList(refuse_after=timedelta(days=1))
    before, began = _resident_bytes(), time.perf_counter()
    await RevocationFollower(rows, store).catch_up()
    took = time.perf_counter() - began
    resident = _resident_bytes() - before
    await store.close()
    created_at = caller_of(1).login.created_at
    began = time.perf_counter()
    for number in range(_VERDICTS):
        rows.is_alive("another", number, 0, created_at)
    verdict = (time.perf_counter() - began) / _VERDICTS
    return {
        "time to load, s": took,
        "memory, MB": resident / _MEGABYTE,
        "a verdict, µs": verdict * 1e6,
    }


async def users(url: URL, size: int) -> dict[str, float]:
    """Find the user of a login."""
    await _fill_users(url, size)
    database = Database(url)
    name = f"user{size // 2}"

    async def find(login_name: str) -> None:
        async with database.read() as db:
            user = await user_by_login_name(db, login_name)
        if user is None or user.username != name:
            raise LookupError(f"{login_name} found {user and user.username}")

    typed = {
        "by name": name,
        "by name in capitals": name.upper(),
        "by e-mail": f"{name}@example.com",
        "by e-mail in capitals": f"{name}@EXAMPLE.com".upper(),
    }
    values = {
        f"{how}, ms": await _milliseconds(partial(find, login_name))
        for how, login_name in typed.items()
    }
    await database.close()
    return values


async def audit(url: URL, size: int) -> dict[str, float]:
    """Read pages of the audit log, with one entry a minute. One in a thousand is rare."""
    await _fill_users(url, 1000)
    await _fill(
        url,
        size,
        "audit (at, event, user_id, actor_user_id, address, request_id, count, keep_until)"
        " SELECT {at}, CASE WHEN n % 1000 = 0 THEN 'password_reset' ELSE 'login' END,"
        " n % 1000 + 1, n % 1000 + 1, '10.0.0.' || (n % 250), '0123456789abcdef01234567', 1,"
        " {at} FROM numbers",
    )
    built = _built(url)
    page = partial(built.services.audit_reader.page, caller_of(1))
    values = {
        "newest page, ms": await _milliseconds(partial(page, AuditFilter())),
        "of a rare event, ms": await _milliseconds(
            partial(page, AuditFilter(event="password_reset"))
        ),
        "of a user, ms": await _milliseconds(partial(page, AuditFilter(username="user7"))),
        "from the middle on, ms": await _milliseconds(
            partial(page, AuditFilter(), before=size // 2)
        ),
    }
    await built.close()
    return values


async def accounts(url: URL, size: int) -> dict[str, float]:
    """List one user's platform connections, a page at a time."""
    await _fill_users(url, 10)
    await _fill(
        url,
        size,
        "platform_connections (id, user_id, name, platform_type, instance_url, username,"
        " access_token, is_active) SELECT n, 1, 'Account ' || n, 'mastodon',"
        " 'https://mastodon.example', 'user' || n, 'sealed', true FROM numbers",
    )
    built = _built(url)
    platforms, caller = built.services.platforms, caller_of(1)
    values = {
        "first page, ms": await _milliseconds(partial(platforms.list_of, caller)),
        "found by typing, ms": await _milliseconds(
            partial(platforms.list_of, caller, sought=f"user{size}")
        ),
        "the one to begin with, ms": await _milliseconds(partial(platforms.fallback, caller)),
    }
    await built.close()
    return values


async def streams(url: URL, size: int) -> dict[str, float]:
    """Open event streams in one process, each of its own session, and end all sessions at once."""
    database, revoked = Database(url), RevocationList(refuse_after=timedelta(days=1))
    revoked.confirm(revoked.read_clocks())
    events = Events(ChangeFeed(database), revoked, partial(datetime.now, UTC))
    gc.collect()
    before = _resident_bytes()
    callers = (caller_of(number, sid=f"sid-{number}") for number in range(1, size + 1))
    readers = [asyncio.create_task(_last_of(events, Stream.of(each))) for each in callers]
    await asyncio.sleep(0)  # each of them waits for its first event now
    if len(events) != size:
        raise RuntimeError(f"{len(events)} streams are open instead of {size}")
    memory = _resident_bytes() - before
    began = time.perf_counter()
    expires_at = datetime.now(UTC) + timedelta(days=1)
    everybody = RevocationRow(1, None, None, None, datetime.now(UTC), expires_at)
    revoked.apply([everybody])
    ended = await asyncio.gather(*readers)
    took = time.perf_counter() - began
    if not all(each.kind is Kind.ENDED for each in ended):
        raise RuntimeError("a stream was not told that its session has ended")
    await database.close()
    return {"memory, MB": memory / _MEGABYTE, "to end all, ms": took * 1e3}


async def _last_of(events: Events, stream: Stream) -> Event:
    last = Event(None)
    async for each in events.subscribe(stream):
        last = each
    return last


async def _fill_users(url: URL, size: int) -> None:
    keys = "'user' || n, 'user' || n || '@example.com'"
    await _fill(
        url,
        size,
        f"{_USER_COLUMNS} SELECT n, {keys}, {keys},"  # noqa: S608 constants
        " 'none', 'ADMIN', true, false FROM numbers",
    )


async def _fill(url: URL, size: int, rows: str) -> None:
    """Insert the rows up to `size` that are not there yet; `rows` begins with the table's name."""
    database, engine = Database(url), url.get_backend_name()
    table = rows.partition(" ")[0]
    insert = rows.format(at=_TIMES[engine], future=_FUTURE[engine])
    into, _, query = insert.partition(" SELECT ")
    statement = {
        "sqlite": f"INSERT INTO {into} {_NUMBERS['sqlite']} SELECT {query}",
        "postgresql": f"{_NUMBERS['postgresql']} INSERT INTO {into} SELECT {query}",
    }[engine]
    async with database.begin() as db:
        done = await db.scalar(text(f"SELECT count(*) FROM {table}"))  # noqa: S608 a constant
        if engine == "postgresql":  # otherwise the server cancels our statements after 15 s
            await db.execute(text("SET LOCAL statement_timeout = 0"))
        await db.execute(text(statement), {"done": done, "size": size})
    async with database.begin() as db:
        await db.execute(text("ANALYZE"))
    await database.close()


def _built(url: URL) -> Built:
    return build_services(
        Settings(
            secret_key=secrets.token_hex(),
            platform_encryption_keys=(Fernet.generate_key().decode(),),
            database_url=url,
            audit_retention=timedelta(days=36_500),
        )
    )


async def _milliseconds(ask: Callable[[], Awaitable[Any]]) -> float:
    """Return the median time of a call, after a first one that fills the caches."""
    await ask()
    times = []
    for _ in range(_REPEAT):
        began = time.perf_counter()
        await ask()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e3


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


MEASURES: Final = {
    measure.__name__: measure for measure in (revocations, users, audit, accounts, streams)
}
