"""Run the migration, in this process or in a separate one, and inspect the result."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from quart_app.cli.migrate import cli
from quart_app.migration.interruption import Interruption
from quart_app.migration.messages import report
from quart_app.migration.outcome import MigrationStopped
from quart_app.migration.record import RECORD_TABLE
from quart_app.migration.runner import run_migration
from tests.legacy.legacy_database import Snapshot, connected, schema_of, snapshot
from tests.servers import ROOT

SCRIPT = ROOT / "scripts/migrate_to_cookie_sessions.py"
TIMEOUT_SECONDS = 60
SHARED = {"users", "platform_connections"}
OURS = {
    *("quart_app_version", "revocations", "logins", "audit", "alerts", "throttles", "changes"),
    *("avatars", "platform_accounts", "platform_apps", "platform_authorizations"),
    "platform_connection_ids",
    RECORD_TABLE,
}
_OUR_COLUMNS = {
    *("default_platform_connection_id", "session_epoch", "must_change_password"),
    *("device_epoch", "reset_token_hash", "reset_expires_at"),
    *("legacy_refusal", "legacy_password_hash", "username_key", "email_key"),
}
# Our own tables; test_adoption covers the sequences of the shared tables.
_OUR_OBJECTS = {
    *("users_id_seq", "platform_connections_id_seq", "revocations_seq_seq", "logins_id_seq"),
    *("audit_id_seq", "audit_refuse", "alerts_id_seq", "changes_seq_seq"),
    *("platform_apps_id_seq", "platform_authorizations_id_seq"),
}

State = tuple[dict[str, Any], dict[str, list[str]]]


@dataclass(frozen=True)
class Ended:
    """A run's exit code and its output."""

    code: int
    said: str
    complained: str

    @property
    def report(self) -> dict[str, Any]:
        """Return the one JSON object on standard output."""
        (line,) = self.said.splitlines()
        report: dict[str, Any] = json.loads(line)
        assert report["exit_code"] == self.code
        return report


Migrate = Callable[..., Ended]


def as_text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def command(url: URL, *arguments: object) -> list[str]:
    """Return the command as an operator would type it."""
    return [
        *(sys.executable, str(SCRIPT), "--database-url", as_text(url)),
        *map(str, arguments),
    ]


def start(url: URL, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start the script in a separate process without a terminal."""
    return subprocess.Popen(
        command(url, *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        **({"stderr": subprocess.PIPE} | options),
    )


def end_of(process: subprocess.Popen[str]) -> Ended:
    said, complained = process.communicate(timeout=TIMEOUT_SECONDS)
    return Ended(process.returncode, said, complained or "")


class _Console:
    """A console that records output and cannot ask questions."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def can_be_asked(self) -> bool:
        return False

    def agrees(self, _question: str) -> bool:
        return False


async def migrated(url: URL, *arguments: object) -> Ended:
    """Run the script's work in this event loop, beside an application that keeps running."""
    given = ["--database-url", as_text(url), *map(str, arguments)]
    options, is_json = cli.main(given, standalone_mode=False)
    console = _Console()
    try:
        outcome, message = await run_migration(options, console, Interruption())
    except MigrationStopped as stopped:
        return Ended(stopped.outcome.exit_code, "", stopped.sentence)
    if is_json:
        return Ended(outcome.exit_code, report(outcome, message, console.facts), "")
    said = console.said if console.said[-1:] == [message] else [*console.said, message]
    return Ended(outcome.exit_code, "\n".join([*said, ""]), "")


def state_of(url: URL) -> State:
    """Return everything in the database that is not this application's."""
    rows: Snapshot = snapshot(url)
    kept = {
        table: _of_theirs(columns, found) if table in SHARED else (columns, found)
        for table, (columns, found) in rows.items()
        if table not in OURS
    }
    schema = {
        table: definitions
        for table, definitions in schema_of(url).items()
        if table not in OURS | SHARED | _OUR_OBJECTS and not table.startswith("sqlite_")
    }
    return kept, schema


def _of_theirs(
    columns: Collection[str], rows: list[tuple[Any, ...]]
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    places = [place for place, name in enumerate(columns) if name not in _OUR_COLUMNS]
    return (
        tuple(name for name in columns if name not in _OUR_COLUMNS),
        [tuple(row[place] for place in places) for row in rows],
    )


def without_sessions(state: State) -> State:
    """Return the same without the session table and its parts."""
    rows, schema = state
    gone = {"user_sessions", "user_sessions_id_seq"}
    return (
        {table: found for table, found in rows.items() if table not in gone},
        {table: found for table, found in schema.items() if table not in gone},
    )


def change(url: URL, *statements: str) -> None:
    with connected(url) as execute:
        for statement in statements:
            execute(statement)


def bytes_of(url: URL) -> dict[str, str]:
    """Return the SHA-256 of a SQLite file, its log and its journal; nothing for PostgreSQL."""
    if url.get_backend_name() != "sqlite":
        return {}
    path = Path(url.database or "")
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in path.parent.glob(f"{path.name}*")
        if not file.name.endswith("-shm")
    }
