"""How long a session lasts: the idle limit, the absolute limit, and the activity cookie."""

from datetime import timedelta
from typing import Any

import pytest

from quart_app.session import SessionLimits
from tests.conftest import Clock, set_cookies
from tests.session.applications import (
    OTHER_KEY,
    SECOND,
    SID,
    cookie_of,
    logged_in_as,
    plain_app,
    put_cookie,
    signer,
)

MONTH = timedelta(days=30)


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({}, timedelta(hours=8)),  # idle
        (
            {"limits": SessionLimits(idle=timedelta(days=9), absolute=timedelta(days=2))},
            timedelta(days=1),  # the signed end: a longer setting doesn't move it
        ),
        (
            {"limits": SessionLimits(idle=timedelta(days=9), absolute=timedelta(hours=1))},
            timedelta(hours=1),  # a shorter setting ends sessions that were signed before it
        ),
        ({"remembered": SessionLimits(timedelta(hours=20), MONTH)}, timedelta(hours=20)),
        ({"remembered": SessionLimits(MONTH, timedelta(hours=22))}, timedelta(hours=22)),
    ],
)
async def test_a_session_ends_at_its_limit(
    clock: Clock, changes: dict[str, Any], limit: timedelta
) -> None:
    if remembered := changes.get("remembered"):
        changes = {"remember_limits": remembered}
    client = plain_app(clock, **changes).test_client()
    await client.post("/create_remembered" if remembered else "/create")
    cookie = cookie_of(client)
    clock.advance(limit - SECOND)
    fresh = plain_app(clock, **changes).test_client()
    put_cookie(fresh, cookie)
    assert await logged_in_as(fresh) == 7
    clock.advance(SECOND)
    assert await logged_in_as(client) is None


async def test_activity_moves_the_idle_limit_and_not_the_absolute_one(clock: Clock) -> None:
    client = plain_app(clock).test_client()
    await client.post("/create")
    for _ in range(3):
        clock.advance(timedelta(hours=7))
        assert await logged_in_as(client) == 7
    clock.advance(timedelta(hours=3))
    assert await logged_in_as(client) is None


async def test_activity_is_written_once_per_window_and_leaves_the_session_cookie_alone(
    clock: Clock, *, thorough: bool
) -> None:
    client = plain_app(clock).test_client()
    await client.post("/create")
    minutes, written = 400 if thorough else 10, 0
    for _ in range(minutes * 25):  # a request every 2.4 s
        clock.advance(timedelta(seconds=2.4))
        cookies = set_cookies(await client.get("/validate"))
        assert set(cookies) <= {"session_activity"}
        written += len(cookies)
    assert written == minutes


@pytest.mark.parametrize("fate", ["lost", "another session's", "forged", "stale"])
async def test_another_activity_cookie_never_lengthens_a_session(clock: Clock, fate: str) -> None:
    client = plain_app(clock).test_client()
    await client.post("/create")
    created = clock()
    clock.advance(timedelta(hours=7))
    later = (clock() + timedelta(minutes=30)).isoformat()
    value = {
        "lost": "",
        "another session's": signer(salt="quart_app-activity").dumps(["B" * 22, later]),
        "forged": signer(OTHER_KEY, salt="quart_app-activity").dumps([SID, later]),
        "stale": signer(salt="quart_app-activity").dumps([SID, created.isoformat()]),
    }[fate]
    put_cookie(client, str(value), "session_activity")
    clock.advance(timedelta(hours=1))
    assert await logged_in_as(client) is None
