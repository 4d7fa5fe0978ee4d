"""A one-time password, typed on the login page, leads to the choice of the user's own."""

import asyncio
import re
from datetime import timedelta
from typing import Any

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import select

from quart_app.composition import Built
from quart_app.model import AuditEntry, AuditEvent, Role, Throttle
from quart_app.services import Services
from quart_app.services.administration.user_ref import UserRef
from quart_app.services.identity.password_permits import PERMIT_LIFETIME
from quart_app.settings import Settings, with_setting
from tests.callers import NOBODY
from tests.conftest import Clock, MakeApp, Member, log_in, set_cookies
from tests.session.applications import put_cookie
from tests.web.test_session_ends import copy_of

# The statements have tests of their own on both engines.
pytestmark = pytest.mark.sqlite_unless_thorough

OWN = "ben has one of his own"
SECOND = timedelta(seconds=1)
PATH = "/login/new_password"
OVER = "The time to choose a password has run out."


@pytest.fixture
async def given(services: Services) -> str:
    """The one-time password of ben."""
    _, password = await services.users.create(
        NOBODY, username="ben", email="ben@example.com", role=Role.VIEWER, password=None
    )
    return str(password)


async def type_it(client: Client, given: str, **fields: str) -> Any:
    """Take the first step, on the login page."""
    return await client.post("/login", form={"username": "ben", "password": given} | fields)


async def html_of(client: Client, path: str = PATH) -> str:
    return str(await (await client.get(path)).get_data(as_text=True))


async def choose(client: Client, password: str = OWN, *, user_id: str | None = None) -> Any:
    """Take the second step, with the page's form."""
    _, _, form = (await html_of(client)).partition(f'action="{PATH}"')
    found = re.search(r'name="user_id" value="(\d+)"', form)
    return await client.post(
        PATH,
        form={"new_password": password, "user_id": user_id or (found[1] if found else "1")},
    )


async def is_logged_in(client: Client) -> bool:
    return (await client.get("/api/session_state")).status_code == 200


async def can_log_in(app: Quart, password: str) -> int:
    body = {"username": "ben", "password": password}
    return (await app.test_client().post("/api/login", json=body)).status_code


def permit_in(client: Client) -> str:
    (found,) = [each.value for each in client.cookie_jar or () if each.name == "session_permit"]
    return str(found)


async def is_refused(client: Client, response: Any) -> bool:
    """Return whether it redirects to the login page, which explains why."""
    assert response.headers["Location"].startswith("/login")
    return OVER in await html_of(client, "/login") and not await is_logged_in(client)


async def test_a_one_time_password_leads_to_the_page_for_a_new_one_without_an_error(
    app: Quart, visitor: Client, given: str
) -> None:
    response = await type_it(visitor, given, next="/devices", remember="true")
    assert response.status_code == 303
    assert response.headers["Location"] == f"{PATH}?next=/devices"
    assert not await is_logged_in(visitor)
    html = await html_of(visitor, response.headers["Location"])
    assert "Choose a new password" in html
    assert "message-error" not in html
    assert "aria-invalid" not in html
    assert 'name="password"' not in html  # the user does not type it again
    assert given not in html
    assert permit_in(visitor) not in html
    fields = dict(re.findall(r'name="(next|user_id)" value="([^"]*)"', html))
    response = await visitor.post(PATH, form=fields | {"new_password": OWN})
    assert response.headers["Location"] == "/devices"
    assert "Your password is set" in await html_of(visitor, "/devices")
    state = await (await visitor.get("/api/session_state")).get_json()
    assert state["expires_at"][:10] > state["created_at"][:10]
    assert await can_log_in(app, given) == 401
    assert await can_log_in(app, OWN) == 200


@pytest.mark.parametrize("remember", [True, False])
async def test_choices_made_in_the_first_step_are_kept(
    visitor: Client, given: str, *, remember: bool
) -> None:
    await type_it(visitor, given, **({"remember": "true"} if remember else {}))
    line = set_cookies(await choose(visitor))["session"]
    assert ("Max-Age" in line) is remember


@pytest.mark.parametrize("wrong", ["short", "ben@example.com", "Passw0rd", "", "the given one"])
async def test_a_refused_password_can_be_followed_by_another(
    visitor: Client, given: str, wrong: str
) -> None:
    await type_it(visitor, given)
    response = await choose(visitor, given if wrong == "the given one" else wrong)
    assert response.status_code == 422
    html = await response.get_data(as_text=True)
    assert 'aria-invalid="true"' in html
    assert not await is_logged_in(visitor)
    assert (await choose(visitor)).status_code == 303
    assert await is_logged_in(visitor)


async def test_the_permit_works_once(app: Quart, visitor: Client, given: str) -> None:
    await type_it(visitor, given)
    permit, thief = permit_in(visitor), app.test_client()
    assert (await choose(visitor)).status_code == 303
    assert [each.name for each in visitor.cookie_jar or () if "permit" in each.name] == []
    put_cookie(thief, permit, "session_permit")
    assert await is_refused(thief, await choose(thief, "the choice of a thief", user_id="1"))


async def test_only_one_of_two_concurrent_uses_sets_the_password(
    app: Quart, visitor: Client, given: str, built: Built
) -> None:
    await type_it(visitor, given)
    other = app.test_client()
    put_cookie(other, permit_in(visitor), "session_permit")
    await asyncio.gather(choose(visitor), choose(other, "another one, chosen at once"))
    assert sorted([await is_logged_in(each) for each in (visitor, other)]) == [False, True]
    ways = [await can_log_in(app, each) for each in (OWN, "another one, chosen at once")]
    assert sorted(ways) == [200, 401]
    async with built.database.read() as db:  # the refused request releases its reservation
        assert set(await db.scalars(select(Throttle.reserved))) == {0}


async def test_the_permit_is_short_lived(visitor: Client, given: str, clock: Clock) -> None:
    await type_it(visitor, given)
    clock.advance(PERMIT_LIFETIME - SECOND)
    assert "Choose a new password" in await html_of(visitor)
    clock.advance(SECOND)
    assert await is_refused(visitor, await visitor.get(PATH))
    assert await is_refused(visitor, await choose(visitor))


@pytest.mark.parametrize("how", ["reset", "again", "own", "deactivated", "ended"])
async def test_any_other_change_to_the_user_ends_the_permit(
    app: Quart, visitor: Client, given: str, services: Services, how: str
) -> None:
    await type_it(visitor, given)
    if how == "reset":
        await services.user_passwords.set(NOBODY, UserRef.by_name("ben"), "set by the operator")
    elif how == "again":
        await services.user_passwords.set(NOBODY, UserRef.by_name("ben"), None)
    elif how == "deactivated":
        await services.users.deactivate(NOBODY, UserRef.by_name("ben"))
    elif how == "ended":
        await services.session_administration.end_all_of(NOBODY, UserRef.by_name("ben"))
    else:
        body = {"username": "ben", "password": given, "new_password": "chosen by JSON"}
        assert (await app.test_client().post("/api/login", json=body)).status_code == 200
    assert await is_refused(visitor, await choose(visitor, user_id="1"))


async def test_the_permit_is_not_a_session(visitor: Client, given: str) -> None:
    await type_it(visitor, given)
    for path in ("/", "/account", "/devices", "/api/platforms"):
        assert (await visitor.get(path)).status_code in {303, 401}
    put_cookie(visitor, permit_in(visitor), "session")
    assert not await is_logged_in(visitor)


async def test_the_page_needs_the_one_time_password(
    app: Quart, visitor: Client, given: str, browser: Client
) -> None:
    await type_it(visitor, given)
    other = app.test_client()
    assert await is_refused(other, await other.get(PATH))
    assert await is_refused(other, await choose(other, user_id="1"))
    spoilt = permit_in(visitor)[:-2] + "AA"
    put_cookie(other, spoilt, "session_permit")
    assert await is_refused(other, await other.get(PATH))
    for cookie in browser.cookie_jar or ():
        if cookie.name in {"session", "session_device"}:  # signed by us for another purpose
            put_cookie(other, str(cookie.value), "session_permit")
            assert await is_refused(other, await other.get(PATH))


async def test_a_form_for_another_user_is_refused(
    visitor: Client, given: str, services: Services
) -> None:
    """Another tab of the browser has started this for carl since."""
    _, carls = await services.users.create(
        NOBODY, username="carl", email="carl@example.com", role=Role.VIEWER, password=None
    )
    await type_it(visitor, given)
    found = re.search(r'name="user_id" value="(\d+)"', await html_of(visitor))
    assert found
    await type_it(visitor, str(carls), username="carl")
    assert await is_refused(visitor, await choose(visitor, user_id=found[1]))


@pytest.mark.parametrize("name", ["ben", "ben@example.com"])
async def test_the_permit_does_not_bypass_the_rate_limit(
    app: Quart, visitor: Client, given: str, clock: Clock, name: str
) -> None:
    await type_it(visitor, given, username=name)
    for _ in range(6):
        body = {"username": name, "password": "wrong"}
        await app.test_client().post("/api/login", json=body)
    refused = await choose(visitor)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert not await is_logged_in(visitor)
    clock.advance(timedelta(seconds=int(refused.headers["Retry-After"])))
    assert (await choose(visitor)).status_code == 303
    assert await is_logged_in(visitor)


async def test_both_steps_are_recorded(
    app: Quart, visitor: Client, given: str, built: Built
) -> None:
    await type_it(visitor, given)
    await choose(visitor)
    await app.extensions["quart_app"].audit.flush()
    async with built.database.read() as db:
        events = {each.event for each in await db.scalars(select(AuditEntry))}
    assert events >= {
        AuditEvent.LOGIN_INCOMPLETE,
        AuditEvent.PASSWORD_CHANGED,
        AuditEvent.LOGIN,
    }


async def test_the_browsers_previous_session_ends(
    app: Quart, browser: Client, member: Member, given: str
) -> None:
    copy = copy_of(app, browser)
    await type_it(browser, given)
    assert (await choose(browser)).status_code == 303
    assert not await is_logged_in(copy)
    await log_in(copy, member)


async def test_the_cookie_is_bound_to_this_host_and_hidden_from_scripts(
    settings: Settings, make_app: MakeApp, given: str
) -> None:
    for public_url, name in (
        (settings.public_url, "session_permit"),
        ("https://app.example", "__Host-session_permit"),
    ):
        app = await make_app(with_setting(settings, public_url=public_url))
        line = set_cookies(await type_it(app.test_client(), given))[name]
        for attribute in ("HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"):
            assert attribute in line
        assert ("Secure" in line) is public_url.startswith("https")
