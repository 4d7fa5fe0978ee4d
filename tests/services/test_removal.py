"""Removing a connection ends its access at the server where that is safe, and says so."""

import asyncio
import ssl
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import URL

from quart_app.composition import Built
from quart_app.errors import NotFound
from quart_app.model import PlatformConnection
from quart_app.services import Services
from quart_app.services.platforms.access_revocation import Revocation
from quart_app.settings import Settings
from tests.callers import caller_of
from tests.conftest import Member, make_member, settings_for
from tests.peers.browser import authorize
from tests.peers.connecting import authorize_account, connect_account, store_token
from tests.peers.fixtures import Peers, reaching
from tests.peers.snac import Snac

PEER = "mastodon-4-2"
REVOKE = "POST /oauth/revoke"
pytestmark = pytest.mark.sqlite_unless_thorough


@pytest.fixture
def settings(database_url: URL, running_peers: Peers) -> Settings:
    return reaching(settings_for(database_url), running_peers)


def live_tokens(peers: Peers) -> int:
    """Return how many tokens of users the server accepts."""
    tokens = peers[PEER].records.tokens.values()
    return sum(token.username is not None and token.is_valid() for token in tokens)


async def connect_at_snac(
    services: Services, snac: Snac, tls: ssl.SSLContext, user_id: int, as_user: str
) -> PlatformConnection:
    """Connect an account of the real server by authorization."""
    caller, steps = caller_of(user_id), services.authorizations
    begun = await steps.begin(caller, snac.host)
    url = await steps.authorization_url(caller, begun.id, begun.state)
    password = snac.passwords[as_user]
    callback = await asyncio.to_thread(authorize, url, as_user, verify=tls, password=password)
    (code,) = parse_qs(urlsplit(callback).query)["code"]
    authorization_id = await services.authorization_results.receive(
        caller, begun.state, server=begun.host, code=code, error=None
    )
    return (await services.authorized_accounts.add(caller, authorization_id)).connection


async def test_the_access_is_revoked_and_that_of_the_other_account_stays(
    services: Services, member: Member, peers: Peers
) -> None:
    ada, grace = [
        (await connect_account(services, peers, PEER, member.id, as_user=user)).connection
        for user in ("ada", "grace")
    ]
    removed = await services.removal.remove(caller_of(member.id), ada.id)
    assert (removed.host, removed.revocation) == (peers[PEER].host, Revocation.DONE)
    assert live_tokens(peers) == 1
    result = await services.account_checks.check(caller_of(member.id), grace.id)
    assert result.account is not None


async def test_one_token_of_two_users_is_revoked_when_the_last_of_them_removes_it(
    built: Built, services: Services, member: Member, peers: Peers
) -> None:
    """As at Mastodon, which gives the second user the token of the first."""
    eve = await make_member(built.services, "eve")
    first, second = [
        (await connect_account(services, peers, PEER, user.id)).connection for user in (member, eve)
    ]
    assert live_tokens(peers) == 1
    removed = await services.removal.remove(caller_of(member.id), first.id)
    assert removed.revocation is Revocation.IN_USE
    result = await services.account_checks.check(caller_of(eve.id), second.id)
    assert result.account is not None
    removed = await services.removal.remove(caller_of(eve.id), second.id)
    assert (removed.revocation, live_tokens(peers)) == (Revocation.DONE, 0)


async def test_a_token_of_an_account_that_is_about_to_be_added_again_is_not_revoked(
    services: Services, member: Member, peers: Peers
) -> None:
    connection = (await connect_account(services, peers, PEER, member.id)).connection
    authorization_id = await authorize_account(services, peers, PEER, member.id)
    removed = await services.removal.remove(caller_of(member.id), connection.id)
    assert removed.revocation is Revocation.IN_USE
    added = await services.authorized_accounts.add(caller_of(member.id), authorization_id)
    assert added.is_new
    result = await services.account_checks.check(caller_of(member.id), added.connection.id)
    assert result.account is not None


async def test_each_of_two_users_has_a_token_of_their_own_where_servers_issue_new_ones(
    built: Built, services: Services, member: Member, peers: Peers
) -> None:
    eve = await make_member(built.services, "eve")
    first, second = [
        (await connect_account(services, peers, "gotosocial", user.id)).connection
        for user in (member, eve)
    ]
    removed = await services.removal.remove(caller_of(member.id), first.id)
    assert removed.revocation is Revocation.DONE
    result = await services.account_checks.check(caller_of(eve.id), second.id)
    assert result.account is not None


@pytest.mark.parametrize("status", [None, 403, 404, 500, 302, 200])
async def test_a_server_that_does_not_confirm_keeps_nobody_from_removing(
    services: Services, member: Member, peers: Peers, status: int | None
) -> None:
    connection = (await connect_account(services, peers, PEER, member.id)).connection
    if status is None:
        peers[PEER].close()
    else:
        peers[PEER].records.answer("/oauth/revoke", status, "<h1>Hello</h1>")
    removed = await services.removal.remove(caller_of(member.id), connection.id)
    # RFC 7009 section 2.2: the status alone confirms it.
    expected = Revocation.DONE if status == 200 else Revocation.FAILED
    assert removed.revocation is expected
    with pytest.raises(NotFound):
        await services.platforms.connection(caller_of(member.id), connection.id)


async def test_a_pasted_token_is_not_revoked(
    services: Services, member: Member, peers: Peers
) -> None:
    caller, host = caller_of(member.id), peers[PEER].host
    token = peers[PEER].records.personal_token()
    pasted, _ = await services.pasted_tokens.connect(caller, instance_url=host, access_token=token)
    removed = await services.removal.remove(caller, pasted.id)
    assert removed.revocation is Revocation.NOT_OURS
    unseen = await store_token(
        services, member.id, instance_url=f"https://{host}", access_token=token
    )
    await services.account_checks.check(caller, unseen.id)
    assert (await services.removal.remove(caller, unseen.id)).revocation is Revocation.NOT_OURS
    assert peers[PEER].records.requests[REVOKE] == 0


async def test_removing_the_default_leaves_none_and_sessions_fall_back_to_the_oldest(
    services: Services, member: Member
) -> None:
    caller = caller_of(member.id)
    first, second, third = member.platform_ids
    await services.platforms.make_default(caller, third)
    await services.removal.remove(caller, third)
    assert (await services.platforms.list_of(caller)).default_id is None
    fallback = await services.platforms.fallback(caller)
    assert fallback is not None
    assert fallback.id == first
    await services.platforms.change(caller, first, is_active=False)
    fallback = await services.platforms.fallback(caller)
    assert fallback is not None
    assert fallback.id == second
    await services.platforms.change(caller, second, is_active=False)
    assert await services.platforms.fallback(caller) is None


async def test_another_users_connection_is_neither_removed_nor_revoked(
    built: Built, services: Services, member: Member, peers: Peers
) -> None:
    connection = (await connect_account(services, peers, PEER, member.id)).connection
    eve = await make_member(built.services, "eve")
    with pytest.raises(NotFound):
        await services.removal.remove(caller_of(eve.id), connection.id)
    assert live_tokens(peers) == 1


async def test_at_snac_whose_revocation_deletes_the_app_another_connection_still_works(
    built: Built, services: Services, member: Member, peers: Peers, snac: Snac
) -> None:
    """Another account, and the same account of another user: each has an app of its own."""
    eve = await make_member(built.services, "eve")
    connections = [
        await connect_at_snac(services, snac, peers.tls, user.id, as_user)
        for user, as_user in ((member, "alice"), (member, "bob"), (eve, "alice"))
    ]
    removed = await services.removal.remove(caller_of(member.id), connections[0].id)
    assert (removed.host, removed.revocation) == (snac.host, Revocation.DONE)
    for user, connection in zip((member, eve), connections[1:], strict=True):
        result = await services.account_checks.check(caller_of(user.id), connection.id)
        assert result.account is not None
