"""Checks of connected accounts at their servers: states, problems, and what stays."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import URL, text

from quart_app.composition import Built
from quart_app.errors import NotFound
from quart_app.fediverse.errors import (
    ServerBusy,
    ServerError,
    ServerMoved,
    ServerNotSupported,
    ServerTooSlow,
    ServerUnreachable,
    TokenRefused,
)
from quart_app.model import ConnectionState
from quart_app.services import Services
from quart_app.services.platforms.checks import wait_after
from quart_app.services.platforms.errors import (
    CredentialsLost,
    OtherAccountAuthorized,
    TooManyOutbound,
)
from quart_app.services.platforms.steps.outbound_limit import MOST_REQUESTS, WINDOW
from quart_app.settings import Settings
from tests.callers import caller_of
from tests.conftest import Clock, Member, make_member, settings_for
from tests.peers.connecting import (
    connect_account,
    store_token,
    stored_connection,
)
from tests.peers.fixtures import Peers, reaching

pytestmark = pytest.mark.sqlite_unless_thorough

VERIFY = "/api/v1/accounts/verify_credentials"


@pytest.fixture
def settings(database_url: URL, running_peers: Peers) -> Settings:
    return reaching(settings_for(database_url), running_peers)


# The statuses that a revoked token gets: 401, 403, 400 as text.
@pytest.mark.parametrize("name", ["mastodon-4-2", "akkoma", "takahe"])
async def test_a_revoked_token_needs_a_reconnection_which_keeps_everything(
    services: Services, member: Member, peers: Peers, name: str
) -> None:
    caller = caller_of(member.id)
    connection = (await connect_account(services, peers, name, member.id)).connection
    await services.platforms.change(caller, connection.id, name="Garden")
    await services.platforms.make_default(caller, connection.id)
    peers[name].records.revoke("ada")
    result = await services.account_checks.check(caller, connection.id)
    assert isinstance(result.problem, TokenRefused)
    kept, is_default = await services.platforms.connection(caller, connection.id)
    assert (kept.state, kept.name, is_default) == (
        ConnectionState.RECONNECT_NEEDED,
        "Garden",
        True,
    )
    again = await connect_account(
        services, peers, name, member.id, platform_connection_id=connection.id
    )
    assert (again.is_new, again.connection.id) == (False, connection.id)
    kept, is_default = await services.platforms.connection(caller, connection.id)
    assert (kept.state, kept.name, is_default) == (ConnectionState.ACTIVE, "Garden", True)
    assert (await services.account_checks.check(caller, connection.id)).account is not None


@pytest.mark.parametrize("status", [400, 401, 403, 422])
async def test_each_refusal_of_a_token_that_worked_needs_a_reconnection(
    built: Built, services: Services, member: Member, peers: Peers, status: int
) -> None:
    connection = (await connect_account(services, peers, "mastodon-4-2", member.id)).connection
    peers["mastodon-4-2"].records.answer(VERIFY, status, "<h1>No</h1>")
    await services.account_checks.check(caller_of(member.id), connection.id)
    kept = await stored_connection(built, connection.id)
    assert kept.state is ConnectionState.RECONNECT_NEEDED
    peers["mastodon-4-2"].records.recover()  # the server was in trouble, and said so wrongly
    await services.account_checks.check(caller_of(member.id), connection.id)
    assert (await stored_connection(built, connection.id)).state is ConnectionState.ACTIVE


async def test_a_token_that_never_worked_stays_in_use_with_its_problem(
    built: Built, services: Services, member: Member, peers: Peers
) -> None:
    connection = await store_token(
        services, member.id, instance_url=f"https://{peers['akkoma'].host}", access_token="wrong"
    )
    result = await services.account_checks.check(caller_of(member.id), connection.id)
    assert isinstance(result.problem, TokenRefused)
    kept = await stored_connection(built, connection.id)
    assert kept.state is ConnectionState.ACTIVE
    assert kept.account is not None
    assert (kept.account.problem, kept.account.failed_checks) == ("token_refused", 1)


TROUBLE: list[tuple[dict[str, Any], type[ServerError]]] = [
    ({"status": 200, "body": "<h1>Welcome</h1>"}, ServerNotSupported),
    ({"status": 404}, ServerNotSupported),
    ({"status": 500}, ServerUnreachable),
    ({"status": 429}, ServerBusy),
    ({"status": 301, "headers": {"Location": "https://elsewhere.example/"}}, ServerMoved),
]


@pytest.mark.parametrize(("answer", "error"), TROUBLE)
async def test_a_server_in_trouble_is_named_and_the_account_stays_in_use(
    built: Built,
    services: Services,
    member: Member,
    peers: Peers,
    *,
    answer: dict[str, Any],
    error: type[ServerError],
) -> None:
    peer = peers["mastodon-4-2"]
    connection = (await connect_account(services, peers, "mastodon-4-2", member.id)).connection
    peer.records.answer(VERIFY, **answer)
    result = await services.account_checks.check(caller_of(member.id), connection.id)
    assert isinstance(result.problem, error)
    assert peer.host in result.problem.sentence
    kept = await stored_connection(built, connection.id)
    assert kept.state is ConnectionState.ACTIVE
    assert kept.account is not None
    assert (kept.account.problem, kept.account.failed_checks) == (result.problem.code, 1)
    peer.records.recover()
    await services.account_checks.check(caller_of(member.id), connection.id)
    kept = await stored_connection(built, connection.id)
    assert kept.account is not None
    assert (kept.account.problem, kept.account.failed_checks) == (None, 0)


async def test_a_server_that_is_down_or_slow_is_named(
    services: Services, member: Member, peers: Peers, *, thorough: bool
) -> None:
    peer = peers["mastodon-4-2"]
    connection = (await connect_account(services, peers, "mastodon-4-2", member.id)).connection
    if thorough:  # eleven seconds
        peer.records.delays_seconds[VERIFY] = 11
        result = await services.account_checks.check(caller_of(member.id), connection.id)
        assert isinstance(result.problem, ServerTooSlow)
        peer.records.recover()
    peer.close()
    result = await services.account_checks.check(caller_of(member.id), connection.id)
    assert isinstance(result.problem, ServerUnreachable)


async def test_credentials_that_no_key_opens_need_a_reconnection(
    built: Built, services: Services, member: Member, peers: Peers
) -> None:
    connection = (await connect_account(services, peers, "mastodon-4-2", member.id)).connection
    async with built.database.begin() as db:
        await db.execute(text("UPDATE platform_connections SET access_token = 'gAAAAAlost'"))
    result = await services.account_checks.check(caller_of(member.id), connection.id)
    assert isinstance(result.problem, CredentialsLost)
    kept = await stored_connection(built, connection.id)
    assert kept.state is ConnectionState.RECONNECT_NEEDED


async def test_a_token_that_belongs_to_another_account_now_needs_a_reconnection(
    built: Built, services: Services, member: Member, peers: Peers
) -> None:
    peer = peers["mastodon-4-2"]
    connection = (await connect_account(services, peers, "mastodon-4-2", member.id)).connection
    peer.records.users["ada"].overrides = {"id": "1", "username": "eve"}
    result = await services.account_checks.check(caller_of(member.id), connection.id)
    assert isinstance(result.problem, OtherAccountAuthorized)
    kept = await stored_connection(built, connection.id)
    assert (kept.state, kept.username) == (ConnectionState.RECONNECT_NEEDED, "ada")


async def test_another_users_connection_is_not_checked(
    services: Services, member: Member, peers: Peers
) -> None:
    connection = (await connect_account(services, peers, "mastodon-4-2", member.id)).connection
    other = await make_member(services, "eve")
    before = peers["mastodon-4-2"].records.requests.total()
    with pytest.raises(NotFound):
        await services.account_checks.check(caller_of(other.id), connection.id)
    assert peers["mastodon-4-2"].records.requests.total() == before


async def test_a_user_has_30_checks_in_ten_minutes_and_then_a_time_to_wait(
    services: Services, member: Member, clock: Clock
) -> None:
    limit, caller = services.account_checks.limit, caller_of(member.id)
    for _ in range(MOST_REQUESTS):
        limit.count(caller)
        clock.advance(timedelta(seconds=1))
    with pytest.raises(TooManyOutbound) as refused:
        limit.count(caller)
    assert refused.value.retry_after_seconds == WINDOW.total_seconds() - MOST_REQUESTS
    with pytest.raises(TooManyOutbound):  # the use case counts, too
        await services.account_checks.check(caller, member.platform_ids[0])
    limit.count(caller_of(member.id + 1))
    clock.advance(timedelta(seconds=refused.value.retry_after_seconds))
    limit.count(caller)


async def wait_until_asked(peers: Peers, name: str, path: str, *, more_than: int = 0) -> None:
    async with asyncio.timeout(10):
        requests = peers[name].records.requests
        while requests[f"GET {path}"] <= more_than:  # noqa: ASYNC110 counted in another thread
            await asyncio.sleep(0.01)


async def test_a_connection_may_be_removed_while_it_is_checked(
    services: Services, member: Member, peers: Peers
) -> None:
    connection = (await connect_account(services, peers, "mastodon-4-2", member.id)).connection
    peers["mastodon-4-2"].records.delays_seconds[VERIFY] = 0.5
    check = asyncio.create_task(services.account_checks.check(caller_of(member.id), connection.id))
    await wait_until_asked(peers, "mastodon-4-2", VERIFY, more_than=1)
    await services.removal.remove(caller_of(member.id), connection.id)
    with pytest.raises(NotFound):
        await check


async def test_a_token_that_is_replaced_while_it_is_checked_gets_a_check_of_its_own(
    built: Built, services: Services, member: Member, peers: Peers
) -> None:
    peer = peers["mastodon-4-2"]
    connection = (await connect_account(services, peers, "mastodon-4-2", member.id)).connection
    peer.records.revoke("ada")
    peer.records.delays_seconds[VERIFY] = 0.5
    check = asyncio.create_task(services.account_checks.check(caller_of(member.id), connection.id))
    await wait_until_asked(peers, "mastodon-4-2", VERIFY, more_than=1)
    token = peer.records.personal_token()
    sealed = services.platforms.credentials.seal(token)
    async with built.database.begin() as db:
        await db.execute(
            text("UPDATE platform_connections SET access_token = :token WHERE id = :id"),
            {"token": sealed, "id": connection.id},
        )
    assert (await check).account is not None
    assert (await stored_connection(built, connection.id)).state is ConnectionState.ACTIVE


async def test_a_check_that_its_caller_gives_up_is_still_written_down(
    built: Built, services: Services, member: Member, peers: Peers
) -> None:
    connection = (await connect_account(services, peers, "mastodon-4-2", member.id)).connection
    peers["mastodon-4-2"].records.revoke("ada")
    peers["mastodon-4-2"].records.delays_seconds[VERIFY] = 0.3
    check = asyncio.create_task(services.account_checks.check(caller_of(member.id), connection.id))
    await wait_until_asked(peers, "mastodon-4-2", VERIFY, more_than=1)
    check.cancel()
    async with asyncio.timeout(10):
        while True:
            kept = await stored_connection(built, connection.id)
            if kept.state is ConnectionState.RECONNECT_NEEDED:
                return
            await asyncio.sleep(0.02)


def test_a_server_in_trouble_is_asked_after_one_hour_and_at_last_once_a_day() -> None:
    hours = [wait_after(failed) / timedelta(hours=1) for failed in range(1, 8)]
    assert hours == [1, 2, 4, 8, 16, 24, 24]
