"""Owners and privileges of a table and its sequences, restored exactly."""

from typing import Any

import psycopg

from quart_app.migration.postgres.catalog import Facts, grants_of
from quart_app.migration.postgres.definition import identifier, run

# https://www.postgresql.org/docs/18/ddl-priv.html
_PRIVILEGES = {
    *("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"),
    "USAGE",
}


def give_rights(connection: psycopg.Connection, facts: Facts) -> None:
    """Give the table and its sequences to their owner, with exactly the privileges they had.

    A new table has its creator's default privileges, which may be different.
    """
    (table,) = facts["table"]
    name = identifier(table["schema"], table["name"])
    run(connection, [f"ALTER TABLE {name} OWNER TO {identifier(table['owner'])}"])
    _grant_exactly(connection, f"TABLE {name}", name, facts["grants"])
    for sequence in facts["sequences"]:
        name = identifier(sequence["schema"], sequence["name"])
        _grant_exactly(connection, f"SEQUENCE {name}", name, sequence["grants"])


def _grant_exactly(
    connection: psycopg.Connection, what: str, name: str, wanted: list[dict[str, Any]]
) -> None:
    present = grants_of(connection, name)
    if present == wanted:
        return
    grantees = {each["grantee"] for each in present}
    run(connection, (f"REVOKE ALL ON {what} FROM {_role(each)} CASCADE" for each in grantees))
    run(connection, (_grant(what, each) for each in wanted))


def _grant(what: str, grant: dict[str, Any]) -> str:
    if grant["privilege"] not in _PRIVILEGES:
        raise ValueError(f"{grant['privilege']} is no privilege")
    option = " WITH GRANT OPTION" if grant["is_grantable"] else ""
    return f"GRANT {grant['privilege']} ON {what} TO {_role(grant['grantee'])}{option}"


def _role(name: str | None) -> str:
    return "PUBLIC" if name is None else identifier(name)
