"""Objects that depend on the session table are named, and nothing else is dropped with it."""

import os
import sqlite3
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL

from tests.legacy.migration_runs import Migrate, as_text, bytes_of, change, state_of

pytestmark = pytest.mark.sqlite_unless_thorough

BOTH = ["sqlite", "postgresql"]
KEY = "CREATE TABLE notes (id INTEGER, session INTEGER REFERENCES user_sessions (id))"
VIEW = "CREATE VIEW active AS SELECT count(*) AS number FROM user_sessions"
NESTED = "CREATE VIEW nested AS SELECT number FROM active"
TRIGGERS = {
    "sqlite": [
        (
            "CREATE TRIGGER forget AFTER DELETE ON users"
            ' BEGIN DELETE FROM "USER_SESSIONS" WHERE user_id = OLD.id; END'
        )
    ],
    "postgresql": [
        (
            "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN DELETE FROM user_sessions WHERE user_id = OLD.id; RETURN OLD; END $$"
        ),
        "CREATE TRIGGER forget AFTER DELETE ON users FOR EACH ROW EXECUTE FUNCTION forget()",
    ],
}
DEPENDENTS = [
    *((engine, [KEY], "the table notes by its foreign key") for engine in BOTH),
    *((engine, [VIEW, NESTED], "the view active") for engine in BOTH),
    *((engine, TRIGGERS[engine], "the trigger forget on users") for engine in BOTH),
    (
        "postgresql",
        ["CREATE MATERIALIZED VIEW kept AS SELECT * FROM user_sessions"],
        "the materialized view kept",
    ),
    ("postgresql", ["CREATE TABLE more () INHERITS (user_sessions)"], "the table more, which"),
    (
        "postgresql",
        [
            (
                "CREATE RULE gone AS ON DELETE TO posts"
                " DO ALSO DELETE FROM user_sessions WHERE id = OLD.id"
            )
        ],
        "the rule gone on posts",
    ),
    (
        "postgresql",
        ["CREATE POLICY own ON posts USING (EXISTS (SELECT FROM user_sessions))"],
        "the policy own on posts",
    ),
    ("postgresql", ["CREATE TABLE rows (one user_sessions)"], "the column one of rows"),
    (
        "postgresql",
        [
            (
                "CREATE FUNCTION number() RETURNS bigint LANGUAGE sql"
                " BEGIN ATOMIC SELECT count(*) FROM user_sessions; END"
            )
        ],
        "the function number()",
    ),
    (
        "postgresql",
        ["CREATE TABLE others (id integer DEFAULT nextval('user_sessions_id_seq'))"],
        "the default of the column id of others by the sequence user_sessions_id_seq",
    ),
]

NUMBER = (
    "CREATE FUNCTION number() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM user_sessions'"
)
PURGE = (
    "CREATE FUNCTION purge(integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN"
    ' DELETE FROM public."user_sessions" WHERE user_id = $1; RETURN true; END $$'
)
BY_FUNCTIONS = [
    (
        "postgresql",
        [
            PURGE,
            (
                "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN PERFORM Public.Purge (OLD.id); RETURN OLD; END $$"
            ),
            "CREATE TRIGGER forget AFTER DELETE ON users FOR EACH ROW EXECUTE FUNCTION forget()",
        ],
        "the trigger forget on users",
    ),
    ("postgresql", [NUMBER, "CREATE VIEW numbers AS SELECT number()"], "the view numbers"),
    (
        "postgresql",
        [NUMBER, "ALTER TABLE posts ADD COLUMN at bigint DEFAULT number()"],
        "the default of the column at of posts",
    ),
    (
        "postgresql",
        [PURGE, "ALTER TABLE posts ADD CONSTRAINT none CHECK (purge(id)) NOT VALID"],
        "the check none of posts",
    ),
    (
        "postgresql",
        [PURGE, "CREATE DOMAIN gone AS integer CHECK (purge(VALUE))"],
        "the check gone_check of the domain gone",
    ),
    (
        "postgresql",
        [PURGE, "CREATE POLICY gone ON posts USING (purge(id))"],
        "the policy gone on posts",
    ),
    (
        "postgresql",
        [
            PURGE.replace("LANGUAGE", "IMMUTABLE LANGUAGE"),
            "CREATE INDEX numbered ON caption_generation_tasks (purge(user_id)) WHERE id = ''",
        ],
        "the index numbered on caption_generation_tasks",
    ),
    (
        "postgresql",
        [
            NUMBER,
            (
                "CREATE FUNCTION twice() RETURNS bigint LANGUAGE sql"
                " BEGIN ATOMIC SELECT 2 * number(); END"
            ),
        ],
        "the function twice()",
    ),
    (
        "postgresql",
        [
            (
                "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql"
                " AS $$ BEGIN EXECUTE 'DELETE FROM USER_SESSIONS'; END $$"
            ),
            "CREATE EVENT TRIGGER watch ON sql_drop EXECUTE FUNCTION watch()",
        ],
        "the event trigger watch",
    ),
    ("postgresql", [PURGE], "the function purge(integer)"),
    (
        "postgresql",
        [
            (
                "CREATE PROCEDURE begin_at(integer) LANGUAGE plpgsql"
                " AS $$ BEGIN PERFORM setval('user_sessions_id_seq', $1); END $$"
            )
        ],
        "the function begin_at(integer)",
    ),
    *(
        ("sqlite", [f"CREATE VIRTUAL TABLE found USING {arguments}"], "the virtual table found")
        for arguments in (
            "fts5(user_agent, content='user_sessions', content_rowid='id')",
            'fts4(user_agent, content="User_Sessions")',
            "fts4(user_agent, content=user_sessions)",
        )
    ),
    *(
        (
            "sqlite",
            [
                "CREATE VIEW people AS SELECT id FROM users",
                (
                    "CREATE TRIGGER gone INSTEAD OF DELETE ON people BEGIN"
                    " DELETE FROM NAME WHERE user_id = OLD.id; END".replace("NAME", name)
                ),
            ],
            "the trigger gone on people",
        )
        for name in ("[user_sessions]", "`User_Sessions`", "'USER_SESSIONS'")
    ),
]


@pytest.mark.parametrize(("engine_name", "statements", "name"), DEPENDENTS + BY_FUNCTIONS)
def test_every_dependent_of_the_table_is_named(
    legacy_url: URL, migrate: Migrate, statements: list[str], name: str
) -> None:
    change(legacy_url, *statements)
    before = state_of(legacy_url), bytes_of(legacy_url)
    ended = migrate(legacy_url, "--yes")
    assert ended.code == 3
    assert name in ended.complained
    assert migrate(legacy_url, "--check").code == 3
    assert (state_of(legacy_url), bytes_of(legacy_url)) == before


INDEPENDENT = {
    "sqlite": [
        "CREATE VIEW named AS SELECT 1 AS user_sessions, 'user_sessions' AS text -- user_sessions",
        (
            "CREATE TRIGGER counts AFTER UPDATE ON posts"
            " BEGIN SELECT 'user_sessions' FROM users AS user_sessions; END"
        ),
        "CREATE TABLE old_user_sessions (id INTEGER)",
    ],
    "postgresql": [
        "CREATE VIEW named AS SELECT 1 AS user_sessions",
        "CREATE TABLE old_user_sessions (id INTEGER)",
        "CREATE SCHEMA archive",
        "CREATE TABLE archive.user_sessions (session_id text, user_id integer)",
        (
            "CREATE FUNCTION archived() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN"
            " /* not user_sessions */ RETURN (SELECT count(*) -- FROM user_sessions\n"
            " FROM archive.user_sessions) + (SELECT count(*) FROM old_user_sessions); END $$"
        ),
        "CREATE VIEW number_archived AS SELECT archived()",
        (
            "CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " PERFORM count(*) FROM user_sessions; RETURN NEW; END $$"
        ),
        "CREATE TRIGGER own BEFORE INSERT ON user_sessions FOR EACH ROW EXECUTE FUNCTION own()",
    ],
}


def test_an_object_that_only_contains_the_name_is_not_a_dependent(
    legacy_url: URL, migrate: Migrate
) -> None:
    change(legacy_url, *INDEPENDENT[legacy_url.get_backend_name()])
    ended = migrate(legacy_url, "--yes")
    assert ended.code == 0, ended.complained


@pytest.mark.parametrize(
    ("statements", "sentence"),
    [
        (
            ["CREATE VIEW user_sessions AS SELECT 1 AS session_id, id AS user_id FROM users"],
            "user_sessions is a view, not a table",
        ),
        (
            ["CREATE TABLE user_sessions (token TEXT, user_id INTEGER)"],
            "is not the older application's: it lacks session_id",
        ),
    ],
)
def test_a_view_or_another_table_of_the_same_name_is_refused(
    legacy_url: URL, migrate: Migrate, statements: list[str], sentence: str
) -> None:
    change(legacy_url, "DROP TABLE user_sessions", *statements)
    before = state_of(legacy_url), bytes_of(legacy_url)
    ended = migrate(legacy_url, "--yes")
    assert (ended.code, sentence in ended.complained) == (3, True), ended.complained
    assert (state_of(legacy_url), bytes_of(legacy_url)) == before


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "The database file does not exist"),
        (b"x" * 5000, "is not a SQLite database"),
        (b"SQLite format 3\0" + b"\xff" * 5000, "is not a SQLite database"),
    ],
)
def test_a_file_that_is_not_a_database_is_refused(
    empty_database_url: URL, migrate: Migrate, content: bytes | None, sentence: str
) -> None:
    path = Path(empty_database_url.database or "")
    if content is not None:
        path.write_bytes(content)
    before = bytes_of(empty_database_url)
    ended = migrate(empty_database_url, "--yes")
    assert (ended.code, sentence in ended.complained) == (3, True), ended.complained
    assert bytes_of(empty_database_url) == before


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize("name", ["with a space.db", "100%25?#[x].db", "Ζωή 李.db", "link.db"])
def test_a_database_file_may_have_any_name(legacy_url: URL, migrate: Migrate, name: str) -> None:
    path = Path(legacy_url.database or "")
    other = path.with_name(name)
    if name == "link.db":
        other.symlink_to(path)
    else:
        path.rename(other)
    url = legacy_url.set(database=str(other))
    before = state_of(url)
    assert "user_sessions" in before[0]
    report = migrate(url, "--yes", "--json").report
    backup = Path(report["backup"]["path"])
    assert backup.parent == other.parent
    assert "user_sessions" not in state_of(url)[0]
    assert migrate(url, "--yes", "--restore", backup).code == 0
    assert state_of(url) == before


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_database_with_a_hot_journal_is_refused_and_unchanged(
    legacy_url: URL, migrate: Migrate
) -> None:
    path = Path(legacy_url.database or "")
    child = os.fork()
    if child == 0:  # killed in the middle of a transaction that had begun to write
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE much AS SELECT randomblob(100000) AS bytes")
        connection.execute("UPDATE posts SET post_content = zeroblob(100000)")
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    assert path.with_name(f"{path.name}-journal").stat().st_size
    before = bytes_of(legacy_url)
    for arguments in (["--check"], ["--yes"], ["--dry-run"]):
        ended = migrate(legacy_url, *arguments)
        assert (ended.code, "in the middle of a transaction" in ended.complained) == (3, True)
        assert bytes_of(legacy_url) == before


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_damaged_database_is_not_touched(legacy_url: URL, migrate: Migrate) -> None:
    path = Path(legacy_url.database or "")
    with sqlite3.connect(path) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'ix_user_sessions_session_id'"
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    content = bytearray(path.read_bytes())
    # The last entry's text, so that the index no longer matches the table.
    place = content.rindex(b"5a7d2f6e", (page - 1) * size, page * size)
    content[place : place + 8] = b"XXXXXXXX"
    path.write_bytes(content)
    before = bytes_of(legacy_url)
    ended = migrate(legacy_url, "--yes")
    assert (ended.code, "database is damaged" in ended.complained) == (3, True), ended.complained
    assert bytes_of(legacy_url) == before


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_a_database_role_that_may_not_drop_the_table_gets_an_explanation(
    legacy_url: URL, migrate: Migrate
) -> None:
    change(
        legacy_url,
        "DROP ROLE IF EXISTS clerk",
        "CREATE ROLE clerk LOGIN",
        "GRANT pg_read_all_data TO clerk",
    )
    before = state_of(legacy_url)
    try:
        assert migrate(legacy_url.set(username="clerk"), "--check").code == 4
        ended = migrate(legacy_url.set(username="clerk"), "--yes")
        assert (ended.code, "permission denied" in ended.complained) == (3, True)
        assert state_of(legacy_url) == before
    finally:
        change(legacy_url, "DROP OWNED BY clerk", "DROP ROLE clerk")


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_an_owner_who_is_no_superuser_can_restore_too(
    legacy_url: URL, migrate: Migrate, tmp_path: Path
) -> None:
    dsn = as_text(legacy_url.set(drivername="postgresql"))
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS keeper")
        connection.execute("CREATE ROLE keeper LOGIN")
        connection.execute(f'ALTER DATABASE "{legacy_url.database}" OWNER TO keeper'.encode())
        connection.execute("ALTER SCHEMA public OWNER TO keeper")
        for (name,) in connection.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace = 'public'::regnamespace"
        ).fetchall():
            connection.execute(f"ALTER TABLE {name} OWNER TO keeper".encode())
    url, backup = legacy_url.set(username="keeper"), tmp_path / "sessions.backup"
    rows = state_of(legacy_url)[0]
    assert migrate(url, "--yes", "--backup", backup).code == 0
    ended = migrate(url, "--yes", "--restore", backup)
    assert ended.code == 0, ended.complained
    # A row of a user who does not exist, so that the foreign key cannot be checked for it.
    assert "user_sessions_user_id_fkey is NOT VALID" in ended.said
    assert state_of(legacy_url)[0] == rows
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("REASSIGN OWNED BY keeper TO CURRENT_USER")
        connection.execute("DROP OWNED BY keeper")
        connection.execute("DROP ROLE keeper")
