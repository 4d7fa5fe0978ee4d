"""Background checks: every account about once a day, by one process, and sparing servers."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import URL, select, text

from quart_app.composition import Built, build_services
from quart_app.model import ConnectionState, PlatformAccount
from quart_app.services import Services
from quart_app.settings import Settings
from quart_app.storage import platform_accounts as stored
from tests.callers import caller_of
from tests.conftest import Clock, Member, settings_for
from tests.peers.connecting import store_token, stored_connection
from tests.peers.fixtures import Peers, reaching

VERIFY = "GET /api/v1/accounts/verify_credentials"
DAY = timedelta(days=1)


@pytest.fixture
def settings(database_url: URL, running_peers: Peers) -> Settings:
    return reaching(settings_for(database_url), running_peers)


async def accounts(built: Built) -> dict[int, PlatformAccount]:
    async with built.database.read() as db:
        return {each.platform_connection_id: each for each in await db.scalars(_ACCOUNTS)}


_ACCOUNTS = select(PlatformAccount).order_by(PlatformAccount.platform_connection_id)


async def store_tokens(
    services: Services, user_id: int, peers: Peers, name: str, count: int
) -> list[int]:
    """Store tokens of users of their own, as a migration does; return the connections' ids."""
    ids = []
    for number in range(count):
        connection = await store_token(
            services,
            user_id,
            instance_url=f"https://{peers[name].host}",
            access_token=peers[name].records.personal_token(f"{name}-{number}"),
            name=f"{name} {number}",
        )
        ids.append(connection.id)
    return ids


async def leave_only_peers(built: Built) -> None:
    """Switch off the member's own connections, whose servers do not exist."""
    async with built.database.begin() as db:
        await db.execute(
            text("UPDATE platform_connections SET is_active = :off WHERE name LIKE 'Platform %'"),
            {"off": False},
        )


async def make_due(built: Built, clock: Clock) -> None:
    async with built.database.begin() as db:
        await db.execute(text("UPDATE platform_accounts SET next_check_at = NULL"))
        for account in await db.scalars(select(PlatformAccount)):
            account.next_check_at = clock() - timedelta(seconds=1)


@pytest.mark.sqlite_unless_thorough
async def test_rows_of_a_migration_are_checked_within_a_day_spread_out_and_then_daily(
    built: Built, services: Services, member: Member, peers: Peers, clock: Clock
) -> None:
    await leave_only_peers(built)
    ids = await store_tokens(services, member.id, peers, "mastodon-4-2", 12)
    await services.background_checks.check_due()
    times = [each.next_check_at for each in (await accounts(built)).values()]
    assert len(times) == 12
    assert all(at is not None and clock() <= at <= clock() + DAY for at in times)
    assert len(set(times)) == 12
    clock.advance(DAY)
    await services.background_checks.check_due()
    assert peers["mastodon-4-2"].records.requests[VERIFY] == 12
    for account in (await accounts(built)).values():
        assert account.checked_at == clock()
        assert account.next_check_at is not None
        hours = (account.next_check_at - clock()) / timedelta(hours=1)
        assert 20 <= hours <= 28
    kept = await stored_connection(built, ids[3])
    assert kept.username == "mastodon-4-2-3"
    await services.background_checks.check_due()
    assert peers["mastodon-4-2"].records.requests[VERIFY] == 12


async def test_two_processes_never_check_one_account_twice(
    settings: Settings,
    built: Built,
    services: Services,
    member: Member,
    peers: Peers,
    *,
    clock: Clock,
) -> None:
    await leave_only_peers(built)
    others = [build_services(settings, clock=clock.seconds) for _ in range(2)]
    processes = [services, *(each.services for each in others)]
    await store_tokens(services, member.id, peers, "mastodon-4-2", 10)
    await store_tokens(services, member.id, peers, "akkoma", 10)
    try:
        # All of them choose the first times, and then check.
        await asyncio.gather(*(each.background_checks.check_due() for each in processes))
        clock.advance(DAY)
        await asyncio.gather(*(each.background_checks.check_due() for each in processes))
    finally:
        for each in others:
            await each.close()
    for name in ("mastodon-4-2", "akkoma"):
        assert peers[name].records.requests[VERIFY] == 10


async def test_a_server_in_trouble_is_asked_once_then_after_an_hour_then_after_two(
    built: Built, services: Services, member: Member, peers: Peers, clock: Clock
) -> None:
    await leave_only_peers(built)
    ids = await store_tokens(services, member.id, peers, "mastodon-4-2", 5)
    well = await store_tokens(services, member.id, peers, "akkoma", 2)
    await services.background_checks.check_due()
    await make_due(built, clock)
    records = peers["mastodon-4-2"].records
    records.answer("/api/v1/accounts/verify_credentials", 503)
    for asked, hours in ((1, 1), (2, 2), (3, 4)):
        await services.background_checks.check_due()
        assert records.requests[VERIFY] == asked
        now = await accounts(built)
        assert {now[each].next_check_at for each in ids} == {clock() + timedelta(hours=hours)}
        assert all(now[each].problem is None for each in well)
        clock.advance(timedelta(hours=hours))
    records.recover()
    await services.background_checks.check_due()
    assert records.requests[VERIFY] == 3 + len(ids)
    assert {each.failed_checks for each in (await accounts(built)).values()} == {0}
    assert peers["akkoma"].records.requests[VERIFY] == len(well)


@pytest.mark.sqlite_unless_thorough
async def test_a_server_in_trouble_is_asked_once_however_its_address_is_written(
    built: Built, services: Services, member: Member, peers: Peers, clock: Clock
) -> None:
    """As in data of the older application."""
    await leave_only_peers(built)
    host, records = peers["mastodon-4-2"].host, peers["mastodon-4-2"].records
    ids = await store_tokens(services, member.id, peers, "mastodon-4-2", 3)
    spellings = (f"HTTPS://{host.upper()}/", f"{host}/web/home", f"https://{host}")
    async with built.database.begin() as db:
        for platform_connection_id, spelling in zip(ids, spellings, strict=True):
            await db.execute(
                text("UPDATE platform_connections SET instance_url = :url WHERE id = :id"),
                {"url": spelling, "id": platform_connection_id},
            )
    await services.background_checks.check_due()
    await make_due(built, clock)
    records.answer("/api/v1/accounts/verify_credentials", 503)
    await services.background_checks.check_due()
    clock.advance(timedelta(minutes=59))  # longer than a process keeps what it has taken
    await services.background_checks.check_due()
    assert records.requests[VERIFY] == 1


@pytest.mark.sqlite_unless_thorough
async def test_many_accounts_at_a_server_in_trouble_do_not_take_the_turn_of_others(
    built: Built,
    services: Services,
    member: Member,
    peers: Peers,
    *,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("quart_app.services.platforms.background_checks._AT_ONCE", 4)
    await leave_only_peers(built)
    bad = await store_tokens(services, member.id, peers, "mastodon-4-2", 12)
    (good,) = await store_tokens(services, member.id, peers, "akkoma", 1)
    await services.background_checks.check_due()
    await make_due(built, clock)
    async with built.database.begin() as db:
        for platform_connection_id in bad:  # each is more overdue than the good one
            account = await stored.account_of(db, platform_connection_id)
            account.next_check_at = clock() - DAY
    peers["mastodon-4-2"].records.answer("/api/v1/accounts/verify_credentials", 503)
    for _ in range(2):
        await services.background_checks.check_due()
    assert (await accounts(built))[good].checked_at is not None
    assert peers["mastodon-4-2"].records.requests[VERIFY] == 1


@pytest.mark.sqlite_unless_thorough
async def test_accounts_that_are_off_or_wait_for_their_user_are_not_checked(
    built: Built, services: Services, member: Member, peers: Peers, clock: Clock
) -> None:
    await leave_only_peers(built)
    records = peers["mastodon-4-2"].records
    ids = await store_tokens(services, member.id, peers, "mastodon-4-2", 3)
    await services.background_checks.check_due()
    await make_due(built, clock)
    await services.background_checks.check_due()
    records.revoke("mastodon-4-2-0")
    await make_due(built, clock)
    await services.background_checks.check_due()
    kept = await stored_connection(built, ids[0])
    assert kept.state is ConnectionState.RECONNECT_NEEDED
    await services.platforms.change(caller_of(member.id), ids[1], is_active=False)
    await make_due(built, clock)
    before = records.requests[VERIFY]
    await services.background_checks.check_due()
    assert records.requests[VERIFY] == before + 1
