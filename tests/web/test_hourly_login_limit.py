"""The hourly limit on a user's logins, which also limits the list of logins."""

import asyncio
from datetime import timedelta

import pytest
from quart import Quart
from sqlalchemy import func, insert, select

from quart_app.composition import Built
from quart_app.model import Login
from quart_app.services import Services
from quart_app.services.sessions import login_records
from quart_app.session import batches
from quart_app.settings import Settings, with_setting
from tests.conftest import PASSWORD, Clock, MakeApp, Member, make_member
from tests.web.test_rate_limits import WRONG, attempt

# The statements have tests of their own on both engines.
pytestmark = pytest.mark.sqlite_unless_thorough

MOST = 5
HOUR = timedelta(hours=1)


@pytest.fixture
async def bounded(settings: Settings, make_app: MakeApp) -> Quart:
    return await make_app(with_setting(settings, logins_per_user_per_hour=MOST))


async def log_in_once(app: Quart, name: str = "ada", password: str = PASSWORD) -> int:
    """Log in with a new browser, log out at once, and return the login's status."""
    client = app.test_client()
    status, _, _ = await attempt(client, name, password)
    await client.post("/api/logout")
    return status


@pytest.mark.usefixtures("member")
async def test_one_login_too_many_within_an_hour_gets_a_retry_time(
    bounded: Quart, clock: Clock, services: Services
) -> None:
    await make_member(services, "ben")
    for _ in range(MOST):
        assert await log_in_once(bounded) == 200
        clock.advance(timedelta(minutes=1))
    status, body, retry_after = await attempt(bounded.test_client(), "ada", PASSWORD)
    assert (status, retry_after) == (429, str(55 * 60))
    assert "too_many_attempts" in body
    assert f"You have logged in {MOST} times within an hour. Try again in 55 minutes." in body
    form = {"username": "ada", "password": PASSWORD}
    page = await bounded.test_client().post("/login", form=form)
    assert page.status_code == 429
    assert "Try again in 55 minutes." in await page.get_data(as_text=True)
    assert await log_in_once(bounded, "ben") == 200
    clock.advance(timedelta(minutes=55, seconds=1))
    assert await log_in_once(bounded) == 200
    assert await log_in_once(bounded) == 429  # one for each login that is an hour old


@pytest.mark.usefixtures("member")
async def test_wrong_passwords_do_not_use_up_the_limit(bounded: Quart, clock: Clock) -> None:
    for _ in range(3 * MOST):
        await attempt(bounded.test_client(), "ada", WRONG)
    clock.advance(timedelta(minutes=20))
    assert [await log_in_once(bounded) for _ in range(MOST + 1)] == [200] * MOST + [429]
    # A right password that is refused because of the limit is not a failure.
    assert [await log_in_once(bounded) for _ in range(10)] == [429] * 10
    clock.advance(HOUR)
    assert await log_in_once(bounded) == 200


@pytest.mark.usefixtures("member")
async def test_concurrent_logins_at_two_processes_share_the_limit(
    settings: Settings, make_app: MakeApp
) -> None:
    setting = with_setting(settings, logins_per_user_per_hour=MOST)
    apps = [await make_app(setting), await make_app(setting)]
    statuses = await asyncio.gather(*(log_in_once(apps[number % 2]) for number in range(4 * MOST)))
    assert statuses.count(200) == MOST
    assert statuses.count(429) == 3 * MOST


@pytest.mark.usefixtures("member")
async def test_a_password_can_be_changed_after_too_many_logins(bounded: Quart) -> None:
    client = bounded.test_client()
    assert (await attempt(client, "ada", PASSWORD))[0] == 200
    while await log_in_once(bounded) == 200:
        pass
    body = {"current_password": PASSWORD, "new_password": "another one, and long enough"}
    assert (await client.post("/api/account/password", json=body)).status_code == 204


async def test_a_limited_number_of_ended_logins_is_kept_per_user(
    built: Built, member: Member, services: Services, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_records, "ENDED_KEPT", 10)
    monkeypatch.setattr(batches, "BATCH_ROWS", 7)
    ben = await make_member(services, "ben")

    def row(number: int, user_id: int, age: timedelta, *, is_over: bool) -> dict[str, object]:
        begun = clock() - age
        return {
            "sid": f"{number:022}",
            "user_id": user_id,
            "created_at": begun,
            "expires_at": clock() + timedelta(days=1),
            "ended_at": begun if is_over else None,
        }

    minute = timedelta(minutes=1)
    rows = [
        row(number, member.id, 2 * HOUR + number * minute, is_over=True) for number in range(40)
    ]
    rows += [row(100 + number, member.id, 3 * HOUR, is_over=False) for number in range(3)]
    rows += [row(200 + number, ben.id, 2 * HOUR, is_over=True) for number in range(10)]
    async with built.database.begin() as db:
        await db.execute(insert(Login), rows)
    await services.login_records.purge()
    async with built.database.read() as db:
        kept = list(await db.scalars(select(Login.sid).where(Login.user_id == member.id)))
        bens = await db.scalar(select(func.count()).where(Login.user_id == ben.id))
    assert sorted(kept) == [f"{number:022}" for number in (*range(10), 100, 101, 102)]
    assert bens == 10
    # No record of the last hour is deleted, or the count of logins within an hour would be wrong.
    async with built.database.begin() as db:
        await db.execute(
            insert(Login),
            [row(300 + number, ben.id, 30 * minute, is_over=True) for number in range(15)],
        )
    await services.login_records.purge()
    async with built.database.read() as db:
        assert await db.scalar(select(func.count()).where(Login.user_id == ben.id)) == 25
