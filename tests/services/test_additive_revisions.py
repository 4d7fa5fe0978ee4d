"""Each revision of the schema leaves it usable for the code before it."""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import sqlalchemy as sa
from sqlalchemy import URL, Connection

from quart_app.storage.database import Database
from quart_app.storage.schema import known_revisions, upgrade_within

Columns = frozenset[str]


@dataclass
class Table:
    """The rules of a table that statements of older code must fit."""

    columns: dict[str, sa.engine.interfaces.ReflectedColumn]
    unique: set[Columns]
    foreign: set[Columns] = field(default_factory=set)
    checks: set[str] = field(default_factory=set)


def tables_of(connection: Connection) -> dict[str, Table]:
    """Return the database's tables by name."""
    inspector = sa.inspect(connection)
    return {
        name: Table(
            columns={column["name"]: column for column in inspector.get_columns(name)},
            unique={
                *(
                    frozenset(each["column_names"])
                    for each in inspector.get_unique_constraints(name)
                ),
                *(
                    frozenset(str(column) for column in index["column_names"])
                    for index in inspector.get_indexes(name)
                    if index["unique"]
                ),
            },
            foreign={
                frozenset(key["constrained_columns"]) for key in inspector.get_foreign_keys(name)
            },
            checks={check["sqltext"] for check in inspector.get_check_constraints(name)},
        )
        for name in inspector.get_table_names()
    }


def breaks(before: dict[str, Table], after: dict[str, Table]) -> list[str]:
    """Return the changes between two states that statements of older code may not survive."""
    found = [f"the table {name} is gone" for name in before.keys() - after.keys()]
    for name in before.keys() & after.keys():
        found += [f"{name}: {said}" for said in _breaks_of(before[name], after[name])]
    return sorted(found)


def _breaks_of(before: Table, after: Table) -> list[str]:
    found = [f"{name} is gone" for name in before.columns.keys() - after.columns.keys()]
    for name, column in after.columns.items():
        old = before.columns.get(name)
        if old is None:
            if not column["nullable"] and column["default"] is None:
                found.append(f"{name} needs a value")
        elif str(old["type"]) != str(column["type"]):
            found.append(f"{name} has another type")
        elif old["nullable"] and not column["nullable"]:
            found.append(f"{name} must not be null any more")
    known = before.columns.keys()
    for kind, old_rules, rules in (
        ("unique", before.unique, after.unique),
        ("a foreign key", before.foreign, after.foreign),
    ):
        new = [each for each in rules - old_rules if each <= known]
        found += [f"{', '.join(sorted(each))} is now {kind}" for each in new]
    return found + [f"there is a new check: {check}" for check in after.checks - before.checks]


async def test_each_revision_only_adds_to_the_schema(empty_database_url: URL) -> None:
    def states(connection: Connection) -> list[dict[str, Table]]:
        taken = []
        for revision in sorted(known_revisions()):
            upgrade_within(connection, to=revision)
            taken.append(tables_of(connection))
        return taken

    database = Database(empty_database_url, create=True)
    try:
        async with database.begin() as db:
            all_states = await (await db.connection()).run_sync(states)
    finally:
        await database.close()
    assert len(all_states) > 10
    steps = zip(sorted(known_revisions())[1:], pairwise(all_states), strict=True)
    assert not {revision: found for revision, each in steps if (found := breaks(*each))}


STATEMENTS = {
    "DROP TABLE throttles": "the table throttles is gone",
    "ALTER TABLE users RENAME COLUMN reset_token_hash TO a": "users: reset_token_hash is gone",
    "ALTER TABLE audit ADD COLUMN host TEXT NOT NULL": "audit: host needs a value",
    "ALTER TABLE users ALTER COLUMN email TYPE VARCHAR(50)": "users: email has another type",
    "ALTER TABLE users ALTER COLUMN reset_token_hash SET NOT NULL": (
        "users: reset_token_hash must not be null any more"
    ),
    "CREATE UNIQUE INDEX new ON audit (event, at)": "audit: at, event is now unique",
    "ALTER TABLE changes ADD FOREIGN KEY (user_id) REFERENCES users (id)": (
        "changes: user_id is now a foreign key"
    ),
    "ALTER TABLE audit ADD CHECK (count > 0)": "audit: there is a new check: count > 0",
    "ALTER TABLE audit ADD COLUMN host TEXT NOT NULL DEFAULT ''": None,
    "CREATE TABLE new (id INTEGER PRIMARY KEY, name TEXT NOT NULL)": None,
    "ALTER TABLE audit ADD COLUMN host TEXT UNIQUE": None,
    "CREATE INDEX new ON audit (count)": None,
}


@pytest.mark.parametrize("engine_name", ["postgresql"])
async def test_exactly_the_changes_that_older_code_does_not_survive_are_found(
    database_url: URL,
) -> None:
    def changes(connection: Connection) -> dict[str, list[str]]:
        before, found = tables_of(connection), {}
        for statement in STATEMENTS:
            with connection.begin_nested() as savepoint:
                connection.execute(sa.text(statement))
                found[statement] = breaks(before, tables_of(connection))
                savepoint.rollback()
        return found

    database = Database(database_url)
    try:
        async with database.begin() as db:
            found = await (await db.connection()).run_sync(changes)
    finally:
        await database.close()
    assert found == {statement: [said] if said else [] for statement, said in STATEMENTS.items()}
