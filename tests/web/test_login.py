"""Logging in and out, by page and by JSON; one-time passwords; the set-up link."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from itsdangerous import TimestampSigner, URLSafeTimedSerializer
from pydantic import AnyUrl
from quart import Quart, Response
from quart.typing import TestClientProtocol as Client
from sqlalchemy import text as sql

from quart_app.model import Role
from quart_app.services import Services
from quart_app.services.administration.user_ref import UserRef
from quart_app.web.rendering.assets import read_tree
from tests.callers import NOBODY
from tests.conftest import (
    PASSWORD,
    SECRET_KEY,
    Clock,
    Member,
    log_in,
    make_member,
    set_cookies,
    without_nonce,
)

WRONG = "Wrong name or password. Please try again."
NEW_PASSWORD = "quite another password"
WEAK = [
    ("short", "A password must have 8 to 1024 characters."),
    ("Password1", "This is one of the most common passwords. Choose another."),
    (
        "ada@example.com",
        "This password is too similar to the name or e-mail address. Choose another.",
    ),
]

Attempt = Callable[..., Awaitable[Response]]


async def by_page(client: Client, **fields: str) -> Response:
    return await client.post("/login", form=fields)


async def by_json(client: Client, **fields: str) -> Response:
    return await client.post("/api/login", json=fields)


both_ways = pytest.mark.parametrize("attempt", [by_page, by_json])


async def is_logged_in(client: Client) -> bool:
    return (await client.get("/api/session_state")).status_code == 200


async def test_the_right_password_logs_in(visitor: Client, member: Member) -> None:
    state = await log_in(visitor, member)
    assert state["user_id"] == member.id
    assert state["platform_connection_id"] == member.platform_ids[0]
    again = await visitor.get("/api/session_state")
    assert again.status_code == 200


@both_ways
@pytest.mark.parametrize("name", ["ada", "ada@example.com", "Ada@Example.COM"])
async def test_a_name_or_an_email_address_logs_in(
    visitor: Client, member: Member, attempt: Attempt, name: str
) -> None:
    response = await attempt(visitor, username=name, password=member.password)
    assert response.status_code == (303 if attempt is by_page else 200)
    assert await is_logged_in(visitor)


async def test_the_login_form_leads_to_the_dashboard(visitor: Client, member: Member) -> None:
    page = await visitor.get("/login")
    assert page.status_code == 200
    html = await page.get_data(as_text=True)
    assert set(re.findall(r'name="(\w+)"', html)) >= {"username", "password", "remember", "next"}
    response = await by_page(visitor, username="ada", password=member.password, next="")
    assert (response.status_code, response.headers["Location"]) == (303, "/")
    dashboard = await (await visitor.get("/")).get_data(as_text=True)
    assert "Platform 1" in dashboard
    assert (await visitor.get("/login")).headers["Location"] == "/"


async def test_a_login_continues_to_the_requested_page(visitor: Client, member: Member) -> None:
    asked = await visitor.get("/platforms?a=1&b=%C3%A9&c=&d")
    assert asked.status_code == 303
    html = await (await visitor.get(asked.headers["Location"])).get_data(as_text=True)
    (kept,) = re.findall(r'name="next" value="([^"]*)"', html)
    response = await by_page(visitor, username="ada", password=member.password, next=unescape(kept))
    assert response.headers["Location"] == "/platforms?a=1&b=%C3%A9&c=&d"


async def test_a_requested_page_with_too_long_an_address_is_forgotten(
    visitor: Client, member: Member
) -> None:
    asked = await visitor.get(f"/platforms?a={'x' * 2048}")
    html = await (await visitor.get(asked.headers["Location"])).get_data(as_text=True)
    assert 'name="next" value=""' in html
    response = await by_page(visitor, username="ada", password=member.password, next="")
    assert response.headers["Location"] == "/"


@pytest.mark.usefixtures("member")
async def test_an_unknown_form_field_is_named(visitor: Client) -> None:
    response = await by_page(visitor, username="ada", password="x", admin="1")
    html = await response.get_data(as_text=True)
    assert "<bdi>admin</bdi>: There is no such field here." in " ".join(html.split())


async def test_a_refused_password_change_leads_back_to_its_page(browser: Client) -> None:
    response = await browser.get("/account/password")
    assert (response.status_code, response.headers["Location"]) == (303, "/account")


@both_ways
@pytest.mark.usefixtures("member")
async def test_refusals_do_not_reveal_the_reason(
    visitor: Client, services: Services, attempt: Attempt
) -> None:
    await make_member(services, "ben")
    await services.users.deactivate(NOBODY, UserRef.by_name("ben"))
    answers = []
    for name, password in (("ada", PASSWORD + "."), ("eve", PASSWORD), ("ben", PASSWORD)):
        response = await attempt(visitor, username=name, password=password)
        body = without_nonce(await response.get_data(as_text=True)).replace(f'"{name}"', '"***"')
        its_own = {"content-length", "x-request-id"}
        headers = [
            (name, without_nonce(value))
            for name, value in response.headers
            if name.lower() not in its_own
        ]
        assert not set_cookies(response)
        answers.append((response.status_code, body, headers))
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0] == 401
    assert WRONG in answers[0][1]
    assert not await is_logged_in(visitor)


async def test_a_refused_form_keeps_everything_except_the_password(visitor: Client) -> None:
    form = {
        "username": '<ada">',
        "password": "typed secret",
        "remember": "true",
        "next": "/account",
    }
    html = await (await by_page(visitor, **form)).get_data(as_text=True)
    assert 'value="&lt;ada&#34;&gt;"' in html
    assert 'value="/account"' in html
    assert " checked" in html
    assert "typed secret" not in html


async def test_a_login_replaces_the_existing_session(browser: Client, services: Services) -> None:
    ben = await make_member(services, "ben")
    assert (await log_in(browser, ben))["user_id"] == ben.id
    assert (await (await browser.get("/api/session_state")).get_json())["user_id"] == ben.id


async def test_a_failed_login_keeps_the_existing_session(browser: Client, member: Member) -> None:
    assert (await by_json(browser, username="ada", password="wrong")).status_code == 401
    assert (await (await browser.get("/api/session_state")).get_json())["user_id"] == member.id


# --- queries -----------------------------------------------------------------------------------


def without_begin(statements: list[str]) -> list[str]:
    """Drop the BEGIN, which is an explicit statement on SQLite only."""
    return [each.split()[0] for each in statements if not each.startswith("BEGIN")]


async def test_a_login_executes_ten_statements_and_eight_on_a_known_device(
    visitor: Client, member: Member, statements: list[str]
) -> None:
    # Count failures by name and by address; then, in one transaction, begin the session and take
    # the counts back.
    reserved, taken_back = ["SELECT", "INSERT", "INSERT"], ["DELETE"]
    begun = ["UPDATE", "SELECT", "INSERT", "SELECT", "INSERT"]
    await log_in(visitor, member)  # on a new device: an alert on the others
    assert without_begin(statements) == [*reserved, *begun, "INSERT", *taken_back]
    await visitor.post("/api/logout")
    statements.clear()
    await log_in(visitor, member)
    assert without_begin(statements) == [*reserved[:2], *begun, *taken_back]


async def test_a_refused_login_executes_the_same_statements_for_known_and_unknown_names(
    visitor: Client, member: Member, statements: list[str]
) -> None:
    for name in (member.username, "eve", "ada@example.com", "ADA@example.com", "eve@example.com"):
        statements.clear()
        await by_json(visitor, username=name, password="wrong")
        assert without_begin(statements) == [
            *("SELECT", "INSERT", "INSERT"),  # the user, and the counts by name and by address
            *("INSERT", "INSERT", "DELETE"),  # the failure
        ]


async def test_the_session_state_executes_no_statement(
    browser: Client, statements: list[str]
) -> None:
    statements.clear()
    assert (await browser.get("/api/session_state")).status_code == 200
    assert statements == []
    await browser.get("/api/platforms")
    assert without_begin(statements) == ["SELECT", "SELECT"]


# --- the next page -------------------------------------------------------------------------------

HOSTILE = [
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r\n\\evil.example",
    "\t//evil.example",
    " //evil.example",
    "https://evil.example",
    "https:evil.example",
    "javascript:alert(1)",
    "evil.example",
    "@evil.example",
]
PIECES = [
    "/",
    "//",
    "\\",
    "\t",
    "\r",
    "\n",
    " ",
    "\x00",
    "\u2028",
    "\xa0",
    "@",
    ".",
    "..",
    ":",
    "?",
]
PIECES += ["#", "%2f", "%5c", "%09", "&", "=", "[", "http:", "evil.example", "account"]


def arrival(location: str) -> tuple[str, str | None]:
    """Return the scheme and host that a browser on http://localhost/login would open.

    By the URL standard (https://url.spec.whatwg.org/#url-parsing) surrounding spaces, and tabs and
    line ends anywhere, are dropped, and a backslash is a slash. The rest is parsed by the `url`
    crate behind pydantic, which implements that standard.
    """
    url = re.sub("[\t\r\n]", "", location.strip("".join(map(chr, range(0x21)))))
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", url):
        is_host = re.match(r"[/\\]{2}", url)
        url = f"http:{url}" if is_host else f"http://localhost/{url.lstrip('/')}"
    parsed = AnyUrl(url)
    return parsed.scheme, parsed.host


@pytest.mark.parametrize("hostile", HOSTILE[:9])
def test_a_browser_would_follow_these_to_another_site(hostile: str) -> None:
    assert arrival(hostile) == ("http", "evil.example")


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize("hostile", HOSTILE)
async def test_a_next_path_of_another_site_leads_to_the_dashboard(
    visitor: Client, member: Member, hostile: str
) -> None:
    response = await by_page(visitor, username="ada", password=member.password, next=hostile)
    assert response.headers["Location"] == "/"


async def test_an_invalid_next_path_leads_to_the_dashboard(visitor: Client, member: Member) -> None:
    """For example addresses that only accept forms: the page in response has that address."""
    for path, arrives in (
        ("/account/it_was_me", "/"),
        ("/platforms/7/switch?x=1", "/"),
        ("/no/such/page", "/"),
        ("/api/session_events", "/"),
        ("/api/platforms", "/"),
        ("/healthz", "/"),
        ("/admin/audit.csv", "/"),
        ("/login/new_password", "/"),
        (f"/static/{read_tree().hash}/style.css", "/"),
        ("/static/..//evil.example", "/"),
        ("/%2flogin", "/"),
        ("/platforms/7/rename?x=%C3%A9#name", "/platforms/7/rename?x=%C3%A9#name"),
    ):
        response = await by_page(visitor, username="ada", password=member.password, next=path)
        assert response.headers["Location"] == arrives


@pytest.mark.parametrize("engine_name", ["sqlite"])
@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the browser stays logged in
)
@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join) | st.text(max_size=20))
@example("/../..//evil.example")
@example("/.//evil.example?next=//evil.example#//evil.example")
async def test_next_never_leaves_the_site(browser: Client, path: str) -> None:
    for start in ("", "/"):
        response = await browser.get("/login?" + urlencode({"next": start + path}))
        assert response.status_code == 303
        location = response.headers["Location"]
        assert location.startswith("/")
        assert arrival(location) == ("http", "localhost")


# --- one-time passwords --------------------------------------------------------------------------


@pytest.fixture
async def given_password(services: Services) -> str:
    """The one-time password of ben, who must choose his own."""
    _, password = await services.users.create(
        NOBODY, username="ben", email="ben@example.com", role=Role.VIEWER, password=None
    )
    assert password
    return password


async def test_a_one_time_password_is_replaced_at_login(
    visitor: Client, given_password: str
) -> None:
    asked = await by_json(visitor, username="ben", password=given_password)
    assert asked.status_code == 403
    problem = await asked.get_json(force=True)
    assert problem["code"] == "password_change_needed"
    assert set(problem) == {"type", "title", "status", "code"}
    assert "Set-Cookie" not in asked.headers
    assert not await is_logged_in(visitor)
    for wrong in ("short", "ben@example.com", "Passw0rd", given_password, "x" * 1025):
        refused = await by_json(
            visitor, username="ben", password=given_password, new_password=wrong
        )
        assert refused.status_code == 422
        assert "new_password" in await refused.get_data(as_text=True)
    assert not await is_logged_in(visitor)
    done = await by_json(
        visitor, username="ben", password=given_password, new_password=NEW_PASSWORD
    )
    assert done.status_code == 200
    assert await is_logged_in(visitor)
    gone = await by_json(visitor, username="ben", password=given_password)
    assert gone.status_code == 401
    assert (await by_json(visitor, username="ben", password=NEW_PASSWORD)).status_code == 200


@pytest.mark.usefixtures("given_password")
async def test_a_wrong_password_does_not_reveal_that_a_password_change_is_due(
    visitor: Client,
) -> None:
    response = await by_json(visitor, username="ben", password="wrong", new_password=NEW_PASSWORD)
    assert (await response.get_json(force=True))["code"] == "bad_credentials"


async def test_a_new_password_is_refused_if_none_is_due(visitor: Client, member: Member) -> None:
    body = {"username": "ada", "password": member.password, "new_password": NEW_PASSWORD}
    refused = await by_json(visitor, **body)
    assert refused.status_code == 422
    assert (await refused.get_json(force=True))["field"] == "new_password"
    # Only a user who knows the password learns that.
    wrong = await by_json(visitor, **{**body, "password": "wrong"})
    assert (await wrong.get_json(force=True))["code"] == "bad_credentials"
    assert (await by_json(visitor, username="ada", password=NEW_PASSWORD)).status_code == 401
    assert (await by_json(visitor, username="ada", password=member.password)).status_code == 200


# --- changing the password ---------------------------------------------------------------------


@pytest.mark.parametrize("is_json", [True, False])
async def test_a_user_who_changes_the_password_stays_logged_in(
    browser: Client, visitor: Client, *, is_json: bool
) -> None:
    async def change(current: str, new: str = NEW_PASSWORD) -> Response:
        fields = {"current_password": current, "new_password": new}
        if is_json:
            return await browser.post("/api/account/password", json=fields)
        return await browser.post("/account/password", form=fields)

    refused = await change("wrong")
    assert refused.status_code == 401
    assert "The current password is wrong." in await refused.get_data(as_text=True)
    for weak, sentence in WEAK:
        refused = await change(PASSWORD, weak)
        assert refused.status_code == 422
        assert sentence in await refused.get_data(as_text=True)
    assert (await change(PASSWORD)).status_code == (204 if is_json else 303)
    assert await is_logged_in(browser)
    assert (await by_json(visitor, username="ada", password=PASSWORD)).status_code == 401
    assert (await by_json(visitor, username="ada", password=NEW_PASSWORD)).status_code == 200


# --- logging out ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "status"), [("/logout", 303), ("/api/logout", 204)])
async def test_logging_out_ends_the_session_and_clears_the_cache(
    browser: Client, path: str, status: int
) -> None:
    response = await browser.post(path)
    assert response.status_code == status
    assert response.headers["Clear-Site-Data"] == '"cache"'
    assert "Max-Age=0" in set_cookies(response)["session"]
    assert not await is_logged_in(browser)
    if status == 303:
        page = await browser.get(response.headers["Location"])
        assert "You are logged out." in await page.get_data(as_text=True)
    again = await browser.post(path)
    assert again.status_code == status  # there is nothing left to end


async def test_a_session_that_ended_elsewhere_or_expired_has_its_cache_cleared(
    app: Quart, browser: Client, visitor: Client, member: Member, clock: Clock
) -> None:
    elsewhere = app.test_client()
    await log_in(elsewhere, member)
    assert "Clear-Site-Data" not in (await visitor.get("/login")).headers
    assert "Clear-Site-Data" not in (await elsewhere.get("/")).headers
    await browser.post("/logout_all")
    led = await elsewhere.get("/")
    assert (await elsewhere.get(led.headers["Location"])).headers["Clear-Site-Data"] == '"cache"'
    await log_in(browser, member)
    assert "Clear-Site-Data" not in (await browser.get("/login")).headers
    clock.advance(timedelta(days=1))
    assert (await browser.get("/login")).headers["Clear-Site-Data"] == '"cache"'


# --- the first user ----------------------------------------------------------------------------


async def set_up(client: Client, token: str, name: str = "eve") -> Response:
    form = {"username": name, "email": f"{name}@example.com", "new_password": PASSWORD}
    return await client.post("/setup", form={"token": token, **form})


async def test_the_set_up_link_creates_one_administrator(
    visitor: Client, services: Services
) -> None:
    token = services.setup_tokens.set_up_token()
    page = await visitor.get("/setup?" + urlencode({"token": token}))
    assert page.status_code == 200
    assert token in await page.get_data(as_text=True)
    assert page.headers["Cache-Control"] == "no-store"
    response = await set_up(visitor, token)
    assert (response.status_code, response.headers["Location"]) == (303, "/")
    assert await is_logged_in(visitor)
    for again in (await visitor.get(f"/setup?token={token}"), await set_up(visitor, token, "mal")):
        assert again.status_code == 410
        assert "This set-up link is invalid or has expired." in await again.get_data(as_text=True)
    assert [(user.username, user.role) for user in await services.users.everybody(NOBODY)] == [
        ("eve", Role.ADMIN)
    ]


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *(("username", " eve"), ("email", "eve"), ("role", "admin")),
        *(("new_password", "short"), ("new_password", "Passw0rd"), ("new_password", "eve.2026")),
    ],
)
async def test_an_invalid_set_up_form_creates_no_user(
    visitor: Client, services: Services, field: str, wrong: str
) -> None:
    form = {"username": "eve", "email": "eve@example.com", "new_password": PASSWORD, field: wrong}
    form["token"] = services.setup_tokens.set_up_token()
    response = await visitor.post("/setup", form=form)
    assert response.status_code == 422
    assert PASSWORD not in await response.get_data(as_text=True)
    assert await services.users.everybody(NOBODY) == []
    assert (await set_up(visitor, form["token"])).status_code == 303


class Yesterday(TimestampSigner):
    """A signer whose clock is 24 hours and two seconds behind."""

    def get_timestamp(self) -> int:
        return int(time.time()) - 24 * 60 * 60 - 2


def link_token(key: str = SECRET_KEY, salt: str = "quart_app-link", **signer: Any) -> str:
    return str(URLSafeTimedSerializer(key, salt=salt, **signer).dumps("set-up"))


async def test_only_a_recent_token_signed_by_us_allows_the_set_up(
    visitor: Client, services: Services
) -> None:
    for wrong in (
        "",
        "x",
        "\u00e9",
        link_token()[:-2],
        link_token(key="another key"),
        link_token(salt="cookie-session"),
        link_token(signer=Yesterday),
    ):
        assert (await set_up(visitor, wrong)).status_code == 410, wrong
        page = await visitor.get("/setup?" + urlencode({"token": wrong}))
        assert page.status_code == 410, wrong
    assert await services.users.everybody(NOBODY) == []
    assert (await set_up(visitor, link_token())).status_code == 303


async def test_only_one_of_several_concurrent_set_ups_creates_the_user(
    app: Quart, services: Services, engine_name: str
) -> None:
    token, names = services.setup_tokens.set_up_token(), ["eve", "mal", "ben"]
    # Block writers until all requests have seen that there is no user yet.
    async with services.accounts.database.begin() as db:
        lock = "LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE"
        await db.execute(sql(lock if engine_name == "postgresql" else "SELECT 1"))
        under_way = [asyncio.create_task(set_up(app.test_client(), token, each)) for each in names]
        await asyncio.sleep(1)
        assert not any(task.done() for task in under_way)
    answers = await asyncio.gather(*under_way)
    assert sorted(answer.status_code for answer in answers) == [303, 410, 410]
    (user,) = await services.users.everybody(NOBODY)
    winner = next(
        name for name, answer in zip(names, answers, strict=True) if answer.status_code == 303
    )
    assert user.username == winner


pytestmark = pytest.mark.sqlite_unless_thorough
