"""A database of the legacy application as users have it, on SQLite or PostgreSQL.

That application was synchronous, wrote naive UTC and, on SQLite, never enabled foreign keys.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from cryptography.fernet import Fernet
from sqlalchemy import URL
from sqlalchemy.engine import make_url
from werkzeug.security import generate_password_hash

# Passwords of the users who can log in; the problems of the others are described at their rows.
PASSWORDS = {
    "ada": "analytical engine 1843",
    "bert": "pbkdf2 of the year before",
    "carol": "carol in lower case",
    "Carol": "Carol with a capital",
    "dora": "active is null for dora",
    "Ζωή 李 ولد": "пароль от 李",
    "fred": "a role that nobody knows",
}
# The decrypted access tokens of the connections; the key of 7 is lost.
ACCESS_TOKENS = {id_: f"access-token-{id_}" for id_ in range(1, 8)}
# Connections with this id and user 99 were deleted; sessions and posts still refer to them.
DELETED_CONNECTION_ID = 40
DELETED_USER_ID = 99
OLD_ALEMBIC_REVISION = "f3c91d7ab204"

Execute = Callable[..., list[tuple[Any, ...]]]
Snapshot = dict[str, tuple[tuple[str, ...], list[tuple[Any, ...]]]]

_PLATFORM = "INTEGER REFERENCES platform_connections (id)"
_COLUMNS: dict[str, dict[str, str]] = {
    "users": {
        "id": "{id}",
        "username": "VARCHAR(64) NOT NULL",
        "email": "VARCHAR(120) NOT NULL",
        "password_hash": "VARCHAR(256) NOT NULL",
        "role": "VARCHAR(9)",
        "is_active": "BOOLEAN",
        "created_at": "{datetime}",
        "last_login": "{datetime}",
    },
    "platform_connections": {
        "id": "{id}",
        "user_id": "INTEGER NOT NULL REFERENCES users (id)",
        "name": "VARCHAR(100) NOT NULL",
        "platform_type": "VARCHAR(50) NOT NULL",
        "instance_url": "VARCHAR(500) NOT NULL",
        "username": "VARCHAR(200)",
        "access_token": "TEXT NOT NULL",
        "client_key": "TEXT",
        "client_secret": "TEXT",
        "is_active": "BOOLEAN",
        "is_default": "BOOLEAN",
        "created_at": "{datetime}",
        "updated_at": "{datetime}",
        "last_used": "{datetime}",
    },
    "user_sessions": {
        "id": "{id}",
        "session_id": "VARCHAR(255) NOT NULL",
        "user_id": "INTEGER NOT NULL REFERENCES users (id)",
        "active_platform_id": _PLATFORM,
        "created_at": "{datetime} NOT NULL",
        "updated_at": "{datetime} NOT NULL",
        "user_agent": "TEXT",
        "ip_address": "VARCHAR(45)",
    },
    "posts": {
        "id": "{id}",
        "post_id": "VARCHAR(500) NOT NULL UNIQUE",
        "platform_connection_id": _PLATFORM,
        "post_content": "TEXT",
        "created_at": "{datetime}",
    },
    "images": {
        "id": "{id}",
        "post_id": "INTEGER NOT NULL REFERENCES posts (id)",
        "image_url": "VARCHAR(1000) NOT NULL",
        "platform_connection_id": _PLATFORM,
        "generated_caption": "TEXT",
    },
    "processing_runs": {
        "id": "{id}",
        "user_id": "VARCHAR(200) NOT NULL",
        "platform_connection_id": _PLATFORM,
        "started_at": "{datetime}",
        "status": "VARCHAR(50)",
    },
    "caption_generation_tasks": {
        "id": "VARCHAR(36) NOT NULL PRIMARY KEY",
        "user_id": "INTEGER NOT NULL REFERENCES users (id)",
        "platform_connection_id": _PLATFORM,
        "status": "VARCHAR(9)",
        "created_at": "{datetime}",
    },
    "caption_generation_user_settings": {
        "id": "{id}",
        "user_id": "INTEGER NOT NULL REFERENCES users (id)",
        "platform_connection_id": _PLATFORM,
        "max_posts_per_run": "INTEGER",
    },
    "alembic_version": {"version_num": "VARCHAR(32) NOT NULL PRIMARY KEY"},
}
# The schema at three points of the legacy application's history: FIRST is `_COLUMNS`. MODELS is the
# schema that its models create on PostgreSQL, with the role as an enumeration type. LATER has more
# columns of users, and foreign keys that delete rows which refer to a connection.
FIRST, MODELS, LATER = "first", "models", "later"
_LATER_COLUMNS = {
    "account_locked": "BOOLEAN",
    "email_verified": "BOOLEAN",
    "email_verification_token": "VARCHAR(255)",
}
_CASCADING = {"posts", "images", "processing_runs", "caption_generation_tasks"}
_CONSTRAINTS: dict[str, dict[str, str]] = {
    "platform_connections": {
        "uq_user_platform_name": "UNIQUE (user_id, name)",
        "uq_user_instance_username": "UNIQUE (user_id, instance_url, username)",
    },
}
_INDEXES = {
    "ix_users_username": "UNIQUE INDEX {} ON users (username)",
    "ix_users_email": "UNIQUE INDEX {} ON users (email)",
    "ix_platform_user_active": "INDEX {} ON platform_connections (user_id, is_active)",
    "ix_platform_type_active": "INDEX {} ON platform_connections (platform_type, is_active)",
    "ix_platform_instance_type": "INDEX {} ON platform_connections (instance_url, platform_type)",
    "ix_user_sessions_session_id": "UNIQUE INDEX {} ON user_sessions (session_id)",
}
_TYPES = {
    "sqlite": {"id": "INTEGER NOT NULL PRIMARY KEY", "datetime": "DATETIME"},
    "postgresql": {"id": "SERIAL NOT NULL PRIMARY KEY", "datetime": "TIMESTAMP"},
}
# A table that neither application knows, with everything its engine allows.
_FOREIGN_TABLE = {
    "sqlite": """
        CREATE TABLE something_else ("a name with a space" FLOOB(3, 4), untyped, bytes BLOB,
            sum AS (untyped + 1) STORED, CHECK (untyped <> 13));
        INSERT INTO something_else VALUES (1.5, 7, x'00ff'), ('text', NULL, NULL);
        CREATE VIEW "what users see" AS SELECT users.id, users.username FROM users;
        CREATE TRIGGER something_happens AFTER UPDATE ON something_else
            BEGIN DELETE FROM something_else WHERE untyped = 0; END
    """,
    "postgresql": """
        CREATE TABLE something_else ("a name with a space" int4range, untyped text[], bytes bytea,
            document jsonb, sum interval DEFAULT '1 day',
            EXCLUDE USING gist ("a name with a space" WITH &&));
        INSERT INTO something_else VALUES ('[1,5)', '{a,NULL}', '\\x00ff', '{"b": [1]}'),
            (NULL, NULL, NULL, NULL);
        CREATE VIEW "what users see" AS SELECT users.id, users.username FROM users;
        CREATE FUNCTION something_happens() RETURNS trigger LANGUAGE plpgsql
            AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER something_happens AFTER UPDATE ON something_else
            FOR EACH ROW EXECUTE FUNCTION something_happens()
    """,
}
_PBKDF2_ITERATIONS = {"bert": 600_000, "carol": 260_000}


@cache
def _hash(username: str) -> str:
    iterations = _PBKDF2_ITERATIONS.get(username)
    method = f"pbkdf2:sha256:{iterations}" if iterations else "scrypt:32768:8:1"
    return generate_password_hash(PASSWORDS[username], method)


def _users() -> Iterator[dict[str, Any]]:
    emails = {"Carol": "Carol@Example.com", "Ζωή 李 ولد": "zoe@пример.example"}
    roles = {"ada": "ADMIN", "bert": "REVIEWER", "carol": "MODERATOR", "fred": "SUPERUSER"}
    for id_, username in enumerate(PASSWORDS, 1):
        yield {
            "id": id_,
            "username": username,
            "email": emails.get(username, f"{username}@example.com"),
            "password_hash": _hash(username),
            "role": roles.get(username, "VIEWER"),
            "is_active": None if username == "dora" else True,
            "created_at": "2024-02-29 23:59:59.123456",
            # That machine's clock was once wrong.
            "last_login": "2199-01-01 00:00:00.000000" if username == "fred" else None,
        }


def _platform_connections(encryption_key: str) -> Iterator[dict[str, Any]]:
    mastodon, pixelfed = "mastodon", "pixelfed"
    rows: list[tuple[int, str, str, str | None, bool | None, bool | None]] = [
        (1, "Notes", mastodon, "ada", True, False),
        (1, "Photos", pixelfed, "ada", True, True),
        (1, "Garden club", pixelfed, "rosa", True, False),
        # Two defaults.
        (6, "写真", pixelfed, "zoe", True, True),
        (6, "Σημειώσεις", mastodon, "zoe", True, True),
        # No default, and a boolean that is neither true nor false.
        (7, "Old", mastodon, None, None, None),
        (7, "Older", pixelfed, "fred", True, False),
    ]
    for id_, (user_id, name, platform_type, username, is_active, is_default) in enumerate(rows, 1):
        key = Fernet.generate_key() if name == "Older" else encryption_key.encode()
        sealed = {
            column: Fernet(key).encrypt(secret.encode()).decode()
            for column, secret in [
                ("access_token", ACCESS_TOKENS[id_]),
                ("client_key", f"client-key-{id_}"),
                ("client_secret", f"client-secret-{id_}"),
            ]
        }
        yield sealed | {
            "id": id_,
            "user_id": user_id,
            "name": name,
            "platform_type": platform_type,
            "instance_url": f"https://{platform_type}{id_}.example",
            "username": username,
            "is_active": is_active,
            "is_default": is_default,
            "created_at": "2024-03-01 08:30:00.000001",
            "updated_at": "2024-03-01 08:30:00.000001",
            "last_used": None,
        }


def _other_rows() -> dict[str, list[dict[str, Any]]]:
    at = "2025-01-09 12:00:00.123456"
    times = {"created_at": at, "updated_at": at}
    gone = DELETED_CONNECTION_ID
    return {
        "user_sessions": [
            {"session_id": f"5a7d2f6e-0000-4000-8000-{user_id:012}", "user_id": user_id, **times}
            | {"active_platform_id": platform_id, "user_agent": "Mozilla/5.0", "ip_address": "::1"}
            for user_id, platform_id in [(1, 2), (6, 4), (2, None), (DELETED_USER_ID, gone)]
        ],
        "posts": [
            {"post_id": str(id_), "platform_connection_id": id_, "post_content": "☕", **times}
            for id_ in (1, 2, gone)
        ],
        "images": [{"post_id": 1, "image_url": "https://x.example/1", "platform_connection_id": 1}],
        "processing_runs": [{"user_id": "ada", "platform_connection_id": 3, "started_at": at}],
        "caption_generation_tasks": [
            {"id": "b0c9", "user_id": 1, "platform_connection_id": 2, "status": "QUEUED", **times}
        ],
        "caption_generation_user_settings": [
            {"user_id": 1, "platform_connection_id": None, "max_posts_per_run": 50}
        ],
        "alembic_version": [{"version_num": OLD_ALEMBIC_REVISION}],
    }


def _users_of(engine: str, form: str) -> Iterator[dict[str, Any]]:
    for row in _users():
        if form != FIRST and engine == "postgresql" and row["role"] == "SUPERUSER":
            row["role"] = None  # an enumeration type contains only its own names
        if form == LATER:
            row |= {"account_locked": False, "email_verified": True}
        yield row


def _columns_of(engine: str, form: str) -> dict[str, dict[str, str]]:
    """Return each table's columns for a form of the schema."""
    columns = {table: dict(definitions) for table, definitions in _COLUMNS.items()}
    if form != FIRST and engine == "postgresql":
        columns["users"]["role"] = "userrole"
    if form == LATER:
        columns["users"] |= _LATER_COLUMNS
        for table in _CASCADING:
            columns[table]["platform_connection_id"] += " ON DELETE CASCADE"
        columns["caption_generation_user_settings"]["platform_connection_id"] += (
            " ON DELETE SET NULL"
        )
    return columns


def build_legacy_database(
    url: URL | str, *, encryption_key: str, without: Collection[str] = (), form: str = FIRST
) -> None:
    """Build it in an empty database, or in a new SQLite file.

    `without` leaves out parts that earlier forms lacked: a column (`users.last_login`), a
    constraint or an index, each by its name. `form` is FIRST, MODELS or LATER.
    """
    engine = make_url(url).get_backend_name()
    rows = {
        "users": list(_users_of(engine, form)),
        "platform_connections": list(_platform_connections(encryption_key)),
        **_other_rows(),
    }
    with connected(url) as execute:
        if form != FIRST and engine == "postgresql":
            execute("CREATE TYPE userrole AS ENUM ('ADMIN', 'MODERATOR', 'REVIEWER', 'VIEWER')")
        for table, columns in _columns_of(engine, form).items():
            lines = [
                f"{name} {definition.format(**_TYPES[engine])}"
                for name, definition in columns.items()
                if f"{table}.{name}" not in without
            ]
            lines += [
                f"CONSTRAINT {name} {definition}"
                for name, definition in _CONSTRAINTS.get(table, {}).items()
                if name not in without
            ]
            execute(f"CREATE TABLE {table} ({', '.join(lines)})")
            for row in rows[table]:
                state = {
                    name: value
                    for name, value in row.items()
                    if name in columns and f"{table}.{name}" not in without
                }
                marks = ", ".join(["?" if engine == "sqlite" else "%s"] * len(state))
                execute(
                    f"INSERT INTO {table} ({', '.join(state)}) VALUES ({marks})",  # noqa: S608 our own names
                    tuple(state.values()),
                )
        for name in sorted(_INDEXES.keys() - set(without)):
            execute(f"CREATE {_INDEXES[name].format(name)}")
        for statement in _FOREIGN_TABLE[engine].split(";\n"):
            execute(statement)
        if engine == "postgresql":
            # The values that the legacy application's inserts left.
            execute(f"SELECT setval('users_id_seq', {DELETED_USER_ID})")
            execute(f"SELECT setval('platform_connections_id_seq', {DELETED_CONNECTION_ID})")


@contextmanager
def connected(url: URL | str) -> Iterator[Execute]:
    """Yield a function that executes a statement and returns rows, without foreign keys."""
    url = make_url(url)
    if url.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(Path(url.database or ""), isolation_level=None)) as sqlite:
            sqlite.execute("BEGIN")
            yield lambda *query: sqlite.execute(*query).fetchall()
            sqlite.execute("COMMIT")
        return
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn) as postgres:
        # This is how a dump is loaded with triggers disabled.
        postgres.execute("SET session_replication_role = replica")

        def execute(query: str, *parameters: Any) -> list[tuple[Any, ...]]:
            cursor = postgres.execute(query.encode(), *parameters)
            return cursor.fetchall() if cursor.description else []

        yield execute


def snapshot(url: URL | str) -> Snapshot:
    """Return every table's column names and sorted rows, as the driver reads them."""
    with connected(url) as execute:
        names = execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            if make_url(url).get_backend_name() == "sqlite"
            else "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
        return {table: _contents(url, execute, table) for (table,) in sorted(names)}


def _contents(
    url: URL | str, execute: Execute, table: str
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    columns = execute(
        f"SELECT name FROM pragma_table_xinfo('{table}') ORDER BY cid"  # noqa: S608 the database's own names
        if make_url(url).get_backend_name() == "sqlite"
        else "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public'"  # noqa: S608
        f" AND table_name = '{table}' ORDER BY ordinal_position"
    )
    rows = execute(f'SELECT * FROM "{table}"')  # noqa: S608
    return tuple(name for (name,) in columns), sorted(rows, key=repr)


def schema_of(url: URL | str) -> dict[str, list[str]]:
    """Return the definition of each table, view, function and sequence as the engine prints it."""
    if make_url(url).get_backend_name() == "sqlite":
        query = (
            "SELECT tbl_name, type || ' ' || name || ': ' || coalesce(sql, '') FROM sqlite_master"
        )
    else:
        query = """
            SELECT table_name, to_jsonb(c)::text FROM information_schema.columns AS c
                WHERE table_schema = 'public'
            UNION ALL SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'
            UNION ALL SELECT relname, conname || ' ' || pg_get_constraintdef(c.oid)
                FROM pg_constraint AS c JOIN pg_class ON pg_class.oid = conrelid
                WHERE connamespace = 'public'::regnamespace
            UNION ALL SELECT relname, pg_get_triggerdef(t.oid)
                FROM pg_trigger AS t JOIN pg_class ON pg_class.oid = tgrelid WHERE NOT tgisinternal
            UNION ALL SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'
            UNION ALL SELECT sequencename, to_jsonb(s)::text FROM pg_sequences AS s
            UNION ALL SELECT proname, pg_get_functiondef(oid) FROM pg_proc
                WHERE pronamespace = 'public'::regnamespace AND prokind = 'f'
        """
    schema: dict[str, list[str]] = {}
    with connected(url) as execute:
        for table, definition in sorted(execute(query)):
            schema.setdefault(table, []).append(definition)
    return schema
