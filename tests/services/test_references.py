"""A connection that rows of other tables refer to is not removed, whatever their key says."""

import asyncio
import sqlite3
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL

from quart_app.composition import Built, build_services
from quart_app.errors import InUse
from quart_app.services import Services
from tests.callers import caller_of
from tests.conftest import Member, administer, settings_for
from tests.legacy.legacy_database import connected

# Each creates the operator's tables and a row that refers to connection {id}, named {name}.
ON_BOTH = {
    "cascade": [
        (
            "CREATE TABLE posts (id INTEGER PRIMARY KEY, connection INTEGER"
            " REFERENCES platform_connections (id) ON DELETE CASCADE)"
        ),
        "INSERT INTO posts VALUES (1, {id})",
    ],
    "set null": [
        (
            "CREATE TABLE posts (id INTEGER PRIMARY KEY, connection INTEGER"
            " REFERENCES platform_connections (id) ON DELETE SET NULL)"
        ),
        "INSERT INTO posts VALUES (1, {id})",
    ],
    "set default": [
        (
            "CREATE TABLE posts (connection INTEGER DEFAULT NULL"
            " REFERENCES platform_connections ON DELETE SET DEFAULT)"
        ),
        "INSERT INTO posts VALUES ({id})",
    ],
    "no action": [
        "CREATE TABLE posts (connection INTEGER REFERENCES platform_connections (id))",
        "INSERT INTO posts VALUES ({id})",
    ],
    "deferred": [
        (
            "CREATE TABLE posts (connection INTEGER REFERENCES platform_connections (id)"
            " DEFERRABLE INITIALLY DEFERRED)"
        ),
        "INSERT INTO posts VALUES ({id})",
    ],
    "quoted names": [
        (
            'CREATE TABLE "Old ""posts"" %s :x" ("the ""connection"" %(y)s" INTEGER'
            " REFERENCES platform_connections (id) ON DELETE CASCADE)"
        ),
        'INSERT INTO "Old ""posts"" %s :x" VALUES ({id})',
    ],
    "reserved names": [
        (
            'CREATE TABLE "order" ("select" INTEGER REFERENCES platform_connections (id)'
            " ON DELETE CASCADE)"
        ),
        'INSERT INTO "order" VALUES ({id})',
    ],
    "composite": [
        (
            "CREATE TABLE albums (place VARCHAR(100), owner INTEGER, FOREIGN KEY (owner, place)"
            " REFERENCES platform_connections (user_id, name) ON DELETE CASCADE)"
        ),
        "INSERT INTO albums VALUES ('{name}', 1)",
    ],
    "one of two keys": [
        (
            "CREATE TABLE moves (origin INTEGER REFERENCES platform_connections (id),"
            " target INTEGER REFERENCES platform_connections (id) ON DELETE CASCADE)"
        ),
        "INSERT INTO moves VALUES (NULL, {id})",
    ],
    "a column of users": [
        (
            "ALTER TABLE users ADD COLUMN favourite INTEGER"
            " REFERENCES platform_connections (id) ON DELETE SET NULL"
        ),
        "UPDATE users SET favourite = {id}",
    ],
    "another connection": [
        (
            "ALTER TABLE platform_connections ADD COLUMN origin INTEGER"
            " REFERENCES platform_connections (id) ON DELETE CASCADE"
        ),
        (
            "UPDATE platform_connections SET origin = {id} WHERE id = (SELECT max(id) FROM"
            " platform_connections)"
        ),
    ],
}
BY_ENGINE = {
    "sqlite": {
        "capitals": [
            (
                "CREATE TABLE Posts (Connection INTEGER REFERENCES Platform_Connections (ID)"
                " ON DELETE CASCADE)"
            ),
            "INSERT INTO posts VALUES ({id})",
        ],
        "text": [
            (
                "CREATE TABLE posts (connection TEXT REFERENCES platform_connections (id)"
                " ON DELETE CASCADE)"
            ),
            "INSERT INTO posts VALUES ('{id}')",
        ],
        "a key that leads nowhere": [
            "CREATE TABLE posts (connection INTEGER REFERENCES platform_connections (number))",
        ],
    },
    "postgresql": {
        "another schema": [
            'CREATE SCHEMA "Old App"',
            (
                'CREATE TABLE "Old App"."users" (connection bigint'
                " REFERENCES platform_connections (id) ON DELETE CASCADE)"
            ),
            'INSERT INTO "Old App"."users" VALUES ({id})',
        ],
        "partitioned": [
            (
                "CREATE TABLE posts (connection integer REFERENCES platform_connections (id)"
                " ON DELETE CASCADE) PARTITION BY RANGE (connection)"
            ),
            "CREATE TABLE posts_1 PARTITION OF posts DEFAULT",
            "INSERT INTO posts VALUES ({id})",
        ],
        "a partition's own key": [
            "CREATE TABLE posts (connection integer) PARTITION BY RANGE (connection)",
            "CREATE TABLE posts_1 PARTITION OF posts DEFAULT",
            (
                "ALTER TABLE posts_1 ADD FOREIGN KEY (connection)"
                " REFERENCES platform_connections (id) ON DELETE CASCADE"
            ),
            "INSERT INTO posts VALUES ({id})",
        ],
        "not valid": [
            "CREATE TABLE posts (connection integer)",
            "INSERT INTO posts VALUES ({id})",
            (
                "ALTER TABLE posts ADD FOREIGN KEY (connection)"
                " REFERENCES platform_connections (id) ON DELETE CASCADE NOT VALID"
            ),
        ],
    },
}
KINDS = [
    (engine, kind, statements)
    for engine, own in BY_ENGINE.items()
    for kind, statements in {**ON_BOTH, **own}.items()
]


def state_of(url: URL, statements: list[str]) -> list[Any]:
    """Return the rows of the tables that the statements create or change."""
    tables = ["platform_connections"] + [
        each.partition("TABLE ")[2].partition(" (")[0]
        for each in statements
        if each.startswith("CREATE TABLE") and "PARTITION OF" not in each
    ]
    with connected(url) as execute:
        return [execute(f"SELECT * FROM {name}") for name in tables]  # noqa: S608 our own names


@pytest.mark.parametrize(
    ("engine_name", "statements"),
    [pytest.param(engine, each, id=f"{engine} {kind}") for engine, kind, each in KINDS],
)
async def test_a_referenced_connection_is_kept(
    services: Services, member: Member, database_url: URL, statements: list[str]
) -> None:
    platform_connection_id, other_id = member.platform_ids[1:]
    with connected(database_url) as execute:
        for statement in statements:
            filled = statement.replace("{id}", str(platform_connection_id))
            execute(filled.replace("{name}", "Platform 2"))
    before = state_of(database_url, statements)
    with pytest.raises(InUse):
        await services.removal.remove(caller_of(member.id), platform_connection_id)
    assert state_of(database_url, statements) == before
    if len(statements) > 1:  # an unreferenced connection is removed
        await services.removal.remove(caller_of(member.id), other_id)


async def test_being_the_default_is_not_a_reference(services: Services, member: Member) -> None:
    await services.removal.remove(caller_of(member.id), member.platform_ids[0])
    assert (await services.platforms.list_of(caller_of(member.id))).default_id is None


POSTS = (
    "CREATE TABLE posts (connection INTEGER REFERENCES platform_connections (id) ON DELETE CASCADE)"
)


@pytest.mark.parametrize("engine_name", ["postgresql"])
async def test_an_uncommitted_reference_counts(
    services: Services, member: Member, database_url: URL
) -> None:
    with connected(database_url) as execute:
        execute(POSTS)
    dsn = database_url.set(drivername="postgresql").render_as_string(hide_password=False)
    async with await psycopg.AsyncConnection.connect(dsn) as other:
        await other.execute("INSERT INTO posts VALUES (%s)", [member.platform_ids[1]])
        removing = asyncio.create_task(
            services.removal.remove(caller_of(member.id), member.platform_ids[1])
        )
        await asyncio.sleep(0.3)
        assert not removing.done()
        await other.commit()
    with pytest.raises(InUse):
        await removing
    with connected(database_url) as execute:
        assert execute("SELECT * FROM posts") == [(member.platform_ids[1],)]


async def test_a_reference_added_during_the_removal_is_never_lost(
    built: Built, member: Member, database_url: URL
) -> None:
    """Either the row is refused, or the removal."""
    platform_connection_id = member.platform_ids[1]
    with connected(database_url) as execute:
        execute(POSTS)

    def add() -> bool:
        try:
            if database_url.get_backend_name() == "sqlite":
                with sqlite3.connect(database_url.database or "", timeout=5) as sqlite:
                    sqlite.execute("PRAGMA foreign_keys = ON")
                    sqlite.execute("INSERT INTO posts VALUES (?)", [platform_connection_id])
                sqlite.close()
            else:
                administer(database_url, f"INSERT INTO posts VALUES ({platform_connection_id})")  # noqa: S608
        except (sqlite3.IntegrityError, psycopg.errors.ForeignKeyViolation):
            return False
        return True

    adding = [asyncio.create_task(asyncio.to_thread(add)) for _ in range(4)]
    remove = built.services.removal.remove(caller_of(member.id), platform_connection_id)
    removed = (await asyncio.gather(remove, return_exceptions=True))[0]
    added = await asyncio.gather(*adding)
    with connected(database_url) as execute:
        rows = execute("SELECT * FROM posts")
    assert len(rows) == sum(added)
    assert isinstance(removed, InUse) or not any(added)


@pytest.mark.parametrize("engine_name", ["postgresql"])
@pytest.mark.parametrize(
    "closing",
    [
        "REVOKE ALL ON posts FROM {role}",
        "CREATE POLICY nobody ON posts USING (false)",
    ],
)
async def test_an_unreadable_table_counts_as_a_reference(
    member: Member, database_url: URL, closing: str
) -> None:
    """Its foreign key is enforced all the same, with its owner's privileges."""
    name = "quart_app_test"
    with connected(database_url) as execute:
        execute(POSTS)
        execute(f"INSERT INTO posts VALUES ({member.platform_ids[1]})")  # noqa: S608
        execute(f"DROP ROLE IF EXISTS {name}")
        execute(f"CREATE ROLE {name} LOGIN")
        execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
        execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {name}")
        execute(closing.replace("{role}", name))
        if "POLICY" in closing:
            execute("ALTER TABLE posts ENABLE ROW LEVEL SECURITY")
    limited = build_services(settings_for(database_url.set(username=name)))
    try:
        with pytest.raises(InUse):
            await limited.services.removal.remove(caller_of(member.id), member.platform_ids[1])
    finally:
        await limited.close()
        with connected(database_url) as execute:
            execute(f"DROP OWNED BY {name}")
            execute(f"DROP ROLE {name}")
    assert state_of(database_url, [POSTS])[1] == [(member.platform_ids[1],)]
