"""The backup can be restored, and any other file is refused."""

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import URL

from tests.cases import first_unless_thorough
from tests.legacy.migration_runs import Migrate, State, bytes_of, change, state_of

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


def test_a_backup_restores_byte_for_byte(
    migrated_url: URL, before: State, migrate: Migrate, backup: Path
) -> None:
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert [path.name for path in backup.parent.glob("*partial*")] == []
    ended = migrate(migrated_url, "--yes", "--restore", backup)
    assert ended.code == 0, ended.complained
    assert "Done: user_sessions (4 rows) is restored" in ended.said
    assert state_of(migrated_url) == before
    again = migrate(migrated_url, "--yes", "--restore", backup)
    assert (again.code, "is already restored, and equals the backup" in again.said) == (0, True)
    assert state_of(migrated_url) == before


def test_a_restored_table_can_be_removed_again(
    migrated_url: URL, before: State, migrate: Migrate, backup: Path, tmp_path: Path
) -> None:
    assert migrate(migrated_url, "--yes", "--restore", backup).code == 0
    assert migrate(migrated_url, "--check").code == 4
    assert migrate(migrated_url, "--yes", "--backup", tmp_path / "second").code == 0
    ended = migrate(migrated_url, "--yes", "--restore", backup)
    assert ended.code == 3
    assert f"The last one has the backup {tmp_path / 'second'}" in ended.complained
    assert migrate(migrated_url, "--yes", "--restore", tmp_path / "second").code == 0
    assert state_of(migrated_url) == before


def test_a_dry_run_of_a_restoration_leaves_no_trace(
    migrated_url: URL, migrate: Migrate, backup: Path
) -> None:
    before = state_of(migrated_url), bytes_of(migrated_url)
    ended = migrate(migrated_url, "--dry-run", "--restore", backup)
    assert (ended.code, "would be restored" in ended.said) == (0, True)
    assert (state_of(migrated_url), bytes_of(migrated_url)) == before


@pytest.mark.parametrize(
    "harm",
    first_unless_thorough(3, ["cut off", "a bit", "the seal", "longer", "empty", "absent"]),
)
def test_a_changed_backup_file_is_refused(
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
def test_a_backup_edited_with_sqlite_is_refused(
    migrated_url: URL, migrate: Migrate, backup: Path
) -> None:
    with closing(sqlite3.connect(backup)) as connection, connection:
        connection.execute("UPDATE user_sessions SET user_id = 1")
    assert migrate(migrated_url, "--yes", "--restore", backup).code == 3


@ONLY_SQLITE
def test_a_backup_is_also_a_copy_of_the_whole_database(
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
    # The same rows from another removal, as in a copy of the database.
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
    assert (ended.code, f"is of a {other.decode()} database" in ended.complained) == (3, True)


def _reseal(path: Path, content: bytes) -> None:
    """Write it with a valid checksum, which does not happen by mistake."""
    import hashlib  # noqa: PLC0415

    head, seal = content[:-105], content[-105:]
    digest = hashlib.sha256(head).hexdigest().encode()
    path.write_bytes(head + seal[:-65] + digest + b"\n")


def test_nothing_is_restored_over_a_table_that_differs(
    migrated_url: URL, migrate: Migrate, backup: Path
) -> None:
    assert migrate(migrated_url, "--yes", "--restore", backup).code == 0
    change(migrated_url, "UPDATE user_sessions SET user_agent = 'since' WHERE id = 1")
    before = state_of(migrated_url), bytes_of(migrated_url)
    ended = migrate(migrated_url, "--yes", "--restore", backup)
    assert (ended.code, "it differs from the backup" in ended.complained) == (3, True)
    assert (state_of(migrated_url), bytes_of(migrated_url)) == before


def test_nothing_is_restored_if_nothing_was_removed(
    migrated_url: URL, migrate: Migrate, backup: Path
) -> None:
    assert migrate(migrated_url, "--yes", "--restore", backup).code == 0
    change(migrated_url, "DELETE FROM quart_app_migration")
    ended = migrate(migrated_url, "--yes", "--restore", backup)
    assert (ended.code, "was never removed" in ended.complained) == (3, True)


@pytest.mark.parametrize("kind", ["file", "folder", "link", "no folder"])
def test_a_backup_overwrites_no_file(
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


# The kernel refuses new files there to everybody, root included.
@pytest.mark.sqlite_unless_thorough
@pytest.mark.parametrize("folder", ["/sys", "/proc"])
def test_a_folder_that_accepts_no_file_is_named_before_anything_is_done(
    legacy_url: URL, migrate: Migrate, before: State, folder: str
) -> None:
    bytes_before = bytes_of(legacy_url)
    ended = migrate(legacy_url, "--yes", "--backup", f"{folder}/sessions.backup")
    assert ended.code == 3
    assert f"The folder {folder} is not writable" in ended.complained
    assert "backup …" not in ended.complained
    assert state_of(legacy_url) == before
    assert bytes_of(legacy_url) == bytes_before


def test_the_default_name_of_a_backup_has_the_date(legacy_url: URL, migrate: Migrate) -> None:
    folder = (
        Path(legacy_url.database or "").parent
        if legacy_url.get_backend_name() == "sqlite"
        else Path.cwd()
    )
    path = Path(str(migrate(legacy_url, "--yes", "--json").report["backup"]["path"]))
    assert path.parent == folder
    assert path.exists()
