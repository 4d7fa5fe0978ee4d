"""`/readyz` costs the database nothing, however many clients request it."""

import asyncio
import sqlite3
from contextlib import closing

import pytest
from quart.typing import TestClientProtocol as Client

from quart_app.settings import Settings
from quart_app.storage import schema


async def statuses(visitor: Client, count: int) -> set[int]:
    answers = await asyncio.gather(*(visitor.get("/readyz") for _ in range(count)))
    return {answer.status_code for answer in answers}


async def test_concurrent_probes_share_one_check_that_takes_no_lock(
    visitor: Client, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await statuses(visitor, 1) == {200}
    monkeypatch.setattr(schema, "_REVISIONS", None)  # the folder is not read again
    await asyncio.sleep(1.1)
    statements.clear()
    assert await statuses(visitor, 100) == {200}
    asked = [each for each in statements if "quart_app_version" in each]
    assert 1 <= len(asked) <= 2  # whether the table exists, and its contents
    assert not [each for each in asked if "UPDATE" in each.upper()]
    await asyncio.sleep(1.1)
    statements.clear()
    assert await statuses(visitor, 2) == {200}
    assert statements  # the result is not cached forever


@pytest.mark.parametrize("engine_name", ["sqlite"])
async def test_a_probe_does_not_wait_for_writers(visitor: Client, settings: Settings) -> None:
    path = settings.database_url.database or ""
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        async with asyncio.timeout(3):  # a writer would wait for five seconds
            assert await statuses(visitor, 10) == {200}
        writer.execute("ROLLBACK")


async def test_a_cancelled_probe_does_not_cancel_the_others(visitor: Client) -> None:
    first = asyncio.create_task(statuses(visitor, 1))
    others = asyncio.create_task(statuses(visitor, 5))
    await asyncio.sleep(0)
    first.cancel()
    assert await others == {200}
