"""The result of a run, for the operator: lines, or one JSON object with everything."""

import dataclasses
import json
from datetime import datetime
from typing import Any

from quart_app.migration.outcome import Outcome
from quart_app.migration.removal import Removed
from quart_app.migration.restoration import Restored
from quart_app.text.counted import column_of_rows, counted
from quart_app.text.printable import printable

_SHORT_DIGITS = 16


def removed_in_words(removed: Removed, *, dry_run: bool, verbose: bool) -> str:
    """Return the changes made, with each table's checksum before and after."""
    lines = []
    if removed.locks:
        lines += ["Locks taken:", *(f"  {printable(lock)}" for lock in removed.locks)]
    width = max((len(printable(table)) for table in removed.before), default=0)
    digits = None if verbose else _SHORT_DIGITS
    lines.append("SHA-256 of each other table, before and after:")
    for table, before in removed.before.items():
        after = removed.after[table]
        lines.append(
            f"  {printable(table):<{width}} {column_of_rows(before.rows)}  {before.sha256[:digits]}"
            f"  {after.sha256[:digits]}"
        )
    if removed.defaults_changed is not None:
        lines.append(f"Default accounts changed: {removed.defaults_changed:,}")
    lines += removed.refused.in_words(every=verbose)
    if removed.backup is not None and not dry_run:
        backup = removed.backup
        lines.append(
            f"Backup: {printable(str(backup.path))} ({counted(backup.rows, 'row')},"
            f" {counted(backup.size_bytes, 'byte')}, SHA-256 {backup.sha256[:digits]})"
        )
        if not backup.is_there:
            lines.append(
                "Warning: that file was moved or changed since. Without it you can't go back."
            )
    if removed.backup is not None:
        lines += [f"Note: {printable(note)}" for note in removed.backup.notes]
    return "\n".join([*lines, removal_message(removed, dry_run=dry_run)])


def removal_message(removed: Removed, *, dry_run: bool) -> str:
    """Return the outcome in a sentence."""
    sessions = removed.state.sessions
    what = f"the schema {{}} at revision {removed.revision}"
    if sessions is not None:
        what += f" and {printable(sessions.name)} ({counted(removed.rows, 'row')}) {{}}"
    if dry_run:
        return "Dry run: " + what.format("would be", "would be removed") + ". Nothing was changed."
    inactive = len(removed.refused.locked) + len(removed.refused.unverified)
    but = f" Inactive now: {counted(inactive, 'user')}." if inactive else ""
    return f"Done: {what.format('is', 'is removed')}.{but} Everything else is unchanged."


def restored_in_words(restored: Restored, *, dry_run: bool) -> str:
    """Return a description of the restored table and rows."""
    given_back = restored.given_back.in_words() if restored.given_back else []
    notes = map(printable, [*restored.notes, *given_back])
    return "\n".join([*notes, restoration_message(restored, dry_run=dry_run)])


def restoration_message(restored: Restored, *, dry_run: bool) -> str:
    """Return the outcome in a sentence."""
    table = restored.backup.claim("table")
    if not restored.is_change:
        return f"Nothing to do: {table} is already restored, and equals the backup."
    if restored.rows is None:
        what = f"{table} was there already, and users {{}} the older application's values again"
        if dry_run:
            return f"Dry run: {what.format('would have')}. Nothing was changed."
        return f"Done: {what.format('has')}."
    what = f"{table} ({counted(restored.rows, 'row')}) {{}} restored, with its indexes and keys"
    if dry_run:
        return f"Dry run: {what.format('would be')}. Nothing was changed."
    return f"Done: {what.format('is')}."


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
