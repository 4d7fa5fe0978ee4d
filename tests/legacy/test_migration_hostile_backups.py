"""A changed backup, or a file that is no backup, changes nothing and runs nothing."""

import hashlib
import json
import os
import re
import resource
import secrets
import sqlite3
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from quart_app.migration.sealed_file import SEAL_BYTES, read_claims
from quart_app.migration.sqlite.restore import only_making_the_table
from tests.cases import first_unless_thorough
from tests.legacy.legacy_database import connected
from tests.legacy.migration_runs import Migrate, change, command, state_of

pytestmark = pytest.mark.sqlite_unless_thorough

MEMORY_BYTES = 1 << 30  # limit of the address space, all libraries included
SECONDS = 60


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return tmp_path / "sessions.backup"


@pytest.fixture
def migrated_url(legacy_url: URL, migrate: Migrate, backup: Path) -> URL:
    assert migrate(legacy_url, "--yes", "--backup", backup).code == 0
    return legacy_url


def reseal(path: Path, payload: bytes, manifest: dict[str, Any]) -> str:
    """Write a backup with a valid checksum, as an attacker would, and return the checksum."""
    line = json.dumps(manifest, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
    digest = hashlib.sha256(payload + line).hexdigest()
    path.write_bytes(
        payload + line + b"quart_app backup 1 %020d %s\n" % (len(line), digest.encode())
    )
    return digest


def parts(path: Path) -> tuple[bytes, dict[str, Any]]:
    sealed = read_claims(path)
    return path.read_bytes()[: sealed.payload_bytes], sealed.manifest


def remember(url: URL, digest: str, path: Path) -> None:
    """Make the database accept the checksum, which only the database's owner can do."""
    values = f"backup_sha256 = '{digest}', backup_bytes = {path.stat().st_size}"
    change(url, f"UPDATE quart_app_migration SET {values}")  # noqa: S608 ours


def test_a_backup_with_a_recomputed_checksum_is_refused(
    migrated_url: URL, migrate: Migrate, backup: Path
) -> None:
    payload, manifest = parts(backup)
    changed = payload.replace(b"Mozilla", b"Godzill")
    assert changed != payload
    reseal(backup, changed, manifest)
    before = state_of(migrated_url)
    ended = migrate(migrated_url, "--yes", "--restore", backup)
    assert ended.code == 3
    assert "is not the one recorded in the database" in ended.complained
    assert state_of(migrated_url) == before


HOSTILE_CLAIMS: list[dict[str, object]] = [
    {"made_at": "2026-11-24T12:21:00+00:00\x1b[2J"},
    {"made_at": "\u202e2026-11-24"},
    {"made_at": "2026-11-24\nDone: it is restored."},
    {"made_at": "2" * 10_000_000},
    {"made_at": "2" * 4_000_000},
    {"made_at": 20261124},
    {"made_at": None},
    {"made_at": "99999-01-01T00:00:00+00:00"},
    {"made_at": "2026-02-31T00:00:00+00:00"},
    {"made_at": "2026-11-24T12:21:00"},
    {"made_at": "\u0662\u0660\u0662\u0666-11-24T12:21:00+00:00"},  # Arabic digits
    {"engine": "\x1b[2J" + "y" * 3_000_000},
    {"table": "\x1b[2J" + "z" * 3_000_000},
    {"database": "\x1b]0;title\x07" + "x" * 3_000_000},  # only a name, so no reason to refuse
]


@pytest.mark.parametrize("is_remembered", [False, True])
def test_a_claim_of_the_backup_never_controls_the_terminal(
    migrated_url: URL,
    migrate: Migrate,
    backup: Path,
    is_remembered: bool,  # noqa: FBT001 a parameter
) -> None:
    payload, manifest = parts(backup)
    before = state_of(migrated_url)
    for claims in HOSTILE_CLAIMS:
        digest = reseal(backup, payload, manifest | claims)
        if is_remembered:
            remember(migrated_url, digest, backup)
        for options in (["--yes", "--verbose"], ["--dry-run"]):
            ended = migrate(migrated_url, *options, "--restore", backup)
            shown = ended.said + ended.complained
            assert not any(character in shown for character in "\x1b\x07\u202e")
            assert "\nDone: it is restored." not in shown
            assert len(shown) < 20_000
            if "database" not in claims or not is_remembered:
                assert ended.code == 3, (claims, shown)
                assert state_of(migrated_url) == before


@pytest.mark.parametrize("engine_name", ["postgresql"])
@pytest.mark.parametrize(
    "place",
    first_unless_thorough(
        4, ["default", "type", "trigger", "role", "index", "check", "option", "setval", "owner"]
    ),
)
def test_no_command_can_hide_in_the_backups_description(
    migrated_url: URL, migrate: Migrate, backup: Path, place: str
) -> None:
    """Even if the database accepts the checksum."""
    proof = Path("/tmp", f"quart_app-proof-{secrets.token_hex(8)}")  # noqa: S108 where the server may write
    evil = f"; COPY (SELECT 1) TO PROGRAM 'touch {proof}'; --"
    payload, manifest = parts(backup)
    facts = manifest["facts"]
    last_column = facts["columns"][-1]
    if place == "default":
        last_column["default"] = f"'x'){evil}"
    elif place == "type":
        last_column["type"] = f"text){evil}"
    elif place == "index":
        facts["indexes"][-1]["definition"] = evil.strip("; -")
    elif place == "trigger":
        facts["triggers"] = [{"name": "t", "definition": evil[2:], "enabled": "O", "comment": None}]
    elif place == "check":
        facts["constraints"][0] |= {"type": "c", "definition": f"CHECK (true){evil}"}
    elif place == "option":
        facts["table"][0]["options"] = [f"fillfactor=50){evil}"]
    elif place == "setval":
        facts["sequences"][0]["last_value"] = f"1){evil}"
    elif place == "owner":
        facts["table"][0]["owner"] = f'postgres"{evil}'
    else:
        facts["grants"][0]["privilege"] = f"SELECT ON users TO PUBLIC{evil}"
    remember(migrated_url, reseal(backup, payload, manifest), backup)
    before = state_of(migrated_url)
    ended = migrate(migrated_url, "--yes", "--restore", backup)
    assert ended.code in {1, 3}, ended.complained
    assert "Traceback" not in ended.complained
    was_run = proof.exists()
    proof.unlink(missing_ok=True)
    assert not was_run
    assert state_of(migrated_url) == before


@pytest.mark.parametrize(
    ("statement", "is_allowed"),
    [
        ("CREATE TABLE user_sessions (id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INT)", True),
        ("CREATE INDEX i ON user_sessions (lower(id)) WHERE user_id > 0", True),
        ("CREATE TRIGGER t AFTER INSERT ON user_sessions BEGIN DELETE FROM users; END", True),
        ("CREATE TRIGGER t AFTER INSERT ON users BEGIN DELETE FROM users; END", False),
        ("CREATE TABLE other AS SELECT * FROM users", False),
        ("CREATE INDEX i ON users (id)", False),
        ("CREATE VIEW other AS SELECT * FROM users", False),
        ("CREATE VIRTUAL TABLE user_sessions USING fts5(body)", False),
        ("DELETE FROM users", False),
        ("DROP TABLE users", False),
        ("ATTACH ':memory:' AS elsewhere", False),
        ("PRAGMA writable_schema = ON", False),
    ],
)
def test_statements_in_the_backup_may_only_create_the_table(
    statement: str, *, is_allowed: bool
) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE users (id INTEGER)")
    if " user_sessions (lower" in statement or "ON user_sessions" in statement:
        connection.execute("CREATE TABLE user_sessions (id INTEGER, user_id INTEGER)")
    with only_making_the_table(connection):
        if is_allowed:
            connection.execute(statement)
        else:
            with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
                connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE user_sessions AS SELECT * FROM main.users",
        "CREATE TABLE other (session_id TEXT)",
        "CREATE VIEW user_sessions AS SELECT * FROM users",
        "DROP TABLE users",
        "ATTACH '/tmp/elsewhere' AS elsewhere",
        "PRAGMA writable_schema = ON",
        "INSERT INTO users SELECT * FROM users",
        "CREATE TRIGGER t AFTER INSERT ON users BEGIN DELETE FROM users; END",
        "CREATE INDEX i ON users (id)",
    ],
)
def test_a_statement_in_the_backup_creates_nothing_but_the_table(
    migrated_url: URL, migrate: Migrate, backup: Path, tmp_path: Path, statement: str
) -> None:
    payload, manifest = parts(backup)
    file = tmp_path / "changed.db"
    file.write_bytes(payload)
    url = migrated_url.set(database=str(file))
    kind = "TRIGGER" if "TRIGGER" in statement else "INDEX" if "INDEX" in statement else "TABLE"
    with connected(url) as execute:
        execute("PRAGMA writable_schema = ON")
        if kind == "TABLE":
            execute("UPDATE sqlite_master SET sql = ? WHERE name = 'user_sessions'", (statement,))
        else:
            execute(
                "INSERT INTO sqlite_master VALUES (?, 't', 'user_sessions', 0, ?)",
                (kind.lower(), statement),
            )
    remember(migrated_url, reseal(backup, file.read_bytes(), manifest), backup)
    before = state_of(migrated_url)
    ended = migrate(migrated_url, "--yes", "--restore", backup)
    assert ended.code in {1, 3}, ended.complained
    assert re.search("not authorized|malformed database schema", ended.complained)
    assert state_of(migrated_url) == before


def _strange(kind: str, path: Path, original: bytes) -> Path:
    if kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "/dev/zero":
        return Path("/dev/zero")
    elif kind == "a link to /dev/zero":
        path.symlink_to("/dev/zero")
    elif kind == "ten gigabytes of nothing":
        with path.open("wb") as file:
            file.truncate(10 << 30)
    elif kind == "ten gigabytes under a seal":
        with path.open("wb") as file:
            file.seek(10 << 30)
            file.write(original[-20_000:])
    elif kind == "compressed":
        compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
        some = [compressor.compress(bytes(1 << 20)) for _ in range(64)]
        path.write_bytes(b"".join([*some, compressor.flush()]))
    else:  # a manifest that needs much memory to read
        line = b"[" * (4_000_000 if kind == "deep" else 200_000_000) + b"\n"
        digest = hashlib.sha256(line).hexdigest().encode()
        path.write_bytes(line + b"quart_app backup 1 %020d %s\n" % (len(line), digest))
    return path


@pytest.mark.parametrize(
    "kind",
    first_unless_thorough(
        4,
        [
            *("a named pipe", "/dev/zero", "ten gigabytes under a seal", "deep"),
            *("a folder", "a link to /dev/zero", "ten gigabytes of nothing", "compressed", "long"),
        ],
    ),
)
def test_an_invalid_backup_is_refused_quickly_with_little_memory(
    migrated_url: URL, backup: Path, tmp_path: Path, kind: str
) -> None:
    path = _strange(kind, tmp_path / "strange", backup.read_bytes())
    before = state_of(migrated_url)
    ended = subprocess.run(
        command(migrated_url, "--yes", "--restore", path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES)),
    )
    assert ended.returncode == 3, ended.stderr
    assert "Error: The " in ended.stderr or "is not a file" in ended.stderr
    assert state_of(migrated_url) == before


def test_a_removal_by_an_earlier_version_can_be_restored_with_its_backup(
    migrated_url: URL, migrate: Migrate, backup: Path, tmp_path: Path
) -> None:
    change(migrated_url, "ALTER TABLE quart_app_migration DROP COLUMN backup_sha256")
    change(migrated_url, "ALTER TABLE quart_app_migration DROP COLUMN backup_bytes")
    assert migrate(migrated_url, "--check").code == 0
    ended = migrate(migrated_url, "--yes", "--restore", backup)
    assert (ended.code, "Restore it with that version" in ended.complained) == (3, True)
    change(migrated_url, "CREATE TABLE user_sessions (session_id text, user_id integer)")
    second = tmp_path / "second"
    assert migrate(migrated_url, "--yes", "--backup", second).code == 0
    ended = migrate(migrated_url, "--yes", "--restore", second)
    assert ended.code == 0, ended.complained


def test_the_database_stores_the_checksum(migrated_url: URL, backup: Path) -> None:
    digest = hashlib.sha256(backup.read_bytes()[:-SEAL_BYTES]).hexdigest()
    with connected(migrated_url) as execute:
        assert execute("SELECT backup_sha256 FROM quart_app_migration") == [(digest,)]
