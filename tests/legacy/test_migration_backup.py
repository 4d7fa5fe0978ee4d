"""The backup restores, and whatever is not the backup is refused."""

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import URL

from tests.conftest import ENCRYPTION_KEY
from tests.legacy.legacy_database import build_legacy_database, connected
from tests.legacy.migrating import Migrate, State, bytes_of, change, state_of

ONLY_SQLITE = pytest.mark.parametrize("engine_name", ["sqlite"])
ONLY_POSTGRESQL = pytest.mark.parametrize("engine_name", ["postgresql"])


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return tmp_path / "sessions of 100% ?#.backup"


@pytest.fixture
def before(legacy_url: URL) -> State:
    return state_of(legacy_url)


@pytest.fixture
def migrated_url(legacy_url: URL, before: State, migrate: Migrate, backup: Path) -> URL:
    assert before
    assert migrate(legacy_url, "--yes", "--backup", backup).code == 0
    return legacy_url


def test_a_backup_restores_to_the_byte(
    migrated_url: URL, before: State, migrate: Migrate, backup: Path
) -> None:
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert [path.name for path in backup.parent.glob("*partial*")] == []
    ended = migrate(migrated_url, "--yes", "--restore", backup)
    assert ended.code == 0, ended.complained
    assert "Done: user_sessions (4 rows) is there again" in ended.said
    assert state_of(migrated_url) == before
    again = migrate(migrated_url, "--yes", "--restore", backup)
    assert (again.code, "just as the backup holds it" in again.said) == (0, True)
    assert state_of(migrated_url) == before


def test_what_was_restored_is_removed_again(
    migrated_url: URL, before: State, migrate: Migrate, backup: Path, tmp_path: Path
) -> None:
    assert migrate(migrated_url, "--yes", "--restore", backup).code == 0
    assert migrate(migrated_url, "--check").code == 4
    assert migrate(migrated_url, "--yes", "--backup", tmp_path / "second").code == 0
    ended = migrate(migrated_url, "--yes", "--restore", backup)
    assert ended.code == 3
    assert f"the last one's is {tmp_path / 'second'}" in ended.complained
    assert migrate(migrated_url, "--yes", "--restore", tmp_path / "second").code == 0
    assert state_of(migrated_url) == before


def test_a_rehearsed_restoration_leaves_nothing(
    migrated_url: URL, migrate: Migrate, backup: Path
) -> None:
    before = state_of(migrated_url), bytes_of(migrated_url)
    ended = migrate(migrated_url, "--dry-run", "--restore", backup)
    assert (ended.code, "would be there again" in ended.said) == (0, True)
    assert (state_of(migrated_url), bytes_of(migrated_url)) == before


@pytest.mark.parametrize("harm", ["cut off", "longer", "a bit", "the seal", "empty", "absent"])
def test_a_file_that_was_changed_is_refused(
    migrated_url: URL, migrate: Migrate, backup: Path, harm: str
) -> None:
    content = bytearray(backup.read_bytes())
    if harm == "cut off":
        del content[-1000:]
    elif harm == "longer":
        content += b"\n"
    elif harm == "a bit":
        content[len(content) // 3] ^= 1
    elif harm == "the seal":
        content[-10] ^= 1
    backup.write_bytes(b"" if harm == "empty" else content)
    if harm == "absent":
        backup.unlink()
    before = state_of(migrated_url), bytes_of(migrated_url)
    ended = migrate(migrated_url, "--yes", "--restore", backup)
    assert ended.code == 3
    assert ended.complained.splitlines()[-1].startswith("Error: The ")
    assert (state_of(migrated_url), bytes_of(migrated_url)) == before


@ONLY_SQLITE
def test_a_backup_that_was_opened_and_edited_is_refused(
    migrated_url: URL, migrate: Migrate, backup: Path
) -> None:
    with closing(sqlite3.connect(backup)) as connection, connection:
        connection.execute("UPDATE user_sessions SET user_id = 1")
    assert migrate(migrated_url, "--yes", "--restore", backup).code == 3


@ONLY_SQLITE
def test_a_backup_is_the_whole_database_too(
    migrated_url: URL, before: State, backup: Path, tmp_path: Path
) -> None:
    assert migrated_url
    copy = tmp_path / "copy.db"
    copy.write_bytes(backup.read_bytes())
    assert state_of(migrated_url.set(database=str(copy))) == before


def test_another_databases_backup_is_refused(
    migrated_url: URL, migrate: Migrate, backup: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.backup"
    before = bytes_of(migrated_url)
    # The same rows, of another removal: as in a copy of the database.
    assert migrate(migrated_url, "--yes", "--restore", backup).code == 0
    assert migrate(migrated_url, "--dry-run").code == 0
    change(migrated_url, "DROP TABLE user_sessions", "DELETE FROM quart_app_migration")
    ended = migrate(migrated_url, "--yes", "--restore", backup)
    assert ended.code == 3
    assert "belongs to another database" in ended.complained
    assert not other.exists()
    assert before is not None


def test_the_other_engines_backup_is_refused(
    migrated_url: URL, migrate: Migrate, backup: Path
) -> None:
    content = backup.read_bytes()
    engine = migrated_url.get_backend_name().encode()
    assert content.count(b'"engine":"%s"' % engine) == 1
    other = {b"sqlite": b"other1", b"postgresql": b"othername2"}[engine]
    _reseal(backup, content.replace(b'"engine":"%s"' % engine, b'"engine":"%s"' % other))
    ended = migrate(migrated_url, "--yes", "--restore", backup)
    assert (ended.code, f"is of {other.decode()}" in ended.complained) == (3, True)


def _reseal(path: Path, content: bytes) -> None:
    """Write it with a seal that fits, as nobody does by mistake."""
    import hashlib  # noqa: PLC0415

    head, seal = content[:-105], content[-105:]
    digest = hashlib.sha256(head).hexdigest().encode()
    path.write_bytes(head + seal[:-65] + digest + b"\n")


def test_onto_a_table_that_differs_nothing_is_restored(
    migrated_url: URL, migrate: Migrate, backup: Path
) -> None:
    assert migrate(migrated_url, "--yes", "--restore", backup).code == 0
    change(migrated_url, "UPDATE user_sessions SET user_agent = 'since' WHERE id = 1")
    before = state_of(migrated_url), bytes_of(migrated_url)
    ended = migrate(migrated_url, "--yes", "--restore", backup)
    assert (ended.code, "is not what the backup holds" in ended.complained) == (3, True)
    assert (state_of(migrated_url), bytes_of(migrated_url)) == before


def test_where_nothing_was_removed_nothing_is_restored(
    migrated_url: URL, migrate: Migrate, backup: Path
) -> None:
    assert migrate(migrated_url, "--yes", "--restore", backup).code == 0
    change(migrated_url, "DELETE FROM quart_app_migration")
    ended = migrate(migrated_url, "--yes", "--restore", backup)
    assert (ended.code, "was never removed" in ended.complained) == (3, True)


@pytest.mark.parametrize("kind", ["file", "folder", "link", "no folder"])
def test_a_backup_replaces_nothing(
    legacy_url: URL, migrate: Migrate, backup: Path, kind: str
) -> None:
    if kind == "file":
        backup.write_text("precious")
    elif kind == "folder":
        backup.mkdir()
    elif kind == "link":
        backup.symlink_to("nowhere")
    else:
        backup = backup.parent / "absent" / "file"
    before = state_of(legacy_url), bytes_of(legacy_url)
    ended = migrate(legacy_url, "--yes", "--backup", backup)
    assert ended.code == 3
    assert str(backup) in ended.complained or str(backup.parent) in ended.complained
    assert (state_of(legacy_url), bytes_of(legacy_url)) == before
    assert kind != "file" or backup.read_text() == "precious"


def test_by_default_the_backup_has_a_dated_name(legacy_url: URL, migrate: Migrate) -> None:
    folder = (
        Path(legacy_url.database or "").parent
        if legacy_url.get_backend_name() == "sqlite"
        else Path.cwd()
    )
    path = Path(str(migrate(legacy_url, "--yes", "--json").report["backup"]["path"]))
    assert path.parent == folder
    assert path.exists()


# --- forms of the table --------------------------------------------------------------------------

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
                gone text, "a ""b"" % :c" text COLLATE nobody DEFAULT E'it''s \\\\ \\n',
                twice integer GENERATED ALWAYS AS (user_id * 2) STORED,
                bytes bytea, list text[], CONSTRAINT "one of" CHECK (user_id > 0) NO INHERIT,
                PRIMARY KEY (session_id) INCLUDE (user_id), EXCLUDE (user_id WITH =)
                    WHERE (user_id > 5)) WITH (fillfactor = 50, autovacuum_enabled = false);
            ALTER TABLE user_sessions DROP COLUMN gone;
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
def test_whatever_its_form_it_comes_back(
    empty_database_url: URL, engine_name: str, migrate: Migrate, backup: Path, form: str
) -> None:
    url = empty_database_url
    build_legacy_database(url, encryption_key=ENCRYPTION_KEY)
    statements = FORMS[engine_name][form].split(";\n")
    with connected(url) as execute:
        execute("DROP TABLE user_sessions")
        for statement in statements:
            execute(statement)
    before = _raw_state(url)
    ended = migrate(url, "--yes", "--backup", backup)
    assert ended.code == 0, ended.complained
    ended = migrate(url, "--yes", "--restore", backup)
    assert ended.code == 0, ended.complained
    assert _raw_state(url) == before


def _raw_state(url: URL) -> object:
    """Return what stands there; on SQLite with the numbers of rows, and text that is not UTF-8."""
    if url.get_backend_name() != "sqlite":
        return state_of(url)
    with closing(sqlite3.connect(url.database or "")) as connection:
        connection.text_factory = bytes
        columns = [
            row[1].decode() for row in connection.execute("PRAGMA table_xinfo(user_sessions)")
        ]
        types = ", ".join(f'typeof("{name.replace(chr(34), chr(34) * 2)}")' for name in columns)
        rows = connection.execute(f"SELECT {types}, * FROM user_sessions").fetchall()  # noqa: S608
        try:
            numbers = connection.execute("SELECT _rowid_ FROM user_sessions").fetchall()
        except sqlite3.OperationalError:
            numbers = []
        sequences = []
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'"):
            try:
                sequences = connection.execute("SELECT * FROM sqlite_sequence").fetchall()
            except sqlite3.OperationalError:
                sequences = []
        schema = connection.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE lower(tbl_name) = 'user_sessions'"
            " ORDER BY 1, 2"
        ).fetchall()
        return rows, numbers, sequences, schema


@ONLY_POSTGRESQL
@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("ALTER TABLE user_sessions ENABLE ROW LEVEL SECURITY", "table user_sessions"),
        ("CREATE POLICY mine ON user_sessions USING (user_id = 1)", "the policy mine"),
        ("CREATE STATISTICS known ON user_id, id FROM user_sessions", "the statistics known"),
        ("CREATE PUBLICATION news FOR TABLE user_sessions", "the publication news"),
        ("CREATE RULE no AS ON DELETE TO user_sessions DO INSTEAD NOTHING", "the rule no"),
        ("GRANT SELECT (user_id) ON user_sessions TO PUBLIC", "columns user_id"),
    ],
)
def test_what_could_not_be_restored_is_named_and_not_lost(
    legacy_url: URL, migrate: Migrate, backup: Path, statement: str, name: str
) -> None:
    change(legacy_url, statement)
    before = state_of(legacy_url)
    ended = migrate(legacy_url, "--yes", "--backup", backup)
    assert ended.code == 3
    assert "could not bring back" in ended.complained
    assert name in ended.complained
    assert state_of(legacy_url) == before
    assert not backup.exists()
