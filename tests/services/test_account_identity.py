"""One account is one connection, however it was written; two accounts are two."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import URL, text

from quart_app.composition import Built
from quart_app.errors import AccountTaken
from quart_app.model import ConnectionState
from quart_app.services import Services
from quart_app.services.platforms.errors import OtherAccountAuthorized
from quart_app.settings import Settings
from tests.callers import caller_of
from tests.conftest import Member, settings_for
from tests.peers.connecting import (
    authorize_account,
    connect_account,
    store_token,
    stored_connection,
)
from tests.peers.fixtures import Peers, reaching

PEER = "mastodon-4-2"


@pytest.fixture
def settings(database_url: URL, running_peers: Peers) -> Settings:
    return reaching(settings_for(database_url), running_peers)


async def names_at_peer(built: Built, peers: Peers) -> dict[int, str | None]:
    """Return the usernames of connections to the peer, by id."""
    async with built.database.read() as db:
        rows = await db.execute(
            text(
                "SELECT id, username FROM platform_connections WHERE instance_url LIKE :host"
                " ORDER BY id"
            ),
            {"host": f"%{peers[PEER].host.partition(':')[2]}%"},
        )
        return {row.id: row.username for row in rows}


@contextmanager
def swapped_names(peers: Peers) -> Iterator[None]:
    users = peers[PEER].records.users
    users["ada"].overrides, users["grace"].overrides = {"username": "grace"}, {"username": "ada"}
    yield
    users["ada"].overrides = users["grace"].overrides = {}


async def test_two_accounts_that_swap_their_names_swap_them_here_too(
    built: Built, services: Services, member: Member, peers: Peers
) -> None:
    ids = [
        (await connect_account(services, peers, PEER, member.id, as_user=user)).connection.id
        for user in ("ada", "grace")
    ]
    with swapped_names(peers):
        for platform_connection_id in ids:
            result = await services.account_checks.check(
                caller_of(member.id), platform_connection_id
            )
            assert result.problem is None
    assert await names_at_peer(built, peers) == {ids[0]: "grace", ids[1]: "ada"}


@pytest.mark.sqlite_unless_thorough
async def test_a_new_account_with_the_former_name_of_another_is_another_connection(
    built: Built, services: Services, member: Member, peers: Peers
) -> None:
    first = (await connect_account(services, peers, PEER, member.id)).connection
    with swapped_names(peers):
        added = await connect_account(services, peers, PEER, member.id, as_user="grace")
        assert (added.is_new, added.connection.username) == (True, "ada")
        assert added.connection.id != first.id
        await services.account_checks.check(caller_of(member.id), first.id)
    assert await names_at_peer(built, peers) == {first.id: "grace", added.connection.id: "ada"}


@pytest.mark.sqlite_unless_thorough
async def test_a_pasted_token_with_the_former_name_of_another_account_is_another_connection(
    built: Built, services: Services, member: Member, peers: Peers
) -> None:
    first = (await connect_account(services, peers, PEER, member.id)).connection
    token = peers[PEER].records.personal_token("grace")
    with swapped_names(peers):
        pasted, _ = await services.pasted_tokens.connect(
            caller_of(member.id), instance_url=peers[PEER].host, access_token=token
        )
    assert await names_at_peer(built, peers) == {first.id: None, pasted.id: "ada"}


LEGACY = [
    ("https://{0}", "ada"),
    ("https://{0}", "@Ada@{0}"),
    ("HTTPS://{1}/web/home", "ADA"),
    ("http://{0}/@ada", "ada@{1}"),
    ("{1}/", "https://{0}/@ada"),
]


@pytest.mark.sqlite_unless_thorough
@pytest.mark.parametrize(("instance_url", "username"), LEGACY)
async def test_a_legacy_row_in_any_spelling_is_the_same_account(
    built: Built,
    services: Services,
    member: Member,
    peers: Peers,
    *,
    instance_url: str,
    username: str,
) -> None:
    host = peers[PEER].host
    legacy = await store_token(
        services, member.id, instance_url=f"https://{host}", access_token="old"
    )
    spelled = [field.format(host, host.upper()) for field in (instance_url, username)]
    async with built.database.begin() as db:
        await db.execute(
            text(
                "UPDATE platform_connections SET instance_url = :url, username = :name"
                " WHERE id = :id"
            ),
            {"url": spelled[0], "name": spelled[1], "id": legacy.id},
        )
    added = await connect_account(services, peers, PEER, member.id)
    assert (added.is_new, added.connection.id) == (False, legacy.id)
    assert (await services.account_checks.check(caller_of(member.id), legacy.id)).account
    with pytest.raises(AccountTaken):
        await services.pasted_tokens.connect(
            caller_of(member.id),
            instance_url=host,
            access_token=peers[PEER].records.personal_token(),
        )


@pytest.mark.sqlite_unless_thorough
@pytest.mark.parametrize("is_checked", [False, True])
async def test_each_of_two_legacy_rows_of_one_account_is_reconnected(
    built: Built, services: Services, member: Member, peers: Peers, *, is_checked: bool
) -> None:
    """The older application let a user add one account twice."""
    caller, url = caller_of(member.id), f"https://{peers[PEER].host}"
    rows = []
    for name, username in (("First", "ada"), ("Second", "@Ada")):
        token = peers[PEER].records.personal_token()
        row = await store_token(
            services, member.id, instance_url=url, access_token=token, name=name
        )
        async with built.database.begin() as db:
            await db.execute(
                text("UPDATE platform_connections SET username = :username WHERE id = :id"),
                {"username": username, "id": row.id},
            )
        rows.append(row.id)
    if is_checked:
        for row_id in rows:
            assert (await services.account_checks.check(caller, row_id)).account
    for row_id in reversed(rows):
        again = await connect_account(
            services, peers, PEER, member.id, platform_connection_id=row_id
        )
        assert (again.is_new, again.connection.id) == (False, row_id)


@pytest.mark.sqlite_unless_thorough
async def test_a_legacy_row_without_a_username_is_reconnected_but_never_guessed(
    built: Built, services: Services, member: Member, peers: Peers
) -> None:
    legacy = await store_token(
        services, member.id, instance_url=f"https://{peers[PEER].host}", access_token="old"
    )
    grace = await connect_account(services, peers, PEER, member.id, as_user="grace")
    assert grace.is_new
    with pytest.raises(OtherAccountAuthorized):  # which has a connection of its own
        await connect_account(
            services, peers, PEER, member.id, as_user="grace", platform_connection_id=legacy.id
        )
    again = await connect_account(
        services, peers, PEER, member.id, platform_connection_id=legacy.id
    )
    assert (again.is_new, again.connection.id) == (False, legacy.id)
    kept = await stored_connection(built, legacy.id)
    assert (kept.username, kept.state) == ("ada", ConnectionState.ACTIVE)


@pytest.mark.sqlite_unless_thorough
async def test_another_account_does_not_reconnect_a_connection(
    built: Built, services: Services, member: Member, peers: Peers
) -> None:
    ada = (await connect_account(services, peers, PEER, member.id)).connection
    token = (await stored_connection(built, ada.id)).access_token
    with pytest.raises(OtherAccountAuthorized):
        await connect_account(
            services, peers, PEER, member.id, as_user="grace", platform_connection_id=ada.id
        )
    assert (await stored_connection(built, ada.id)).access_token == token


async def test_two_authorizations_of_one_account_at_once_make_one_connection(
    built: Built, services: Services, member: Member, peers: Peers
) -> None:
    ids = [await authorize_account(services, peers, PEER, member.id) for _ in range(4)]
    added = await asyncio.gather(
        *(services.authorized_accounts.add(caller_of(member.id), each) for each in ids),
        services.pasted_tokens.connect(
            caller_of(member.id),
            instance_url=peers[PEER].host,
            access_token=peers[PEER].records.personal_token(),
        ),
        return_exceptions=True,
    )
    errors = [each for each in added if isinstance(each, BaseException)]
    assert all(isinstance(each, AccountTaken) for each in errors)
    assert len(await names_at_peer(built, peers)) == 1


async def test_checks_and_additions_at_once_do_not_meet_in_one_name(
    built: Built, services: Services, member: Member, peers: Peers
) -> None:
    first = (await connect_account(services, peers, PEER, member.id)).connection
    peers[PEER].records.user("eve")
    with swapped_names(peers):
        authorized = await authorize_account(services, peers, PEER, member.id, as_user="grace")
        await asyncio.gather(
            services.authorized_accounts.add(caller_of(member.id), authorized),
            *(services.account_checks.check(caller_of(member.id), first.id) for _ in range(4)),
        )
    assert sorted(map(str, (await names_at_peer(built, peers)).values())) == ["ada", "grace"]
