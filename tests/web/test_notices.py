"""Notices: a page says once what was done, and no other site can make it say anything."""

import re

import pytest
from itsdangerous import URLSafeTimedSerializer
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import select

from quart_app.composition import Built
from quart_app.model import Login
from quart_app.services import Services
from quart_app.settings import Settings, with_setting
from tests.conftest import (
    SECRET_KEY,
    MakeApp,
    Member,
    log_in,
    make_member,
    set_cookies,
)
from tests.session.applications import put_cookie

pytestmark = pytest.mark.sqlite_unless_thorough

NOTICE = re.compile(r'<p class="message message-done">(.*?)</p>')
OTHER_KEY = "another key, long enough to be one"


async def said(client: Client, path: str, **headers: str) -> list[str]:
    response = await client.get(path, headers=headers)
    return NOTICE.findall(await response.get_data(as_text=True))


async def switch(client: Client, platform_connection_id: int, page: str) -> str:
    """Switch with a page's form; return the name of the cookie that holds the notice."""
    response = await client.post(f"/platforms/{platform_connection_id}/switch", form={"next": page})
    assert response.headers["Location"] == page
    (name,) = [each for each in set_cookies(response) if "_notice_" in each]
    return name


async def test_a_notice_is_shown_once(browser: Client, member: Member) -> None:
    await switch(browser, member.platform_ids[1], "/devices")
    assert await said(browser, "/devices") == ["Switched to <bdi>Platform 2</bdi>"]
    assert await said(browser, "/devices") == []


@pytest.mark.parametrize(
    "query",
    ["notice=deactivated-oneself", "notice=switched", "notice=password", "notice=<b>", "unsent"],
)
async def test_a_link_cannot_make_a_page_show_a_notice(
    browser: Client, visitor: Client, query: str
) -> None:
    for client, path in ((browser, "/"), (browser, "/account"), (visitor, "/login")):
        assert await said(client, f"{path}?{query}") == []


async def test_tabs_keep_their_own_notices(browser: Client, member: Member) -> None:
    """Both forms are answered before either browser tab loads its page."""
    await switch(browser, member.platform_ids[1], "/devices?a=1")
    await browser.post(f"/platforms/{member.platform_ids[0]}/default", form={"next": "/account"})
    assert await said(browser, "/platforms") == []
    assert await said(browser, "/account") == [
        "Default account changed. New sessions start with it."
    ]
    assert await said(browser, "/devices?a=1") == ["Switched to <bdi>Platform 2</bdi>"]


async def test_requests_that_show_no_page_leave_a_notice_waiting(
    browser: Client, member: Member
) -> None:
    await switch(browser, member.platform_ids[1], "/devices")
    assert await said(browser, "/devices", **{"X-Unattended": "true"}) == []
    assert await said(browser, "/nothing") == []
    await browser.get("/static/none/style.css")
    assert len(await said(browser, "/devices")) == 1


async def test_a_refused_form_leaves_no_notice(browser: Client, member: Member) -> None:
    path = f"/platforms/{member.platform_ids[0]}/rename"
    assert set_cookies(await browser.post(path, form={"name": ""})) == {}


async def test_the_notice_about_a_removed_current_connection_names_no_other(
    browser: Client, member: Member
) -> None:
    await switch(browser, member.platform_ids[1], "/devices")
    await browser.delete(f"/api/platforms/{member.platform_ids[1]}")
    assert await said(browser, "/devices") == []


async def test_a_notice_for_one_user_is_not_shown_to_the_next_one_in_the_browser(
    browser: Client, member: Member, services: Services
) -> None:
    """Neither the first user's session nor its end is followed by a page, as in a closed tab."""
    eve = await make_member(services, "eve")
    await switch(browser, member.platform_ids[1], "/devices")
    await browser.post("/logout")
    await log_in(browser, eve)
    assert await said(browser, "/devices") == []


async def test_a_notice_is_not_shown_after_the_same_user_logged_in_again(
    browser: Client, member: Member
) -> None:
    await switch(browser, member.platform_ids[1], "/devices")
    await log_in(browser, member)
    assert await said(browser, "/devices") == []


async def test_a_notice_is_not_shown_without_a_login(browser: Client, member: Member) -> None:
    """The start page and the login page are public, and may be the destination of a form."""
    response = await browser.post(
        f"/platforms/{member.platform_ids[0]}/default", form={"next": "/login"}
    )
    assert response.headers["Location"] == "/login"
    browser.cookie_jar.clear("localhost.local", "/", "session")  # type: ignore[union-attr]
    assert await said(browser, "/login") == []


def signed(
    payload: object, sid: str, *, key: str = SECRET_KEY, salt: str = "quart_app-notice"
) -> str:
    return str(URLSafeTimedSerializer([key], salt=f"{salt}:{sid}").dumps(payload))


async def sid_of(built: Built) -> str:
    async with built.database.read() as db:
        return (await db.scalars(select(Login.sid))).one()


SENTENCE = "Call 555-0100"


@pytest.mark.parametrize(
    ("payload", "how", "is_shown"),
    [
        (["/devices", SENTENCE, False, None], {}, True),
        (["/devices", SENTENCE, False, None], {"key": OTHER_KEY}, False),
        (["/devices", SENTENCE, False, None], {"salt": "cookie-session"}, False),
        (["/devices", SENTENCE, False, None], {"sid": ""}, False),
        (["/devices", SENTENCE, False, None], {"sid": "another session"}, False),
        (["/account", SENTENCE, False, None], {}, False),
        (["/devices", SENTENCE, False, 1], {}, False),
        (["/devices", SENTENCE], {}, False),
        (SENTENCE, {}, False),
        ([1, 2], {}, False),
    ],
)
async def test_only_a_notice_signed_for_the_page_is_shown(
    browser: Client,
    member: Member,
    built: Built,
    payload: object,
    how: dict[str, str],
    *,
    is_shown: bool,
) -> None:
    name = await switch(browser, member.platform_ids[1], "/devices")
    put_cookie(browser, signed(payload, **({"sid": await sid_of(built)} | how)), name)
    assert await said(browser, "/devices") == ([SENTENCE] if is_shown else [])


@pytest.mark.parametrize("cookie", [SENTENCE, "", "\u00ff.a.b", "a.b.c"])
async def test_an_unsigned_cookie_is_not_shown(
    browser: Client, member: Member, cookie: str
) -> None:
    name = await switch(browser, member.platform_ids[1], "/devices")
    put_cookie(browser, cookie, name)
    assert await said(browser, "/devices") == []


async def test_an_old_notice_is_not_shown(
    browser: Client, member: Member, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, sid = await switch(browser, member.platform_ids[1], "/devices"), await sid_of(built)
    with monkeypatch.context() as patch:
        patch.setattr("itsdangerous.timed.time.time", lambda: 1_700_000_000)
        old = signed(["/devices", SENTENCE], sid)
    put_cookie(browser, old, name)
    assert await said(browser, "/devices") == []


async def test_the_cookie_is_bound_to_this_host_and_hidden_from_scripts(
    settings: Settings, make_app: MakeApp, app: Quart
) -> None:
    over_https = await make_app(with_setting(settings, public_url="https://app.example"))
    for each, prefix in ((app, "session"), (over_https, "__Host-session")):
        client = each.test_client()
        for response in (await client.post("/logout"), await client.get("/login")):
            found = {
                name: line for name, line in set_cookies(response).items() if "_notice_" in name
            }
            if not found:  # the test client keeps no Secure cookie, so there is none to delete
                assert each is over_https
                continue
            ((name, line),) = found.items()
            assert name.startswith(f"{prefix}_notice_")
            for attribute in ("HttpOnly", "SameSite=Lax", "Path=/"):
                assert attribute in line
            assert ("Secure" in line) is (each is over_https)
            assert "Domain" not in line
