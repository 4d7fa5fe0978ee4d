"""Expired logins, alerts and changes are deleted by the process's periodic tasks."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select

from quart_app.composition import Built
from quart_app.model import Alert, AlertKind, Change, Login
from quart_app.services.background.periodic import running
from quart_app.session.follower import KEPT_AFTER_EXPIRY
from tests.conftest import Member

HOUR = timedelta(hours=1)


def login(user_id: int, number: int, expires_at: datetime) -> dict[str, object]:
    times = {"created_at": expires_at - HOUR, "expires_at": expires_at}
    return {"sid": f"{number:022}", "user_id": user_id, **times}


def alert(user_id: int, number: int, expires_at: datetime) -> dict[str, object]:
    times = {"created_at": expires_at - HOUR, "expires_at": expires_at}
    return {"id": number, "user_id": user_id, "kind": AlertKind.NEW_DEVICE, **times}


async def test_each_periodic_task_deletes_the_expired_rows_of_its_subject(
    built: Built, member: Member
) -> None:
    now = datetime.now(UTC)
    a_week_ago = now - KEPT_AFTER_EXPIRY
    async with built.database.begin() as db:
        await db.execute(
            insert(Login),
            [
                login(member.id, 1, a_week_ago - HOUR),
                login(member.id, 2, a_week_ago + HOUR),
                login(member.id, 3, now + HOUR),  # gives the purges' clock the current time
            ],
        )
        await db.execute(
            insert(Alert),
            [alert(member.id, 1, a_week_ago - HOUR), alert(member.id, 2, a_week_ago + HOUR)],
        )
        await db.execute(
            insert(Change),
            [
                {"seq": seq, "user_id": member.id, "created_at": now - age}
                for seq, age in ((101, 2 * HOUR), (102, HOUR / 2), (103, HOUR / 2))
            ],
        )
    often = timedelta(milliseconds=50)
    async with running([replace(task, every=often) for task in built.periodic_tasks]):
        for _ in range(300):
            if await kept(built) == (["2", "3"], [2], [102, 103]):
                return
            await asyncio.sleep(0.1)
    pytest.fail("something expired was kept, or something else was deleted")


async def kept(built: Built) -> tuple[list[str], list[int], list[int]]:
    async with built.database.read() as db:
        logins = await db.scalars(select(Login.sid).order_by(Login.sid))
        alerts = await db.scalars(select(Alert.id).order_by(Alert.id))
        changes = await db.scalars(select(Change.seq).where(Change.seq > 100).order_by(Change.seq))
        return [sid.lstrip("0") for sid in logins], list(alerts), list(changes)
