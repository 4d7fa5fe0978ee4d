"""Users whom the legacy application did not let in are deactivated by the migration, and listed."""

from pathlib import Path
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import URL

from quart_app.services import Services
from quart_app.services.administration.user_ref import UserRef
from quart_app.settings import Settings
from quart_app.storage.schema import upgrade_schema
from tests.callers import NOBODY
from tests.conftest import ENCRYPTION_KEY, MakeApp, settings_for
from tests.legacy.legacy_database import (
    FIRST,
    LATER,
    PASSWORDS,
    build_legacy_database,
    connected,
)
from tests.legacy.migration_runs import (
    Migrate,
    change,
    migrated,
    state_of,
    without_sessions,
)
from tests.legacy.test_role_column import run

# The migration's other tests run on both engines.
pytestmark = pytest.mark.sqlite_unless_thorough

LOCKED = "UPDATE users SET account_locked = {true} WHERE username IN ('bert', 'carol', 'dora')"
UNVERIFIED = "UPDATE users SET email_verified = {false} WHERE username IN ('bert', 'Carol', 'dora')"
REFUSED = {"locked": ["bert", "carol"], "unverified": ["Carol"]}  # dora is inactive anyway


def retyped(column: str, type_: str, values: str) -> list[str]:
    """Give a column another type, with values from an expression of the old ones."""
    return [
        f"ALTER TABLE users RENAME COLUMN {column} TO former",
        f"ALTER TABLE users ADD COLUMN {column} {type_}",
        f"UPDATE users SET {column} = {values}",  # noqa: S608 our own words
        "ALTER TABLE users DROP COLUMN former",
    ]


# Variations of both columns that should not change the result.
KINDS: dict[str, list[str]] = {
    "booleans": [],
    "null for no": ["UPDATE users SET account_locked = NULL WHERE username IN ('ada', 'Carol')"],
    "null for not verified": [
        "UPDATE users SET email_verified = NULL WHERE username IN ('bert', 'Carol', 'dora')"
    ],
    "integers": [
        *retyped("account_locked", "INTEGER", "CASE WHEN former THEN 1 ELSE 0 END"),
        *retyped("email_verified", "INTEGER", "CASE WHEN former THEN 1 ELSE 0 END"),
    ],
    "text": [
        *retyped("account_locked", "TEXT", "CASE WHEN former THEN ' True' ELSE 'FALSE' END"),
        *retyped("email_verified", "TEXT", "CASE WHEN former THEN 't' ELSE '' END"),
    ],
    "capitals": [
        'ALTER TABLE users RENAME COLUMN account_locked TO "Account_Locked"',
        'ALTER TABLE users RENAME COLUMN email_verified TO "EMAIL_VERIFIED"',
    ],
}


def build(url: URL, kind: str = "booleans") -> None:
    build_legacy_database(url, encryption_key=ENCRYPTION_KEY, form=LATER)
    is_sqlite = url.get_backend_name() == "sqlite"
    words = {"true": "1", "false": "0"} if is_sqlite else {"true": "true", "false": "false"}
    change(url, *(each.format(**words) for each in (LOCKED, UNVERIFIED)), *KINDS[kind])


def is_active(url: URL) -> dict[str, Any]:
    with connected(url) as execute:
        return {
            name: None if value is None else bool(value)
            for name, value in execute("SELECT username, is_active FROM users")
        }


@pytest.fixture
def later_url(empty_database_url: URL) -> URL:
    """A legacy database with locked and unverified users."""
    build(empty_database_url)
    return empty_database_url


async def log_in(app: Quart, name: str) -> int:
    given = {"username": name, "password": PASSWORDS[name]}
    status: int = (await app.test_client().post("/api/login", json=given)).status_code
    return status


@pytest.mark.parametrize("kind", KINDS)
def test_the_migration_counts_lists_and_deactivates_refused_users(
    empty_database_url: URL, migrate: Migrate, tmp_path: Path, kind: str
) -> None:
    url = empty_database_url
    build(url, kind)
    before = state_of(url)
    checked = migrate(url, "--check")
    assert checked.code == 4
    rehearsed = migrate(url, "--dry-run", "--no-backup")
    assert rehearsed.code == 0, rehearsed.complained
    assert state_of(url) == before
    backup = tmp_path / "b"
    ended = migrate(url, "--yes", "--backup", backup)
    assert ended.code == 0, ended.complained
    for each in (checked, rehearsed, ended):
        assert "locked, 2: bert, carol\n" in each.said
        assert "not verified, 1: Carol\n" in each.said
        assert "user activate NAME" in each.said
    assert "Inactive now: 3 users" in ended.said
    active = is_active(url)
    assert {name for name in active if active[name] is False} == {"bert", "carol", "Carol"}
    assert active["dora"] is None
    assert migrate(url, "--yes", "--restore", backup).code == 0
    assert state_of(url) == before  # including is_active


def test_the_report_lists_every_refused_user(later_url: URL, migrate: Migrate) -> None:
    report = migrate(later_url, "--yes", "--json", "--no-backup").report
    assert report["plan"]["refused"] == REFUSED
    assert report["refused"] == REFUSED


async def test_db_upgrade_deactivates_and_lists_them_too(later_url: URL) -> None:
    said = await run(settings_for(later_url), "db", "upgrade")
    assert "locked, 2: bert, carol\n" in said
    assert "not verified, 1: Carol\n" in said
    assert "locked, 2" not in await run(settings_for(later_url), "db", "upgrade")


@pytest.fixture
async def database_url(later_url: URL) -> URL:
    """The same database, adopted."""
    await upgrade_schema(later_url)
    return later_url


async def test_they_can_log_in_after_an_administrator_activates_them(
    app: Quart, services: Services
) -> None:
    assert await log_in(app, "ada") == 200
    for name in ("bert", "carol", "Carol", "dora"):
        assert await log_in(app, name) == 401
    await services.users.activate(NOBODY, UserRef.by_name("bert"))
    assert await log_in(app, "bert") == 200


async def test_an_administrators_decision_survives_the_migration(
    database_url: URL, services: Services, tmp_path: Path
) -> None:
    await services.users.activate(NOBODY, UserRef.by_name("bert"))
    await services.users.deactivate(NOBODY, UserRef.by_name("carol"))
    assert (await migrated(database_url, "--yes", "--backup", tmp_path / "b")).code == 0
    active = is_active(database_url)
    assert (active["bert"], active["carol"], active["Carol"]) == (True, False, False)
    assert (await migrated(database_url, "--yes", "--restore", tmp_path / "b")).code == 0
    active = is_active(database_url)
    assert (active["bert"], active["carol"], active["Carol"]) == (True, False, True)
    # After a restoration and another migration, the legacy application's flags count again.
    change(database_url, "UPDATE users SET account_locked = email_verified WHERE username = 'ada'")
    assert (await migrated(database_url, "--yes", "--backup", tmp_path / "c")).code == 0
    active = is_active(database_url)
    assert (active["ada"], active["bert"], active["Carol"]) == (False, False, False)


async def test_a_restoration_lets_nobody_log_in_here_who_was_refused(
    app: Quart, services: Services, database_url: URL, tmp_path: Path
) -> None:
    assert (await migrated(database_url, "--yes", "--backup", tmp_path / "b")).code == 0
    assert (await migrated(database_url, "--yes", "--restore", tmp_path / "b")).code == 0
    assert is_active(database_url)["bert"] is True  # the older application's value
    for name in ("bert", "carol", "Carol", "dora"):
        assert await log_in(app, name) == 401
    assert await log_in(app, "ada") == 200
    users = await services.users.everybody(NOBODY)
    assert {each.username for each in users if each.is_active} == {"ada", "fred", "Ζωή 李 ولد"}
    await services.users.activate(NOBODY, UserRef.by_name("bert"))
    assert await log_in(app, "bert") == 200


async def test_another_migration_decides_again(
    services: Services, database_url: URL, tmp_path: Path
) -> None:
    assert (await migrated(database_url, "--yes", "--backup", tmp_path / "b")).code == 0
    await services.user_passwords.set(NOBODY, UserRef.by_name("Carol"), "another password by Carol")
    ended = await migrated(database_url, "--yes", "--restore", tmp_path / "b", "--json")
    assert ended.report["given_back"]["without_hash"] == ["Carol"]
    assert ended.report["given_back"]["refused"] == ["Carol"]
    # The older application locks ada, and unlocks bert, whose address is not verified.
    change(
        database_url,
        "UPDATE users SET account_locked = email_verified, email_verified = account_locked"
        " WHERE username IN ('ada', 'bert')",
        "UPDATE users SET email_verified = account_locked WHERE username = 'bert'",
    )
    checked = await migrated(database_url, "--check", "--json")
    ended = await migrated(database_url, "--yes", "--backup", tmp_path / "c", "--json")
    for report in (checked.report["plan"], ended.report):
        assert report["refused"] == {"locked": ["ada", "carol"], "unverified": ["Carol", "bert"]}
    assert not {"ada", "carol", "Carol", "bert"} & {
        name for name, value in is_active(database_url).items() if value
    }


def test_the_plan_names_only_users_who_can_log_in_again(later_url: URL, migrate: Migrate) -> None:
    """Of ada, bert and Ζωή, who have sessions, bert is locked."""
    ended = migrate(later_url, "--check")
    assert "2 users must log in again: ada, Ζωή 李 ولد\n" in ended.said
    change(later_url, "UPDATE users SET is_active = NULL WHERE username = 'ada'")
    assert "1 user must log in again: Ζωή 李 ولد\n" in migrate(later_url, "--check").said


async def test_after_a_restoration_users_who_can_not_log_in_are_named_as_such(
    services: Services, database_url: URL, tmp_path: Path
) -> None:
    assert (await migrated(database_url, "--yes", "--backup", tmp_path / "b")).code == 0
    for name in ("ada", "bert"):
        await services.user_passwords.set(
            NOBODY, UserRef.by_name(name), f"another password by {name}"
        )
    said = (await migrated(database_url, "--yes", "--restore", tmp_path / "b")).said
    assert "another password here: ada, bert\n" in said
    assert "1 of these can't log in there anyway" in said
    assert "not verified or inactive: bert\n" in said


async def test_a_user_created_here_is_not_refused(
    empty_database_url: URL, make_app: MakeApp
) -> None:
    """Their address never had to be verified: the column is null, or false by default."""
    url = empty_database_url
    build(url)
    await upgrade_schema(url)
    settings: Settings = settings_for(url)
    app = await make_app(settings)
    assert await log_in(app, "ada") == 200  # the hash is managed here from now on
    await run(settings, "user", "create", "cleo", "cleo@example.com", "--link")
    change(url, "UPDATE users SET email_verified = NULL WHERE username = 'ada'")
    assert (await migrated(url, "--yes", "--no-backup")).code == 0
    assert (is_active(url)["cleo"], is_active(url)["ada"]) == (True, True)


@pytest.mark.parametrize("column", ["account_locked", "email_verified"])
def test_a_missing_column_refuses_nobody(later_url: URL, migrate: Migrate, column: str) -> None:
    change(later_url, f"ALTER TABLE users DROP COLUMN {column}")
    report = migrate(later_url, "--yes", "--json", "--no-backup").report
    assert (
        report["refused"]
        == {
            "account_locked": {"locked": [], "unverified": ["Carol", "bert"]},
            "email_verified": {"locked": ["bert", "carol"], "unverified": []},
        }[column]
    )


def test_nothing_is_printed_without_both_columns(empty_database_url: URL, migrate: Migrate) -> None:
    build_legacy_database(empty_database_url, encryption_key=ENCRYPTION_KEY, form=FIRST)
    before = state_of(empty_database_url)
    ended = migrate(empty_database_url, "--yes", "--no-backup")
    assert (ended.code, "Inactive" in ended.said) == (0, False)
    assert state_of(empty_database_url) == without_sessions(before)


def test_a_name_with_terminal_control_characters_is_escaped(
    later_url: URL, migrate: Migrate
) -> None:
    change(later_url, "UPDATE users SET username = 'b\x1b[2Jert' WHERE username = 'bert'")
    ended = migrate(later_url, "--check")
    assert "b\\x1b[2Jert" in ended.said
    assert "\x1b" not in ended.said
