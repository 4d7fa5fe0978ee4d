"""Inspection of the current schema, and of the objects that depend on the session table."""

import hashlib
from collections import Counter
from collections.abc import Sequence

import psycopg
from psycopg import sql

from quart_app.migration.facts import SESSIONS, Contents, SessionTable
from quart_app.migration.postgres.catalog import facts_of
from quart_app.migration.postgres.definition import obstacles_in
from quart_app.migration.postgres.dependents import dependents
from quart_app.migration.sealed_file import Advance

_ROWS_AT_ONCE = 2000
_KINDS = {
    "r": "table",
    "v": "view",
    "m": "materialized view",
    "p": "partitioned table",
    "f": "foreign table",
}
_BY_ID = {"users", "platform_connections"}  # an upgrade moves their rows
# For each object that is part of a table: (the table's name, the object's name, its definition).
_DEFINITIONS = """
    WITH ours AS (
        SELECT n.oid, n.nspname FROM pg_namespace AS n
        WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
            AND n.nspname NOT LIKE 'pg\\_temp\\_%' AND n.nspname NOT LIKE 'pg\\_toast\\_temp\\_%')
    SELECT c.relname, 'column ' || c.oid::regclass || '.' || a.attname,
            concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull,
                pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, a.attacl)
        FROM pg_class AS c JOIN ours ON ours.oid = c.relnamespace
            JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relkind IN ('r', 'p', 'f')
    UNION ALL SELECT c.relname, 'table ' || c.oid::regclass,
            concat_ws(' ', c.relkind, pg_get_userbyid(c.relowner), c.relacl, c.reloptions)
        FROM pg_class AS c JOIN ours ON ours.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')
    UNION ALL SELECT t.relname, 'index ' || i.indexrelid::regclass, pg_get_indexdef(i.indexrelid)
        FROM pg_index AS i JOIN pg_class AS t ON t.oid = i.indrelid
            JOIN ours ON ours.oid = t.relnamespace
    UNION ALL SELECT t.relname, 'constraint ' || k.conname || ' of ' || t.oid::regclass,
            pg_get_constraintdef(k.oid)
        FROM pg_constraint AS k JOIN pg_class AS t ON t.oid = k.conrelid
            JOIN ours ON ours.oid = t.relnamespace
    UNION ALL SELECT t.relname, 'trigger ' || g.tgname || ' of ' || t.oid::regclass,
            concat_ws(' ', pg_get_triggerdef(g.oid), g.tgenabled)
        FROM pg_trigger AS g JOIN pg_class AS t ON t.oid = g.tgrelid
            JOIN ours ON ours.oid = t.relnamespace WHERE NOT g.tgisinternal
    UNION ALL SELECT c.relname, 'view ' || c.oid::regclass,
            concat_ws(' ', pg_get_viewdef(c.oid), pg_get_userbyid(c.relowner), c.relacl)
        FROM pg_class AS c JOIN ours ON ours.oid = c.relnamespace WHERE c.relkind IN ('v', 'm')
    UNION ALL SELECT coalesce(t.relname, c.relname), 'sequence ' || c.oid::regclass,
            concat_ws(' ', to_jsonb(s), pg_get_userbyid(c.relowner), c.relacl)
        FROM pg_sequence AS s JOIN pg_class AS c ON c.oid = s.seqrelid
            JOIN ours ON ours.oid = c.relnamespace
            LEFT JOIN pg_depend AS d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass
                AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
            LEFT JOIN pg_class AS t ON t.oid = d.refobjid
    UNION ALL SELECT '', 'function ' || p.oid::regprocedure,
            concat_ws(' ', pg_get_functiondef(p.oid), pg_get_userbyid(p.proowner), p.proacl)
        FROM pg_proc AS p JOIN ours ON ours.oid = p.pronamespace WHERE p.prokind IN ('f', 'p')
    UNION ALL SELECT '', 'schema ' || nspname, concat_ws(' ', pg_get_userbyid(nspowner), nspacl)
        FROM pg_namespace AS n WHERE n.oid IN (SELECT oid FROM ours)
    UNION ALL SELECT '', 'event trigger ' || evtname, concat_ws(' ', evtevent, evtfoid, evtenabled)
        FROM pg_event_trigger
"""
# For each foreign key: its table's name, both tables as SQL writes them, and their columns.
_COLUMNS_OF_KEY = """
    ARRAY(SELECT quote_ident(a.attname) FROM unnest(k.{key}) WITH ORDINALITY AS u (number, place)
        JOIN pg_attribute AS a ON a.attrelid = k.{table} AND a.attnum = u.number ORDER BY u.place)
"""
_KEYS = f"""
    SELECT c.relname, k.conrelid::regclass::text, k.confrelid::regclass::text,
        {_COLUMNS_OF_KEY.format(key="conkey", table="conrelid")},
        {_COLUMNS_OF_KEY.format(key="confkey", table="confrelid")}
    FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid
    WHERE k.contype = 'f' AND c.relnamespace = quote_ident(current_schema())::regnamespace
        AND c.relname <> %s
"""


def relation(connection: psycopg.Connection, name: str = SESSIONS) -> tuple[int, str] | None:
    """Return oid and kind of the relation with this name in the current schema."""
    return connection.execute(
        "SELECT oid::bigint, relkind::text FROM pg_class WHERE relname = %s"
        " AND relnamespace = quote_ident(current_schema())::regnamespace AND relkind = ANY(%s)",
        (name, list(_KINDS)),
    ).fetchone()


def tables(connection: psycopg.Connection) -> list[str]:
    """Name the tables of the current schema."""
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace = quote_ident(current_schema())::regnamespace ORDER BY relname"
    )
    return [name for (name,) in rows]


def columns(connection: psycopg.Connection, table: str) -> list[str]:
    """Name the columns, generated ones included."""
    rows = connection.execute(
        "SELECT attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid"
        " WHERE c.relname = %s AND c.relnamespace = quote_ident(current_schema())::regnamespace"
        " AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        (table,),
    )
    return [name for (name,) in rows]


def size_bytes(connection: psycopg.Connection, table: str) -> int | None:
    """Return the size of a table with its indexes; None if it was dropped meanwhile."""
    row = connection.execute(
        "SELECT pg_total_relation_size(oid) FROM pg_class WHERE relname = %s"
        " AND relnamespace = quote_ident(current_schema())::regnamespace",
        (table,),
    ).fetchone()
    return None if row is None else row[0]


def session_table(connection: psycopg.Connection) -> SessionTable | None:
    """Describe the table user_sessions in the current schema."""
    found = relation(connection)
    if found is None:
        return None
    oid, kind = found
    facts = facts_of(connection, oid)
    return SessionTable(
        name=SESSIONS,
        kind=_KINDS[kind],
        columns=tuple(columns(connection, SESSIONS)),
        goes_with_it=tuple(
            f"{kind} {each['name']}"
            for kind, plural in (
                ("constraint", "constraints"),
                ("index", "indexes"),
                ("trigger", "triggers"),
                ("sequence", "sequences"),
            )
            for each in facts[plural]
            if not each.get("of_constraint") and each.get("type") != "n"
        ),
        dependents=dependents(connection, oid),
        obstacles=obstacles_in(facts),
    )


def elsewhere(connection: psycopg.Connection) -> str | None:
    """Name another schema of the search path that has such a table, in SQL's form."""
    row = connection.execute(
        "SELECT quote_ident(n.nspname) FROM pg_class AS c"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE c.relname = %s AND c.relkind = 'r' AND n.nspname = ANY(current_schemas(false))"
        " AND n.nspname <> current_schema()",
        (SESSIONS,),
    ).fetchone()
    return None if row is None else str(row[0])


def hidden(connection: psycopg.Connection) -> str | None:
    """Name a table of the current schema whose rows a policy hides from our role."""
    row = connection.execute(
        "SELECT relname::text, current_user::text FROM pg_class WHERE relkind IN ('r', 'p')"
        " AND relnamespace = quote_ident(current_schema())::regnamespace"
        " AND row_security_active(oid) ORDER BY relname LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    return (
        f"Row level security hides rows of {row[0]} from the role {row[1]}, so the migration can't"
        " verify them. Migrate as a superuser, or as a role with BYPASSRLS."
    )


def disabling_event_triggers(connection: psycopg.Connection) -> str:
    """Return the statements that disable the database's event triggers."""
    rows = connection.execute(
        "SELECT format('ALTER EVENT TRIGGER %I DISABLE;', evtname) FROM pg_event_trigger"
        " WHERE evtenabled <> 'D' ORDER BY evtname"
    )
    return " ".join(statement for (statement,) in rows)


def definitions(connection: psycopg.Connection) -> dict[tuple[str, str], str]:
    """Return the definitions of all objects in every schema that users made."""
    rows = connection.execute(_DEFINITIONS.encode())
    return {(table, what): definition for table, what, definition in rows}


def contents(
    connection: psycopg.Connection, table: str, names: Sequence[str], advance: Advance
) -> Contents:
    """Return the SHA-256 of the rows in COPY's text format, as psql would write them."""
    order = sql.SQL(" ORDER BY id") if table in _BY_ID else sql.SQL("")
    query = sql.SQL("COPY (SELECT {} FROM ONLY {}{}) TO STDOUT").format(
        sql.SQL(", ").join(map(sql.Identifier, names)), sql.Identifier(table), order
    )
    digest, rows, some = hashlib.sha256(), 0, []
    with connection.cursor().copy(query) as copy:
        for row in copy:
            some.append(row)
            if len(some) == _ROWS_AT_ONCE:
                digest.update(b"".join(some))
                rows += len(some)
                advance(len(some))
                some.clear()
    digest.update(b"".join(some))
    advance(len(some))
    return Contents(rows + len(some), digest.hexdigest())


def broken_foreign_keys(connection: psycopg.Connection) -> Counter[str]:
    """Count by table the rows whose key has no target, without the session table.

    PostgreSQL enforces keys itself, unless somebody loaded rows with its triggers off. Deferred
    keys are checked now.
    """
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    keys = connection.execute(_KEYS.encode(), (SESSIONS,)).fetchall()
    broken: Counter[str] = Counter()
    for name, table, other, own, theirs in keys:
        given = " AND ".join(f"t.{column} IS NOT NULL" for column in own)
        same = " AND ".join(f"o.{b} = t.{a}" for a, b in zip(own, theirs, strict=True))
        row = connection.execute(
            f"SELECT count(*) FROM {table} AS t WHERE {given}"
            f" AND NOT EXISTS (SELECT 1 FROM {other} AS o WHERE {same})".encode()
        ).fetchone()
        broken[name] += row[0] if row else 0
    return broken
