"""Attempts to connect accounts are deleted when they have expired; shared apps stay."""

from datetime import timedelta

import pytest
from sqlalchemy import URL, func, select, update

from quart_app.composition import Built
from quart_app.model import AppRegistration, PlatformAuthorization
from quart_app.services import Services
from quart_app.settings import Settings
from tests.callers import caller_of
from tests.conftest import Clock, Member, settings_for
from tests.peers.connecting import authorize_account, connect_account
from tests.peers.fixtures import Peers, reaching

pytestmark = pytest.mark.sqlite_unless_thorough


@pytest.fixture
def settings(database_url: URL, running_peers: Peers) -> Settings:
    return reaching(settings_for(database_url), running_peers)


async def counts(built: Built) -> tuple[int, int]:
    """Return the numbers of authorizations and of registered apps."""
    async with built.database.read() as db:
        authorizations = select(func.count()).select_from(PlatformAuthorization)
        apps = select(func.count()).select_from(AppRegistration)
        return await db.scalar(authorizations) or 0, await db.scalar(apps) or 0


async def expire(built: Built, clock: Clock) -> None:
    """Move every attempt into the past; a purge does not believe a clock that jumps."""
    async with built.database.begin() as db:
        past = clock() - timedelta(days=1)
        await db.execute(update(PlatformAuthorization).values(expires_at=past))
        await db.execute(update(AppRegistration).values(started_at=past))


async def test_an_expired_attempt_is_deleted_and_a_shared_app_stays(
    built: Built, services: Services, member: Member, peers: Peers, clock: Clock
) -> None:
    await services.authorizations.begin(caller_of(member.id), peers["mastodon-4-2"].host)
    await services.attempt_purges.purge()
    assert await counts(built) == (1, 1)
    await expire(built, clock)
    await services.attempt_purges.purge()
    assert await counts(built) == (0, 1)


def is_valid(peers: Peers, username: str) -> bool:
    """Return whether a user of the server has a token that works."""
    tokens = peers["mastodon-4-2"].records.tokens.values()
    return any(token.username == username and token.is_valid() for token in tokens)


async def test_access_to_an_account_that_was_never_added_is_revoked(
    built: Built, services: Services, member: Member, peers: Peers, clock: Clock
) -> None:
    """But not the access to one that was added before, which has the same token."""
    await connect_account(services, peers, "mastodon-4-2", member.id)
    for user in ("ada", "grace"):
        await authorize_account(services, peers, "mastodon-4-2", member.id, as_user=user)
    await services.attempt_purges.purge()
    assert is_valid(peers, "grace")
    await expire(built, clock)
    await services.attempt_purges.purge()
    assert (is_valid(peers, "ada"), is_valid(peers, "grace")) == (True, False)
    assert await counts(built) == (0, 1)


async def test_a_server_that_is_gone_keeps_no_attempt_from_being_deleted(
    built: Built, services: Services, member: Member, peers: Peers, clock: Clock
) -> None:
    await authorize_account(services, peers, "mastodon-4-2", member.id)
    peers["mastodon-4-2"].stop()
    await expire(built, clock)
    await services.attempt_purges.purge()
    assert await counts(built) == (0, 1)
