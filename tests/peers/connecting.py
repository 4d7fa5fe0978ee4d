"""Connecting accounts at peers by use cases, without HTTP of our own."""

from urllib.parse import parse_qs, urlsplit

from quart_app.composition import Built
from quart_app.model import PlatformConnection, PlatformType
from quart_app.services import Services
from quart_app.services.platforms.steps.account_records import AddedAccount
from quart_app.storage import platforms as stored
from tests.callers import caller_of
from tests.peers.fixtures import Peers


async def authorize_account(
    services: Services,
    peers: Peers,
    name: str,
    user_id: int,
    *,
    as_user: str = "ada",
    platform_connection_id: int | None = None,
) -> int:
    """Walk a user to the stand-in `name` and back; return the id of the authorization."""
    caller, steps = caller_of(user_id), services.authorizations
    begun = await steps.begin(
        caller, peers[name].host, platform_connection_id=platform_connection_id
    )
    url = await steps.authorization_url(caller, begun.id, begun.state)
    query = parse_qs(urlsplit(peers.authorize(url, as_user)).query)
    return await services.authorization_results.receive(
        caller, begun.state, server=begun.host, code=query["code"][0], error=None
    )


async def connect_account(
    services: Services,
    peers: Peers,
    name: str,
    user_id: int,
    *,
    as_user: str = "ada",
    platform_connection_id: int | None = None,
) -> AddedAccount:
    """Connect, or reconnect, an account at the stand-in `name` by authorization."""
    authorization_id = await authorize_account(
        services,
        peers,
        name,
        user_id,
        as_user=as_user,
        platform_connection_id=platform_connection_id,
    )
    return await services.authorized_accounts.add(caller_of(user_id), authorization_id)


async def store_token(
    services: Services,
    user_id: int,
    *,
    instance_url: str,
    access_token: str,
    username: str | None = None,
    name: str = "Pasted",
) -> PlatformConnection:
    """Store a token unseen, as a migration does."""
    connection, _ = await services.platforms.connect(
        caller_of(user_id),
        name=name,
        platform_type=PlatformType.MASTODON,
        instance_url=instance_url,
        access_token=access_token,
        username=username,
    )
    return connection


async def stored_connection(built: Built, platform_connection_id: int) -> PlatformConnection:
    """Return a connection as it is in the database, with its account."""
    async with built.database.read() as db:
        connection = await stored.connection_by_id(db, platform_connection_id)
    assert connection is not None
    return connection
