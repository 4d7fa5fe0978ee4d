"""Alerts: which devices show a new device or a changed password, and how alerts are dismissed."""

import asyncio
import re
from datetime import timedelta
from typing import Any

import pytest
from itsdangerous import URLSafeTimedSerializer
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import delete, select

from quart_app.composition import Built
from quart_app.model import Alert, AuditEntry, AuditEvent, Login
from quart_app.services import Services
from quart_app.services.administration.user_ref import UserRef
from quart_app.services.identity.steps import alert_records
from quart_app.services.identity.steps.alert_records import SHOWN_FOR
from quart_app.services.sessions.device_ids import new_device_id
from quart_app.settings import Settings, with_setting
from quart_app.storage.alerts import delete_expired_alerts
from tests.callers import NOBODY, caller_of
from tests.conftest import SECRET_KEY, Clock, MakeApp, Member, log_in, make_member, set_cookies
from tests.session.applications import put_cookie
from tests.web.test_session_ends import change_password, copy_of, state_of

pytestmark = pytest.mark.sqlite_unless_thorough

QUESTION = "Was this you?"
DISOWNED = "All your sessions were ended with"
NEW_DEVICE = "used to log in on a new device"
MINUTE = timedelta(minutes=1)
PAGES = ["/", "/platforms", "/devices", "/account"]


async def text_of(client: Client, path: str = "/") -> str:
    response = await client.get(path)
    assert response.status_code == 200
    return await response.get_data(as_text=True)


async def shows_alert(client: Client) -> bool:
    return QUESTION in await text_of(client)


async def answer(client: Client, path: str = "/") -> Any:
    """Press the alert's button."""
    found = re.search(r'name="up_to" value="(\d+)"', await text_of(client, path))
    assert found
    return await client.post("/account/it_was_me", form={"up_to": found[1], "next": "/devices"})


@pytest.fixture
async def phone(
    app: Quart,
    browser: Client,  # noqa: ARG001 logs in first
    member: Member,
    clock: Clock,
) -> Client:
    """A second device, on which the member logs in after the first."""
    clock.advance(MINUTE)
    client = app.test_client()
    await log_in(client, member)
    return client


def device_cookie_of(client: Client) -> str:
    (found,) = [each.value for each in client.cookie_jar or () if each.name == "session_device"]
    return str(found)


# --- alerts and where they are shown -------------------------------------------------------------


async def test_a_first_login_shows_no_alert_about_itself(browser: Client) -> None:
    assert not await shows_alert(browser)


async def test_an_intruder_who_logs_in_twice_cannot_hide_the_alert(
    app: Quart, browser: Client, member: Member, clock: Clock
) -> None:
    intruder = app.test_client()
    for _ in range(3):
        clock.advance(MINUTE)
        await log_in(intruder, member)
    assert await shows_alert(browser)


async def test_of_two_simultaneous_first_logins_one_shows_an_alert_about_the_other(
    app: Quart, member: Member
) -> None:
    clients = [app.test_client() for _ in range(2)]
    await asyncio.gather(*(log_in(each, member) for each in clients))
    assert sorted([await shows_alert(each) for each in clients]) == [False, True]


async def test_a_new_browser_is_welcomed_once_and_shows_no_alerts(
    app: Quart, browser: Client, phone: Client, member: Member, clock: Clock
) -> None:
    for _ in range(3):
        clock.advance(MINUTE)
        await log_in(app.test_client(), member)
    fresh, form = app.test_client(), {"username": member.username, "password": member.password}
    await fresh.post("/login", form=form)
    assert "Welcome" in await text_of(fresh)
    assert "Welcome" not in await text_of(fresh)
    for path in PAGES:
        assert QUESTION not in await text_of(fresh, path)
    await fresh.post("/logout")
    await fresh.post("/login", form=form)  # the device is known by now
    assert "Welcome" not in await text_of(fresh)
    assert not await shows_alert(fresh)
    assert await shows_alert(browser)
    assert await shows_alert(phone)  # it was known before the last logins


async def test_a_browser_that_is_known_by_then_shows_alerts_about_later_logins(
    browser: Client, phone: Client, app: Quart, member: Member, clock: Clock
) -> None:
    clock.advance(MINUTE)
    await log_in(app.test_client(), member)
    assert (await text_of(phone, "/devices")).count(NEW_DEVICE) == 1
    assert (await text_of(browser, "/devices")).count(NEW_DEVICE) == 2


async def test_a_device_is_still_known_after_a_long_absence(
    app: Quart, browser: Client, member: Member, built: Built
) -> None:
    """By then its own login record has been deleted."""
    intruder = app.test_client()
    await log_in(intruder, member)
    await log_in(intruder, member)
    async with built.database.begin() as db:
        await db.execute(delete(Login).where(Login.id == 1))
    await log_in(browser, member)
    assert await shows_alert(browser)


async def test_every_page_of_the_other_devices_shows_a_login_from_a_new_device(
    browser: Client, phone: Client
) -> None:
    for path in PAGES:
        text = await text_of(browser, path)
        assert QUESTION in text
        assert NEW_DEVICE in text
        assert "from <bdi>&lt;local&gt;</bdi>" in text
        assert text.count(NEW_DEVICE) == 1
        assert 'href="/account/not_me"' in text
        assert 'action="/account/not_me"' not in text  # no button that ends everything at once
        assert QUESTION not in await text_of(phone, path)


async def test_a_device_that_logged_in_before_is_known_again(
    browser: Client, phone: Client, member: Member
) -> None:
    await answer(browser)
    for _ in range(2):
        assert (await phone.post("/logout")).status_code == 303
        await log_in(phone, member)
    assert not await shows_alert(browser)
    assert not await shows_alert(phone)


async def test_a_device_is_known_per_user(
    browser: Client, phone: Client, member: Member, services: Services, app: Quart
) -> None:
    eve, hers = await make_member(services, "eve"), app.test_client()
    await log_in(hers, eve)
    assert await shows_alert(browser)
    await log_in(phone, eve)  # a browser that another user logged in with
    assert await shows_alert(hers)
    await log_in(phone, member)  # and still knows the other user
    await answer(browser)
    assert not await shows_alert(browser)


async def test_the_other_devices_show_a_changed_password(
    browser: Client, phone: Client, member: Member, clock: Clock
) -> None:
    await answer(browser)
    assert (await change_password(phone, member)).status_code == 204
    assert not await shows_alert(phone)
    clock.advance(MINUTE)
    await log_in(browser, Member(member.id, member.username, "another, and long enough", (0, 0, 0)))
    assert "Your password was changed" in await text_of(browser)


@pytest.mark.usefixtures("phone")
async def test_a_new_password_dismisses_the_alerts_shown_there(
    browser: Client, member: Member
) -> None:
    assert await shows_alert(browser)
    assert (await change_password(browser, member)).status_code == 204
    assert not await shows_alert(browser)


async def test_the_next_login_shows_a_password_reset(
    browser: Client, services: Services, member: Member
) -> None:
    await services.user_passwords.set(
        NOBODY, UserRef.by_name(member.username), "another, and long enough"
    )
    await log_in(browser, Member(member.id, member.username, "another, and long enough", (0, 0, 0)))
    assert "An administrator changed your password" in await text_of(browser)


async def test_a_new_password_makes_all_other_devices_unknown(
    browser: Client, phone: Client, member: Member
) -> None:
    assert (await change_password(browser, member)).status_code == 204
    now = Member(member.id, member.username, "another, and long enough", (0, 0, 0))
    await log_in(browser, now)
    assert not await shows_alert(browser)
    await log_in(phone, now)
    assert await shows_alert(browser)


async def test_a_device_known_to_one_user_is_not_known_to_the_next(
    app: Quart, browser: Client, member: Member, services: Services
) -> None:
    """A copy of the device cookie, made before another user's login there, is another device."""
    eve, shared = await make_member(services, "eve"), app.test_client()
    await log_in(shared, eve)
    copy = device_cookie_of(shared)
    await log_in(shared, member)
    await answer(browser)
    hers = app.test_client()
    put_cookie(hers, copy, "session_device")
    await log_in(hers, member)
    assert await shows_alert(browser)
    assert await shows_alert(shared)  # known to the member before her device was


async def test_an_intruder_cannot_dismiss_the_users_alerts(
    app: Quart, browser: Client, member: Member, clock: Clock
) -> None:
    """Not even with many devices: none of them was known before the first."""
    intruders = [app.test_client() for _ in range(3)]
    for intruder in intruders:
        clock.advance(MINUTE)
        await log_in(intruder, member)
    assert (await text_of(browser, "/devices")).count(NEW_DEVICE) == 3
    for intruder in intruders:
        for _ in range(2):
            await intruder.post("/account/it_was_me", form={"up_to": "9" * 18})
            await intruder.post("/logout")
            await log_in(intruder, member)
    assert (await text_of(browser, "/devices")).count(NEW_DEVICE) == 1


async def test_an_old_device_made_unknown_by_a_new_password_cannot_dismiss_them_either(
    app: Quart, browser: Client, member: Member, clock: Clock
) -> None:
    """An intruder's device may be among them."""
    old = app.test_client()
    await log_in(old, member)
    assert (await change_password(browser, member)).status_code == 204
    now = Member(member.id, member.username, "another, and long enough", (0, 0, 0))
    intruder = app.test_client()
    for client in (intruder, old):
        clock.advance(MINUTE)
        await log_in(client, now)
        await client.post("/account/it_was_me", form={"up_to": "9" * 18})
    assert (await text_of(browser, "/devices")).count(NEW_DEVICE) == 2


async def test_pages_show_one_alert_and_the_device_list_shows_the_rest(
    app: Quart, browser: Client, member: Member, clock: Clock
) -> None:
    for _ in range(7):
        clock.advance(MINUTE)
        await log_in(app.test_client(), member)
    for path in ("/", "/account", "/platforms"):
        text = await text_of(browser, path)
        assert text.count(NEW_DEVICE) == 1
        assert text.count("message-alert") == 1
        assert '<a href="/devices">Show all</a>' in text
    text = await text_of(browser, "/devices")
    assert text.count(NEW_DEVICE) == 5
    assert "There are more alerts" in text


async def test_only_alerts_that_were_shown_are_dismissed(
    app: Quart, browser: Client, member: Member, clock: Clock
) -> None:
    for _ in range(7):
        clock.advance(MINUTE)
        await log_in(app.test_client(), member)
    await answer(browser)
    text = await text_of(browser, "/devices")
    assert text.count(NEW_DEVICE) == 5
    assert "There are more alerts" in text
    assert (await answer(browser, "/devices")).headers["Location"] == "/devices"
    assert "This device no longer shows this alert." in await text_of(browser, "/devices")
    assert (await text_of(browser, "/devices")).count(NEW_DEVICE) == 1
    await answer(browser)
    assert not await shows_alert(browser)


async def test_a_user_agent_is_escaped(app: Quart, browser: Client, member: Member) -> None:
    await app.test_client().post(
        "/api/login",
        json={"username": member.username, "password": member.password},
        headers={"User-Agent": "<b>Firefox/1.0"},
    )
    assert "<b>Firefox" not in await text_of(browser)


async def ids_of_alerts(built: Built) -> list[int]:
    async with built.database.read() as db:
        return list(await db.scalars(select(Alert.id).order_by(Alert.id)))


async def test_repeated_logins_push_no_alert_out(
    app: Quart,
    built: Built,
    browser: Client,
    member: Member,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alert_records, "MOST_NEW_DEVICES", 3)
    for _ in range(3):
        await log_in(app.test_client(), member)
    kept = await ids_of_alerts(built)
    assert len(kept) == 3
    for _ in range(2):
        await log_in(app.test_client(), member)
    assert await ids_of_alerts(built) == kept
    _, first, _ = kept  # a browser shows no alert about its own login
    assert f'name="up_to" value="{first}"' in await text_of(browser)
    assert (await answer(browser, "/devices")).status_code == 303
    await log_in(app.test_client(), member)
    assert await shows_alert(browser)


@pytest.mark.usefixtures("browser", "phone")
async def test_alerts_are_shown_for_a_month(member: Member, clock: Clock, built: Built) -> None:
    async with built.database.read() as db:
        sids = [each.sid for each in await db.scalars(select(Login).order_by(Login.id))]

    async def number() -> int:
        context = await built.services.page_contexts.load(caller_of(member.id, sid=sids[0]))
        assert context
        return len(context.alerts)

    clock.advance(SHOWN_FOR - MINUTE)
    assert await number() == 1
    clock.advance(MINUTE)
    assert await number() == 0
    async with built.database.begin() as db:
        assert await delete_expired_alerts(db, before=clock(), most=10) == 1
        assert await delete_expired_alerts(db, before=clock() + MINUTE, most=10) == 1


async def test_an_id_is_never_reused(built: Built, app: Quart, member: Member) -> None:
    ids = []
    for _ in range(2):
        await log_in(app.test_client(), member)
        async with built.database.begin() as db:
            alert = (await db.scalars(select(Alert))).one()
            ids.append(alert.id)
            await db.delete(alert)
    assert ids[0] < ids[1]


# --- dismissing ----------------------------------------------------------------------------------


async def test_dismissing_on_one_device_applies_to_all_devices_permanently(
    app: Quart, browser: Client, phone: Client, member: Member, built: Built
) -> None:
    tablet = app.test_client()
    await log_in(tablet, member)
    assert await shows_alert(phone)
    assert (await answer(browser, "/devices")).status_code == 303
    for client in (browser, phone, tablet):
        assert not await shows_alert(client)
        await client.post("/logout")
        await log_in(client, member)
        assert not await shows_alert(client)
    async with built.database.read() as db:
        answered = select(AuditEntry).where(AuditEntry.event == AuditEvent.ALERT_ANSWERED)
        assert len((await db.scalars(answered)).all()) == 1


async def test_a_repeated_dismissal_is_recorded_once(
    browser: Client, phone: Client, built: Built
) -> None:
    assert not await shows_alert(phone)
    for response in [await answer(browser), *await asyncio.gather(*again(browser))]:
        assert response.status_code == 303
    async with built.database.read() as db:
        answered = select(AuditEntry).where(AuditEntry.event == AuditEvent.ALERT_ANSWERED)
        assert len((await db.scalars(answered)).all()) == 1


def again(client: Client) -> list[Any]:
    """Dismiss twice again, at the same time, like tabs that were open before."""
    return [client.post("/account/it_was_me", form={"up_to": "9"}) for _ in range(2)]


@pytest.mark.usefixtures("phone")
@pytest.mark.parametrize("up_to", ["", "0", "-1", "x", "9" * 19, "1"])
async def test_an_invalid_dismissal_changes_nothing(browser: Client, up_to: str) -> None:
    response = await browser.post("/account/it_was_me", form={"up_to": up_to})
    assert response.status_code in {303, 422}
    assert await shows_alert(browser)  # about the second device


async def test_this_was_not_me_ends_every_session_and_asks_for_a_new_password(
    app: Quart, browser: Client, phone: Client, member: Member, built: Built
) -> None:
    stolen = [copy_of(app, browser), copy_of(app, phone)]
    asked = await text_of(browser, "/account/not_me")
    assert "All your sessions end at once" in asked
    assert "choose a new password" in asked
    assert 'action="/account/not_me"' in asked
    assert [await state_of(each) for each in (browser, phone)] == [200, 200]
    response = await browser.post("/account/not_me")
    assert response.status_code == 303
    assert response.headers["Clear-Site-Data"] == '"cache"'
    assert "session_device" not in set_cookies(response)
    to = response.headers["Location"]
    assert to == "/login?next=/account%23change"
    for ended in (browser, phone, *stolen):
        assert await state_of(ended) == 401
    assert "Log in again and choose a new password" in await text_of(browser, to)
    form = {"username": member.username, "password": member.password, "next": "/account#change"}
    response = await browser.post("/login", form=form)
    assert response.headers["Location"] == "/account#change"
    text = await text_of(browser, "/account")
    assert 'id="change"' in text
    assert DISOWNED in text
    await browser.post("/account/it_was_me", form={"up_to": "9" * 18})
    assert DISOWNED in await text_of(browser)  # until the password is changed
    assert (await change_password(browser, member)).status_code == 204
    assert DISOWNED not in await text_of(browser)
    async with built.database.read() as db:
        details = [each.detail for each in await db.scalars(select(AuditEntry))]
    assert '{"ended": "all", "reason": "disowned"}' in details


async def test_a_thief_who_says_this_was_not_me_gains_nothing(
    app: Quart, browser: Client, member: Member
) -> None:
    """Not even repeatedly: a user who knows the password logs in and changes it."""
    for _ in range(3):
        thief = app.test_client()
        for cookie in browser.cookie_jar or ():
            if cookie.name == "session":
                put_cookie(thief, str(cookie.value), "session")
        assert (await thief.post("/account/not_me")).status_code == 303
        assert await state_of(thief) == 401
        names = [each.name for each in thief.cookie_jar or ()]
        assert [name for name in names if not name.startswith("session_notice_")] == []
        await log_in(browser, member)
        assert (await text_of(browser)).count(DISOWNED) == 1
    assert (await change_password(browser, member)).status_code == 204


async def test_an_ended_session_cannot_say_this_was_not_me(
    app: Quart, browser: Client, phone: Client
) -> None:
    thief = copy_of(app, browser)
    await browser.post("/logout")
    response = await thief.post("/account/not_me")
    assert response.headers["Location"].startswith("/login")
    assert await state_of(phone) == 200


NEW_PASSWORD = "another, and long enough"
PASSWORD_CHANGED = "Your password was changed:"


def after_the_change(member: Member, password: str = NEW_PASSWORD) -> Member:
    return Member(member.id, member.username, password, member.platform_ids)


async def test_an_intruder_who_changed_the_password_cannot_silence_the_alert_from_a_new_device(
    app: Quart, browser: Client, services: Services, member: Member, clock: Clock
) -> None:
    intruder = app.test_client()
    await log_in(intruder, member)
    clock.advance(MINUTE)
    assert (await change_password(intruder, member)).status_code == 204
    for _ in range(2):  # on two new devices
        another = app.test_client()
        await log_in(another, after_the_change(member))
        assert PASSWORD_CHANGED in await text_of(another)
        assert (await answer(another)).status_code == 303
        assert PASSWORD_CHANGED not in await text_of(another)
    await log_in(browser, after_the_change(member))  # somebody gave the user the new password
    assert PASSWORD_CHANGED in await text_of(browser)
    await services.user_passwords.set(
        NOBODY, UserRef.by_name(member.username), "a third, and long enough"
    )
    await log_in(browser, after_the_change(member, "a third, and long enough"))
    text = await text_of(browser, "/devices")
    assert PASSWORD_CHANGED in text
    assert "An administrator changed your password" in text


async def test_an_alert_about_the_password_is_answered_once_on_each_device(
    browser: Client, phone: Client, member: Member, clock: Clock, built: Built
) -> None:
    assert (await change_password(browser, member)).status_code == 204
    clock.advance(MINUTE)
    for client in (phone, phone):  # the second login is on a device that is known by then
        await log_in(client, after_the_change(member))
        if PASSWORD_CHANGED in await text_of(client):
            await asyncio.gather(*again(client))
        assert PASSWORD_CHANGED not in await text_of(client)
    async with built.database.read() as db:
        answered = select(AuditEntry).where(AuditEntry.event == AuditEvent.ALERT_ANSWERED)
        assert len((await db.scalars(answered)).all()) == 1


# --- the device cookie ---------------------------------------------------------------------------


async def test_the_device_cookie_is_set_at_login_and_survives_the_logout(
    visitor: Client, member: Member
) -> None:
    body = {"username": member.username, "password": "not the password"}
    assert set_cookies(await visitor.post("/api/login", json=body)) == {}
    response = await visitor.post("/api/login", json=body | {"password": member.password})
    line = set_cookies(response)["session_device"]
    for attribute in ("HttpOnly", "SameSite=Lax", "Path=/", f"Max-Age={400 * 24 * 3600}"):
        assert attribute in line
    first = device_cookie_of(visitor)
    assert "session_device" not in set_cookies(await visitor.post("/logout"))
    assert device_cookie_of(visitor) == first


async def test_the_device_cookie_is_bound_to_this_host_over_https(
    settings: Settings, make_app: MakeApp, member: Member
) -> None:
    app = await make_app(with_setting(settings, public_url="https://app.example"))
    response = await app.test_client().post(
        "/api/login", json={"username": member.username, "password": member.password}
    )
    assert "Secure" in set_cookies(response)["__Host-session_device"]


def test_ids_are_as_long_as_in_the_cookies() -> None:
    assert re.fullmatch("[A-Za-z0-9_-]{22}", new_device_id())


def signed(payload: object, *, key: str = SECRET_KEY, salt: str = "quart_app-device") -> str:
    return str(URLSafeTimedSerializer([key], salt=salt).dumps(payload))


ID = "a" * 22


@pytest.mark.sqlite_unless_thorough
@pytest.mark.parametrize(
    ("cookie", "is_known"),
    [
        (signed([[1, ID, 0]]), True),
        (signed([[7, ID, 0], [1, ID, 0], [8, ID, 0]]), True),
        (signed([[7, ID, 0], None, [], 5, "x", {}, [1, ID, 0]]), True),
        (signed([[1, ID, 1]]), False),  # an epoch that belongs, or belonged, to another user
        (signed([[2, ID, 0]]), False),
        (signed([]), False),
        (signed([[1, ID, 0]], key="another key, long enough to be one"), False),
        (signed([[1, ID, 0]], salt="cookie-session"), False),
        (signed([[1, "a" * 23, 0]]), False),
        (signed([["1", ID, 0]]), False),
        (signed([[1, ID]]), False),
        (signed({"1": [ID, 0]}), False),
        (signed(ID), False),
        ("", False),
        ("a.b.c", False),
        ("\u00ff\u00fe", False),
    ],
    # A secret of their own: a signature contains the time, and every worker needs the same test
    # names.
    ids=[
        *("theirs", "among others", "among junk", "another epoch", "another user", "nobody"),
        *("another key", "another salt", "too long", "a text for the user", "no epoch"),
        *("a mapping", "a text", "empty", "no signature", "no ASCII"),
    ],
)
async def test_only_a_device_cookie_signed_for_this_user_makes_a_device_known(
    app: Quart, browser: Client, member: Member, cookie: str, *, is_known: bool
) -> None:
    assert member.id == 1
    response = await app.test_client().post(
        "/api/login",
        json={"username": member.username, "password": member.password},
        headers={"Cookie": f"session_device={cookie}"},
    )
    assert response.status_code == 200
    assert await shows_alert(browser) is not is_known


async def test_a_device_shared_by_many_users_forgets_the_first(
    app: Quart, services: Services, member: Member
) -> None:
    client = app.test_client()
    await log_in(client, member)
    for number in range(8):
        await log_in(client, await make_member(services, f"user{number}"))
    payload = URLSafeTimedSerializer([SECRET_KEY], salt="quart_app-device").loads(
        device_cookie_of(client)
    )
    assert [each[0] for each in payload] == list(range(2, 10))
