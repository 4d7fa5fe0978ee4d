"""The revocation list: its verdict, order and age, and restored databases."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import URL, delete, event, func, select, text
from sqlalchemy.exc import OperationalError

from quart_app.composition import Built, build_services
from quart_app.errors import Unavailable
from quart_app.model import EndReason, Login, Revocation, User
from quart_app.services import Services
from quart_app.services.administration.user_ref import UserRef
from quart_app.services.sessions.new_session import NewSession
from quart_app.session.claims import SessionRef
from quart_app.session.follower import KEPT_AFTER_EXPIRY, RevocationFollower
from quart_app.session.purge_clock import database_now
from quart_app.session.revocations import NewRevocation, RevocationList, RevocationRow
from quart_app.settings import Settings
from quart_app.storage.database import Database
from quart_app.storage.revocations import DatabaseRevocationStore, add_revocations
from tests.callers import NOBODY, caller_of
from tests.conftest import PASSWORD, Clock, Member, follower_of

HOUR = timedelta(hours=1)
A_SID, B_SID, C_SID = ("A" * 21 + "w", "B" * 21 + "w", "C" * 21 + "w")
Follow = Callable[[], RevocationFollower]


@pytest.fixture
async def follow(database_url: URL) -> AsyncIterator[Follow]:
    """Another process's list of the same database."""
    stores: list[DatabaseRevocationStore] = []

    def follow() -> RevocationFollower:
        stores.append(DatabaseRevocationStore(Database(database_url)))
        return RevocationFollower(RevocationList(refuse_after=timedelta(seconds=10)), stores[-1])

    yield follow
    for store in stores:
        await store.close()


def ended(sid: str, clock: Clock, lasts: timedelta = HOUR) -> NewRevocation:
    return NewRevocation(
        sid=sid, expires_at=clock() + lasts, reason=EndReason.LOGGED_OUT, created_at=clock()
    )


async def end(built: Built, *revocations: NewRevocation) -> None:
    async with built.database.begin() as db:
        await add_revocations(db, revocations)


async def log_in(services: Services, member: Member) -> NewSession:
    return await services.accounts.log_in(NOBODY, login_name=member.username, password=PASSWORD)


def verdict(process: RevocationList | RevocationFollower, session: NewSession) -> bool | None:
    revocations = process if isinstance(process, RevocationList) else process.revocations
    return revocations.is_alive(session.sid, session.user_id, session.epoch, session.created_at)


# --- revocations reach other processes -----------------------------------------------------------


@pytest.mark.parametrize("cause", ["one", "all", "everybody"])
async def test_another_process_learns_of_every_kind_of_revocation(
    services: Services, member: Member, follow: Follow, cause: str
) -> None:
    session, other = await log_in(services, member), await log_in(services, member)
    following = follow()
    assert verdict(following, session) is None  # nothing is known before the first load
    await following.catch_up()
    assert verdict(following, session) is True
    if cause == "one":
        await services.sessions.end(
            NOBODY, SessionRef(sid=session.sid, expires_at=session.expires_at)
        )
    elif cause == "all":
        await services.sessions.end_all(caller_of(member.id), EndReason.LOGGED_OUT_EVERYWHERE)
    else:
        await services.session_administration.end_everybodys(NOBODY)
    assert verdict(services.revocations, session) is False  # in this process, before it returns
    assert verdict(following, session) is True
    await following.catch_up()
    assert verdict(following, session) is False
    assert verdict(following, other) is (cause == "one")
    # The clock does not advance: a login in that very moment is valid on every process.
    again = await log_in(services, member)
    assert verdict(following, again) is True
    assert verdict(services.revocations, again) is not False


async def test_a_list_longer_than_a_batch_is_read_to_its_end(
    built: Built, clock: Clock, follow: Follow
) -> None:
    sids = [f"{number:022}" for number in range(2500)]
    await end(built, *(ended(sid, clock) for sid in sids[:2000]))
    following = follow()
    await following.catch_up()
    assert len(following.revocations) == 2000
    await end(built, *(ended(sid, clock) for sid in sids[2000:]))
    await following.catch_up()
    assert all(following.revocations.has_ended(sid) for sid in sids)


async def test_concurrent_revocations_are_all_read(
    services: Services, built: Built, clock: Clock, follow: Follow
) -> None:
    following = follow()
    sids = [f"{number:022}" for number in range(40)]
    reading = True

    async def read_all_the_while() -> None:
        while reading:
            await following.catch_up()

    reader = asyncio.create_task(read_all_the_while())
    await asyncio.gather(
        *(
            services.sessions.end(NOBODY, SessionRef(sid=sid, expires_at=clock() + HOUR))
            for sid in sids
        )
    )
    reading = False
    await reader
    await following.catch_up()
    assert [sid for sid in sids if not following.revocations.has_ended(sid)] == []
    async with built.database.read() as db:
        assert await db.scalar(select(func.count()).select_from(Revocation)) == len(sids)


async def test_a_long_transaction_hides_no_revocation_that_commits_after_it(
    built: Built, clock: Clock, follow: Follow
) -> None:
    following, release, is_written = follow(), asyncio.Event(), asyncio.Event()

    async def end_slowly() -> None:
        async with built.database.begin() as db:
            await add_revocations(db, [ended(A_SID, clock)])
            is_written.set()
            await release.wait()

    slow = asyncio.create_task(end_slowly())
    await is_written.wait()
    quick = asyncio.create_task(end(built, ended(B_SID, clock)))
    done, _ = await asyncio.wait([quick], timeout=0.3)
    await following.catch_up()
    # If the second had been read first, the first would be skipped: its number is lower.
    assert not done
    assert not following.revocations.has_ended(B_SID)
    release.set()
    await asyncio.gather(slow, quick)
    await following.catch_up()
    assert following.revocations.has_ended(A_SID)
    assert following.revocations.has_ended(B_SID)


async def test_a_revocation_that_cannot_be_committed_ends_nothing(
    services: Services, member: Member, built: Built
) -> None:
    session = await log_in(services, member)
    async with built.database.begin() as db:
        await db.execute(text("ALTER TABLE revocations RENAME TO moved"))
    with pytest.raises(Unavailable):
        await services.sessions.end(
            NOBODY, SessionRef(sid=session.sid, expires_at=session.expires_at)
        )
    with pytest.raises(Unavailable):
        await services.sessions.end_all(caller_of(member.id), EndReason.LOGGED_OUT_EVERYWHERE)
    assert verdict(services.revocations, session) is not False
    async with built.database.begin() as db:
        await db.execute(text("ALTER TABLE moved RENAME TO revocations"))
        assert await db.scalar(select(User.session_epoch)) == 0
        assert await db.scalar(select(Login.ended_at)) is None


async def test_a_client_that_disconnects_during_a_logout_is_logged_out(
    services: Services, member: Member, built: Built, clock: Clock
) -> None:
    session = await log_in(services, member)
    is_held, release = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with built.database.begin() as db:
            await add_revocations(db, [ended(A_SID, clock)])
            is_held.set()
            await release.wait()

    holding = asyncio.create_task(hold())
    await is_held.wait()
    logout = asyncio.create_task(
        services.sessions.end(NOBODY, SessionRef(sid=session.sid, expires_at=session.expires_at))
    )
    await asyncio.sleep(0.1)
    logout.cancel()  # like Quart does
    with suppress(asyncio.CancelledError):
        await logout
    release.set()
    await holding
    for _ in range(100):
        if services.revocations.has_ended(session.sid):
            break
        await asyncio.sleep(0.02)
    assert services.revocations.has_ended(session.sid)


# --- age of the list -----------------------------------------------------------------------------


async def test_a_stale_list_gives_a_verdict_only_on_ended_sessions(
    built: Built, clock: Clock
) -> None:
    clocks = [100.0, 5000.0]
    revocations = RevocationList(
        refuse_after=timedelta(seconds=10), read_clocks=lambda: (clocks[0], clocks[1])
    )
    following = RevocationFollower(revocations, built.revocation_store)
    await end(built, ended(A_SID, clock))
    await following.catch_up()

    def alive(sid: str) -> bool | None:
        return revocations.is_alive(sid, 1, 0, clock())

    assert (alive(A_SID), alive(B_SID)) == (False, True)
    clocks[0] += 9.9
    assert (alive(A_SID), alive(B_SID)) == (False, True)
    clocks[0] += 0.1  # the machine was suspended
    assert (alive(A_SID), alive(B_SID)) == (False, None)
    await following.catch_up()
    assert alive(B_SID) is True
    clocks[1] += 10  # a virtual machine was paused: only the wall clock was corrected
    assert alive(B_SID) is None
    clocks[1] -= 3600  # a clock that is set back makes the list neither older nor younger
    assert alive(B_SID) is True
    clocks[0] += 10
    assert alive(B_SID) is None


async def test_the_list_is_as_old_as_the_moment_before_it_was_read(built: Built) -> None:
    readings = iter([(0.0, 0.0), (7.0, 7.0)])
    revocations = RevocationList(
        refuse_after=timedelta(seconds=10), read_clocks=lambda: next(readings)
    )
    await RevocationFollower(revocations, built.revocation_store).catch_up()
    assert revocations.age_seconds() == 7.0


async def test_the_follower_continues_after_a_failure(
    built: Built, follow: Follow, clock: Clock
) -> None:
    async with built.database.begin() as db:
        await db.execute(text("ALTER TABLE revocations RENAME TO moved"))
    following = follow()
    async with following.running():
        assert not following.revocations.is_fresh()
        async with built.database.begin() as db:
            await db.execute(text("ALTER TABLE moved RENAME TO revocations"))
        await end(built, ended(A_SID, clock))
        for _ in range(150):
            if following.revocations.has_ended(
                A_SID
            ):  # its poll may be from before that revocation
                break
            await asyncio.sleep(0.02)
        assert following.revocations.is_fresh()
        assert following.revocations.has_ended(A_SID)


# --- restored databases, purges ------------------------------------------------------------------


async def test_a_restored_database_is_read_again_and_nothing_is_forgotten(
    built: Built, clock: Clock, follow: Follow
) -> None:
    following = follow()
    await end(built, ended(A_SID, clock), ended(B_SID, clock))
    await following.catch_up()
    async with built.database.begin() as db:  # restored from before both
        await db.execute(delete(Revocation))
        if db.get_bind().dialect.name == "postgresql":
            await db.execute(text("ALTER SEQUENCE revocations_seq_seq RESTART"))
    await end(built, ended(C_SID, clock))  # with a number that was used before
    await following.catch_up()
    assert all(following.revocations.has_ended(sid) for sid in (A_SID, B_SID, C_SID))


async def test_epochs_after_a_restore_are_the_maximum_and_new_logins_are_valid(
    services: Services, member: Member, built: Built, follow: Follow
) -> None:
    for _ in range(2):
        await services.sessions.end_all(caller_of(member.id), EndReason.LOGGED_OUT_EVERYWHERE)
    following = follow()
    await following.catch_up()
    async with built.database.begin() as db:
        await db.execute(delete(Revocation))
        await db.execute(text("UPDATE users SET session_epoch = 0"))
    await following.catch_up()
    remembered = following.revocations.min_epoch(member.id)
    assert remembered > 1
    session = await log_in(services, member)  # by a process that remembers
    assert session.epoch == remembered
    assert verdict(following, session) is True
    async with built.database.read() as db:
        assert await db.scalar(select(User.session_epoch)) == remembered


@pytest.mark.parametrize("cause", ["logout everywhere", "end", "passwd", "deactivate"])
async def test_ending_all_sessions_after_a_restore_ends_those_missing_from_the_database(  # noqa: PLR0917
    services: Services, member: Member, built: Built, clock: Clock, follow: Follow, cause: str
) -> None:
    await services.sessions.end_all(caller_of(member.id), EndReason.LOGGED_OUT_EVERYWHERE)
    stolen = await log_in(services, member)  # at an epoch that the backup does not contain
    async with built.database.begin() as db:
        for table in (Revocation, Login):
            await db.execute(delete(table))
        await db.execute(text("UPDATE users SET session_epoch = 0"))
    clock.advance(timedelta(minutes=1))
    if cause == "logout everywhere":
        await services.sessions.end_all(caller_of(member.id), EndReason.LOGGED_OUT_EVERYWHERE)
    elif cause == "end":
        await services.session_administration.end_all_of(NOBODY, UserRef.by_name(member.username))
    elif cause == "passwd":
        await services.user_passwords.set(NOBODY, UserRef.by_name(member.username), None)
    else:
        await services.users.deactivate(NOBODY, UserRef.by_name(member.username))
    following = follow()
    await following.catch_up()
    assert verdict(following, stolen) is False


async def test_after_a_restore_and_end_all_new_logins_are_valid_in_every_process(
    services: Services, member: Member, built: Built, settings: Settings, clock: Clock
) -> None:
    await services.sessions.end_all(caller_of(member.id), EndReason.LOGGED_OUT_EVERYWHERE)
    async with built.database.begin() as db:
        await db.execute(delete(Revocation))
        await db.execute(text("UPDATE users SET session_epoch = 0"))
    clock.advance(timedelta(seconds=30))
    beginner = build_services(settings, clock=clock.seconds)  # knows only the restored database
    await beginner.services.session_administration.end_everybodys(NOBODY)
    session = await log_in(beginner.services, member)
    await beginner.close()
    await follower_of(built).catch_up()
    assert verdict(services.revocations, session) is True


async def test_a_different_row_with_the_same_number_means_another_database(
    built: Built, clock: Clock, follow: Follow
) -> None:
    following = follow()
    await end(built, ended(A_SID, clock))
    await following.catch_up()
    async with built.database.begin() as db:
        await db.execute(text("UPDATE revocations SET sid = :sid"), {"sid": B_SID})
    await following.catch_up()
    assert following.revocations.has_ended(A_SID)
    assert following.revocations.has_ended(B_SID)


async def test_clock_skew_between_machines_ends_no_session_and_prevents_no_login(
    services: Services, member: Member, clock: Clock, built: Built
) -> None:
    session = await log_in(services, member)
    clock.advance(timedelta(hours=1))
    with pytest.raises(Unavailable, match="clock"):
        await services.session_administration.end_everybodys(NOBODY)
    assert verdict(services.revocations, session) is not False
    clock.advance(-timedelta(hours=1))
    ahead = RevocationRow(1, None, None, None, clock() + timedelta(minutes=5), clock() + HOUR)
    services.revocations.apply([ahead])  # however it came to be
    with pytest.raises(Unavailable, match="clock"):  # not a session that is refused at once
        await log_in(services, member)
    async with built.database.read() as db:
        assert await db.scalar(select(func.count()).select_from(Login)) == 1


async def test_only_the_ended_login_is_marked(
    services: Services, member: Member, built: Built
) -> None:
    session, other = await log_in(services, member), await log_in(services, member)
    await services.sessions.end(NOBODY, SessionRef(sid=session.sid, expires_at=session.expires_at))
    async with built.database.read() as db:
        alive = list(await db.scalars(select(Login.sid).where(Login.ended_at.is_(None))))
    assert alive == [other.sid]


async def test_a_failed_commit_ends_nothing_in_this_process(
    services: Services, member: Member, built: Built
) -> None:
    session = await log_in(services, member)

    def fail(_connection: object) -> None:
        raise OperationalError("COMMIT", {}, Exception("the disk is full"))

    event.listen(built.database.engine.sync_engine, "commit", fail)
    with pytest.raises(Unavailable):
        await services.sessions.end(
            NOBODY, SessionRef(sid=session.sid, expires_at=session.expires_at)
        )
    event.remove(built.database.engine.sync_engine, "commit", fail)
    assert verdict(services.revocations, session) is not False


async def test_a_machine_whose_clock_is_behind_begins_valid_sessions(
    services: Services, member: Member, clock: Clock, follow: Follow
) -> None:
    clock.advance(timedelta(seconds=30))
    await services.session_administration.end_everybodys(NOBODY)
    clock.advance(-timedelta(seconds=45))
    session = await log_in(services, member)
    following = follow()
    await following.catch_up()
    assert verdict(following, session) is True


async def test_only_rows_expired_for_a_week_by_the_database_clock_are_purged(
    built: Built, follow: Follow, clock: Clock
) -> None:
    async with built.database.read() as db:
        now = await database_now(db)
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)
    old = [
        NewRevocation(
            sid=f"{number:022}",
            expires_at=now - KEPT_AFTER_EXPIRY - HOUR,
            reason=EndReason.LOGGED_OUT,
            created_at=now,
        )
        for number in range(1200)
    ]
    kept = ended(A_SID, clock, -KEPT_AFTER_EXPIRY + HOUR)
    old += [
        NewRevocation(
            user_id=user_id,
            epoch=1,
            expires_at=now - KEPT_AFTER_EXPIRY + (HOUR if user_id == 2 else -HOUR),
            reason=EndReason.ADMINISTRATOR,
            created_at=now,
        )
        for user_id in (1, 2)
    ]
    clock.advance(timedelta(days=1000))  # the application's clock does not count
    await end(built, *old, kept)
    following = follow()
    await following.catch_up()
    assert len(following.revocations) == 1203
    await following.purge()
    assert len(following.revocations) == 2
    assert following.revocations.has_ended(A_SID)
    assert (following.revocations.min_epoch(1), following.revocations.min_epoch(2)) == (0, 1)
    async with built.database.read() as db:
        assert set(await db.scalars(select(Revocation.sid))) == {A_SID, None}
    await end(built, ended(B_SID, clock))
    await following.catch_up()
    assert following.revocations.has_ended(B_SID)


async def test_a_revocation_is_kept_as_long_as_the_longest_session_that_it_ends(
    services: Services, built: Built, member: Member
) -> None:
    session = await log_in(services, member)
    much_later = session.expires_at + timedelta(days=300)  # begun under longer limits
    async with built.database.begin() as db:
        (await db.scalars(select(Login))).one().expires_at = much_later
    await services.sessions.end_all(caller_of(member.id), EndReason.ADMINISTRATOR)
    await services.session_administration.end_everybodys(NOBODY)
    async with built.database.read() as db:
        assert set(await db.scalars(select(Revocation.expires_at))) == {much_later}
