"""Password links for users: creation, use and expiry."""

import asyncio
import hashlib
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from quart import Quart, Response
from quart.typing import TestClientProtocol as Client
from sqlalchemy import select, text, update
from werkzeug.security import generate_password_hash

from quart_app.composition import Built
from quart_app.model import AuditEntry, AuditEvent, Role, User
from quart_app.services import Services
from quart_app.services.administration.user_ref import UserRef
from quart_app.services.identity.passwords import Passwords
from quart_app.services.identity.reset_links import ResetLinkInvalid
from quart_app.services.identity.reset_tokens import RESET_LINK_LIFETIME
from quart_app.settings import Settings, with_setting
from tests.callers import NOBODY
from tests.conftest import (
    PASSWORD,
    Clock,
    MakeApp,
    Member,
    log_in,
    make_member,
    set_cookies,
    without_nonce,
)
from tests.web.test_session_ends import state_of

NEW_PASSWORD = "incorrect donkey charger paperclip"
VOID = "This link is invalid or has expired."
SECOND = timedelta(seconds=1)


def token_in(html: str) -> str:
    (token,) = re.findall(r'value="http://127\.0\.0\.1:8000/reset\?token=([\w-]{43})"', html)
    return str(token)


async def made_by(root: Client, user_id: int = 1) -> str:
    """Return the token of the link that an administrator is shown."""
    response = await root.post(f"/admin/users/{user_id}/reset_link")
    assert response.status_code == 200
    return token_in(await response.get_data(as_text=True))


async def opened(client: Client, token: str) -> int:
    return (await client.get("/reset", query_string={"token": token})).status_code


async def use(client: Client, token: str, password: str = NEW_PASSWORD, **more: str) -> Response:
    return await client.post("/reset", form={"token": token, "new_password": password, **more})


async def can_log_in(app: Quart, password: str, username: str = "ada") -> bool:
    body = {"username": username, "password": password}
    status = (await app.test_client().post("/api/login", json=body)).status_code
    assert status in {200, 401}
    return status == 200


async def is_void(client: Client, token: str) -> bool:
    """Check that the page and the form refuse it alike, with the same words."""
    answers = [await client.get("/reset", query_string={"token": token}), await use(client, token)]
    pages = {without_nonce(await answer.get_data(as_text=True)) for answer in answers}
    return (
        {each.status_code for each in answers} == {410} and len(pages) == 1 and VOID in min(pages)
    )


async def column_of(built: Built, name: str, user_id: int = 1) -> Any:
    async with built.database.read() as db:
        return await db.scalar(select(getattr(User, name)).where(User.id == user_id))


# --- creation by an administrator ----------------------------------------------------------------


async def test_a_link_is_shown_once_and_only_its_hash_is_stored(
    root: Client, built: Built, clock: Clock
) -> None:
    page = await (await root.get("/admin/users/1")).get_data(as_text=True)
    assert 'href="/admin/users/1/reset_link"' in page
    asked = await (await root.get("/admin/users/1/reset_link")).get_data(as_text=True)
    assert "ada@example.com" in asked
    assert 'name="current_password"' not in asked
    response = await root.post("/admin/users/1/reset_link")
    assert response.headers["Cache-Control"] == "no-store"
    html = await response.get_data(as_text=True)
    token = token_in(html)
    assert "1 hour" in html
    until = clock() + timedelta(hours=1)
    assert until.strftime("%H:%M UTC") in html
    assert await column_of(built, "reset_token_hash") == hashlib.sha256(token.encode()).hexdigest()
    assert abs(await column_of(built, "reset_expires_at") - until) < SECOND
    for path in ("/admin/users/1", "/admin/users/1/reset_link", "/admin/audit"):
        assert token not in await (await root.get(path)).get_data(as_text=True)


async def test_a_link_uses_the_public_url_whatever_host_the_request_names(
    make_app: MakeApp, settings: Settings, services: Services, member: Member
) -> None:
    app = await make_app(with_setting(settings, public_url="https://quart.example"))
    await services.users.create(
        NOBODY, username="root", email="root@example.com", role=Role.ADMIN, password=PASSWORD
    )
    client = app.test_client()
    body = {"username": "root", "password": PASSWORD}
    assert (await client.post("/api/login", json=body, scheme="https")).status_code == 200
    response = await client.post(
        f"/admin/users/{member.id}/reset_link", scheme="https", headers={"Host": "evil.example"}
    )
    html = await response.get_data(as_text=True)
    assert 'value="https://quart.example/reset?token=' in html
    assert "evil.example" not in html


async def test_an_old_login_is_asked_for_the_password_again(
    root: Client, clock: Clock, built: Built
) -> None:
    clock.advance(timedelta(minutes=16))
    page = await (await root.get("/admin/users/1/reset_link")).get_data(as_text=True)
    assert 'name="current_password"' in page
    for form, status in (({}, 403), ({"current_password": "not the password"}, 401)):
        response = await root.post("/admin/users/1/reset_link", form=form)
        assert response.status_code == status
        assert 'name="current_password"' in await response.get_data(as_text=True)
        assert await column_of(built, "reset_token_hash") is None
    form = {"current_password": PASSWORD}
    assert (await root.post("/admin/users/1/reset_link", form=form)).status_code == 200
    assert await column_of(built, "reset_token_hash") is not None


async def test_no_link_is_made_for_a_deactivated_or_unknown_user(
    root: Client, services: Services, built: Built
) -> None:
    await services.users.deactivate(NOBODY, UserRef.by_name("ada"))
    assert "reset_link" not in await (await root.get("/admin/users/1")).get_data(as_text=True)
    path = "/admin/users/1/reset_link"
    for response in (await root.get(path), await root.post(path)):
        assert response.status_code == 409
        html = await response.get_data(as_text=True)
        assert "This user is deactivated and can&#39;t log in. Activate them first." in html
    assert await column_of(built, "reset_token_hash") is None
    path = "/admin/users/99/reset_link"
    assert {(await root.get(path)).status_code, (await root.post(path)).status_code} == {404}


async def test_an_administrator_who_was_logged_out_meanwhile_makes_no_link(
    root: Client, services: Services, built: Built
) -> None:
    # This process may not know it yet.
    await services.session_administration.end_all_of(NOBODY, UserRef.by_name("root"))
    assert (await root.post("/admin/users/1/reset_link")).status_code == 303
    assert await column_of(built, "reset_token_hash") is None


# --- use -----------------------------------------------------------------------------------------


async def test_a_link_sets_the_password_once_and_ends_every_session(
    root: Client, app: Quart, browser: Client, visitor: Client, built: Built
) -> None:
    token, known = await made_by(root), await column_of(built, "device_epoch")
    page = await visitor.get("/reset", query_string={"token": token})
    assert page.status_code == 200
    html = await page.get_data(as_text=True)
    assert 'autocomplete="username" value="ada"' in html
    assert html.count("<input") == 3
    response = await use(visitor, token)
    assert (response.status_code, response.headers["Location"]) == (303, "/login")
    assert await state_of(visitor) == 401  # it logs nobody in
    login_page = await visitor.get(response.headers["Location"])
    assert "Your new password is set. Log in with it." in await login_page.get_data(as_text=True)
    assert await state_of(browser) == 401
    assert await state_of(root) == 200
    assert not await can_log_in(app, PASSWORD)
    assert await can_log_in(app, NEW_PASSWORD)
    assert await is_void(visitor, token)
    assert await column_of(built, "reset_token_hash") is None
    assert await column_of(built, "reset_expires_at") is None
    assert await column_of(built, "device_epoch") == known + 1  # every device is new


async def test_a_used_link_asks_no_device_whether_it_was_the_user(
    root: Client, browser: Client, visitor: Client, member: Member
) -> None:
    by_link, new_device = (
        "Your password was changed with a reset link from an administrator",
        "on a new device",
    )
    assert (await use(visitor, await made_by(root))).status_code == 303
    member = replace(member, password=NEW_PASSWORD)
    await log_in(visitor, member)
    html = await (await visitor.get("/")).get_data(as_text=True)
    assert (html.count(by_link), html.count(new_device)) == (0, 0)
    await log_in(browser, member)
    html = await (await browser.get("/")).get_data(as_text=True)
    assert html.count(by_link) == 1
    # After another use, alerts that were dismissed there are not shown again.
    assert (await use(visitor, await made_by(root), PASSWORD)).status_code == 303
    await log_in(visitor, replace(member, password=PASSWORD))
    html = await (await visitor.get("/")).get_data(as_text=True)
    # The new password dismisses the alert.
    assert (html.count(by_link), html.count(new_device)) == (0, 0)


async def test_a_refused_password_does_not_use_up_the_link(
    root: Client, app: Quart, visitor: Client
) -> None:
    token = await made_by(root)
    for fields, sentence in (
        ({"new_password": "short"}, "A password must have 8 to 1024 characters."),
        ({"new_password": "Passw0rd"}, "one of the most common passwords"),
        ({"new_password": "ada-2026"}, "too similar to the name or e-mail address"),
        ({"new_password": NEW_PASSWORD, "role": "admin"}, "There is no such field here."),
        ({}, "This field is missing."),
    ):
        response = await visitor.post("/reset", form={"token": token, **fields})
        assert response.status_code == 422
        html = await response.get_data(as_text=True)
        assert sentence in html
        assert f'name="token" value="{token}"' in html
        assert NEW_PASSWORD not in html
    assert await can_log_in(app, PASSWORD)
    assert (await use(visitor, token)).status_code == 303


async def test_only_one_of_several_concurrent_uses_sets_the_password(
    root: Client, app: Quart
) -> None:
    token = await made_by(root)
    passwords = [f"{NEW_PASSWORD} {number}" for number in range(4)]
    answers = await asyncio.gather(*(use(app.test_client(), token, each) for each in passwords))
    assert sorted(answer.status_code for answer in answers) == [303, 410, 410, 410]
    for password, answer in zip(passwords, answers, strict=True):
        assert await can_log_in(app, password) is (answer.status_code == 303)


async def test_concurrent_uses_hash_no_more_passwords_than_there_are_slots(
    root: Client, app: Quart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a link's owner could make every login wait."""
    token, hashed, hash_of = await made_by(root), 0, Passwords.hash

    async def hash_and_count(self: Passwords, password: str) -> str:
        nonlocal hashed
        hashed += 1
        return await hash_of(self, password)

    monkeypatch.setattr(Passwords, "hash", hash_and_count)
    answers = await asyncio.gather(*(use(app.test_client(), token) for _ in range(30)))
    assert sorted(answer.status_code for answer in answers) == [303] + [410] * 29
    assert hashed <= app.extensions["quart_app"].reset_links.hashing_queue.slots


async def test_a_link_replaces_a_one_time_password(
    root: Client, app: Quart, visitor: Client, services: Services
) -> None:
    await services.user_passwords.set(NOBODY, UserRef.by_name("ada"), None)
    await use(visitor, await made_by(root))
    assert await can_log_in(app, NEW_PASSWORD)


async def test_creating_and_using_a_link_is_recorded_and_shown_to_the_user(
    root: Client, app: Quart, visitor: Client, built: Built
) -> None:
    token = await made_by(root)
    headers = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko Firefox/140.0"}
    form = {"token": token, "new_password": NEW_PASSWORD}
    assert (await visitor.post("/reset", form=form, headers=headers)).status_code == 303
    async with built.database.read() as db:
        entries = list(await db.scalars(select(AuditEntry).order_by(AuditEntry.id.desc()).limit(3)))
    ended, used, made = entries
    assert (made.event, made.user_id, made.actor_user_id) == ("password_reset_link_made", 1, 2)
    assert (used.event, used.user_id, used.actor_user_id) == ("password_reset", 1, None)
    assert made.detail is used.detail is None
    assert ended.event == AuditEvent.SESSIONS_ENDED
    assert '"password_reset"' in (ended.detail or "")
    client = app.test_client()
    await log_in(client, Member(1, "ada", NEW_PASSWORD, (0, 0, 0)))
    html = await (await client.get("/")).get_data(as_text=True)
    assert "Your password was changed with a reset link from an administrator" in html
    assert "Firefox 140 on Linux" in html


async def test_another_user_who_uses_a_link_stays_logged_in(
    root: Client, browser: Client, app: Quart
) -> None:
    response = await use(root, await made_by(root))
    assert response.headers["Location"] == "/"
    html = await (await root.get(response.headers["Location"])).get_data(as_text=True)
    assert "You are still logged in, as another user." in html
    assert await state_of(root) == 200
    await log_in(browser, Member(1, "ada", NEW_PASSWORD, (0, 0, 0)))
    response = await use(browser, await made_by(root), PASSWORD)
    assert response.headers["Location"] == "/login"
    assert "Max-Age=0" in set_cookies(response)["session"]
    assert await can_log_in(app, PASSWORD)


# --- invalid links -------------------------------------------------------------------------------


async def test_a_link_is_valid_for_an_hour(
    root: Client, app: Quart, visitor: Client, clock: Clock
) -> None:
    assert timedelta(hours=1) == RESET_LINK_LIFETIME
    token = await made_by(root)
    clock.advance(RESET_LINK_LIFETIME - SECOND)
    assert await opened(visitor, token) == 200
    clock.advance(SECOND)
    assert await is_void(visitor, token)
    assert await can_log_in(app, PASSWORD)


async def test_a_link_that_expires_while_the_password_is_hashed_sets_none(
    root: Client, built: Built, services: Services, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await made_by(root)
    hash_ = services.reset_links.passwords.hash

    async def slow(password: str) -> str:
        clock.advance(RESET_LINK_LIFETIME)
        return await hash_(password)

    monkeypatch.setattr(services.reset_links.passwords, "hash", slow)
    before = await column_of(built, "password_hash")
    with pytest.raises(ResetLinkInvalid):
        await services.reset_links.use(NOBODY, token, NEW_PASSWORD)
    assert await column_of(built, "password_hash") == before


@pytest.mark.parametrize(
    "event", ["a newer link", "change", "reset", "first login", "deactivation", "and activation"]
)
async def test_other_changes_to_the_user_make_a_link_invalid(
    root: Client, browser: Client, visitor: Client, services: Services, event: str
) -> None:
    password = PASSWORD
    if event == "first login":
        password = await services.user_passwords.set(NOBODY, UserRef.by_name("ada"), None) or ""
    token = await made_by(root)
    assert await opened(visitor, token) == 200
    if event == "a newer link":
        newer = await made_by(root)
        assert await opened(visitor, newer) == 200
    elif event == "change":
        form = {"current_password": password, "new_password": NEW_PASSWORD}
        assert (await browser.post("/account/password", form=form)).status_code == 303
    elif event == "reset":
        await services.user_passwords.set(NOBODY, UserRef.by_name("ada"), NEW_PASSWORD)
    elif event == "first login":
        await services.accounts.log_in(
            NOBODY, login_name="ada", password=password, new_password=NEW_PASSWORD
        )
    else:
        await services.users.deactivate(NOBODY, UserRef.by_name("ada"))
        if event == "and activation":
            await services.users.activate(NOBODY, UserRef.by_name("ada"))
    assert await is_void(visitor, token)


async def test_a_login_leaves_a_link_valid(
    root: Client, app: Quart, visitor: Client, built: Built
) -> None:
    token = await made_by(root)
    async with built.database.begin() as db:
        old = generate_password_hash(PASSWORD, "pbkdf2:sha256:1000")
        await db.execute(update(User).where(User.id == 1).values(password_hash=old))
    assert await can_log_in(app, PASSWORD)  # which replaces the hash, and not the password
    assert await opened(visitor, token) == 200


async def test_a_token_must_match_exactly_and_works_for_its_user_only(
    root: Client, visitor: Client, services: Services, app: Quart, built: Built
) -> None:
    ben = await make_member(services, "ben")
    token, bens = await made_by(root), await made_by(root, ben.id)
    stored = await column_of(built, "reset_token_hash")
    last = "A" if token[-1] != "A" else "B"
    for wrong in (
        *("", "x", "\u00e9", "\x00", "None", "x" * 2048, "x" * 5000),
        *(token[:-1], token[:-1] + last, f"{token}=", f" {token}", token.swapcase(), stored),
    ):
        assert await opened(visitor, wrong) == 410, wrong
        assert (await use(visitor, wrong)).status_code == 410, wrong
    assert (await visitor.get("/reset")).status_code == 410
    assert (await visitor.post("/reset")).status_code == 410
    assert (await use(visitor, bens)).status_code == 303
    assert await can_log_in(app, NEW_PASSWORD, "ben")
    assert await can_log_in(app, PASSWORD)
    assert await opened(visitor, token) == 200


# --- the token -----------------------------------------------------------------------------------


async def test_the_page_is_not_cached_and_sends_no_referrer(root: Client, visitor: Client) -> None:
    token = await made_by(root)
    for answer in (
        await visitor.get("/reset", query_string={"token": token}),
        await visitor.get("/reset?token=wrong"),
        await use(visitor, token, "short"),
        await use(visitor, token),
    ):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "strict-origin"
        assert token not in answer.headers.get("Location", "")


async def test_tokens_differ_every_time(services: Services, member: Member) -> None:
    urls = {
        (
            await services.user_passwords.make_reset_link(NOBODY, UserRef.by_name(member.username))
        ).url
        for _ in range(20)
    }
    assert len(urls) == 20


@pytest.mark.parametrize("columns", ["is_active = NULL", "reset_expires_at = NULL"])
async def test_a_row_written_by_another_program_makes_no_valid_link(
    root: Client, visitor: Client, built: Built, columns: str
) -> None:
    token = await made_by(root)
    async with built.database.begin() as db:
        await db.execute(text(f"UPDATE users SET {columns} WHERE id = 1"))  # noqa: S608 ours
    assert await is_void(visitor, token)


pytestmark = pytest.mark.sqlite_unless_thorough
