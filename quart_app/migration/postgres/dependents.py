"""Objects that would break without the session table.

PostgreSQL's catalog knows most of them. It does not know what a function's body needs. So bodies
are searched for the table's name, and for the names of functions that need the table in turn. A
name that a body composes at run time is not found.
"""

import re
from typing import NamedTuple

import psycopg
from psycopg.rows import class_row

# Keys of other tables, views, tables that inherit, functions that PostgreSQL knows to depend,
# columns of the table's own row type, others' policies and defaults.
_KNOWN = """
    SELECT 'the table ' || conrelid::regclass::text || ' by its foreign key ' || conname
        FROM pg_constraint WHERE confrelid = %(oid)s AND conrelid <> %(oid)s AND contype = 'f'
            AND conparentid = 0
    UNION SELECT CASE c.relkind WHEN 'm' THEN 'the materialized view ' WHEN 'v' THEN 'the view '
            ELSE 'the rule ' || r.rulename || ' on ' END || c.oid::regclass::text
        FROM pg_depend AS d JOIN pg_rewrite AS r ON r.oid = d.objid
            JOIN pg_class AS c ON c.oid = r.ev_class
        WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = %(oid)s AND c.oid <> %(oid)s
    UNION SELECT 'the table ' || inhrelid::regclass::text || ', which inherits from it'
        FROM pg_inherits WHERE inhparent = %(oid)s
    UNION SELECT 'the function ' || d.objid::regprocedure::text FROM pg_depend AS d
        WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'n'
            AND d.refobjid IN (%(oid)s, (SELECT reltype FROM pg_class WHERE oid = %(oid)s),
                (SELECT t.typarray FROM pg_class AS c JOIN pg_type AS t ON t.oid = c.reltype
                    WHERE c.oid = %(oid)s))
    UNION SELECT 'the column ' || a.attname || ' of ' || a.attrelid::regclass::text
        FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = %(oid)s
            JOIN pg_type AS t ON t.oid = c.reltype AND a.atttypid IN (t.oid, t.typarray)
            WHERE NOT a.attisdropped
    UNION SELECT 'the domain ' || d.oid::regtype::text
        FROM pg_type AS d JOIN pg_class AS c ON c.oid = %(oid)s
            JOIN pg_type AS t ON t.oid = c.reltype AND d.typbasetype IN (t.oid, t.typarray)
    UNION SELECT 'the policy ' || p.polname || ' on ' || p.polrelid::regclass::text
        FROM pg_depend AS d JOIN pg_policy AS p ON p.oid = d.objid
        WHERE d.classid = 'pg_policy'::regclass AND d.refclassid = 'pg_class'::regclass
            AND d.refobjid = %(oid)s AND p.polrelid <> %(oid)s
    UNION SELECT 'the default of the column ' || a.attname || ' of ' || a.attrelid::regclass::text
            || ' by the sequence ' || s.objid::regclass::text
        FROM pg_depend AS s JOIN pg_depend AS d ON d.refobjid = s.objid
                AND d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
            JOIN pg_attrdef AS f ON f.oid = d.objid AND f.adrelid <> %(oid)s
            JOIN pg_attribute AS a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
        WHERE s.classid = 'pg_class'::regclass AND s.refclassid = 'pg_class'::regclass
            AND s.refobjid = %(oid)s AND s.deptype IN ('a', 'i')
    ORDER BY 1
"""
_FUNCTIONS = """
    SELECT p.oid::bigint AS oid, p.oid::regprocedure::text AS signature, p.proname::text AS name,
        n.nspname::text AS schema, p.prosrc AS body,
        p.prorettype IN ('trigger'::regtype, 'event_trigger'::regtype) AS is_for_triggers
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        JOIN pg_language AS l ON l.oid = p.prolang AND l.lanname NOT IN ('c', 'internal')
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
"""
# The table's name and those of its sequences, and its schema.
_NAMES = """
    SELECT n.nspname::text, ARRAY(
        SELECT c.relname::text UNION SELECT s.relname::text FROM pg_depend AS d
            JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
            WHERE d.refobjid = c.oid AND d.refclassid = 'pg_class'::regclass
                AND d.classid = 'pg_class'::regclass)
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = %s
"""
# Of objects that use a function: its oid, the object in words, and whether it is the table's own.
_USERS = """
    SELECT d.refobjid::bigint, CASE d.classid
            WHEN 'pg_trigger'::regclass
                THEN 'the trigger ' || t.tgname || ' on ' || t.tgrelid::regclass
            WHEN 'pg_rewrite'::regclass THEN CASE v.relkind WHEN 'm' THEN 'the materialized view '
                WHEN 'v' THEN 'the view ' ELSE 'the rule ' || r.rulename || ' on ' END
                || r.ev_class::regclass
            WHEN 'pg_attrdef'::regclass
                THEN 'the default of the column ' || a.attname || ' of ' || f.adrelid::regclass
            WHEN 'pg_constraint'::regclass THEN 'the check ' || k.conname || ' of ' || CASE
                WHEN k.conrelid <> 0 THEN k.conrelid::regclass::text
                ELSE 'the domain ' || k.contypid::regtype END
            WHEN 'pg_class'::regclass
                THEN 'the index ' || d.objid::regclass || ' on ' || i.indrelid::regclass
            WHEN 'pg_policy'::regclass
                THEN 'the policy ' || p.polname || ' on ' || p.polrelid::regclass
            WHEN 'pg_event_trigger'::regclass THEN 'the event trigger ' || e.evtname
            WHEN 'pg_proc'::regclass THEN 'the function ' || d.objid::regprocedure
            ELSE 'the ' || pg_describe_object(d.classid, d.objid, d.objsubid) END,
        coalesce(%(oid)s IN (t.tgrelid, r.ev_class, f.adrelid, k.conrelid, i.indrelid, p.polrelid),
            false)
    FROM pg_depend AS d
        LEFT JOIN pg_trigger AS t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid
        LEFT JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
        LEFT JOIN pg_class AS v ON v.oid = r.ev_class
        LEFT JOIN pg_attrdef AS f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
        LEFT JOIN pg_attribute AS a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
        LEFT JOIN pg_constraint AS k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
        LEFT JOIN pg_index AS i ON d.classid = 'pg_class'::regclass AND i.indexrelid = d.objid
        LEFT JOIN pg_policy AS p ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid
        LEFT JOIN pg_event_trigger AS e
            ON d.classid = 'pg_event_trigger'::regclass AND e.oid = d.objid
    WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = ANY(%(functions)s)
"""
# A string, which may hold a statement, a name, or a comment: whichever comes first.
# https://www.postgresql.org/docs/18/sql-syntax-lexical.html
_TOKEN = re.compile(
    r"""(?P<code>[eE]'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'|(?:[uU]&)?"(?:[^"]|"")*"
    |\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$|[^\W\d][\w$]*)
    |--[^\n]*|/\*.*?\*/""",
    re.DOTALL | re.VERBOSE,
)
_ESCAPED = re.compile(r"\\(?:\+([0-9A-Fa-f]{6})|([0-9A-Fa-f]{4}))")  # in a name that begins with U&


class _Function(NamedTuple):
    oid: int
    signature: str
    name: str
    schema: str
    body: str
    is_for_triggers: bool


def dependents(connection: psycopg.Connection, oid: int) -> tuple[str, ...]:
    """Name the dependents; the table's own triggers and keys are not among them."""
    known = connection.execute(_KNOWN.encode(), {"oid": oid}).fetchall()
    return tuple(sorted({name for (name,) in known} | _by_functions(connection, oid)))


def _by_functions(connection: psycopg.Connection, oid: int) -> set[str]:
    """Name objects that need the table through a function, and functions without callers."""
    needing, called = _functions_that_need(connection, oid)
    users = connection.execute(
        _USERS.encode(), {"oid": oid, "functions": [each.oid for each in needing]}
    ).fetchall()
    used = called | {function for function, _, _ in users}
    return {what for _, what, is_own in users if not is_own} | {
        f"the function {each.signature}"
        for each in needing
        if each.oid not in used and not each.is_for_triggers
    }


def _functions_that_need(
    connection: psycopg.Connection, oid: int
) -> tuple[list[_Function], set[int]]:
    """Return the functions that name the table or each other, and which are called."""
    row = connection.execute(_NAMES.encode(), [oid]).fetchone()
    assert row is not None  # noqa: S101 it was found a moment ago
    schema, names = row
    with connection.cursor(row_factory=class_row(_Function)) as cursor:
        functions = cursor.execute(_FUNCTIONS.encode()).fetchall()
    bodies = {each.oid: _without_comments(each.body) for each in functions}
    needing = {
        each.oid: each
        for each in functions
        if any(_names(bodies[each.oid], name, schema) for name in names)
    }
    called: set[int] = set()
    new = list(needing.values())
    while new:
        callee = new.pop()
        for each in functions:
            if each.oid == callee.oid:
                continue
            if _names(bodies[each.oid], callee.name, callee.schema, then=r"\s*\("):
                called.add(callee.oid)
                if each.oid not in needing:
                    needing[each.oid] = each
                    new.append(each)
    return list(needing.values()), called


def _without_comments(body: str) -> str:
    """Return the code and the strings of a body, with escaped names decoded."""
    return _TOKEN.sub(lambda match: _spelled_out(match["code"] or " "), body)


def _spelled_out(code: str) -> str:
    if not code.startswith(('U&"', 'u&"')):
        return code
    name = _ESCAPED.sub(lambda match: chr(int(match[1] or match[2], 16)), code[3:])
    return f'"{name}'


def _names(body: str, name: str, schema: str, *, then: str = "") -> bool:
    """Return whether a body contains the name, alone or with its schema; quoted or in any case."""
    if name.lower() not in body.lower():
        return False
    pattern = (
        r'(?:([\w$]+|"(?:[^"]|"")*")\s*\.\s*)?(?<![\w$])("?)'
        rf"{re.escape(name)}\2(?![\w$]){then}"
    )
    return any(
        match[1] is None or match[1].strip('"').lower() == schema.lower()
        for match in re.finditer(pattern, body, re.IGNORECASE)
    )
