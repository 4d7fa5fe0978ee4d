"""A session table of any form is restored as it was, or refused with the reason."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import URL

from tests.conftest import ENCRYPTION_KEY
from tests.legacy.legacy_database import build_legacy_database, connected
from tests.legacy.migration_runs import Migrate, change, state_of

FORMS = {
    "sqlite": {
        "the earlier one": """
            CREATE TABLE user_sessions (session_id VARCHAR(255) NOT NULL, user_id INTEGER NOT NULL,
                platform_connection_id INTEGER, created_at DATETIME, updated_at DATETIME);
            INSERT INTO user_sessions VALUES ('a', 1, 2, '2025-01-01', '2025-01-01');
            INSERT INTO user_sessions VALUES ('b', 99, 40, 'never', x'00ff');
            DELETE FROM user_sessions WHERE session_id = 'a'
        """,
        "everything odd": """
            CREATE TABLE "user_sessions" -- a comment
                (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT COLLATE NOCASE UNIQUE,
                user_id, "a ""b"" %s :c" FLOOB DEFAULT (1 + 1), rowid TEXT,
                twice AS (user_id * 2) STORED, later AS (user_id + 1),
                CHECK (session_id <> 'x'), FOREIGN KEY (user_id) REFERENCES users (id)
                DEFERRABLE INITIALLY DEFERRED);
            INSERT INTO user_sessions (id, session_id, user_id, rowid) VALUES (7, 'a', 1, 'r');
            INSERT INTO user_sessions (id, session_id, user_id, "a ""b"" %s :c")
                VALUES (-5, x'00ff', 'nobody', 1e300);
            INSERT INTO user_sessions (session_id, user_id) VALUES (CAST(x'ff00fe' AS TEXT), NULL);
            DELETE FROM user_sessions WHERE id = 8 AND session_id = 'z';
            CREATE INDEX few ON user_sessions (lower(session_id)) WHERE user_id > 0;
            CREATE TRIGGER "its own" AFTER INSERT ON user_sessions
                BEGIN DELETE FROM user_sessions WHERE id = NEW.id; END
        """,
        "without row ids": """
            CREATE TABLE user_sessions (session_id TEXT PRIMARY KEY, user_id INT) WITHOUT ROWID;
            INSERT INTO user_sessions VALUES ('b', 1), ('a', 2)
        """,
        "in capitals and empty": "CREATE TABLE User_Sessions (SESSION_ID TEXT, user_id INT)",
    },
    "postgresql": {
        "the earlier one": """
            CREATE TABLE user_sessions (session_id VARCHAR(255) NOT NULL, user_id INTEGER NOT NULL,
                platform_connection_id INTEGER, created_at TIMESTAMP, updated_at TIMESTAMP);
            INSERT INTO user_sessions VALUES ('a', 1, 2, '2025-01-01', '9999-12-31')
        """,
        "everything odd": """
            CREATE COLLATION nobody (provider = libc, locale = 'C');
            CREATE UNLOGGED TABLE user_sessions (
                "I d" bigint GENERATED ALWAYS AS IDENTITY (START WITH 5 INCREMENT BY 3 CYCLE),
                session_id uuid NOT NULL, user_id integer REFERENCES users ON DELETE CASCADE,
                "a ""b"" % :c" text COLLATE nobody DEFAULT E'it''s \\\\ \\n',
                twice integer GENERATED ALWAYS AS (user_id * 2) STORED,
                bytes bytea, list text[], CONSTRAINT "one of" CHECK (user_id > 0) NO INHERIT,
                PRIMARY KEY (session_id) INCLUDE (user_id), EXCLUDE (user_id WITH =)
                    WHERE (user_id > 5)) WITH (fillfactor = 50, autovacuum_enabled = false);
            ALTER TABLE user_sessions ALTER COLUMN bytes SET STORAGE EXTERNAL;
            ALTER TABLE user_sessions RENAME CONSTRAINT user_sessions_pkey TO "p k";
            INSERT INTO user_sessions (session_id, user_id, bytes, list)
                VALUES (gen_random_uuid(), 1, '\\x00ff', '{a,NULL,"\\n"}');
            CREATE INDEX few ON user_sessions (lower(session_id::text) DESC) WHERE user_id > 0;
            CREATE INDEX by_user ON user_sessions (user_id);
            ALTER TABLE user_sessions CLUSTER ON by_user;
            CREATE FUNCTION hands_off() RETURNS trigger LANGUAGE plpgsql
                AS 'BEGIN RAISE EXCEPTION ''hands off''; END';
            CREATE TRIGGER "its own" BEFORE DELETE ON user_sessions
                FOR EACH STATEMENT EXECUTE FUNCTION hands_off();
            ALTER TABLE user_sessions DISABLE TRIGGER "its own";
            COMMENT ON TABLE user_sessions IS E'it''s a comment';
            COMMENT ON COLUMN user_sessions.user_id IS 'whose';
            COMMENT ON INDEX few IS 'of some';
            COMMENT ON CONSTRAINT user_sessions_user_id_fkey ON user_sessions IS 'a key';
            GRANT SELECT, INSERT ON user_sessions TO PUBLIC
        """,
        "a sequence of its own making": """
            CREATE SEQUENCE "Se q" AS integer MAXVALUE 1000 CACHE 5;
            CREATE TABLE user_sessions (id integer DEFAULT nextval('"Se q"'), session_id text,
                user_id text);
            ALTER SEQUENCE "Se q" OWNED BY user_sessions.id;
            INSERT INTO user_sessions (session_id, user_id) VALUES ('a', 'nobody'), (NULL, '1')
        """,
        "empty": "CREATE TABLE user_sessions (session_id text, user_id integer)",
    },
}


@pytest.mark.parametrize(
    ("engine_name", "form"), [(engine, form) for engine, forms in FORMS.items() for form in forms]
)
def test_a_table_of_any_form_is_restored(
    empty_database_url: URL, engine_name: str, migrate: Migrate, tmp_path: Path, form: str
) -> None:
    url = empty_database_url
    build_legacy_database(url, encryption_key=ENCRYPTION_KEY)
    statements = FORMS[engine_name][form].split(";\n")
    with connected(url) as execute:
        execute("DROP TABLE user_sessions")
        for statement in statements:
            execute(statement)
    before, backup = _raw_state(url), tmp_path / "sessions.backup"
    ended = migrate(url, "--yes", "--backup", backup)
    assert ended.code == 0, ended.complained
    ended = migrate(url, "--yes", "--restore", backup)
    assert ended.code == 0, ended.complained
    assert _raw_state(url) == before


def _raw_state(url: URL) -> object:
    """Return the table's contents; on SQLite with the row ids and text that is not UTF-8."""
    if url.get_backend_name() != "sqlite":
        return state_of(url)
    with closing(sqlite3.connect(url.database or "")) as connection:
        connection.text_factory = bytes
        columns = [
            row[1].decode() for row in connection.execute("PRAGMA table_xinfo(user_sessions)")
        ]
        types = ", ".join(f'typeof("{name.replace(chr(34), chr(34) * 2)}")' for name in columns)
        rows = connection.execute(f"SELECT {types}, * FROM user_sessions").fetchall()  # noqa: S608
        numbers, sequences = [], []
        with suppress(sqlite3.OperationalError):  # WITHOUT ROWID
            numbers = connection.execute("SELECT _rowid_ FROM user_sessions").fetchall()
        with suppress(sqlite3.OperationalError):  # without AUTOINCREMENT
            sequences = connection.execute("SELECT * FROM sqlite_sequence").fetchall()
        schema = connection.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE lower(tbl_name) = 'user_sessions'"
            " ORDER BY 1, 2"
        ).fetchall()
        return rows, numbers, sequences, schema


@pytest.mark.parametrize("engine_name", ["postgresql"])
@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("ALTER TABLE user_sessions ENABLE ROW LEVEL SECURITY", "its row level security"),
        ("ALTER TABLE user_sessions REPLICA IDENTITY FULL", "its replica identity"),
        ("CREATE POLICY mine ON user_sessions USING (user_id = 1)", "the policy mine"),
        ("CREATE STATISTICS known ON user_id, id FROM user_sessions", "the statistics known"),
        ("CREATE PUBLICATION news FOR TABLE user_sessions", "the publication news"),
        ("CREATE RULE no AS ON DELETE TO user_sessions DO INSTEAD NOTHING", "the rule no"),
        ("GRANT SELECT (user_id) ON user_sessions TO PUBLIC", "the column user_id"),
    ],
)
def test_a_form_that_cannot_be_restored_is_named_and_kept(
    legacy_url: URL, migrate: Migrate, tmp_path: Path, statement: str, name: str
) -> None:
    change(legacy_url, statement)
    before, backup = state_of(legacy_url), tmp_path / "sessions.backup"
    for arguments in (["--check"], ["--yes", "--backup", str(backup)]):
        ended = migrate(legacy_url, *arguments)
        assert ended.code == 3
        assert "can't restore" in ended.complained
        assert name in ended.complained
    assert state_of(legacy_url) == before
    assert not backup.exists()
