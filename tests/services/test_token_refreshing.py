"""Access tokens are renewed ahead of their expiry, by one process."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import URL

from quart_app.composition import Built, build_services
from quart_app.model import ConnectionState, PlatformConnection
from quart_app.services import Services
from quart_app.settings import Settings
from tests.callers import caller_of
from tests.conftest import Clock, Member, settings_for
from tests.peers.connecting import connect_account, stored_connection
from tests.peers.fixtures import Peers, reaching

TOKEN = "POST /oauth/token"
PEER = "akkoma"  # its tokens last 600 seconds, and each refresh token serves once


@pytest.fixture
def settings(database_url: URL, running_peers: Peers) -> Settings:
    return reaching(settings_for(database_url), running_peers)


@pytest.fixture
async def connection(services: Services, member: Member, peers: Peers) -> PlatformConnection:
    return (await connect_account(services, peers, PEER, member.id)).connection


def refreshes(peers: Peers) -> int:
    """Return how many refresh tokens were used up."""
    users = [each for each in peers[PEER].records.tokens.values() if each.username is not None]
    return len(users) - 1


@pytest.mark.sqlite_unless_thorough
async def test_a_token_is_renewed_and_the_rotated_refresh_token_serves_the_next_time(
    built: Built, services: Services, member: Member, peers: Peers, connection: PlatformConnection
) -> None:
    unseal = services.platforms.credentials.unseal
    seen = set()
    for number in range(3):
        result = await services.account_checks.check(caller_of(member.id), connection.id)
        assert result.account is not None
        assert refreshes(peers) == number + 1
        kept = await stored_connection(built, connection.id)
        assert kept.account is not None
        assert kept.account.refresh_began_at is None
        seen.add((unseal(kept.access_token), unseal(kept.account.refresh_token or "")))
    assert len(seen) == 3


@pytest.mark.sqlite_unless_thorough
async def test_a_token_that_lasts_is_not_renewed(
    services: Services, member: Member, peers: Peers, clock: Clock
) -> None:
    connection = (await connect_account(services, peers, "pixelfed", member.id)).connection
    records = peers["pixelfed"].records
    asked = records.requests[TOKEN]
    await services.account_checks.check(caller_of(member.id), connection.id)
    assert records.requests[TOKEN] == asked
    clock.advance(timedelta(days=364))
    await services.account_checks.check(caller_of(member.id), connection.id)
    assert records.requests[TOKEN] == asked + 1


async def test_two_processes_at_once_ask_the_server_once(
    settings: Settings,
    services: Services,
    clock: Clock,
    peers: Peers,
    connection: PlatformConnection,
) -> None:
    other = build_services(settings, clock=clock.seconds)
    peers[PEER].records.delays_seconds["/oauth/token"] = 0.3
    try:
        results = await asyncio.gather(
            *(
                each.account_checks.check_connection(connection.id)
                for each in (services, other.services)
            )
        )
    finally:
        await other.close()
    assert all(result is not None and result.account is not None for result in results)
    assert refreshes(peers) == 1


@pytest.mark.sqlite_unless_thorough
async def test_a_process_that_died_half_way_leaves_a_reconnection(
    built: Built,
    services: Services,
    clock: Clock,
    connection: PlatformConnection,
) -> None:
    refreshing = services.account_checks.refreshing
    due = await refreshing._begin(connection.id)
    assert due is not None
    instance = await refreshing.directory.instance_at(due.host)
    await services.account_checks.fediverse.refresh(instance, due.app, due.refresh_token)
    # Here the process dies, and with it the new tokens.
    clock.advance(timedelta(seconds=31))
    result = await services.account_checks.check_connection(connection.id)
    assert result is not None
    assert result.problem is not None
    assert result.problem.code == "token_refused"
    kept = await stored_connection(built, connection.id)
    assert kept.state is ConnectionState.RECONNECT_NEEDED


@pytest.mark.sqlite_unless_thorough
async def test_a_process_that_died_before_it_asked_costs_half_a_minute(
    services: Services, clock: Clock, connection: PlatformConnection
) -> None:
    await services.account_checks.refreshing._begin(connection.id)
    clock.advance(timedelta(seconds=31))
    result = await services.account_checks.check_connection(connection.id)
    assert result is not None
    assert result.account is not None


@pytest.mark.sqlite_unless_thorough
async def test_a_reconnection_during_a_renewal_wins(
    built: Built,
    services: Services,
    member: Member,
    peers: Peers,
    connection: PlatformConnection,
) -> None:
    records = peers[PEER].records
    records.delays_seconds["/oauth/token"] = 0.5
    before = records.requests[TOKEN]
    renewal = asyncio.create_task(services.account_checks.refreshing.refresh_if_due(connection.id))
    async with asyncio.timeout(10):
        while records.requests[TOKEN] == before:  # noqa: ASYNC110 counted in another thread
            await asyncio.sleep(0.01)
    records.delays_seconds.clear()
    await connect_account(services, peers, PEER, member.id)
    token = (await stored_connection(built, connection.id)).access_token
    await renewal
    assert (await stored_connection(built, connection.id)).access_token == token


@pytest.mark.sqlite_unless_thorough
@pytest.mark.parametrize("answer", [(500, ""), (200, "<h1>Hi</h1>"), (400, "{}"), (429, "")])
async def test_a_token_that_still_works_stays_if_its_renewal_fails(
    built: Built,
    services: Services,
    peers: Peers,
    connection: PlatformConnection,
    answer: tuple[int, str],
) -> None:
    peers[PEER].records.answer("/oauth/token", *answer)
    result = await services.account_checks.check_connection(connection.id)
    assert result is not None
    assert result.account is not None
    assert (await stored_connection(built, connection.id)).state is ConnectionState.ACTIVE
