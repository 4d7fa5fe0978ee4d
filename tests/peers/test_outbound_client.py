"""Our outbound client connects accounts at every kind of server, and at a real one."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest
from standins.certificates import CertificateAuthority
from standins.listener import LOOPBACK

from quart_app.fediverse.errors import (
    InvalidScope,
    ServerError,
    ServerNotSupported,
    TokenRefused,
)
from quart_app.fediverse.fediverse import Fediverse
from quart_app.fediverse.scopes import scopes_to_try
from quart_app.fediverse.types import App, Instance, Timeouts
from tests.peers.browser import authorize
from tests.peers.client import CALLBACK, VERIFIER, query_of
from tests.peers.fixtures import NAMES, Peers
from tests.peers.snac import Snac
from tests.tls_servers import client, resolving

# The scope that each grants first, as scopes_to_try orders them.
SCOPES = {
    "mastodon-4-2": "read:accounts",
    "mastodon-4-6": "profile",
    "pixelfed": "read",
    "gotosocial": "read:accounts",
    "akkoma": "read:accounts",
    "takahe": "read",
    "hollo": "profile",
    "friendica": "read",
}


@pytest.fixture
async def fediverse(peer_authority: CertificateAuthority) -> AsyncIterator[Fediverse]:
    names = {name: [LOOPBACK] for name in (*NAMES.values(), "localhost")}
    async with client(
        peer_authority.file, resolve=resolving(names), timeouts=Timeouts()
    ) as fediverse:
        yield fediverse


async def register(fediverse: Fediverse, instance: Instance) -> tuple[App, str]:
    """Register with the first scope that the server accepts."""
    for scope in scopes_to_try(instance):
        try:
            app = await fediverse.register_app(
                instance,
                name="Test",
                website="https://app.example",
                redirect_uri=CALLBACK,
                scope=scope,
            )
        except InvalidScope:
            continue
        return app, scope
    raise AssertionError("the server accepts no scope")


async def address(fediverse: Fediverse, instance: Instance, app: App, scope: str) -> str:
    return await fediverse.authorization_url(
        instance,
        app,
        redirect_uri=CALLBACK,
        scope=scope,
        state="a-state",
        code_verifier=VERIFIER,
        language="en",
    )


@pytest.mark.parametrize("name", SCOPES)
async def test_an_account_is_connected_at_every_kind_of_server(
    fediverse: Fediverse, peers: Peers, name: str
) -> None:
    peer = peers[name]
    host = peer.url.removeprefix("https://")
    instance = await fediverse.recognize(host)
    assert (instance.host, instance.software.name) == (host, peer.records.software.name)
    app, scope = await register(fediverse, instance)
    assert scope == SCOPES[name]
    url = await address(fediverse, instance, app, scope)
    callback = await asyncio.to_thread(peers.authorize, url, "grace")
    code = query_of(callback)["code"]
    grant = await fediverse.exchange_code(
        instance, app, code=code, redirect_uri=CALLBACK, code_verifier=VERIFIER
    )
    account = await fediverse.verify_credentials(host, grant.access_token)
    assert (account.username, account.display_name) == ("grace", "Grace Hopper")
    assert account.avatar_url is not None
    avatar = await fediverse.avatar(account.avatar_url)
    assert avatar is not None
    assert avatar.content_type == "image/png"
    # A code is for one use.
    with pytest.raises(ServerError):
        await fediverse.exchange_code(
            instance, app, code=code, redirect_uri=CALLBACK, code_verifier=VERIFIER
        )
    if grant.refresh_token:
        grant = await fediverse.refresh(instance, app, grant.refresh_token)
        assert (await fediverse.verify_credentials(host, grant.access_token)).id == account.id
    software = peer.records.software
    assert await fediverse.revoke(instance, app, grant.access_token) is software.has_revocation
    if software.has_revocation:
        with pytest.raises(TokenRefused):
            await fediverse.verify_credentials(host, grant.access_token)


@pytest.mark.parametrize("name", SCOPES)
async def test_an_app_that_the_server_deleted_is_not_known(
    fediverse: Fediverse, peers: Peers, name: str
) -> None:
    peer = peers[name]
    instance = await fediverse.recognize(peer.url.removeprefix("https://"))
    app, scope = await register(fediverse, instance)
    assert await fediverse.knows_app(instance, app, scope=scope)
    peer.records.reset()
    assert not await fediverse.knows_app(instance, app, scope=scope)


async def test_a_server_without_oauth_asks_for_a_pasted_token(
    fediverse: Fediverse, peers: Peers
) -> None:
    instance = await fediverse.recognize(
        peers["pixelfed-without-oauth"].url.removeprefix("https://")
    )
    assert instance.software.name == "pixelfed"
    with pytest.raises(ServerNotSupported, match="Paste an access token instead"):
        await register(fediverse, instance)


async def test_an_account_is_connected_at_snac(
    fediverse: Fediverse, snac: Snac, peer_tls: ssl.SSLContext
) -> None:
    host = snac.url.removeprefix("https://")
    instance = await fediverse.recognize(host)
    assert instance.software.name == "snac"
    assert not instance.software.binds_codes
    app, scope = await register(fediverse, instance)
    url = await address(fediverse, instance, app, scope)
    callback = await asyncio.to_thread(
        authorize, url, "alice", verify=peer_tls, password=snac.passwords["alice"]
    )
    grant = await fediverse.exchange_code(
        instance,
        app,
        code=query_of(callback)["code"],
        redirect_uri=CALLBACK,
        code_verifier=VERIFIER,
    )
    assert (grant.scopes, grant.expires_in, grant.refresh_token) == (None, None, None)
    account = await fediverse.verify_credentials(host, grant.access_token)
    assert account.username == "alice"
    assert account.avatar_url is not None
    assert await fediverse.avatar(account.avatar_url) is not None
