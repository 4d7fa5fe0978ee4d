"""Wrong clocks during a purge: an ended session stays ended."""

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import URL, event, text

from quart_app.composition import Built
from quart_app.model import EndReason
from quart_app.services import Services
from quart_app.services.audit.audit import Audit
from quart_app.services.sessions.new_session import NewSession
from quart_app.session.claims import SessionRef
from quart_app.session.follower import RevocationFollower
from quart_app.session.purge_clock import PurgeClock, database_now
from quart_app.session.revocations import RevocationList
from quart_app.storage.clock import new_purge_clock
from quart_app.storage.database import Database
from quart_app.storage.revocations import DatabaseRevocationStore
from tests.callers import NOBODY
from tests.conftest import PASSWORD, Member

DAY = timedelta(days=1)
AHEAD = 400 * DAY


async def ended_session(services: Services, member: Member) -> NewSession:
    session = await services.accounts.log_in(NOBODY, login_name=member.username, password=PASSWORD)
    await services.sessions.end(NOBODY, SessionRef(sid=session.sid, expires_at=session.expires_at))
    return session


async def is_ended_for_a_new_process(url: URL, session: NewSession) -> bool:
    following = follower(Database(url), new_purge_clock())
    await following.catch_up()
    await following._store.close()
    return following.revocations.has_ended(session.sid)


def follower(database: Database, purge_clock: PurgeClock) -> RevocationFollower:
    return RevocationFollower(
        RevocationList(refuse_after=timedelta(seconds=10)),
        DatabaseRevocationStore(database, purge_clock),
    )


def set_clock_ahead(database: Database, engine_name: str) -> None:
    """Give this process a wrong database clock, with a function of that name."""

    def ahead(connection: Any, _: object) -> None:
        if engine_name == "sqlite":
            real = sqlite3.connect(":memory:", check_same_thread=False)

            def strftime(form: str, *modifiers: str) -> str:
                marks = ",".join("?" * (len(modifiers) + 2))
                days = f"+{AHEAD.days} days"
                row = real.execute(f"SELECT strftime({marks})", [form, *modifiers, days])
                return str(row.fetchone()[0])

            connection.create_function("strftime", -1, strftime)
            return
        cursor = connection.cursor()
        cursor.execute("SET search_path = wrong, pg_catalog, public")
        connection.commit()

    event.listen(database.engine.sync_engine, "connect", ahead)


@pytest.fixture
async def make_wrong(built: Built, engine_name: str) -> None:
    if engine_name == "postgresql":
        async with built.database.begin() as db:
            await db.execute(text("CREATE SCHEMA wrong"))
            await db.execute(
                text(
                    "CREATE FUNCTION wrong.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS"
                    f" 'SELECT pg_catalog.clock_timestamp() + interval ''{AHEAD.days} days'''"
                )
            )


def wall_ahead() -> datetime:
    return datetime.now(UTC) + AHEAD


@pytest.mark.usefixtures("make_wrong")
@pytest.mark.parametrize("wall", [wall_ahead, lambda: datetime.now(UTC)], ids=["ahead", "right"])
async def test_a_database_clock_that_runs_ahead_revives_no_session(
    services: Services,
    member: Member,
    settings: Any,
    engine_name: str,
    wall: Callable[[], datetime],
) -> None:
    session = await ended_session(services, member)
    database = Database(settings.database_url)
    set_clock_ahead(database, engine_name)
    async with database.read() as db:
        assert await database_now(db) > datetime.now(UTC) + AHEAD - DAY
    purging = follower(database, new_purge_clock(wall=wall))
    await purging.catch_up()
    await purging.purge()
    assert purging.revocations.has_ended(session.sid)
    await database.close()
    assert await is_ended_for_a_new_process(settings.database_url, session)


@pytest.mark.usefixtures("make_wrong")
async def test_a_login_while_the_clock_runs_ahead_does_not_confirm_the_clock(
    services: Services, member: Member, settings: Any, engine_name: str, clock: Any
) -> None:
    session = await ended_session(services, member)
    database = Database(settings.database_url)
    set_clock_ahead(database, engine_name)
    purging = follower(database, new_purge_clock(wall=wall_ahead))
    await purging.catch_up()
    clock.advance(AHEAD)
    await ended_session(services, member)
    await purging.purge()
    await database.close()
    assert await is_ended_for_a_new_process(settings.database_url, session)


@pytest.mark.usefixtures("make_wrong")
async def test_a_clock_that_runs_ahead_purges_no_audit_entries(
    services: Services, member: Member, built: Built, settings: Any, engine_name: str
) -> None:
    await ended_session(services, member)
    database = Database(settings.database_url)
    set_clock_ahead(database, engine_name)
    await Audit(database, services.audit.writer, new_purge_clock(wall=wall_ahead)).purge()
    await database.close()
    async with built.database.read() as db:
        assert await db.scalar(text("SELECT count(*) FROM audit WHERE event = 'logout'")) == 1


async def test_time_advances_with_the_monotonic_clock(
    services: Services, member: Member, built: Built
) -> None:
    await services.accounts.log_in(NOBODY, login_name=member.username, password=PASSWORD)
    boot = [0.0]
    purge_clock = new_purge_clock(wall=wall_ahead, boot=lambda: boot[0])
    async with built.database.read() as db:
        first = await purge_clock.now(db)
        assert abs(first - datetime.now(UTC)) < timedelta(minutes=1)
        # A machine whose clock was behind at first is not blocked permanently.
        boot[0] = timedelta(days=3).total_seconds()
        assert await purge_clock.now(db) - first < timedelta(minutes=1)


async def test_an_idle_database_is_purged_late_but_never_early(built: Built) -> None:
    """The first stored time is all that is known of the time before this process began."""
    boot = [0.0]
    purge_clock = new_purge_clock(boot=lambda: boot[0])
    long_ago = datetime.now(UTC) - 30 * DAY
    insert = "INSERT INTO revocations (sid, expires_at, reason, created_at) VALUES "
    async with built.database.begin() as db:
        await db.execute(text("DELETE FROM audit"))
        moment = f"'{long_ago.replace(tzinfo=None)}'"
        await db.execute(text(f"{insert} ('x', {moment}, '{EndReason.LOGGED_OUT}', {moment})"))
    async with built.database.read() as db:
        assert await purge_clock.now(db) == long_ago + DAY
        boot[0] = DAY.total_seconds()
        assert await purge_clock.now(db) == long_ago + 2 * DAY
