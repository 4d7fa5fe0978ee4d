"""The plan: the state of the database and the changes to make, as lines for the operator."""

from pathlib import Path

from quart_app.migration.facts import DatabaseState, SessionTable
from quart_app.migration.sealed_file import SealedFile
from quart_app.migration.way_back import KeptHashes
from quart_app.text.counted import column_of_rows, counted
from quart_app.text.printable import printable


def removal_plan(state: DatabaseState, *, backup: Path | None, verbose: bool) -> str:
    """Return the plan of a migration; `backup` is None if there will be no backup."""
    lines = [f"Database  {printable(state.database)}"]
    if state.revision == state.newest_revision:
        lines.append(f"Schema    at revision {state.revision} already")
    else:
        now = f"at revision {state.revision}" if state.revision else "the older application's"
        lines.append(f"Schema    {now}; will be at revision {state.newest_revision}")
    width = max((len(printable(table.name)) for table in state.tables), default=0)
    lines.append("Tables")
    for table in state.tables:
        size = "" if table.size_bytes is None else f"{table.size_bytes:>16,} bytes"
        line = f"  {printable(table.name):<{width}} {column_of_rows(table.rows)}{size}"
        lines.append(line.rstrip())
    if state.sessions is not None:
        lines += _of_sessions(state.sessions, backup=backup, verbose=verbose)
    lines += state.refused.in_words(every=verbose)
    return "\n".join(lines)


def _of_sessions(table: SessionTable, *, backup: Path | None, verbose: bool) -> list[str]:
    some = ", ".join(printable(name) for name in table.some_users)
    more = f" and {table.users - len(table.some_users):,} more"
    names = f": {some}{more if table.users > len(table.some_users) else ''}" if some else ""
    lines = [
        f"Remove    {printable(table.name)}: {counted(table.rows, 'row')}",
        f"  with    {'; '.join(map(printable, table.goes_with_it)) or 'no index, key or trigger'}",
        "Used by   " + ("; ".join(map(printable, table.dependents)) or "no key, view or trigger"),
        f"Log in    {counted(table.users, 'user')} must log in again{names}",
    ]
    if table.rows_without_user or table.rows_without_platform:
        lines.append(
            f"Orphans   {counted(table.rows_without_user, 'row')} whose user does not exist,"
            f" {counted(table.rows_without_platform, 'row')} whose platform connection does not"
            " exist"
        )
    if verbose:
        lines.append(f"Columns   {', '.join(map(printable, table.columns))}")
    lines.append(f"Backup    {printable(str(backup or 'none (--no-backup)'))}")
    return lines


def restoration_plan(state: DatabaseState, backup: SealedFile) -> str:
    """Return the plan of a restoration."""
    table, rows = backup.claim("table"), counted(backup.manifest["rows"], "row")
    if state.sessions is None:
        what = f"{table}: {rows}, and the older application's values in users"
    else:
        what = f"the older application's values in users; {table} is there already"
    return (
        f"Database  {printable(state.database)}\n"
        f"Backup    {printable(str(backup.path))}, made at {backup.made_at:%Y-%m-%d %H:%M:%S} UTC\n"
        f"Restore   {what}"
    )


def erasure_plan(database: str, hashes: KeptHashes, backup: str | None) -> str:
    """Return the plan of --no-return; `backup` is the last migration's."""
    what = counted(hashes.kept, "password hash", "password hashes")
    lines = [
        f"Database  {printable(database)}",
        f"Erase     {what} that only the older application reads",
    ]
    if hashes.to_come:
        lines.append(
            f"Later     not kept either: the hashes of {counted(hashes.to_come, 'user')} without a"
            " login here"
        )
    if backup is not None:
        lines.append(f"Backup    {printable(backup)} has older hashes, too: delete it yourself")
    return "\n".join(lines)
