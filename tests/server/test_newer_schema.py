"""Processes continue while the database has been upgraded for the next version of the code."""

import asyncio
from pathlib import Path

from sqlalchemy import URL, text

from quart_app.settings import Settings
from quart_app.storage.database import Database
from tests.processes import connect, log_in, log_out, new_user
from tests.servers import Server, hypercorn

# What a revision may do: see tests/services/test_additive_revisions.py.
NEXT_REVISION = (
    "ALTER TABLE users ADD COLUMN locale VARCHAR(16)",
    "ALTER TABLE logins ADD COLUMN risk INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE platform_connections ADD COLUMN note TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE audit ADD COLUMN host VARCHAR(255)",
    "CREATE INDEX ix_logins_risk ON logins (risk)",
    "CREATE TABLE labels (id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
    "UPDATE quart_app_version SET version_num = '9999'",
)


def upgrade(url: URL) -> None:
    """Do what the upgrade of the next version may do."""

    async def run() -> None:
        database = Database(url)
        async with database.begin() as db:
            for statement in NEXT_REVISION:
                await db.execute(text(statement))
        await database.close()

    asyncio.run(run())


def use(server: Server, name: str, *, number: int) -> None:
    """Log in, add an account, switch to another and back, and log out."""
    cookie = log_in(server, name)
    ids = [connect(server, cookie, f"account {number}.{each}") for each in range(2)]
    for platform_connection_id in (*ids, ids[0]):
        answer = server.ask("POST", f"/api/platforms/{platform_connection_id}/switch", cookie)
        assert answer.status_code == 200
        assert answer.json()["platform_connection_id"] == platform_connection_id
    log_out(server, cookie)
    assert server.status(cookie) == 401


def test_a_process_serves_a_database_of_the_next_version(
    settings: Settings, tmp_path: Path
) -> None:
    name = new_user(settings)
    with hypercorn(settings, tmp_path) as server:
        for number in range(6):  # psycopg prepares a statement at its sixth use
            use(server, name, number=number)
        kept = log_in(server, name)
        upgrade(settings.database_url)
        assert server.status(kept) == 200
        for number in range(6, 9):
            use(server, name, number=number)
        log_out(server, kept)
        assert server.ask("GET", "/readyz").json() == {"status": "ready"}
        assert "Traceback" not in server.log.read_text()
        with hypercorn(settings, tmp_path) as another:  # a supervisor restarts it meanwhile
            use(another, name, number=9)
            assert another.ask("GET", "/readyz").status_code == 200
