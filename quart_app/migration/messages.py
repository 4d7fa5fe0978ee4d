"""Messages for the operator: the plan, the result, or one JSON object with everything."""

import dataclasses
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from quart_app.migration.facts import DatabaseState, SessionTable
from quart_app.migration.outcome import Outcome
from quart_app.migration.removal import Removed
from quart_app.migration.restoration import Restored
from quart_app.migration.way_back import KeptHashes
from quart_app.text.printable import printable

_SHORT_DIGITS = 16


def _size(size_bytes: int | None) -> str:
    return "" if size_bytes is None else f"{size_bytes:>16,} bytes"


def plan_in_words(state: DatabaseState, *, backup: Path | None, verbose: bool) -> str:
    """Return the plan: the state of the database, and the changes to make."""
    lines = [f"Database  {printable(state.database)}"]
    if state.revision == state.newest_revision:
        lines.append(f"Schema    at revision {state.revision} already")
    else:
        now = f"at revision {state.revision}" if state.revision else "the older application's"
        lines.append(f"Schema    {now}; will be at revision {state.newest_revision}")
    width = max((len(printable(table.name)) for table in state.tables), default=0)
    lines.append("Tables")
    lines += [
        f"  {printable(table.name):<{width}} {table.rows:>12,} rows{_size(table.size_bytes)}"
        for table in state.tables
    ]
    if state.sessions is not None:
        lines += _sessions_in_words(state.sessions, backup=backup, verbose=verbose)
    lines += state.refused.in_words(every=verbose)
    return "\n".join(lines)


def _sessions_in_words(table: SessionTable, *, backup: Path | None, verbose: bool) -> list[str]:
    some = ", ".join(printable(name) for name in table.some_users)
    more = ", …" if table.users > len(table.some_users) else ""
    lines = [
        f"Removed   {printable(table.name)}: {table.rows:,} rows",
        f"  along   {'; '.join(map(printable, table.goes_with_it)) or 'nothing'}",
        f"Refer     {'; '.join(map(printable, table.dependents)) or 'no key, view or trigger'}",
        f"Log in    {table.users:,} people must log in again{f': {some}{more}' if some else ''}",
    ]
    if table.rows_without_user or table.rows_without_platform:
        lines.append(
            f"Orphans   {table.rows_without_user:,} rows of users who do not exist,"
            f" {table.rows_without_platform:,} with a platform connection that does not"
        )
    if verbose:
        lines.append(f"Columns   {', '.join(map(printable, table.columns))}")
    lines.append(f"Backup    {printable(str(backup or 'none (--no-backup)'))}")
    return lines


def removed_in_words(removed: Removed, *, dry_run: bool, verbose: bool) -> str:
    """Return the changes made, with each table's checksum before and after."""
    lines = []
    if removed.locks:
        lines += ["Locks that it took:", *(f"  {lock}" for lock in removed.locks)]
    width = max((len(printable(table)) for table in removed.before), default=0)
    digits = None if verbose else _SHORT_DIGITS
    lines.append("SHA-256 of each table that stays, before and after:")
    for table, before in removed.before.items():
        after = removed.after[table]
        lines.append(
            f"  {printable(table):<{width}} {before.rows:>12,} rows  {before.sha256[:digits]}"
            f"  {after.sha256[:digits]}"
        )
    if removed.defaults_changed is not None:
        lines.append(f"Default platforms that changed: {removed.defaults_changed:,}")
    lines += removed.refused.in_words(every=verbose)
    if removed.backup is not None and not dry_run:
        backup = removed.backup
        lines.append(
            f"Backup: {printable(str(backup.path))} ({backup.rows:,} rows,"
            f" {backup.size_bytes:,} bytes, SHA-256 {backup.sha256[:digits]})"
        )
        if not backup.is_there:
            lines.append("But that file was taken away or changed since: there is no way back.")
    if removed.backup is not None:
        lines += [f"Note: {printable(note)}" for note in removed.backup.notes]
    return "\n".join([*lines, removal_message(removed, dry_run=dry_run)])


def removal_message(removed: Removed, *, dry_run: bool) -> str:
    """Return the outcome in a sentence."""
    sessions = removed.state.sessions
    what = f"the schema {{}} at revision {removed.revision}"
    if sessions is not None:
        what += f" and {printable(sessions.name)} ({removed.rows:,} rows) {{}}"
    if dry_run:
        return "Dry run: " + what.format("would be", "would be removed") + "; nothing was changed."
    inactive = len(removed.refused.locked) + len(removed.refused.unverified)
    but = f"; {inactive:,} users are inactive" if inactive else ""
    return "Done: " + what.format("is", "is removed") + f"{but}; everything else is as it was."


def hashes_in_words(database: str, hashes: KeptHashes, backup: str | None) -> str:
    """Return a description of the hashes that --no-return erases."""
    lines = [
        f"Database  {printable(database)}",
        f"Erased    {hashes.kept:,} legacy password hashes, which only the older application reads",
    ]
    if hashes.to_come:
        lines.append(
            f"Later     {hashes.to_come:,} users have not logged in here yet; of them none will be"
            " kept"
        )
    if backup is not None:
        lines.append(f"Backup    {printable(backup)} holds old hashes, too: delete it yourself")
    return "\n".join(lines)


def restored_in_words(restored: Restored, *, dry_run: bool) -> str:
    """Return a description of the restored table and rows."""
    given_back = restored.given_back.in_words() if restored.given_back else []
    notes = map(printable, [*restored.notes, *given_back])
    return "\n".join([*notes, restoration_message(restored, dry_run=dry_run)])


def restoration_message(restored: Restored, *, dry_run: bool) -> str:
    """Return the outcome in a sentence."""
    table = printable(str(restored.backup.manifest["table"]))
    if not restored.is_change:
        return f"Nothing to do: {table} stands there, just as the backup holds it."
    if restored.rows is None:
        stands = f"{table} stands there already, and the rows of users"
        if dry_run:
            return f"Dry run: {stands} would be the older application's; nothing was changed."
        return f"Done: {stands} are the older application's again."
    what = f"{table} ({restored.rows:,} rows)"
    if dry_run:
        return f"Dry run: {what} would be there again; nothing was changed."
    return f"Done: {what} is there again, with its indexes and keys."


def report(outcome: Outcome, message: str, facts: dict[str, Any]) -> str:
    """Return one JSON object in one line."""
    whole = {"outcome": outcome.value, "exit_code": outcome.exit_code, "message": message, **facts}
    return json.dumps(whole, default=_as_json)


def _as_json(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value)
