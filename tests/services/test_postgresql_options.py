"""What the URL asks of PostgreSQL holds beside what the application asks."""

import pytest
from sqlalchemy import URL, text

from quart_app.storage.database import Database


@pytest.fixture
def engine_name() -> str:
    return "postgresql"


async def test_options_of_the_url_are_added_to_ours_and_win(empty_database_url: URL) -> None:
    url = empty_database_url.update_query_dict(
        {"options": "-c search_path=elsewhere -c statement_timeout=3s"}
    )
    database = Database(url)
    async with database.read() as db:
        shown = [
            await db.scalar(text(f"SHOW {name}"))
            for name in ("search_path", "statement_timeout", "lock_timeout")
        ]
    await database.close()
    assert shown == ["elsewhere", "3s", "5s"]
