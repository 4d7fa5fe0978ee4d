"""An ended session is invalid in every copy of its cookie; in process, through HTTP."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import select

from quart_app.model import EndReason, Login
from quart_app.services import Services
from quart_app.services.administration.user_ref import UserRef
from quart_app.settings import Settings
from quart_app.storage.database import Database
from tests.callers import NOBODY
from tests.cases import first_unless_thorough
from tests.conftest import STATIC, Clock, MakeApp, Member, log_in, set_cookies
from tests.session.applications import put_cookie

SECOND = timedelta(seconds=1)


def copy_of(app: Quart, browser: Client) -> Client:
    """A thief's browser, with the same cookies."""
    thief = app.test_client()
    for cookie in browser.cookie_jar or ():
        put_cookie(thief, str(cookie.value), cookie.name)
    return thief


def services_of(app: Quart) -> Services:
    found: Services = app.extensions["quart_app"]
    return found


async def state_of(client: Client) -> int:
    return (await client.get("/api/session_state")).status_code


# --- every cause ---------------------------------------------------------------------------------


async def change_password(client: Client, member: Member) -> Any:
    return await client.post(
        "/api/account/password",
        json={"current_password": member.password, "new_password": "another, and long enough"},
    )


async def log_in_again(client: Client, member: Member) -> Any:
    return await client.post(
        "/api/login", json={"username": member.username, "password": member.password}
    )


@pytest.mark.parametrize(
    ("address", "is_over_on_other_devices"),
    [
        ("/api/logout", False),
        ("/logout", False),
        ("/api/logout_all", True),
        ("/logout_all", True),
        ("password", True),
        ("login", False),
    ],
)
async def test_a_copied_cookie_is_invalid_after_its_session_ended(
    app: Quart, member: Member, address: str, *, is_over_on_other_devices: bool
) -> None:
    browser, other = app.test_client(), app.test_client()
    await log_in(browser, member)
    await log_in(other, member)
    thief = copy_of(app, browser)
    assert await state_of(thief) == 200
    if address == "password":
        response = await change_password(browser, member)
    elif address == "login":
        response = await log_in_again(browser, member)
    else:
        response = await browser.post(address)
    assert response.status_code in {200, 204, 303}
    assert await state_of(thief) == 401
    assert await state_of(other) == (401 if is_over_on_other_devices else 200)
    # A user who changed the password or logged in again stays logged in; one who logged out does
    # not.
    goes_on = address in {"password", "login"}
    assert await state_of(browser) == (200 if goes_on else 401)


@pytest.mark.alone
@pytest.mark.parametrize(
    "cause", first_unless_thorough(2, ["passwd", "end --all", "deactivate", "end"])
)
async def test_another_process_ends_sessions_here_within_a_second(
    browser: Client, member: Member, services: Services, cause: str
) -> None:
    assert await state_of(browser) == 200
    match cause:  # by separate services, like on the command line
        case "passwd":
            await services.user_passwords.set(NOBODY, UserRef.by_name(member.username), None)
        case "deactivate":
            await services.users.deactivate(NOBODY, UserRef.by_name(member.username))
        case "end":
            await services.session_administration.end_all_of(
                NOBODY, UserRef.by_name(member.username)
            )
        case "end --all":
            await services.session_administration.end_everybodys(NOBODY)
    for _ in range(50):
        if await state_of(browser) == 401:
            break
        await asyncio.sleep(0.02)
    assert await state_of(browser) == 401
    if cause in {"end", "end --all"}:
        assert (await log_in_again(browser, member)).status_code == 200
        assert await state_of(browser) == 200


async def test_a_login_during_a_logout_everywhere_stays_valid(
    app: Quart, member: Member, clock: Clock
) -> None:
    browser, other = app.test_client(), app.test_client()
    await log_in(browser, member)
    assert (await browser.post("/api/logout_all")).status_code == 204
    await log_in(other, member)  # the clock does not advance
    assert await state_of(other) == 200
    clock.advance(timedelta(hours=1))
    assert await state_of(other) == 200


async def test_a_logout_after_the_idle_limit_ends_copies_that_were_kept_active(
    app: Quart, browser: Client, clock: Clock
) -> None:
    thief = copy_of(app, browser)
    clock.advance(timedelta(hours=7))
    assert (await thief.post("/api/session/renew")).status_code == 200
    clock.advance(timedelta(hours=2))
    assert await state_of(browser) == 401  # its own last activity was nine hours ago
    assert await state_of(thief) == 200
    assert (await browser.post("/api/logout")).status_code == 204
    assert await state_of(thief) == 401


async def test_an_end_is_recorded_with_its_reason(
    app: Quart, browser: Client, member: Member, clock: Clock
) -> None:
    clock.advance(timedelta(minutes=5))
    await log_in(browser, member)
    await browser.post("/api/logout")
    database: Database = app.extensions["quart_app"].accounts.database
    async with database.read() as db:
        logins = list(await db.scalars(select(Login).order_by(Login.id)))
    assert [login.end_reason for login in logins] == [EndReason.REPLACED, EndReason.LOGGED_OUT]
    assert [login.ended_at for login in logins] == [clock(), clock()]
    assert logins[0].created_at == clock() - timedelta(minutes=5)
    assert logins[0].expires_at == logins[0].created_at + timedelta(hours=24)
    assert {login.address for login in logins} == {"<local>"}


async def test_a_repeated_logout_writes_nothing(
    app: Quart, browser: Client, statements: list[str]
) -> None:
    thief = copy_of(app, browser)
    await browser.post("/api/logout")
    statements.clear()
    for _ in range(3):
        assert (await thief.post("/api/logout")).status_code == 204
    assert statements == []


async def test_deleting_every_login_record_logs_nobody_out(app: Quart, browser: Client) -> None:
    database: Database = app.extensions["quart_app"].accounts.database
    async with database.begin() as db:
        for login in await db.scalars(select(Login)):
            await db.delete(login)
    assert await state_of(browser) == 200
    assert (await browser.post("/api/logout")).status_code == 204
    assert await state_of(browser) == 401


async def test_logging_out_everywhere_asks_for_confirmation(browser: Client) -> None:
    account = await (await browser.get("/account")).get_data(as_text=True)
    assert 'href="/logout_all"' in account
    assert 'action="/logout_all"' not in account
    asked = await (await browser.get("/logout_all")).get_data(as_text=True)
    assert 'method="post" action="/logout_all"' in asked
    assert "Your only session ends, the one in this browser." in asked
    assert 'href="/account">Cancel' in asked
    assert await state_of(browser) == 200
    response = await browser.post("/logout_all")
    assert response.headers["Location"] == "/login"
    assert await state_of(browser) == 401


@pytest.mark.parametrize("meanwhile", ["logout", "logout_all", "end", "deactivate"])
async def test_a_password_change_under_way_revives_no_ended_session(
    app: Quart, browser: Client, member: Member, services: Services, meanwhile: str
) -> None:
    thief = copy_of(app, browser)
    passwords, is_hashing, redirect_to = (
        services_of(app).own_password.passwords,
        asyncio.Event(),
        asyncio.Event(),
    )
    hash_now = passwords.hash

    async def hash_slowly(password: str) -> str:
        is_hashing.set()
        await redirect_to.wait()
        return await hash_now(password)

    passwords.hash = hash_slowly  # type: ignore[method-assign] # the current moment
    change = asyncio.create_task(change_password(browser, member))
    await is_hashing.wait()
    if meanwhile in {"logout", "logout_all"}:
        assert (await thief.post(f"/api/{meanwhile}")).status_code == 204
    elif meanwhile == "end":
        await services.session_administration.end_all_of(NOBODY, UserRef.by_name(member.username))
    else:
        await services.users.deactivate(NOBODY, UserRef.by_name(member.username))
    redirect_to.set()
    response = await change
    assert response.status_code in {401, 404}
    assert set_cookies(response) == {}
    passwords.hash = hash_now  # type: ignore[method-assign]
    await app.extensions["revocable_sessions"].follower.catch_up()
    assert await state_of(browser) == 401


# --- a stale revocation list ---------------------------------------------------------------------


async def test_sessions_are_refused_before_the_first_load_and_while_the_list_is_stale(
    settings: Settings, make_app: MakeApp, member: Member
) -> None:
    app = await make_app(settings)
    client, visitor = app.test_client(), app.test_client()
    await log_in(client, member)
    revocations = app.extensions["quart_app"].revocations
    revocations.confirm = lambda _clocks: None  # a poll may come between two requests
    clocks = [0.0, 0.0]
    revocations.read_clocks = lambda: tuple(clocks)
    revocations._confirmed = None  # like before the first load
    for number in (0, 1):
        for path in ("/api/session_state", "/", "/login", "/api/platforms"):
            response = await client.get(path)
            assert response.status_code == 503, path
            assert int(response.headers["Retry-After"]) > 0
            assert set_cookies(response) == {}
        assert (await client.post("/api/logout")).status_code == 503
        # A session that begins now could not be verified.
        assert (await log_in_again(visitor, member)).status_code == 503
        assert (await visitor.get("/login")).status_code == 200
        assert (await client.get("/healthz")).status_code == 200
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert "ended" in (await ready.get_json())["reasons"][0]
        assert (await client.get(f"{STATIC}/icon.svg")).status_code == 200
        revocations._confirmed = (0.0, 0.0)
        clocks[number] = 10.0  # by either clock
    clocks[:] = [9.9, 9.9]
    revocations._confirmed = (0.0, 0.0)
    assert await state_of(client) == 200
