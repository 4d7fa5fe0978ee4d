"""All stored secrets are sealed again with the newest key, beside running processes."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import URL, text

from quart_app.composition import Built, build_services
from quart_app.model import Base
from quart_app.services import Services
from quart_app.services.platforms import key_rotation
from quart_app.services.platforms.credentials import Credentials
from quart_app.services.platforms.sealed_credentials import WrongEncryptionKey
from quart_app.settings import Settings, with_setting
from quart_app.storage import sealed_secrets
from tests.callers import caller_of
from tests.conftest import ENCRYPTION_KEY, Clock, Member, settings_for
from tests.peers.connecting import authorize_account, connect_account, stored_connection
from tests.peers.fixtures import Peers, reaching

NEW = Fernet.generate_key().decode()
LOST = Fernet.generate_key().decode()


@pytest.fixture
def settings(database_url: URL, running_peers: Peers) -> Settings:
    return reaching(settings_for(database_url), running_peers)


@contextmanager
def with_keys(settings: Settings, clock: Clock, *keys: str) -> Iterator[Built]:
    yield build_services(with_setting(settings, platform_encryption_keys=keys), clock=clock.seconds)


async def every_token(built: Built) -> list[str]:
    """Return every Fernet token in any column of the database."""
    found = []
    async with built.database.read() as db:
        for table in Base.metadata.tables.values():
            for row in await db.execute(table.select()):
                found += [
                    value
                    for value in row
                    if isinstance(value, str) and re.match("gAAAAA[A-Za-z0-9_-]{60,}", value)
                ]
    return found


async def prepare(services: Services, member: Member, peers: Peers) -> int:
    """Fill every column that holds a secret; return the id of a connection."""
    connection = (await connect_account(services, peers, "akkoma", member.id)).connection
    await authorize_account(services, peers, "akkoma", member.id, as_user="grace")
    return connection.id


def no_progress(_done: int, _of: int) -> None:
    """Show nothing."""


async def test_the_application_works_with_the_new_key_alone_afterwards(
    settings: Settings,
    built: Built,
    member: Member,
    peers: Peers,
    *,
    clock: Clock,
) -> None:
    platform_connection_id = await prepare(built.services, member, peers)
    before = await every_token(built)
    with with_keys(settings, clock, NEW, ENCRYPTION_KEY) as both:
        seen: list[tuple[int, int]] = []
        rotated = await both.services.key_rotation.rotate(lambda *each: seen.append(each))
        again = await both.services.key_rotation.rotate(no_progress)
        await both.close()
    assert (rotated.resealed, rotated.unopened) == (len(before), 0)
    assert (again.resealed, again.sealed_before) == (0, len(before))
    assert seen[-1][0] == seen[-1][1]
    alone = Credentials((NEW,))
    after = await every_token(built)
    assert len(after) == len(before)
    assert all(alone.unseal(token) is not None for token in after)
    with with_keys(settings, clock, NEW) as new:
        result = await new.services.account_checks.check(
            caller_of(member.id), platform_connection_id
        )
        assert result.account is not None
        assert await new.services.sealed_credentials.check() is None
        await new.close()
    with with_keys(settings, clock, ENCRYPTION_KEY) as old:
        with pytest.raises(WrongEncryptionKey):
            await old.services.sealed_credentials.check()
        await old.close()


async def test_a_rotation_that_was_stopped_is_finished_by_the_next(
    settings: Settings,
    built: Built,
    member: Member,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(key_rotation, "_ROWS_AT_ONCE", 1)

    def stop(done: int, _of: int) -> None:
        if done == len(member.platform_ids) - 1:
            raise KeyboardInterrupt

    with with_keys(settings, clock, NEW, ENCRYPTION_KEY) as both:
        with pytest.raises(KeyboardInterrupt):
            await both.services.key_rotation.rotate(stop)
        sealed = [Credentials((NEW,)).unseal(token) for token in await every_token(built)]
        assert sorted(token is None for token in sealed) == [False, False, True]
        rotated = await both.services.key_rotation.rotate(no_progress)
        await both.close()
    assert (rotated.resealed, rotated.sealed_before) == (1, 2)


async def test_a_token_that_is_replaced_meanwhile_is_kept(
    settings: Settings,
    built: Built,
    member: Member,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = member.platform_ids[0]
    with with_keys(settings, clock, NEW, ENCRYPTION_KEY) as both:
        newer = both.services.platforms.credentials.seal("another token")
        rows_of_secrets = sealed_secrets.rows_of_secrets

        async def read_and_replace(*args: Any, **options: Any) -> object:
            rows = await rows_of_secrets(*args, **options)
            async with built.database.begin() as db:
                await db.execute(
                    text("UPDATE platform_connections SET access_token = :t WHERE id = :id"),
                    {"t": newer, "id": first},
                )
            return rows

        monkeypatch.setattr(sealed_secrets, "rows_of_secrets", read_and_replace)
        rotated = await both.services.key_rotation.rotate(no_progress)
        await both.close()
    assert (rotated.resealed, rotated.sealed_before) == (2, 1)
    assert (await stored_connection(built, first)).access_token == newer


async def test_secrets_of_a_lost_key_are_counted_and_their_connections_named(
    settings: Settings, built: Built, member: Member, clock: Clock
) -> None:
    second = member.platform_ids[1]
    lost = Fernet(LOST).encrypt(b"a token").decode()
    async with built.database.begin() as db:
        await db.execute(
            text(
                "UPDATE platform_connections SET access_token = :t, client_key = :t,"
                " client_secret = 'never sealed' WHERE id = :id"
            ),
            {"t": lost, "id": second},
        )
    with with_keys(settings, clock, NEW, ENCRYPTION_KEY) as both:
        rotated = await both.services.key_rotation.rotate(no_progress)
        await both.close()
    assert (rotated.resealed, rotated.unopened, rotated.connection_ids) == (2, 2, [second])
    assert (await stored_connection(built, second)).access_token == lost
