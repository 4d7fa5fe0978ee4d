"""Adopting a legacy database: all of its data is kept."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from quart.typing import TestClientProtocol as Client
from sqlalchemy import URL, Connection, Inspector, func, inspect, select, text

from quart_app.model import Base, PlatformType, Role
from quart_app.services import Services
from quart_app.storage import schema
from quart_app.storage.database import Database
from quart_app.storage.locks import AdvisoryLock
from quart_app.storage.schema import SchemaRefused, newest_revision, upgrade_schema
from quart_app.storage.sqlite import BUSY_TIMEOUT_SECONDS
from tests.callers import NOBODY, caller_of
from tests.conftest import ENCRYPTION_KEY
from tests.legacy.legacy_database import (
    ACCESS_TOKENS,
    DELETED_CONNECTION_ID,
    DELETED_USER_ID,
    PASSWORDS,
    Snapshot,
    build_legacy_database,
    connected,
    schema_of,
    snapshot,
)

pytestmark = pytest.mark.sqlite_unless_thorough

SHARED = {"users", "platform_connections"}
# The tables that we add; the last two exist only on SQLite, where ids would be reused (see
# storage.platforms).
NEW = {
    *("quart_app_version", "revocations", "logins", "audit", "alerts", "throttles", "changes"),
    *("avatars", "platform_accounts", "platform_apps", "platform_authorizations"),
    *("platform_connection_ids", "sqlite_sequence"),
}
# PostgreSQL's sequences: those of the shared tables advance, and have tests of their own.
SEQUENCES = {
    *("users_id_seq", "platform_connections_id_seq"),
    *("revocations_seq_seq", "logins_id_seq", "audit_id_seq", "alerts_id_seq"),
    *("changes_seq_seq", "platform_apps_id_seq", "platform_authorizations_id_seq"),
}
FUNCTIONS = {"audit_refuse"}  # of PostgreSQL's triggers


@pytest.fixture
def legacy_url(empty_database_url: URL) -> URL:
    """A database of the legacy application."""
    build_legacy_database(empty_database_url, encryption_key=ENCRYPTION_KEY)
    return empty_database_url


@pytest.fixture
async def database_url(request: pytest.FixtureRequest, empty_database_url: URL) -> URL:
    """The adopted legacy database, which `app`, `visitor` and `services` use.

    The parameter is a list of statements to run before the adoption; None creates a new database
    instead.
    """
    statements: list[str] | None = getattr(request, "param", [])
    if statements is not None:
        build_legacy_database(empty_database_url, encryption_key=ENCRYPTION_KEY)
        change(empty_database_url, *statements)
    await upgrade_schema(empty_database_url)
    return empty_database_url


FRESH_AND_ADOPTED = pytest.mark.parametrize(
    "database_url", [pytest.param(None, id="fresh"), pytest.param([], id="adopted")], indirect=True
)


def old_values(before: Snapshot, after: Snapshot, table: str) -> list[tuple[Any, ...]]:
    """Return the table's rows after the adoption, with only the columns that it had before."""
    columns, rows = after[table]
    places = [columns.index(name) for name in before[table][0]]
    return sorted((tuple(row[place] for place in places) for row in rows), key=repr)


def without(named: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in named.items() if name not in names}


def change(url: URL, *statements: str) -> None:
    with connected(url) as execute:
        for statement in statements:
            execute(statement)


def defaults(url: URL) -> dict[str, int | None]:
    with connected(url) as execute:
        rows = execute("SELECT username, default_platform_connection_id FROM users")
        return dict(rows)


async def test_every_row_column_and_value_is_kept(legacy_url: URL) -> None:
    before, schema_before = snapshot(legacy_url), schema_of(legacy_url)
    assert await upgrade_schema(legacy_url) == (None, newest_revision())
    after, schema_after = snapshot(legacy_url), schema_of(legacy_url)
    for table in SHARED:
        assert old_values(before, after, table) == before[table][1]
    # user_sessions, the old alembic_version and tables of other programs, unchanged.
    assert without(after, SHARED | NEW) == without(before, SHARED)
    ours = SHARED | NEW | SEQUENCES | FUNCTIONS
    assert without(schema_after, ours) == without(schema_before, ours)
    assert after["quart_app_version"] == (("version_num",), [(newest_revision(),)])


async def test_a_second_upgrade_changes_nothing(database_url: URL) -> None:
    before = snapshot(database_url), schema_of(database_url)
    assert await upgrade_schema(database_url) == (newest_revision(), newest_revision())
    assert (snapshot(database_url), schema_of(database_url)) == before


async def test_the_default_is_the_lowest_connection_that_was_marked(database_url: URL) -> None:
    found = defaults(database_url)
    assert found.pop("ada") == 2
    assert found.pop("Ζωή 李 ولد") == 4  # 5 was marked, too
    assert set(found.values()) == {None}


# --- earlier schemas, and refusals ---------------------------------------------------------------


@pytest.mark.parametrize(
    "lacking",
    [
        "users.last_login",
        "users.role",
        "platform_connections.is_default",
        "platform_connections.client_key",
        "ix_users_email",
        "ix_platform_type_active",
        "uq_user_platform_name",
    ],
)
async def test_only_parts_missing_from_an_earlier_schema_are_added(
    empty_database_url: URL, lacking: str
) -> None:
    url = empty_database_url
    build_legacy_database(url, encryption_key=ENCRYPTION_KEY, without={lacking})
    before, schema_before = snapshot(url), schema_of(url)
    await upgrade_schema(url)
    after = snapshot(url)
    assert without(after, SHARED | NEW) == without(before, SHARED)
    ours = SHARED | NEW | SEQUENCES | FUNCTIONS
    assert without(schema_of(url), ours) == without(schema_before, ours)
    for table in SHARED:
        assert old_values(before, after, table) == before[table][1]
    table, _, column = lacking.rpartition(".")
    if table:
        assert {row[after[table][0].index(column)] for row in after[table][1]} == {None}
    assert column in str(schema_of(url))


async def test_users_from_a_schema_without_is_active_are_active(empty_database_url: URL) -> None:
    url = empty_database_url
    indexes = {"ix_platform_user_active", "ix_platform_type_active"}
    columns = {"users.is_active", "platform_connections.is_active"}
    build_legacy_database(url, encryption_key=ENCRYPTION_KEY, without=indexes | columns)
    await upgrade_schema(url)
    with connected(url) as execute:
        for table in SHARED:
            query = f"SELECT DISTINCT is_active FROM {table}"  # noqa: S608 our own name
            assert execute(query) == [(True,)]


@pytest.mark.parametrize(
    ("state", "name"),
    [
        ("CREATE INDEX ix_users_email ON users (email)", "ix_users_email"),
        ("CREATE UNIQUE INDEX few ON users (email) WHERE id < 3", "ix_users_email"),
        ("CREATE UNIQUE INDEX addresses ON users (email)", "addresses"),
    ],
)
async def test_one_index_keeps_every_address_unique(
    empty_database_url: URL, state: str, name: str
) -> None:
    url = empty_database_url
    build_legacy_database(url, encryption_key=ENCRYPTION_KEY, without={"ix_users_email"})
    change(url, state)
    await upgrade_schema(url)
    indexes = [each for each in schema_of(url)["users"] if "UNIQUE INDEX" in each]
    covering = [each for each in indexes if "email" in each and "WHERE" not in each]
    assert [name in each for each in covering] == [True]


VERSION_TABLE = "CREATE TABLE quart_app_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
FROM_THE_FUTURE = "INSERT INTO quart_app_version VALUES ('9999')"
ADA_TWICE = (
    "INSERT INTO users (id, username, email, password_hash)"
    " VALUES (50, 'ada2', 'ada@example.com', 'x')"
)
NOTES_TWICE = (
    "INSERT INTO platform_connections (id, user_id, name, platform_type, instance_url,"
    " access_token) VALUES (50, 1, 'Notes', 'mastodon', 'https://other.example', 'x')"
)


@pytest.mark.parametrize(
    ("lacking", "statements", "sentence"),
    [
        (set(), ["DROP INDEX ix_users_email", ADA_TWICE], "users have the same email"),
        # The first two add a column before they fail.
        ({"users.last_login", "ix_users_email"}, [ADA_TWICE], "users have the same email"),
        ({"users.role", "uq_user_platform_name"}, [NOTES_TWICE], "the same user_id, name"),
        (
            set(),
            ["ALTER TABLE users RENAME email TO mail"],
            "users is not the older .* lacks email",
        ),
        (
            {"users.role"},
            ["ALTER TABLE platform_connections RENAME access_token TO token"],
            "platform_connections is not the older .* lacks access_token",
        ),
        (
            set(),
            [VERSION_TABLE, FROM_THE_FUTURE],
            "revision 9999, which is newer",
        ),
        (
            set(),
            [VERSION_TABLE, FROM_THE_FUTURE, FROM_THE_FUTURE.replace("9999", "0001")],
            "quart_app_version must have one row, and has 2",
        ),
    ],
)
async def test_a_refused_database_is_unchanged(
    empty_database_url: URL, lacking: set[str], statements: list[str], sentence: str
) -> None:
    url = empty_database_url
    build_legacy_database(url, encryption_key=ENCRYPTION_KEY, without=lacking)
    change(url, *statements)
    before = snapshot(url), schema_of(url)
    with pytest.raises(SchemaRefused, match=sentence):
        await upgrade_schema(url)
    assert (snapshot(url), schema_of(url)) == before


async def test_a_table_without_a_primary_key_is_refused(empty_database_url: URL) -> None:
    change(
        empty_database_url,
        "CREATE TABLE users (id INTEGER, username TEXT, email TEXT, password_hash TEXT)",
    )
    before = schema_of(empty_database_url)
    with pytest.raises(SchemaRefused, match="lacks id as its primary key"):
        await upgrade_schema(empty_database_url)
    assert schema_of(empty_database_url) == before


@pytest.mark.parametrize("name", ["Users", "USERS"])
async def test_a_table_of_ours_in_another_case_is_refused(
    empty_database_url: URL, name: str
) -> None:
    change(empty_database_url, f'CREATE TABLE "{name}" (id INTEGER PRIMARY KEY)')
    before = schema_of(empty_database_url)
    with pytest.raises(SchemaRefused, match=f"{name} must be in lower case: rename it to users"):
        await upgrade_schema(empty_database_url)
    assert schema_of(empty_database_url) == before


TRIGGERS = {
    "sqlite": [
        "CREATE TRIGGER keep BEFORE UPDATE ON users BEGIN SELECT RAISE(ABORT, 'hands off'); END",
    ],
    "postgresql": [
        (
            "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'hands off'; END $$"
        ),
        "CREATE TRIGGER keep BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION keep()",
    ],
}


async def test_an_objecting_triggers_message_is_quoted(legacy_url: URL) -> None:
    change(legacy_url, *TRIGGERS[legacy_url.get_backend_name()])
    before = snapshot(legacy_url), schema_of(legacy_url)
    with pytest.raises(SchemaRefused, match=r"upgraded: hands off\. Nothing was changed"):
        await upgrade_schema(legacy_url)
    assert (snapshot(legacy_url), schema_of(legacy_url)) == before


async def test_a_failure_at_the_very_end_rolls_everything_back(legacy_url: URL) -> None:
    # A column that the second revision adds after the first has finished all of its work.
    change(legacy_url, "ALTER TABLE users ADD COLUMN must_change_password TEXT")
    change(legacy_url, "DROP INDEX ix_users_email")
    before = snapshot(legacy_url), schema_of(legacy_url)
    with pytest.raises(SchemaRefused, match="must_change_password"):
        await upgrade_schema(legacy_url)
    assert (snapshot(legacy_url), schema_of(legacy_url)) == before


UPGRADE_WHEN_TOLD = """
import asyncio, sys
from quart_app.settings import read_database_url
from quart_app.storage.schema import upgrade_schema
print("ready", flush=True)
url = read_database_url(sys.stdin.readline().strip())
print(*asyncio.run(upgrade_schema(url)))
"""


async def test_of_several_concurrent_upgrades_one_runs_and_all_succeed(legacy_url: URL) -> None:
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", UPGRADE_WHEN_TOLD, stdin=pipe, stdout=pipe
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    url = legacy_url.render_as_string(hide_password=False).encode() + b"\n"
    answers = await asyncio.gather(*(process.communicate(url) for process in processes))
    newest = newest_revision()
    said = sorted(output.decode().strip() for output, _ in answers)
    assert said == [f"{newest} {newest}", f"{newest} {newest}", f"None {newest}"]


@asynccontextmanager
async def locked(url: URL) -> AsyncIterator[None]:
    """Hold the lock of an upgrade."""
    database = Database(url)
    try:
        async with database.begin() as db:
            if url.get_backend_name() == "postgresql":
                await db.execute(select(func.pg_advisory_xact_lock(AdvisoryLock.UPGRADE_SCHEMA)))
            else:
                await db.execute(text("SELECT 1"))  # it begins with the first statement
            yield
    finally:
        await database.close()


async def test_an_upgrade_waits_longer_for_its_lock_than_other_transactions(
    legacy_url: URL,
) -> None:
    async with locked(legacy_url):
        upgrading = asyncio.create_task(upgrade_schema(legacy_url))
        await asyncio.sleep(BUSY_TIMEOUT_SECONDS + 1)
        assert not upgrading.done()
    assert await upgrading == (None, newest_revision())


async def test_an_upgrade_that_waits_in_vain_says_so_and_changes_nothing(
    legacy_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "WAIT_FOR_LOCK_SECONDS", 1)
    before = snapshot(legacy_url), schema_of(legacy_url)
    async with locked(legacy_url):
        with pytest.raises(SchemaRefused, match="another program has held its lock for 1 seconds"):
            await upgrade_schema(legacy_url)
    assert (snapshot(legacy_url), schema_of(legacy_url)) == before


# --- the resulting schema ------------------------------------------------------------------------


async def in_database(url: URL, look: Any) -> Any:
    database = Database(url)
    try:
        async with database.read() as db:
            return await (await db.connection()).run_sync(look)
    finally:
        await database.close()


def differences(connection: Connection) -> list[Any]:
    """Return how our tables differ from the models; tables that the models lack belong to others.

    That also leaves out NEW: Alembic's own table and the single row that a trigger maintains.
    SQLAlchemy doesn't see ON DELETE on a key that was added with its column on SQLite, so the key
    seems to differ; test_a_removed_default_is_no_users_default shows that it does not.
    """
    context = MigrationContext.configure(
        connection,
        opts={
            "compare_type": True,
            "compare_server_default": True,
            "include_name": lambda name, kind, _: kind != "table" or name in Base.metadata.tables,
        },
    )
    unseen = ["default_platform_connection_id"] if connection.dialect.name == "sqlite" else None
    return [
        each
        for each in compare_metadata(context, Base.metadata)
        if each[0] not in {"add_fk", "remove_fk"} or each[1].column_keys != unseen
    ]


def columns_and_indexes(connection: Connection) -> dict[str, Any]:
    inspector = inspect(connection)
    return {
        table: {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"], column["default"])
                for column in inspector.get_columns(table)
            },
            "indexes": indexes(inspector, table),
            "foreign keys": sorted(map(repr, inspector.get_foreign_keys(table))),
            "primary key": inspector.get_pk_constraint(table)["constrained_columns"],
        }
        for table in sorted(SHARED | NEW)
        if inspector.has_table(table)
    }


def indexes(inspector: Inspector, table: str) -> set[tuple[Any, ...]]:
    """Return indexes and unique constraints alike: SQLite adds a missing constraint as an index."""
    state: list[Any] = [*inspector.get_indexes(table), *inspector.get_unique_constraints(table)]
    return {(each["name"], *each["column_names"], each.get("unique", True)) for each in state}


@FRESH_AND_ADOPTED
async def test_the_schema_matches_the_models(database_url: URL) -> None:
    assert await in_database(database_url, differences) == []


@pytest.mark.parametrize("lacking", [set(), {"users.last_login"}, {"uq_user_platform_name"}])
async def test_a_fresh_and_an_adopted_database_have_the_same_schema(
    empty_database_url: URL, lacking: set[str]
) -> None:
    url = empty_database_url
    await upgrade_schema(url)
    fresh = await in_database(url, columns_and_indexes)
    make_empty(url)
    build_legacy_database(url, encryption_key=ENCRYPTION_KEY, without=lacking)
    await upgrade_schema(url)
    assert await in_database(url, columns_and_indexes) == fresh


def make_empty(url: URL) -> None:
    if url.get_backend_name() == "sqlite":
        Path(str(url.database)).unlink()
    else:
        change(url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")


# --- ids -----------------------------------------------------------------------------------------


async def connect(services: Services, user_id: int, name: str) -> int:
    connection, _ = await services.platforms.connect(
        caller_of(user_id),
        name=name,
        platform_type=PlatformType.MASTODON,
        instance_url=f"https://{name}.example",
        access_token="token",
    )
    return connection.id


async def new_user(services: Services) -> int:
    user, _ = await services.users.create(
        NOBODY, username="new", email="new@example.com", role=Role.VIEWER, password=PASSWORDS["ada"]
    )
    return user.id


@FRESH_AND_ADOPTED
async def test_the_id_of_a_deleted_connection_is_never_reused(services: Services) -> None:
    user_id = await new_user(services)
    given = []
    for _ in range(3):
        given.append(await connect(services, user_id, "again"))
        await services.removal.remove(caller_of(user_id), given[-1])
    assert given == sorted(set(given))


@FRESH_AND_ADOPTED
async def test_a_removed_default_is_no_users_default(services: Services) -> None:
    user_id = await new_user(services)
    platform_connection_id = await connect(services, user_id, "first")
    assert (
        await services.platforms.list_of(caller_of(user_id))
    ).default_id == platform_connection_id
    await services.removal.remove(caller_of(user_id), platform_connection_id)
    assert (await services.platforms.list_of(caller_of(user_id))).default_id is None


async def test_an_id_that_other_rows_reference_is_not_reused(services: Services) -> None:
    assert await connect(services, 1, "new") == DELETED_CONNECTION_ID + 1


ALBUMS = """
    CREATE TABLE albums (
        owner INTEGER, place VARCHAR(100), cover INTEGER REFERENCES platform_connections,
        FOREIGN KEY (owner, place) REFERENCES platform_connections (user_id, name)
    )
"""


@pytest.mark.parametrize(
    "database_url", [[ALBUMS, "INSERT INTO albums VALUES (1000, 'gone', 77)"]], indirect=True
)
async def test_only_columns_that_reference_the_id_reserve_it(services: Services) -> None:
    assert await connect(services, 1, "new") == 78


@pytest.mark.parametrize("engine_name", ["postgresql"])
@pytest.mark.parametrize(
    "database_url",
    [
        pytest.param(
            [
                statement.format(table=table)
                for table in ("users", "platform_connections")
                for statement in statements
            ],
            id=name,
        )
        for name, statements in {
            "lags": ["SELECT setval('{table}_id_seq', 1, false)"],
            "lags and is nobody's": [
                "ALTER SEQUENCE {table}_id_seq OWNED BY NONE",
                'ALTER SEQUENCE {table}_id_seq RENAME TO "{table} Id"',
                "SELECT setval('\"{table} Id\"', 2)",
            ],
            "is not used": ["ALTER TABLE {table} ALTER COLUMN id DROP DEFAULT"],
            "is missing": [
                "ALTER TABLE {table} ALTER COLUMN id DROP DEFAULT",
                "DROP SEQUENCE {table}_id_seq",
            ],
            "is an identity": [
                "ALTER TABLE {table} ALTER COLUMN id DROP DEFAULT",
                "DROP SEQUENCE {table}_id_seq",
                "ALTER TABLE {table} ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY",
            ],
        }.items()
    ],
    indirect=True,
)
async def test_inserts_work_after_a_bulk_copy_left_the_sequence_behind(services: Services) -> None:
    user_id = await new_user(services)
    assert user_id == len(PASSWORDS) + 1
    assert await connect(services, user_id, "new") == DELETED_CONNECTION_ID + 1


@pytest.mark.parametrize("engine_name", ["postgresql"])
async def test_a_sequence_that_is_further_ahead_is_kept(services: Services) -> None:
    assert await new_user(services) == DELETED_USER_ID + 1


# --- legacy users --------------------------------------------------------------------------------


async def log_in(visitor: Client, name: str, password: str) -> Any:
    """Log in with JSON; return the response's status and body."""
    response = await visitor.post("/api/login", json={"username": name, "password": password})
    return response.status_code, await response.get_json()


def user_row(url: URL, username: str) -> dict[str, Any]:
    columns, rows = snapshot(url)["users"]
    (row,) = [row for row in rows if row[columns.index("username")] == username]
    return dict(zip(columns, row, strict=True))


@pytest.mark.parametrize(
    ("username", "method"),
    [
        ("ada", "scrypt:32768:8:1$"),
        ("bert", "pbkdf2:sha256:600000$"),
        ("carol", "pbkdf2:sha256:260000$"),
        ("Ζωή 李 ولد", "scrypt:"),
        ("fred", "scrypt:"),
    ],
)
async def test_a_legacy_user_logs_in_and_the_hash_becomes_argon2id(
    database_url: URL, visitor: Client, username: str, method: str
) -> None:
    before = user_row(database_url, username)
    assert before["password_hash"].startswith(method)
    assert (await log_in(visitor, username, "wrong"))[0] == 401
    assert user_row(database_url, username) == before
    status, state = await log_in(visitor, username, PASSWORDS[username])
    assert (status, state["user_id"]) == (200, before["id"])
    after = user_row(database_url, username)
    assert after["password_hash"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    if database_url.get_backend_name() == "sqlite":  # as the legacy application wrote it
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}", after["last_login"])
    assert after["legacy_password_hash"] == before["password_hash"]  # needed by a restoration
    ours = {"password_hash", "last_login", "legacy_password_hash"}
    assert without(after, ours) == without(before, ours)
    assert (await log_in(visitor, username, PASSWORDS[username]))[0] == 200


async def test_a_user_whose_is_active_is_null_cannot_log_in(
    database_url: URL, visitor: Client
) -> None:
    before = user_row(database_url, "dora")
    status, problem = await log_in(visitor, "dora", PASSWORDS["dora"])
    assert (status, problem["code"]) == (401, "bad_credentials")
    assert user_row(database_url, "dora") == before


@pytest.mark.parametrize(
    ("address", "whose"),
    [("carol@example.com", "carol"), ("Carol@Example.com", "Carol"), ("CAROL@EXAMPLE.COM", None)],
)
async def test_addresses_that_differ_in_case_log_in_by_their_exact_spelling(
    database_url: URL, visitor: Client, address: str, whose: str | None
) -> None:
    for username in ("carol", "Carol"):
        status, state = await log_in(visitor, address, PASSWORDS[username])
        assert status == (200 if username == whose else 401)
        if username == whose:
            assert state["user_id"] == user_row(database_url, username)["id"]


async def test_a_legacy_user_starts_with_the_default_account_and_switches(visitor: Client) -> None:
    _, state = await log_in(visitor, "ada", PASSWORDS["ada"])
    assert state["platform_connection_id"] == 2
    listed = await (await visitor.get("/api/platforms")).get_json()
    assert {each["name"]: each["is_default"] for each in listed} == {
        "Notes": False,
        "Photos": True,
        "Garden club": False,
    }
    switched = await visitor.post("/api/platforms/3/switch")
    assert (await switched.get_json())["platform_connection_id"] == 3


async def test_a_referenced_connection_is_not_removed(visitor: Client) -> None:
    await log_in(visitor, "ada", PASSWORDS["ada"])
    response = await visitor.delete("/api/platforms/1")
    assert (response.status_code, (await response.get_json())["code"]) == (409, "in_use")


async def test_legacy_values_are_read_with_their_meaning(services: Services) -> None:
    users = {user.username: user for user in await services.users.everybody(NOBODY)}
    assert {name: user.role for name, user in users.items() if user.role is not Role.VIEWER} == {
        "ada": Role.ADMIN,
        "bert": Role.REVIEWER,
        "carol": Role.MODERATOR,
    }
    assert users["ada"].created_at == datetime(2024, 2, 29, 23, 59, 59, 123456, UTC)
    assert users["fred"].last_login == datetime(2199, 1, 1, tzinfo=UTC)
    assert users["ada"].last_login is None
    platforms = await services.platforms.list_of(caller_of(users["fred"].id))
    assert [each.is_active for each in platforms.items] == [None, True]
    assert platforms.default_id is None


async def test_credentials_can_be_decrypted_unless_their_key_is_lost(services: Services) -> None:
    for user_id in (1, 6, 7):
        platforms = await services.platforms.list_of(caller_of(user_id))
        for listed in platforms.items:
            each, _ = await services.platforms.connection(caller_of(user_id), listed.id)
            secret = services.platforms.credentials.unseal(each.access_token)
            assert secret == (None if each.name == "Older" else ACCESS_TOKENS[each.id])
