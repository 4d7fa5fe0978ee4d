"""Keys are tried on stored credentials, and refused only if no key decrypts any of them."""

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import URL

from quart_app.composition import build_services
from quart_app.errors import Unavailable
from quart_app.services.platforms import sealed_credentials
from quart_app.services.platforms.sealed_credentials import WrongEncryptionKey, refuse_new_key
from quart_app.settings import with_setting
from quart_app.storage.database import Database
from tests.conftest import ENCRYPTION_KEY, Member, settings_for
from tests.legacy.legacy_database import build_legacy_database, connected

OTHER = Fernet.generate_key().decode()
WITH_CONNECTIONS = pytest.mark.usefixtures("member")


async def check(url: URL, *keys: str) -> str | None:
    built = build_services(with_setting(settings_for(url), platform_encryption_keys=keys))
    try:
        return await built.services.sealed_credentials.check()
    finally:
        await built.close()


def store(url: URL, platform_connection_id: int, access_token: str) -> None:
    with connected(url) as execute:
        execute(
            f"UPDATE platform_connections SET access_token = '{access_token}'"  # noqa: S608 ours
            f" WHERE id = {platform_connection_id}"
        )


@WITH_CONNECTIONS
async def test_a_matching_key_is_not_reported(database_url: URL) -> None:
    assert await check(database_url, ENCRYPTION_KEY) is None
    assert await check(database_url, OTHER, ENCRYPTION_KEY) is None


@WITH_CONNECTIONS
async def test_keys_that_decrypt_nothing_are_refused(database_url: URL) -> None:
    with pytest.raises(WrongEncryptionKey, match=r"decrypts none .* \(3 tried\)"):
        await check(database_url, OTHER, Fernet.generate_key().decode())


@pytest.mark.parametrize("which", [0, 1, 2])
async def test_a_single_credential_of_a_lost_key_causes_a_warning(
    database_url: URL, member: Member, which: int
) -> None:
    sealed = Fernet(OTHER).encrypt(b"a token").decode()
    store(database_url, member.platform_ids[which], sealed)
    warning = await check(database_url, ENCRYPTION_KEY)
    assert warning is not None
    assert "does not decrypt 1 of 3" in warning


@pytest.mark.parametrize("access_token", ["", "a token that was never sealed", "gAAAA"])
async def test_unencrypted_credentials_say_nothing_about_a_key(
    database_url: URL, member: Member, access_token: str
) -> None:
    for platform_connection_id in member.platform_ids:
        store(database_url, platform_connection_id, access_token)
    assert await check(database_url, OTHER) is None


@pytest.mark.parametrize("column", ["client_key", "client_secret"])
async def test_keys_are_tried_on_every_secret_of_a_connection(
    database_url: URL, member: Member, column: str
) -> None:
    for platform_connection_id in member.platform_ids:
        store(database_url, platform_connection_id, "")
    sealed = Fernet(ENCRYPTION_KEY).encrypt(b"a secret").decode()
    with connected(database_url) as execute:
        execute(f"UPDATE platform_connections SET {column} = '{sealed}' WHERE id = 1")  # noqa: S608
    with pytest.raises(WrongEncryptionKey, match=r"\(1 tried\)"):
        await check(database_url, OTHER)


async def test_keys_are_tried_on_refresh_tokens(database_url: URL, member: Member) -> None:
    sealed = Fernet(OTHER).encrypt(b"a token").decode()
    with connected(database_url) as execute:
        execute(
            "INSERT INTO platform_accounts"  # noqa: S608 ours
            " (platform_connection_id, failed_checks, refresh_token)"
            f" VALUES ({member.platform_ids[0]}, 0, '{sealed}')"
        )
    warning = await check(database_url, ENCRYPTION_KEY)
    assert warning is not None
    assert "does not decrypt 1 of 4" in warning


async def test_only_the_newest_and_the_oldest_of_many_credentials_are_tried(
    database_url: URL, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed_credentials, "TRIED_AT_EITHER_END", 1)
    store(database_url, member.platform_ids[1], Fernet(OTHER).encrypt(b"a token").decode())
    assert await check(database_url, ENCRYPTION_KEY) is None
    with pytest.raises(WrongEncryptionKey, match=r"2 tried"):
        await check(database_url, OTHER)


async def test_a_database_without_tables_accepts_any_key(empty_database_url: URL) -> None:
    with connected(empty_database_url) as execute:
        execute("CREATE TABLE something_else (id INTEGER)")
    with pytest.raises(Unavailable):  # before the set-up; the start continues
        await check(empty_database_url, OTHER)
    await _refuse(empty_database_url)


async def test_no_new_key_is_generated_beside_encrypted_credentials(
    empty_database_url: URL,
) -> None:
    build_legacy_database(empty_database_url, encryption_key=ENCRYPTION_KEY)
    with pytest.raises(WrongEncryptionKey, match="is missing, and a new key could not decrypt"):
        await _refuse(empty_database_url)
    with connected(empty_database_url) as execute:
        execute("DELETE FROM platform_connections")
    await _refuse(empty_database_url)


async def _refuse(url: URL) -> None:
    database = Database(url)
    try:
        await refuse_new_key(database)
    finally:
        await database.close()
