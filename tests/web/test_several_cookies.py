"""Other cookies beside ours: none hides ours, and a logout ends every session that is sent."""

from datetime import timedelta
from typing import Any

import pytest
from quart import Quart

from quart_app.services import Services
from quart_app.session.cookie_header import MOST_COOKIES_OF_A_NAME
from tests.callers import caller_of
from tests.conftest import PASSWORD, Clock, make_member, set_cookies
from tests.session.applications import OTHER_KEY, signer

pytestmark = pytest.mark.sqlite_unless_thorough

FOREIGN = [
    "session=of-another-application",
    "session=",
    'session="',
    'session="quoted; session=x"',
    f"session={signer(OTHER_KEY).dumps({'user_id': 1})}",
    f"session={signer().dumps({'colour': 'green'})}",  # of a Flask application with our key
    f"session={signer().dumps(['no', 'dict'])}",
    'x="',
    'x="\\"',
    "x",
    "=",
    ";;; ,",
    "$Version=1",
    "session_activity=nonsense",
    "Session=in-capitals",
    "a-session=other",
]


def cookie_in(response: Any, name: str = "session") -> str:
    return set_cookies(response)[name].partition("=")[2].partition(";")[0]


async def log_in_once(app: Quart, name: str = "ada", cookie: str = "") -> str:
    """Log in with these cookies and return the session cookie's new value."""
    headers = {"Cookie": cookie} if cookie else {}
    body = {"username": name, "password": PASSWORD}
    response: Any = await app.test_client().post("/api/login", json=body, headers=headers)
    assert response.status_code == 200
    return cookie_in(response)


async def status(app: Quart, cookie: str, path: str = "/api/session_state") -> int:
    response = await app.test_client().get(path, headers={"Cookie": cookie})
    return response.status_code


async def log_out(app: Quart, cookie: str, path: str = "/api/logout") -> Any:
    return await app.test_client().post(path, headers={"Cookie": cookie})


# Their signatures contain the time, so each process of pytest would name the tests differently.
@pytest.mark.parametrize("foreign", FOREIGN, ids=map(str, range(len(FOREIGN))))
@pytest.mark.usefixtures("member")
async def test_a_cookie_of_another_application_does_not_hide_ours(app: Quart, foreign: str) -> None:
    ours = f"session={await log_in_once(app)}"
    arrangements = [f"{foreign}; {ours}", f"{ours}; {foreign}", f'x="; {foreign};{ours} ; y="']
    for cookie in arrangements:
        assert await status(app, cookie) == 200, cookie
        assert await status(app, cookie, "/account") == 200, cookie
    response = await log_out(app, arrangements[-1])
    assert response.status_code == 204
    assert "Max-Age=0" in set_cookies(response)["session"]
    assert await status(app, ours) == 401


@pytest.mark.parametrize("path", ["/api/logout", "/logout"])
@pytest.mark.usefixtures("member")
async def test_a_logout_ends_every_session_that_the_browser_sends(
    app: Quart, services: Services, path: str
) -> None:
    await make_member(services, "ben")
    mine, older, bens = [await log_in_once(app, name) for name in ("ada", "ada", "ben")]
    await log_out(app, f"session={older}")
    kept = await log_in_once(app)
    sent = [FOREIGN[0], *(f"session={each}" for each in (older, mine, bens, mine))]
    assert (await log_out(app, "; ".join(sent), path)).status_code in {204, 303}
    assert [await status(app, f"session={each}") for each in (mine, bens, kept)] == [401, 401, 200]


@pytest.mark.usefixtures("member")
async def test_the_first_of_several_sessions_that_has_not_ended_counts(
    app: Quart, services: Services
) -> None:
    ben = await make_member(services, "ben")
    dead, adas, bens = [await log_in_once(app, name) for name in ("ada", "ada", "ben")]
    await log_out(app, f"session={dead}")

    async def whose(*values: str) -> int:
        cookie = "; ".join(f"session={value}" for value in values)
        response = await app.test_client().get("/api/session_state", headers={"Cookie": cookie})
        return int((await response.get_json())["user_id"])

    assert await whose(dead, adas, bens) == 1
    assert await whose(dead, bens, adas) == ben.id


@pytest.mark.usefixtures("member")
async def test_a_login_replaces_every_session_that_the_browser_sends(app: Quart) -> None:
    first, second = await log_in_once(app), await log_in_once(app)
    both = f"{FOREIGN[0]}; session={first}; session={second}"
    new = await log_in_once(app, cookie=both)
    assert [await status(app, f"session={each}") for each in (first, second, new)] == [
        401,
        401,
        200,
    ]


@pytest.mark.usefixtures("member")
async def test_every_activity_cookie_is_read(app: Quart, clock: Clock) -> None:
    session = f"session={await log_in_once(app)}"
    clock.advance(timedelta(hours=7))
    page = await app.test_client().get("/account", headers={"Cookie": session})
    activity = f"session_activity={cookie_in(page, 'session_activity')}"
    clock.advance(timedelta(hours=7))
    others = 'session_activity=x; y="; session_activity="'
    assert await status(app, f"{others}; {session}; {activity}") == 200
    assert await status(app, f"{others}; {session}") == 401


@pytest.mark.usefixtures("member")
async def test_every_device_cookie_is_read(app: Quart) -> None:
    """The page shows an alert about a new device unless the browser is known."""
    body = {"username": "ada", "password": PASSWORD}
    first: Any = await app.test_client().post("/api/login", json=body)
    known = f"session_device={cookie_in(first, 'session_device')}"
    cookie = f'session_device=x; y="; session_device="; {known}'
    second: Any = await app.test_client().post("/api/login", json=body, headers={"Cookie": cookie})
    ids = {
        login.device_id
        for login in await app.extensions["quart_app"].devices.logins_of(caller_of(1))
    }
    assert second.status_code == 200
    assert len(ids) == 1


@pytest.mark.parametrize("more", [1, 500])
@pytest.mark.usefixtures("member")
async def test_too_many_session_cookies_are_refused_instead_of_ignored(
    app: Quart, more: int
) -> None:
    ours = await log_in_once(app)
    cookie = "session=x; " * (MOST_COOKIES_OF_A_NAME + more - 1) + f"session={ours}"
    for method, path in (
        ("POST", "/api/logout"),
        ("POST", "/api/login"),
        ("GET", "/api/session_state"),
        ("POST", "/logout"),
        ("GET", "/login"),
        ("GET", "/account"),
    ):
        client: Any = app.test_client()
        response = await client.open(path, method=method, headers={"Cookie": cookie})
        text = await response.get_data(as_text=True)
        assert response.status_code == 400, path
        assert "Delete the cookies of this site" in text
        assert "Set-Cookie" not in response.headers
    assert await status(app, cookie, "/healthz") == 200
    assert await status(app, f"session={ours}") == 200
    just_enough = "session=x; " * (MOST_COOKIES_OF_A_NAME - 1) + f"session={ours}"
    assert await status(app, just_enough) == 200
