"""Full-text search tables and R-trees that are out of step are no damage; none is refused."""

import importlib.util
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import URL

from quart_app.migration.sqlite.integrity import note_on_virtual_table
from tests.cases import first_unless_thorough
from tests.conftest import lacking
from tests.legacy.migration_runs import TIMEOUT_SECONDS, Migrate, as_text, change, state_of

ONE_ENGINE = pytest.mark.parametrize("engine_name", ["sqlite"])
REBUILD = 'INSERT INTO "found"("found") VALUES(\'rebuild\')'
# Statements that create the table and put it out of step, and the advice for a newer SQLite.
OUT_OF_STEP = {
    "fts4 with content": (
        [
            'CREATE VIRTUAL TABLE found USING fts4(post_content, content="posts")',
            "INSERT INTO found(found) VALUES ('rebuild')",
            "UPDATE posts SET post_content = 'since'",
        ],
        REBUILD,
    ),
    "fts5, edited": (
        [
            "CREATE VIRTUAL TABLE found USING fts5(body)",
            "INSERT INTO found VALUES ('hello')",
            "UPDATE found_content SET c0 = 'other'",
        ],
        REBUILD,
    ),
    "an R-tree": (
        [
            "CREATE VIRTUAL TABLE found USING rtree(id, low, high)",
            "INSERT INTO found VALUES (1, 1, 2)",
            "DELETE FROM found_rowid",
        ],
        "which stays as it is",
    ),
    "fts3, edited": (
        [
            "CREATE VIRTUAL TABLE found USING fts3(body)",
            "INSERT INTO found VALUES ('hello')",
            "UPDATE found_content SET c0body = 'other'",
        ],
        REBUILD,
    ),
    "fts4 whose content is gone": (
        ['CREATE VIRTUAL TABLE found USING fts4(body, content="absent")'],
        "which stays as it is",
    ),
    "fts4 without content": (
        [
            "CREATE VIRTUAL TABLE found USING fts4(body, content='')",
            "INSERT INTO found(docid, body) VALUES (1, 'hello')",
        ],
        None,
    ),
    "fts5 whose index is gone": (
        [
            "CREATE VIRTUAL TABLE found USING fts5(body)",
            "INSERT INTO found VALUES ('hello')",
            "DELETE FROM found_data WHERE id > 10",
        ],
        REBUILD,
    ),
    "fts5 with content": (
        [
            "CREATE VIRTUAL TABLE found USING fts5(post_content, content='posts')",
            "UPDATE posts SET post_content = 'since'",
        ],
        None,
    ),
}


def _unprotected(url: URL, *statements: str) -> None:
    connection = sqlite3.connect(url.database or "", isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


@ONE_ENGINE
@pytest.mark.parametrize("what", OUT_OF_STEP)
def test_a_database_with_virtual_tables_is_migrated_and_restored(
    legacy_url: URL, migrate: Migrate, tmp_path: Path, what: str
) -> None:
    _unprotected(legacy_url, *OUT_OF_STEP[what][0])
    before, backup = _sessions(legacy_url), tmp_path / "b"
    ended = migrate(legacy_url, "--yes", "--backup", backup)
    assert ended.code == 0, ended.complained
    assert migrate(legacy_url, "--yes", "--restore", backup).code == 0
    assert _sessions(legacy_url) == before


def _sessions(url: URL) -> object:
    connection = sqlite3.connect(url.database or "")
    rows = connection.execute("SELECT * FROM user_sessions").fetchall()
    connection.close()
    return rows


# Since 3.44, the integrity check asks virtual tables, too. Python often has an older SQLite.
NEWER_SQLITE = """
import sys
import pysqlite3, pysqlite3.dbapi2
sys.modules["sqlite3"], sys.modules["sqlite3.dbapi2"] = pysqlite3, pysqlite3.dbapi2
from quart_app.cli.migrate import main
sys.exit(main())
"""


@ONE_ENGINE
@pytest.mark.parametrize("what", first_unless_thorough(3, list(OUT_OF_STEP)))
def test_a_database_from_a_newer_sqlite_gets_the_right_advice(
    legacy_url: URL, tmp_path: Path, request: pytest.FixtureRequest, what: str
) -> None:
    if importlib.util.find_spec("pysqlite3") is None:
        lacking(request.config, "a newer SQLite (pysqlite3, which has no wheel for this platform)")
    statements, advice = OUT_OF_STEP[what]
    _unprotected(legacy_url, *statements)
    command = [sys.executable, "-c", NEWER_SQLITE, "--database-url", as_text(legacy_url)]
    ended = subprocess.run(
        [*command, "--yes", "--backup", str(tmp_path / "b")],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert ended.returncode == 0, ended.stderr
    assert "damaged" not in ended.stdout + ended.stderr
    assert (advice or "Done: ") in ended.stdout
    assert advice or "Note: " not in ended.stdout


@pytest.mark.parametrize(
    ("said", "note"),
    [
        ("malformed inverted index for FTS3 table main.found", REBUILD),
        ("malformed inverted index for FTS4 table main.found", REBUILD),
        ('fts5: checksum mismatch for table "found"', REBUILD),
        ('fts5: corruption found reading blob 137438953473 from table "found"', REBUILD),
        (
            "unable to validate the inverted index for FTS4 table main.found: SQL logic error",
            "SQL logic error",
        ),
        ("In RTree main.found:\nMapping (1 -> 1) missing from %_rowid table", "Mapping (1 -> 1)"),
        ("row 1 missing from index found", None),
        ("*** in database main ***\nTree 5 page 5: btreeInitPage() returns error code 11", None),
        ("malformed inverted index for FTS4 table main.another", None),
    ],
)
def test_a_virtual_tables_messages_are_not_mistaken_for_damage(said: str, note: str | None) -> None:
    found = note_on_virtual_table(said, {"found": "CREATE VIRTUAL TABLE found USING fts5(body)"})
    assert (found is None) == (note is None)
    assert note is None or note in (found or "")


@ONE_ENGINE
def test_a_virtual_table_over_the_sessions_is_refused(legacy_url: URL, migrate: Migrate) -> None:
    change(legacy_url, "CREATE VIRTUAL TABLE found USING fts4(user_agent, content='user_sessions')")
    before = state_of(legacy_url)[1]
    assert migrate(legacy_url, "--yes").code == 3
    assert state_of(legacy_url)[1] == before
