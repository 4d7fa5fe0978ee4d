"""The session table is removed, and everything else is unchanged."""

import re
from pathlib import Path
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import URL

from quart_app.settings import Settings, with_setting
from quart_app.storage.schema import newest_revision, upgrade_schema
from tests.callers import caller_of
from tests.conftest import ENCRYPTION_KEY, SECRET_KEY, MakeApp
from tests.legacy.legacy_database import (
    ACCESS_TOKENS,
    PASSWORDS,
    build_legacy_database,
    connected,
    snapshot,
)
from tests.legacy.migration_runs import (
    Migrate,
    bytes_of,
    change,
    end_of,
    start,
    state_of,
    without_sessions,
)


def defaults(url: URL) -> dict[str, int | None]:
    with connected(url) as execute:
        return dict(execute("SELECT username, default_platform_connection_id FROM users"))


def test_everything_but_the_session_table_is_unchanged(
    legacy_url: URL, migrate: Migrate, tmp_path: Path
) -> None:
    before, rows_before = state_of(legacy_url), snapshot(legacy_url)
    ended = migrate(legacy_url, "--yes", "--backup", tmp_path / "sessions.backup")
    assert (ended.code, ended.said.count("Done: ")) == (0, 1), ended.complained
    assert "user_sessions" in before[0]
    assert state_of(legacy_url) == without_sessions(before)
    sums = dict(re.findall(r"(?m)^  (\S+) +\d+ rows? +([0-9a-f]{16})  \2$", ended.said))
    assert set(sums) == set(rows_before) - {"user_sessions"}
    assert defaults(legacy_url)["ada"] == 2


def test_a_second_run_has_nothing_to_do(legacy_url: URL, migrate: Migrate, tmp_path: Path) -> None:
    backup = tmp_path / "sessions.backup"
    assert migrate(legacy_url, "--yes", "--backup", backup).code == 0
    before, bytes_before = state_of(legacy_url), bytes_of(legacy_url)
    for arguments in (["--yes"], ["--check"], ["--dry-run"], ["--yes", "--no-backup"]):
        ended = migrate(legacy_url, *arguments)
        assert ended.code == 0
        assert "Nothing to do: user_sessions (4 rows) was removed at 20" in ended.said
        assert str(backup) in ended.said
    assert (state_of(legacy_url), bytes_of(legacy_url)) == (before, bytes_before)


async def test_after_an_upgrade_only_the_table_remains_to_be_removed(
    legacy_url: URL, tmp_path: Path
) -> None:
    await upgrade_schema(legacy_url)
    before = state_of(legacy_url)

    ended = end_of(start(legacy_url, "--yes", "--json", "--backup", tmp_path / "b"))
    assert ended.report["plan"]["revision"] == newest_revision()
    assert ended.code == 0
    assert state_of(legacy_url) == without_sessions(before)


# --- kinds of databases --------------------------------------------------------------------------


async def test_a_database_that_never_had_the_table_has_nothing_to_remove(
    empty_database_url: URL,
) -> None:

    await upgrade_schema(empty_database_url)
    ended = end_of(start(empty_database_url, "--yes"))
    assert ended.code == 0
    assert "never had the table user_sessions" in ended.said


def test_an_older_database_without_the_table_is_adopted(legacy_url: URL, migrate: Migrate) -> None:
    change(legacy_url, "DROP TABLE user_sessions")
    before = state_of(legacy_url)
    assert migrate(legacy_url, "--check").code == 4
    ended = migrate(legacy_url, "--yes")
    assert ended.code == 0
    assert f"is at revision {newest_revision()}. Everything else" in ended.said
    assert state_of(legacy_url) == before
    assert "never had the table" in migrate(legacy_url, "--yes").said


def test_a_newer_schema_is_refused(legacy_url: URL, migrate: Migrate) -> None:
    change(
        legacy_url,
        "CREATE TABLE quart_app_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)",
        "INSERT INTO quart_app_version VALUES ('9999')",
    )
    before = state_of(legacy_url), bytes_of(legacy_url)
    ended = migrate(legacy_url, "--yes")
    assert ended.code == 3
    assert "revision 9999, which is newer than this code" in ended.complained
    assert (state_of(legacy_url), bytes_of(legacy_url)) == before


def test_an_unrelated_database_is_refused(empty_database_url: URL, migrate: Migrate) -> None:
    change(
        empty_database_url,
        "CREATE TABLE user_sessions (session_id TEXT, user_id INTEGER)",
        "CREATE TABLE users (id INTEGER PRIMARY KEY)",
    )
    before = state_of(empty_database_url), bytes_of(empty_database_url)
    for arguments in (["--yes"], ["--check"], ["--dry-run"]):
        ended = migrate(empty_database_url, *arguments)
        assert ended.code == 3
        assert "it has no table platform_connections" in ended.complained
    assert (state_of(empty_database_url), bytes_of(empty_database_url)) == before


def test_an_empty_database_is_refused(empty_database_url: URL, migrate: Migrate) -> None:
    if empty_database_url.get_backend_name() == "sqlite":
        Path(empty_database_url.database or "").touch()
    before = bytes_of(empty_database_url)
    ended = migrate(empty_database_url, "--yes")
    assert (ended.code, ended.complained.count("database is empty")) == (3, 1)
    assert bytes_of(empty_database_url) == before


# --- legacy users and cookies --------------------------------------------------------------------


@pytest.fixture
def migrated_url(legacy_url: URL, migrate: Migrate, tmp_path: Path) -> URL:
    assert migrate(legacy_url, "--yes", "--backup", tmp_path / "sessions.backup").code == 0
    return legacy_url


@pytest.fixture
def settings(migrated_url: URL) -> Settings:
    """The services of the application over the migrated database."""
    return Settings(
        secret_key=SECRET_KEY,
        platform_encryption_keys=(ENCRYPTION_KEY,),
        database_url=migrated_url,
    )


async def test_legacy_users_log_in_and_keep_their_credentials(
    app: Quart,
) -> None:
    services = app.extensions["quart_app"]
    for name in ("ada", "bert", "Ζωή 李 ولد"):
        answer = await app.test_client().post(
            "/api/login", json={"username": name, "password": PASSWORDS[name]}
        )
        assert answer.status_code == 200
        user_id = (await answer.get_json())["user_id"]
        platforms = await services.platforms.list_of(caller_of(user_id))
        for listed in platforms.items:
            each, _ = await services.platforms.connection(caller_of(user_id), listed.id)
            secret = services.platforms.credentials.unseal(each.access_token)
            assert secret == ACCESS_TOKENS[each.id]


@pytest.mark.parametrize("cookie", ["5a7d2f6e-0000-4000-8000-000000000001", None])
async def test_legacy_cookies_are_refused(
    make_app: MakeApp, settings: Settings, cookie: str | None
) -> None:
    """Cookies from the session table, and cookies that Flask signed with the same key."""
    app = await make_app(with_setting(settings, secret_key_fallbacks=()))
    if cookie is None:
        from flask import Flask  # noqa: PLC0415 what the older application was
        from flask.sessions import SecureCookieSessionInterface  # noqa: PLC0415

        flask = Flask("older")
        flask.secret_key = SECRET_KEY
        serializer = SecureCookieSessionInterface().get_signing_serializer(flask)
        assert serializer is not None
        cookie = str(serializer.dumps({"user_id": 1, "_user_id": "1", "_fresh": True}))
    answer = await app.test_client().get(
        "/api/session_state", headers={"Cookie": f"session={cookie}"}
    )
    assert answer.status_code == 401


# --- --carry-over-active-platform ----------------------------------------------------------------

SESSION = (
    "INSERT INTO user_sessions (session_id, user_id, {column}, created_at, updated_at) VALUES"
    " ('{id}', {user}, {platform}, '2025-01-01 00:00:00.000000', '{at}')"
)


def session(user: int, platform: int | None, at: str, *, column: str) -> str:
    return SESSION.format(
        column=column, id=f"{user}-{at}", user=user, platform=platform or "NULL", at=at
    )


@pytest.mark.parametrize("column", ["active_platform_id", "platform_connection_id"])
def test_the_last_active_platform_becomes_the_default(
    empty_database_url: URL, migrate: Migrate, tmp_path: Path, column: str
) -> None:
    url = empty_database_url
    build_legacy_database(url, encryption_key=ENCRYPTION_KEY)
    if column != "active_platform_id":
        change(
            url,
            "DROP TABLE user_sessions",
            "CREATE TABLE user_sessions (session_id VARCHAR(255) NOT NULL, user_id INTEGER,"
            f" {column} INTEGER, created_at TIMESTAMP, updated_at TIMESTAMP)",
        )
    change(
        url,
        *(
            session(*row, column=column)
            for row in [
                (1, 1, "2025-02-01 10:00:00.000000"),
                (1, 3, "2025-03-01 10:00:00.000000"),
                (1, None, "2025-04-01 10:00:00.000000"),  # it acted for none
                (1, 2, "2199-01-01 00:00:00.000000"),  # by a clock that was wrong
                (1, 4, "2025-05-01 10:00:00.000000"),  # somebody else's
                (6, 5, "2025-03-01 10:00:00.000000"),
                (7, 6, "2025-03-01 10:00:00.000000"),  # neither true nor false
            ]
        ),
    )
    before = state_of(url)
    ended = migrate(
        url, "--yes", "--json", "--carry-over-active-platform", "--backup", tmp_path / "b"
    )
    assert ended.code == 0, ended.complained
    found = defaults(url)
    assert {name: value for name, value in found.items() if value is not None} == {
        "ada": 3,
        "Ζωή 李 ولد": 5,
    }
    assert ended.report["defaults_changed"] == 2
    assert state_of(url) == without_sessions(before)  # including is_default


def test_nothing_is_carried_over_if_its_column_is_missing(
    legacy_url: URL, migrate: Migrate
) -> None:
    change(
        legacy_url,
        "DROP TABLE user_sessions",
        "CREATE TABLE user_sessions (session_id VARCHAR(255), user_id INTEGER)",
    )
    before = state_of(legacy_url), bytes_of(legacy_url)
    ended = migrate(legacy_url, "--yes", "--carry-over-active-platform")
    assert (ended.code, "which platform was active" in ended.complained) == (3, True)
    assert (state_of(legacy_url), bytes_of(legacy_url)) == before


# --- --dry-run -----------------------------------------------------------------------------------


def test_a_dry_run_performs_every_step_and_leaves_no_trace(
    legacy_url: URL, migrate: Migrate, tmp_path: Path
) -> None:
    before = state_of(legacy_url), bytes_of(legacy_url)
    ended = migrate(legacy_url, "--dry-run", "--json", "--backup", tmp_path / "b")
    assert ended.code == 0
    report: dict[str, Any] = ended.report
    assert report["message"].startswith("Dry run: ")
    assert len(report["checksums"]) == 9
    assert any("user_sessions" in lock or "whole database" in lock for lock in report["locks"])
    assert not (tmp_path / "b").exists()
    assert (state_of(legacy_url), bytes_of(legacy_url)) == before
