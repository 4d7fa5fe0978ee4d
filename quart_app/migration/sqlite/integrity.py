"""SQLite's check of a database for damage, and for search indexes that lag behind their text."""

import re
import sqlite3
from collections.abc import Mapping

from quart_app.migration.outcome import Refused
from quart_app.migration.sqlite.dependents import quoted

_COMPLAINTS = 1000
# Complaints of integrity_check about rows, not the file: they break a rule of their own table.
_OF_ROWS = re.compile(r"(\S+ value in |CHECK constraint failed in )")
# Complaints of virtual tables, since SQLite 3.44: R-trees, and search indexes that do not fit their
# text, such as after an edit of the text alone. The file is sound.
_OUT_OF_STEP = re.compile(
    r'(?:malformed inverted index for FTS\d table main\.|fts5: .* table ")(.+)'
)
_NOT_VALIDATED = re.compile(
    r"unable to validate the inverted index for FTS\d table main\.(.+?): [^:]*"
)
_OF_RTREE = re.compile(r"In RTree main\.(.+?):\n.*", re.DOTALL)
_CONTENTLESS = re.compile(r"content\s*=\s*(''|\"\")", re.IGNORECASE)


def check_integrity(connection: sqlite3.Connection) -> list[str]:
    """Return sentences about virtual tables that need their owner's care.

    Raises Refused for a database whose pages or indexes don't fit together.
    """
    virtual_tables = dict(
        connection.execute("SELECT name, sql FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL%'")
    )
    notes = []
    for (said,) in connection.execute(f"PRAGMA integrity_check({_COMPLAINTS})").fetchall():
        if said == "ok" or _OF_ROWS.match(said):
            continue
        note = note_on_virtual_table(said, virtual_tables)
        if note is None:
            raise Refused(
                f"The database is damaged: {_first_line(said)}. Repair it first, for example with"
                " `sqlite3 FILE .recover`. The database is unchanged."
            )
        notes.append(note)
    return [note for note in notes if note]


def note_on_virtual_table(said: str, definitions: Mapping[str, str]) -> str | None:
    """Return what to do about a complaint of a virtual table; empty if there is nothing to do.

    None if the complaint is about anything else. `definitions` are their statements by name.
    """
    if found := _OUT_OF_STEP.fullmatch(said):
        name = found[1].removesuffix('"') if said.startswith("fts5") else found[1]
        if name not in definitions:
            return None
        if _CONTENTLESS.search(definitions[name]):
            return f"The full-text index {name} does not match its text, which it does not store."
        return (
            f"The full-text index {name} does not match its text. The migration leaves it as it is."
            f" To rebuild it: INSERT INTO {quoted(name)}({quoted(name)}) VALUES('rebuild')"
        )
    found = _NOT_VALIDATED.fullmatch(said) or _OF_RTREE.fullmatch(said)
    if found is None or found[1] not in definitions:
        return None
    if _CONTENTLESS.search(definitions[found[1]]):
        return ""  # there is no text that SQLite could compare the index with
    return (
        f"SQLite reports a fault of the virtual table {found[1]}, which stays as it is:"
        f" {_first_line(said)}."
    )


def _first_line(said: str) -> str:
    """Return the first line that is not only a heading."""
    lines = said.splitlines()
    return next((line for line in lines if not line.startswith(("***", "In RTree"))), said)
