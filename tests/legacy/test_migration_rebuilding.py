"""PostgreSQL: a backup recreates the table exactly, or the migration refuses."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL

from tests.conftest import ENCRYPTION_KEY, administer
from tests.legacy.legacy_database import build_legacy_database
from tests.legacy.migration_runs import Migrate, as_text, change, state_of
from tests.poolers import pgbouncer


@pytest.fixture
def engine_name() -> str:
    return "postgresql"


INNER = (
    "CREATE FUNCTION inner_of(text) RETURNS text LANGUAGE plpgsql IMMUTABLE"
    " AS 'BEGIN RETURN lower($1); END'"
)
OUTER = (
    "CREATE FUNCTION outer_of(text) RETURNS text LANGUAGE plpgsql IMMUTABLE"
    " AS 'BEGIN RETURN inner_of($1); END'"
)
KNOWN = (
    "CREATE FUNCTION is_known(integer) RETURNS boolean LANGUAGE plpgsql STABLE"
    " AS 'BEGIN RETURN EXISTS (SELECT FROM users WHERE id = $1); END'"
)
NO_ROWS = "TRUNCATE user_sessions"
A_ROW = (
    "INSERT INTO user_sessions (session_id, user_id, created_at, updated_at)"
    " VALUES ('a', 1, now(), now())"
)
# Some versions of PostgreSQL create an index with an empty search path, and say so; for a table
# without rows that is harmless. In other versions the index is restored.
DEPENDS_ON_THE_SERVER = {
    "an index whose function calls another without its schema": [
        *(INNER, OUTER, NO_ROWS),
        "CREATE INDEX by_outer ON user_sessions (outer_of(session_id))",
        A_ROW,
    ],
    "a partial index whose predicate does": [
        *(INNER, OUTER, NO_ROWS),
        "CREATE INDEX by_outer ON user_sessions (id) WHERE outer_of(session_id) <> ''",
        A_ROW,
    ],
}


@pytest.mark.parametrize("what", DEPENDS_ON_THE_SERVER)
def test_an_index_is_restored_or_the_migration_refused(
    legacy_url: URL, migrate: Migrate, tmp_path: Path, what: str
) -> None:
    change(legacy_url, *DEPENDS_ON_THE_SERVER[what])
    before, backup = state_of(legacy_url), tmp_path / "b"
    ended = migrate(legacy_url, "--yes", "--backup", backup)
    if ended.code == 0:
        assert migrate(legacy_url, "--yes", "--restore", backup).code == 0
    else:
        assert (ended.code, "can't restore user_sessions" in ended.complained) == (3, True)
    assert state_of(legacy_url) == before


# Statements that the migration accepts and must therefore restore.
COMES_BACK = {
    "a check whose function reads a table": [
        KNOWN,
        "DELETE FROM user_sessions WHERE user_id = 99",
        "ALTER TABLE user_sessions ADD CONSTRAINT known CHECK (is_known(user_id))",
    ],
    "a generated column whose function calls another": [
        INNER,
        OUTER,
        (
            "ALTER TABLE user_sessions ADD COLUMN made text"
            " GENERATED ALWAYS AS (outer_of(session_id)) STORED"
        ),
    ],
    "a default and a trigger whose functions call others": [
        INNER,
        OUTER,
        "ALTER TABLE user_sessions ALTER COLUMN user_agent SET DEFAULT outer_of('X')",
        (
            "CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql"
            " AS 'BEGIN NEW.user_agent = outer_of(NEW.user_agent); RETURN NEW; END'"
        ),
        ("CREATE TRIGGER tidy BEFORE INSERT ON user_sessions FOR EACH ROW EXECUTE FUNCTION tidy()"),
    ],
    "an event trigger with unqualified names": [
        INNER,
        (
            "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql"
            " AS 'BEGIN PERFORM inner_of(tg_tag), count(*) FROM users; END'"
        ),
        "CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION watch()",
        "CREATE EVENT TRIGGER watch_drops ON sql_drop EXECUTE FUNCTION watch()",
    ],
    "grants on a sequence": ["GRANT USAGE ON user_sessions_id_seq TO PUBLIC"],
    "names that need quotes": [
        'ALTER TABLE user_sessions ADD COLUMN "A ""b"" 100%s :c Ωή" text DEFAULT \'%(x)s\'',
        'ALTER TABLE user_sessions ADD CHECK ("A ""b"" 100%s :c Ωή" <> \'%\')',
        f'CREATE INDEX "{"ä" * 31}" ON user_sessions (user_id)',
        'CREATE INDEX "I %s" ON user_sessions ("A ""b"" 100%s :c Ωή")',
        "CREATE TYPE \"Ty p%\" AS ENUM ('a %')",
        "ALTER TABLE user_sessions ADD COLUMN kind \"Ty p%\" DEFAULT 'a %'",
        'CREATE TABLE "My Notes 50% Ωή" ("User Id" integer REFERENCES users (id))',
    ],
}


@pytest.mark.parametrize("what", COMES_BACK)
def test_every_accepted_definition_is_restored(
    legacy_url: URL, migrate: Migrate, tmp_path: Path, what: str
) -> None:
    change(legacy_url, *COMES_BACK[what])
    before, backup = state_of(legacy_url), tmp_path / "b"
    ended = migrate(legacy_url, "--yes", "--backup", backup)
    assert ended.code == 0, ended.complained
    ended = migrate(legacy_url, "--yes", "--restore", backup)
    assert ended.code == 0, ended.complained
    assert state_of(legacy_url) == before
    assert migrate(legacy_url, "--yes", "--restore", backup).code == 0


# Statements that cannot be repeated with the existing rows.
REFUSED = {
    "a check that rows break since": [
        KNOWN.replace("WHERE", "WHERE is_active AND"),
        "DELETE FROM user_sessions WHERE user_id NOT IN (1, 2)",
        "ALTER TABLE user_sessions ADD CONSTRAINT known CHECK (is_known(user_id))",
        "UPDATE users SET is_active = false WHERE id = 1",
    ],
    "an index whose function fails by now": [
        KNOWN.replace("STABLE", "IMMUTABLE").replace(
            "RETURN EXISTS (SELECT FROM users WHERE id = $1)",
            "RETURN 1 / (SELECT max(id) FROM public.something_to_divide_by) = $1",
        ),
        "CREATE TABLE something_to_divide_by (id integer)",
        "INSERT INTO something_to_divide_by VALUES (1)",
        "CREATE INDEX by_known ON user_sessions (is_known(user_id))",
        "UPDATE something_to_divide_by SET id = 0",
    ],
    "a unique index over values that were different once": [
        KNOWN.replace("STABLE", "IMMUTABLE").replace("users", "public.users"),
        "DELETE FROM user_sessions WHERE user_id NOT IN (1, 99)",
        "CREATE UNIQUE INDEX one_each ON user_sessions (is_known(user_id))",
        "UPDATE users SET id = 99 WHERE id = 7",
    ],
    "an event trigger that fails": [
        (
            "CREATE FUNCTION no_tables() RETURNS event_trigger LANGUAGE plpgsql"
            " AS 'BEGIN RAISE ''tables are frozen''; END'"
        ),
        "CREATE EVENT TRIGGER frozen ON ddl_command_end EXECUTE FUNCTION no_tables()",
    ],
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_definition_that_cannot_be_recreated_is_refused_before_any_change(
    legacy_url: URL, migrate: Migrate, tmp_path: Path, what: str
) -> None:
    change(legacy_url, *REFUSED[what])
    before, backup = state_of(legacy_url), tmp_path / "b"
    ended = migrate(legacy_url, "--yes", "--backup", backup)
    assert ended.code == 3, ended.complained
    assert "Traceback" not in ended.complained
    assert state_of(legacy_url) == before
    assert not backup.exists()


def test_a_check_constraint_that_old_rows_violate_is_restored_for_new_rows(
    legacy_url: URL, migrate: Migrate, tmp_path: Path
) -> None:
    change(legacy_url, *COMES_BACK["a check whose function reads a table"])
    backup = tmp_path / "b"
    rows = state_of(legacy_url)[0]["user_sessions"]
    assert migrate(legacy_url, "--yes", "--backup", backup).code == 0
    change(legacy_url, "DELETE FROM users WHERE id = 6")
    ended = migrate(legacy_url, "--yes", "--restore", backup)
    assert ended.code == 0, ended.complained
    assert "The check known is NOT VALID" in ended.said
    assert state_of(legacy_url)[0]["user_sessions"] == rows


def test_an_event_trigger_that_writes_is_named(
    legacy_url: URL, migrate: Migrate, tmp_path: Path
) -> None:
    change(
        legacy_url,
        "CREATE TABLE ddl_log (tag text)",
        (
            "CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql"
            " AS 'BEGIN INSERT INTO ddl_log VALUES (tg_tag); END'"
        ),
        "CREATE EVENT TRIGGER log_ddl ON ddl_command_end EXECUTE FUNCTION note()",
    )
    before = state_of(legacy_url)
    ended = migrate(legacy_url, "--yes", "--backup", tmp_path / "b")
    assert ended.code == 1
    assert "Rows of ddl_log would have been changed" in ended.complained
    assert "ALTER EVENT TRIGGER log_ddl DISABLE" in ended.complained
    assert state_of(legacy_url) == before


# --- privileges ----------------------------------------------------------------------------------


@pytest.fixture
def role(postgres: URL) -> Iterator[str]:
    """Return the name of a role without any privileges."""
    name = f'Read er % "{secrets.token_hex(4)}'.replace('"', "é")
    administer(postgres, f'CREATE ROLE "{name}"')
    yield name
    administer(postgres, f'DROP ROLE "{name}"')


def privileges(url: URL) -> list[tuple[object, ...]]:
    with psycopg.connect(as_text(url.set(drivername="postgresql"))) as connection:
        return connection.execute(
            "SELECT c.relname, r.rolname, p.name, has_table_privilege(r.oid, c.oid, p.name)"
            " FROM pg_class AS c, pg_roles AS r,"
            " (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE')) AS p (name)"
            " WHERE c.relname ~ '^(user_sessions|user_sessions_id_seq)$'"
            " AND c.relkind IN ('r', 'S') ORDER BY 1, 2, 3"
        ).fetchall()


@pytest.mark.parametrize("granted", [[], ["SELECT", "INSERT"]])
@pytest.mark.parametrize("by_default", ["none", "later", "before"])
def test_a_database_role_keeps_exactly_its_privileges(  # noqa: PLR0917 fixtures
    legacy_url: URL,
    migrate: Migrate,
    tmp_path: Path,
    role: str,
    granted: list[str],
    by_default: str,
) -> None:
    defaults = [
        f'ALTER DEFAULT PRIVILEGES GRANT ALL ON {kind} TO "{role}"'
        for kind in ("TABLES", "SEQUENCES", "FUNCTIONS")
    ]
    grants = [f'GRANT {each} ON user_sessions TO "{role}"' for each in granted]
    change(legacy_url, *grants, *(defaults if by_default == "before" else []))
    before, backup = privileges(legacy_url), tmp_path / "b"
    assert any(row[1] == role for row in before)
    ended = migrate(legacy_url, "--yes", "--backup", backup)
    assert ended.code == 0, ended.complained
    change(legacy_url, *(defaults if by_default == "later" else []))
    ended = migrate(legacy_url, "--yes", "--restore", backup)
    assert ended.code == 0, ended.complained
    assert privileges(legacy_url) == before
    change(legacy_url, f'DROP OWNED BY "{role}"')


def test_rows_hidden_from_the_owner_by_a_policy_refuse_the_migration(
    legacy_url: URL, migrate: Migrate, postgres: URL
) -> None:
    name = f"keeper_{secrets.token_hex(4)}"
    administer(postgres, f"CREATE ROLE {name} LOGIN")
    change(
        legacy_url,
        f"GRANT {name} TO CURRENT_USER",
        f"GRANT CREATE, USAGE ON SCHEMA public TO {name}",
        *(f"ALTER TABLE {table} OWNER TO {name}" for table in state_of(legacy_url)[0]),
        "ALTER TABLE posts ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE posts FORCE ROW LEVEL SECURITY",
        "CREATE POLICY few ON posts USING (id = 1)",
    )
    before = state_of(legacy_url)
    for arguments in (["--check"], ["--yes"], ["--dry-run"]):
        ended = migrate(legacy_url.set(username=name), *arguments)
        assert ended.code == 3, ended.complained
        assert f"hides rows of posts from the role {name}" in ended.complained
    assert state_of(legacy_url) == before
    change(legacy_url, f"REASSIGN OWNED BY {name} TO CURRENT_USER", f"DROP OWNED BY {name}")
    administer(postgres, f"DROP ROLE {name}")


# --- schemas, encodings, poolers -----------------------------------------------------------------


def _build_in_schema(url: URL, quoted: str) -> None:
    database = f'ALTER DATABASE "{url.database}"'
    change(url, f"CREATE SCHEMA {quoted}", f"{database} SET search_path TO {quoted}")
    build_legacy_database(url, encryption_key=ENCRYPTION_KEY)
    change(url, f"{database} RESET search_path")


@pytest.mark.parametrize("schema", ["MyApp", "my app", 'a "b" 100%', "ζωή", "user", "a,b'c\\d"])
def test_a_schema_of_any_name_is_migrated(
    empty_database_url: URL, migrate: Migrate, tmp_path: Path, schema: str
) -> None:
    quoted = '"' + schema.replace('"', '""') + '"'
    escaped = quoted.replace("\\", "\\\\").replace(" ", "\\ ")
    _build_in_schema(empty_database_url, quoted)
    url = empty_database_url.update_query_dict({"options": f"-c search_path={escaped}"})
    backup = tmp_path / "b"
    ended = migrate(url, "--check")
    assert ended.code == 4, ended.complained
    ended = migrate(url, "--yes", "--backup", backup, "--carry-over-active-platform")
    assert ended.code == 0, ended.complained
    ended = migrate(url, "--yes", "--restore", backup)
    assert ended.code == 0, ended.complained
    assert "user_sessions (4 rows) is restored" in ended.said


def test_a_url_for_another_schema_is_printed_in_a_working_form(
    empty_database_url: URL, migrate: Migrate
) -> None:
    _build_in_schema(empty_database_url, '"My App"')
    change(empty_database_url, "CREATE TABLE users (id integer)")
    change(empty_database_url, "CREATE TABLE platform_connections (id integer)")
    both = empty_database_url.update_query_dict({"options": '-c search_path=public,"My\\ App"'})
    ended = migrate(both, "--check")
    assert ended.code == 3
    assert "?options=-csearch_path%3D%22My%5C%20App%22" in ended.complained


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "WIN1252"])
def test_a_database_in_another_encoding_is_migrated_and_restored_byte_for_byte(
    postgres: URL, migrate: Migrate, tmp_path: Path, encoding: str
) -> None:
    url = postgres.set(database=f"test_{secrets.token_hex(8)}")
    administer(
        postgres,
        f"CREATE DATABASE {url.database} ENCODING '{encoding}' TEMPLATE template0"
        " LC_COLLATE 'C' LC_CTYPE 'C'",
    )
    dsn = as_text(url.set(drivername="postgresql"))
    with psycopg.connect(f"{dsn}&client_encoding={encoding}") as connection:
        connection.execute(
            "CREATE TABLE users (id integer PRIMARY KEY, username varchar(64) NOT NULL,"
            " email varchar(120) NOT NULL, password_hash varchar(256) NOT NULL, role varchar(9),"
            " is_active boolean, created_at timestamp, last_login timestamp);"
            "CREATE TABLE platform_connections (id integer PRIMARY KEY, user_id integer NOT NULL"
            " REFERENCES users, name varchar(100) NOT NULL, platform_type varchar(50) NOT NULL,"
            " instance_url varchar(500) NOT NULL, username varchar(200),"
            " access_token text NOT NULL, client_key text, client_secret text,"
            " is_active boolean, is_default boolean,"
            " created_at timestamp, updated_at timestamp, last_used timestamp);"
            "CREATE TABLE user_sessions (session_id text, user_id integer, user_agent text);"
        )
        # An é, and a byte that no UTF-8 text contains.
        letter = "convert_from('\\xe9', 'SQL_ASCII')" if encoding == "SQL_ASCII" else "chr(233)"
        connection.execute(  # the letter is ours
            f"INSERT INTO users VALUES (1, 'Ren' || {letter}, 'r@example.com', 'x', 'ADMIN', true);"  # noqa: S608 our own
            f"INSERT INTO user_sessions VALUES ('s', 1, {letter})".encode()
        )
        query = "SELECT convert_to(user_agent, getdatabaseencoding()::name) FROM user_sessions"
        before = connection.execute(query).fetchall()
    backup = tmp_path / "b"
    assert migrate(url, "--check").code == 4
    ended = migrate(url, "--yes", "--backup", backup)
    assert ended.code == 0, ended.complained
    ended = migrate(url, "--yes", "--restore", backup)
    assert ended.code == 0, ended.complained
    with psycopg.connect(dsn) as connection:
        assert connection.execute(query).fetchall() == before
    ended = migrate(url, "--yes", "--backup", tmp_path / "Ζωή☕")
    if encoding != "SQL_ASCII":
        assert (ended.code, "Choose another path" in ended.complained) == (3, True)
    administer(postgres, f"DROP DATABASE {url.database} WITH (FORCE)")


@pytest.mark.parametrize("options", ["", "-c search_path=public -c work_mem=8MB"])
def test_the_migration_works_through_a_pooler_with_default_settings(
    legacy_url: URL,
    migrate: Migrate,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    options: str,
) -> None:
    before, backup = state_of(legacy_url), tmp_path / "b"
    with pgbouncer(request.config, legacy_url) as pooled:
        url = pooled.update_query_dict({"options": options}) if options else pooled
        assert migrate(url, "--check").code == 4
        assert migrate(url, "--dry-run").code == 0
        ended = migrate(url, "--yes", "--backup", backup)
        assert ended.code == 0, ended.complained
        ended = migrate(url, "--yes", "--restore", backup)
        assert ended.code == 0, ended.complained
    assert state_of(legacy_url) == before
