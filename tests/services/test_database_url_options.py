"""Options in the database URL apply in addition to the application's own."""

import asyncio
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import URL, text

from quart_app.errors import Unavailable
from quart_app.settings import read_database_url
from quart_app.storage.database import Database
from quart_app.storage.schema import upgrade_schema

POSTGRESQL = pytest.mark.parametrize("engine_name", ["postgresql"])


async def shown_by(url: URL, *names: str) -> list[str | None]:
    """Return PostgreSQL's settings of these names on a connection to `url`."""
    database = Database(url)
    try:
        async with database.read() as db:
            return [await db.scalar(text(f"SHOW {name}")) for name in names]
    finally:
        await database.close()


@POSTGRESQL
async def test_postgresql_options_in_the_url_are_merged_and_take_precedence(
    empty_database_url: URL,
) -> None:
    url = empty_database_url.update_query_dict(
        {"options": "-c search_path=elsewhere -c statement_timeout=3s"}
    )
    shown = await shown_by(url, "search_path", "statement_timeout", "lock_timeout")
    assert shown == ["elsewhere", "3s", "5s"]


@POSTGRESQL
async def test_a_socket_folder_is_a_percent_encoded_host(empty_database_url: URL) -> None:
    folder = quote(str(empty_database_url.query["host"]), safe="")
    for hosts in (folder, f"127.0.0.1:1,{folder}"):
        text = f"postgresql://{empty_database_url.username}@{hosts}/{empty_database_url.database}"
        url = read_database_url(f"{text}?application_name=here")
        assert await shown_by(url, "application_name") == ["here"]


@POSTGRESQL
async def test_an_option_in_the_url_overrides_the_default(empty_database_url: URL) -> None:
    url = empty_database_url.update_query_dict({"fallback_application_name": "theirs"})
    assert await shown_by(empty_database_url, "application_name") == ["quart_app"]
    assert await shown_by(url, "application_name") == ["theirs"]


@pytest.mark.parametrize("writers_are_in_one_process", [True, False])
async def test_a_timeout_in_a_sqlite_url_limits_the_wait_for_the_write_lock(
    tmp_path: Path,
    writers_are_in_one_process: bool,  # noqa: FBT001 a parameter of pytest's
) -> None:
    url = read_database_url(f"sqlite:///{tmp_path / 'a.db'}?timeout=0.05")
    await upgrade_schema(url)
    first = Database(url)
    second = first if writers_are_in_one_process else Database(url)
    async with first.begin() as db:
        await db.execute(text("SELECT 1"))
        began = time.monotonic()
        with pytest.raises(Unavailable):
            async with second.begin() as other:
                await other.execute(text("SELECT 1"))
        assert time.monotonic() - began < 4  # the default is 5 s
    await asyncio.gather(first.close(), second.close())
