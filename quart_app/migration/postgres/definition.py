"""The statements that recreate a table, from the catalog's facts about it.

Names are quoted and numbers are numbers. Types and expressions are in the catalog's own words. The
backup's checksum, which the database remembers, authenticates them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg

from quart_app.migration.postgres.catalog import Facts

_ENABLED = {"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
_STORAGE = {"p": "PLAIN", "e": "EXTERNAL", "x": "EXTENDED", "m": "MAIN"}
_COMPRESSION = {"p": "pglz", "l": "lz4"}
_INTEGERS = {"smallint", "integer", "bigint"}
_INDEX = re.compile(r"CREATE (UNIQUE )?INDEX ")
_TRIGGER = re.compile(r"CREATE (CONSTRAINT )?TRIGGER ")
_OPTION = re.compile(r"([a-z_.]+)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class Definition:
    """Statements in the order of their execution; the rows come after `keys`.

    Keys that refer to other tables come first if the role may load rows unchecked, and otherwise
    after `finish`. Each of `keys` and `checks` has its name.
    """

    create: list[str]
    keys: dict[str, str]
    checks: dict[str, str]
    finish: list[str]
    last: list[str]


def identifier(*names: str) -> str:
    """Return a name, with its schema or without, as SQL writes it."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def literal(text: str) -> str:
    """Return a string as SQL writes it."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def definition_of(facts: Facts) -> Definition:
    """Return the statements, every name with its schema."""
    (table,) = facts["table"]
    name = identifier(table["schema"], table["name"])
    constraints = [each for each in facts["constraints"] if each["type"] != "n"]
    keys = [each for each in constraints if each["type"] == "f" and not each["is_own"]]
    checks = [each for each in constraints if each["type"] == "c"]
    own = [each for each in constraints if each not in keys and each not in checks]
    return Definition(
        create=[*_sequences(facts), _create(name, facts), *_owned(name, facts)],
        keys={key["name"]: _add(name, key) for key in keys},
        checks={check["name"]: _add(name, check) for check in checks},
        finish=[
            *_positions(facts),
            *(_add(name, each) for each in own),
            *_indexes(name, facts),
            *_triggers(name, facts),
        ],
        last=[*_comments(name, facts), *_settings(name, facts)],
    )


def obstacles_in(facts: Facts) -> tuple[str, ...]:
    """Name the parts that the statements do not recreate."""
    (table,) = facts["table"]
    found = [each["name"] for each in facts["others"]]
    if table["row_security"] or table["row_security_forced"]:
        found.append("its row level security")
    if table["replica_identity"] != "d":
        found.append("its replica identity")
    if table["of_type"] not in (None, "-"):
        found.append(f"its type {table['of_type']}")
    for column in facts["columns"]:
        if column["grants"]:
            found.append(f"the grants on the column {column['name']}")
        if column["options"]:
            found.append(f"the options of the column {column['name']}")
    found += [f"the invalid index {e['name']}" for e in facts["indexes"] if not e["is_valid"]]
    return tuple(found)


def _add(table: str, constraint: dict[str, Any]) -> str:
    return (
        f"ALTER TABLE {table} ADD CONSTRAINT {identifier(constraint['name'])}"
        f" {constraint['definition']}"
    )


def _options_of(sequence: dict[str, Any]) -> str:
    cycle = "CYCLE" if sequence["cycle"] else "NO CYCLE"
    return (
        f"INCREMENT BY {int(sequence['increment'])} MINVALUE {int(sequence['minimum'])}"
        f" MAXVALUE {int(sequence['maximum'])} START WITH {int(sequence['start'])}"
        f" CACHE {int(sequence['cache'])} {cycle}"
    )


def _sequences(facts: Facts) -> list[str]:
    unlogged = {"u": "UNLOGGED "}
    return [
        f"CREATE {unlogged.get(each['persistence'], '')}SEQUENCE"
        f" {identifier(each['schema'], each['name'])} AS {_one_of(_INTEGERS, each['type'])}"
        f" {_options_of(each)}"
        for each in facts["sequences"]
        if each["how"] == "a"
    ]


def _owned(table: str, facts: Facts) -> list[str]:
    return [
        f"ALTER SEQUENCE {identifier(each['schema'], each['name'])}"
        f" OWNED BY {table}.{identifier(each['column'])}"
        for each in facts["sequences"]
        if each["how"] == "a"
    ]


def _positions(facts: Facts) -> list[str]:
    return [
        f"SELECT setval({literal(identifier(each['schema'], each['name']))}::regclass,"
        f" {int(each['last_value'])}, {'true' if each['is_called'] else 'false'})"
        for each in facts["sequences"]
    ]


def _create(name: str, facts: Facts) -> str:
    (table,) = facts["table"]
    columns = ", ".join(_column(each, facts) for each in facts["columns"])
    unlogged = "UNLOGGED " if table["persistence"] == "u" else ""
    options = [_option(each) for each in table["options"] or []]
    options += [_option(f"toast.{each}") for each in table["toast_options"] or []]
    return (
        f"CREATE {unlogged}TABLE {name} ({columns})"
        + (f" USING {identifier(table['access_method'])}" if table["access_method"] else "")
        + (f" WITH ({', '.join(options)})" if options else "")
        + (f" TABLESPACE {identifier(table['tablespace'])}" if table["tablespace"] else "")
    )


def _column(column: dict[str, Any], facts: Facts) -> str:
    parts = [identifier(column["name"]), column["type"]]
    if column["collation"]:
        parts.append(f"COLLATE {column['collation']}")
    if column["generated"]:
        kind = {"s": "STORED", "v": "VIRTUAL"}[column["generated"]]
        parts.append(f"GENERATED ALWAYS AS ({column['default']}) {kind}")
    elif column["identity"]:
        (sequence,) = [
            each
            for each in facts["sequences"]
            if each["how"] == "i" and each["column"] == column["name"]
        ]
        kind = {"a": "ALWAYS", "d": "BY DEFAULT"}[column["identity"]]
        name = identifier(sequence["schema"], sequence["name"])
        parts.append(f"GENERATED {kind} AS IDENTITY (SEQUENCE NAME {name} {_options_of(sequence)})")
    elif column["default"] is not None:
        parts.append(f"DEFAULT {column['default']}")
    if column["not_null"]:
        parts += [
            f"CONSTRAINT {identifier(each['name'])}"
            for each in facts["constraints"]
            if each["type"] == "n" and each["column"] == column["name"]
        ]
        parts.append("NOT NULL")
    return " ".join(parts)


def _indexes(table: str, facts: Facts) -> list[str]:
    statements = [
        _beginning(_INDEX, each["definition"])
        for each in facts["indexes"]
        if not each["of_constraint"]
    ]
    return statements + [
        f"ALTER TABLE {table} CLUSTER ON {identifier(each['name'])}"
        for each in facts["indexes"]
        if each["is_clustered"]
    ]


def _triggers(table: str, facts: Facts) -> list[str]:
    statements = [_beginning(_TRIGGER, each["definition"]) for each in facts["triggers"]]
    return statements + [
        f"ALTER TABLE {table} {_ENABLED[each['enabled']]} TRIGGER {identifier(each['name'])}"
        for each in facts["triggers"]
        if each["enabled"] in _ENABLED
    ]


def _comments(table: str, facts: Facts) -> list[str]:
    schema = facts["table"][0]["schema"]
    named = [(f"TABLE {table}", facts["table"][0])]
    named += [(f"COLUMN {table}.{identifier(each['name'])}", each) for each in facts["columns"]]
    named += [
        (f"CONSTRAINT {identifier(each['name'])} ON {table}", each) for each in facts["constraints"]
    ]
    named += [(f"INDEX {identifier(schema, each['name'])}", each) for each in facts["indexes"]]
    named += [
        (f"TRIGGER {identifier(each['name'])} ON {table}", each) for each in facts["triggers"]
    ]
    named += [
        (f"SEQUENCE {identifier(each['schema'], each['name'])}", each)
        for each in facts["sequences"]
    ]
    return [
        f"COMMENT ON {what} IS {literal(each['comment'])}"
        for what, each in named
        if each["comment"] is not None
    ]


def _settings(table: str, facts: Facts) -> list[str]:
    statements = []
    for column in facts["columns"]:
        change = f"ALTER TABLE {table} ALTER COLUMN {identifier(column['name'])} SET"
        if column["storage"]:
            statements.append(f"{change} STORAGE {_STORAGE[column['storage']]}")
        if column["compression"]:
            statements.append(f"{change} COMPRESSION {_COMPRESSION[column['compression']]}")
        if column["statistics"]:
            statements.append(f"{change} STATISTICS {int(column['statistics'])}")
    return statements


def _one_of(known: set[str], word: str) -> str:
    if word not in known:
        raise ValueError(f"{word} is none of {', '.join(sorted(known))}")
    return word


def _beginning(pattern: re.Pattern[str], statement: str) -> str:
    if not pattern.match(statement):
        raise ValueError(f"{statement} is another statement")
    return statement


def _option(text: str) -> str:
    match = _OPTION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text} is no option")
    return f"{match[1]} = {literal(match[2])}"


def run(connection: psycopg.Connection, statements: Iterable[str]) -> None:
    """Run statements that contain their values.

    The extended protocol, which `binary` asks for, takes one command at a time: an expression
    that ends its statement and begins another is an error.
    """
    for statement in statements:
        connection.execute(statement.encode(), binary=True)
