"""After --restore the legacy logins work, until --no-return deletes the hashes they need."""

from pathlib import Path
from typing import Any

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import URL
from werkzeug.security import check_password_hash

from quart_app.model import Role
from quart_app.services import Services
from quart_app.services.administration.user_ref import UserRef
from tests.callers import NOBODY, caller_of
from tests.conftest import ENCRYPTION_KEY, settings_for
from tests.legacy.legacy_database import PASSWORDS, build_legacy_database, connected, snapshot
from tests.legacy.migration_runs import Migrate, change, migrated, state_of
from tests.legacy.test_role_column import run

NEW_PASSWORD = "another password by ada"
NO_RETURN = ("--yes", "--no-return")


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return tmp_path / "sessions.backup"


@pytest.fixture
async def database_url(empty_database_url: URL, backup: Path) -> URL:
    """A migrated database, and its `backup`."""
    build_legacy_database(empty_database_url, encryption_key=ENCRYPTION_KEY)
    assert (await migrated(empty_database_url, "--yes", "--backup", backup)).code == 0
    return empty_database_url


def user(url: URL, name: str) -> dict[str, Any]:
    columns, rows = snapshot(url)["users"]
    users = [dict(zip(columns, row, strict=True)) for row in rows]
    (found,) = [each for each in users if each["username"] == name]
    return found


def hashes(url: URL) -> dict[str, str]:
    return {name: user(url, name)["password_hash"] for name in PASSWORDS}


def legacy_login_works(url: URL, name: str, password: str | None = None) -> bool:
    return check_password_hash(user(url, name)["password_hash"], password or PASSWORDS[name])


async def log_in(app: Quart, name: str, password: str | None = None) -> Client:
    client = app.test_client()
    given = {"username": name, "password": password or PASSWORDS[name]}
    answer = await client.post("/api/login", json=given)
    assert answer.status_code == 200, await answer.get_data(as_text=True)
    return client


async def test_a_user_who_logged_in_here_can_log_in_to_the_legacy_application_again(
    app: Quart, database_url: URL, backup: Path
) -> None:
    before = hashes(database_url)
    for name in ("ada", "bert", "Ζωή 李 ولد"):
        for _ in range(2):
            await log_in(app, name)
        assert user(database_url, name)["password_hash"].startswith("$argon2id$")
    assert hashes(database_url) != before
    rehearsed = await migrated(database_url, "--dry-run", "--restore", backup)
    assert "Password hashes given back: 3" in rehearsed.said
    ended = await migrated(database_url, "--yes", "--restore", backup)
    assert "Password hashes given back: 3" in ended.said, ended.complained
    assert "can't read" not in ended.said
    assert hashes(database_url) == before
    assert legacy_login_works(database_url, "ada")
    assert user(database_url, "ada")["legacy_password_hash"] is None
    assert "Nothing to do" in (await migrated(database_url, "--yes", "--restore", backup)).said
    # A later run carries back the users who log in here after that.
    await log_in(app, "ada")
    assert (await migrated(database_url, "--yes", "--restore", backup)).code == 0
    assert hashes(database_url) == before


async def test_the_legacy_hash_logs_nobody_in_here(app: Quart, database_url: URL) -> None:
    """The legacy hash is stored beside the new one and never compared."""
    await log_in(app, "ada")
    other = user(database_url, "bert")["password_hash"]
    change(database_url, f"UPDATE users SET legacy_password_hash = '{other}' WHERE id = 1")  # noqa: S608
    given = {"username": "ada", "password": PASSWORDS["bert"]}
    assert (await app.test_client().post("/api/login", json=given)).status_code == 401


@pytest.mark.sqlite_unless_thorough
@pytest.mark.parametrize(
    "how", ["changes", "is reset", "is reset by a link", "is replaced at login"]
)
async def test_the_legacy_hash_is_deleted_with_the_password(
    app: Quart, services: Services, database_url: URL, backup: Path, how: str
) -> None:
    ada = await log_in(app, "ada")
    await log_in(app, "bert")
    assert user(database_url, "ada")["legacy_password_hash"]
    if how == "changes":
        given = {"current_password": PASSWORDS["ada"], "new_password": NEW_PASSWORD}
        assert (await ada.post("/api/account/password", json=given)).status_code == 204
    elif how == "is reset":
        await services.user_passwords.set(NOBODY, UserRef.by_name("ada"), NEW_PASSWORD)
    elif how == "is reset by a link":
        link = await services.user_passwords.make_reset_link(NOBODY, UserRef.by_name("ada"))
        given = {"token": link.url.partition("token=")[2], "new_password": NEW_PASSWORD}
        assert (await ada.post("/reset", form=given)).status_code == 303
    else:
        change(database_url, "UPDATE users SET must_change_password = (1 = 1) WHERE id = 1")
        given = {"username": "ada", "password": PASSWORDS["ada"], "new_password": NEW_PASSWORD}
        assert (await app.test_client().post("/api/login", json=given)).status_code == 200
    assert user(database_url, "ada")["legacy_password_hash"] is None
    assert user(database_url, "bert")["legacy_password_hash"]
    await log_in(app, "ada", NEW_PASSWORD)
    await services.users.create(
        NOBODY, username="cleo", email="c@example.com", role=Role.VIEWER, password=NEW_PASSWORD
    )
    ended = await migrated(database_url, "--yes", "--restore", backup)
    assert ended.code == 0, ended.complained
    assert "can't read the passwords of 2 users" in ended.said
    assert "ada, cleo\n" in ended.said
    assert "user passwd NAME --for-legacy" in ended.said
    said = await run(settings_for(database_url), "user", "passwd", "ada", "--for-legacy")
    generated = said.rpartition(": ")[2].strip()
    assert legacy_login_works(database_url, "ada", generated)


async def test_a_hash_that_the_legacy_application_changed_is_kept(
    app: Quart, database_url: URL
) -> None:
    await log_in(app, "ada")
    theirs = user(database_url, "bert")["password_hash"]
    change(database_url, f"UPDATE users SET password_hash = '{theirs}' WHERE id = 1")  # noqa: S608
    await log_in(app, "ada", PASSWORDS["bert"])
    assert user(database_url, "ada")["legacy_password_hash"] == theirs


async def test_no_return_deletes_the_legacy_hashes_and_keeps_no_new_ones(
    app: Quart, database_url: URL, backup: Path
) -> None:
    await log_in(app, "ada")
    old = user(database_url, "ada")["legacy_password_hash"]
    assert (await migrated(database_url, "--no-return")).code == 2  # without a terminal to ask on
    checked = await migrated(database_url, "--check", "--no-return")
    assert (checked.code, "1 password hash that only" in checked.said) == (4, True)
    assert (await migrated(database_url, "--dry-run", "--no-return")).code == 0
    assert user(database_url, "ada")["legacy_password_hash"] == old
    report = (await migrated(database_url, *NO_RETURN, "--json")).report
    assert (report["outcome"], report["hashes"]) == ("done", {"kept": 1, "to_come": 6})
    for arguments in (NO_RETURN, ("--check", "--no-return")):
        ended = await migrated(database_url, *arguments)
        assert (ended.code, ended.said.startswith("Nothing to do: ")) == (0, True)
    await log_in(app, "bert")
    assert not user(database_url, "ada")["legacy_password_hash"]
    assert not user(database_url, "bert")["legacy_password_hash"]
    assert str(backup) in (await migrated(database_url, "--check")).said
    ended = await migrated(database_url, "--yes", "--restore", backup)
    assert "ada, bert\n" in ended.said
    with connected(database_url) as execute:
        assert execute("SELECT count(*) FROM users WHERE legacy_password_hash IS NOT NULL") == [
            (0,)
        ]


@pytest.mark.parametrize("engine_name", ["postgresql"])
@pytest.mark.parametrize("task", ["--no-return", "--restore"])
async def test_a_lost_answer_to_the_commit_is_reported(
    app: Quart, database_url: URL, backup: Path, task: str
) -> None:
    """The connection closes while the server commits, so that the outcome is unknown."""
    await log_in(app, "ada")
    with connected(database_url) as execute:
        execute(
            "CREATE FUNCTION lost() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'"
        )
        execute(
            "CREATE CONSTRAINT TRIGGER lost AFTER UPDATE ON users DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION lost()"
        )
    more = [task] if task == "--no-return" else [task, backup]
    ended = await migrated(database_url, "--yes", *more)
    assert ended.code == 1
    assert "The server's answer to the commit was lost: " in ended.complained
    assert "rolled back" not in ended.complained


@pytest.mark.parametrize(
    "more",
    [["--restore", "x"], ["--backup", "x"], ["--no-backup"], ["--carry-over-active-platform"]],
)
@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_no_return_cannot_be_combined_with_another_task(
    empty_database_url: URL, migrate: Migrate, more: list[str]
) -> None:
    assert migrate(empty_database_url, *NO_RETURN, *more).code == 2


def test_no_return_has_nothing_to_delete_before_the_migration(
    legacy_url: URL, migrate: Migrate
) -> None:
    before = state_of(legacy_url)
    ended = migrate(legacy_url, *NO_RETURN)
    assert (ended.code, "is still there. Migrate the database first" in ended.complained) == (
        3,
        True,
    )
    assert state_of(legacy_url) == before


# --- the default platform ------------------------------------------------------------------------


def marked(url: URL) -> dict[int, Any]:
    with connected(url) as execute:
        return dict(execute("SELECT id, is_default FROM platform_connections"))


async def test_the_default_is_carried_back_on_request(
    services: Services, database_url: URL, backup: Path
) -> None:
    before = marked(database_url)
    await services.platforms.make_default(caller_of(1), 3)
    assert (await migrated(database_url, "--yes", "--restore", backup)).code == 0
    assert marked(database_url) == before
    arguments = ("--yes", "--restore", backup, "--carry-back-default-platform")
    ended = await migrated(database_url, *arguments)
    assert (ended.code, "carried back: 3 rows changed" in ended.said) == (0, True)
    # ada changes from 2 to 3; zoe had two; fred has none and keeps the one he had.
    assert {id_ for id_, is_default in marked(database_url).items() if is_default} == {3, 4}
    assert marked(database_url)[6] is None
    assert (
        (await migrated(database_url, *arguments)).said.splitlines()[-1].startswith("Nothing to do")
    )


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_only_a_restoration_carries_a_default_back(legacy_url: URL, migrate: Migrate) -> None:
    ended = migrate(legacy_url, "--yes", "--carry-back-default-platform")
    assert (ended.code, "can only be used with --restore" in ended.complained) == (2, True)
