"""Administrators see users and sessions, and end sessions; nobody else does."""

from datetime import timedelta
from typing import Any

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import select, update

from quart_app.composition import Built
from quart_app.model import AuditEntry, AuditEvent, Role, User
from quart_app.services import Services
from quart_app.services.administration.user_ref import UserRef
from quart_app.services.pagination import PAGE_SIZE
from tests.callers import NOBODY
from tests.conftest import PASSWORD, Clock, Member, log_in, make_member
from tests.web.test_session_ends import state_of

PAGES = [
    "/admin/users",
    "/admin/users/1",
    "/admin/users/1/end",
    "/admin/users/1/reset_link",
    "/admin/users/new",
    "/admin/users/1/deactivate",
    "/admin/users/1/activate",
    "/admin/users/1/role",
    "/admin/sessions",
    "/admin/sessions/1/end",
    "/admin/sessions/all/end",
]
ENDS = ["/admin/users/1/end", "/admin/sessions/1/end", "/admin/sessions/all/end"]
ACTIONS = [
    *ENDS,
    "/admin/users/1/reset_link",
    "/admin/users/new",
    "/admin/users/1/deactivate",
    "/admin/users/1/activate",
    "/admin/users/1/role",
]


async def text_of(client: Client, path: str) -> str:
    response = await client.get(path)
    assert response.status_code == 200, path
    return await response.get_data(as_text=True)


async def entries(built: Built, event: AuditEvent) -> list[AuditEntry]:
    async with built.database.read() as db:
        query = select(AuditEntry).where(AuditEntry.event == event).order_by(AuditEntry.id)
        return list(await db.scalars(query))


# --- permission ----------------------------------------------------------------------------------


async def test_only_administrators_see_or_end_anything(
    app: Quart, browser: Client, root: Client, built: Built
) -> None:
    for path in PAGES:
        assert (await browser.get(path)).status_code == 403
        assert (await app.test_client().get(path)).status_code == 303
    for path in ACTIONS:
        for form in ({}, {"current_password": PASSWORD}):
            assert (await browser.post(path, form=form)).status_code == 403
        assert (await app.test_client().post(path)).status_code == 303
    assert await state_of(browser) == await state_of(root) == 200
    await app.extensions["quart_app"].audit.flush()
    (refused,) = await entries(built, AuditEvent.REFUSED_RIGHTS)
    assert (refused.count, refused.actor_user_id) == (len(PAGES) + 2 * len(ACTIONS), 1)


async def test_a_role_change_applies_at_once(root: Client, browser: Client, built: Built) -> None:
    assert "/admin/users" in await text_of(root, "/")
    assert "/admin/users" not in await text_of(browser, "/")
    async with built.database.begin() as db:
        await db.execute(update(User).where(User.id == 2).values(role=Role.VIEWER))
        await db.execute(update(User).where(User.id == 1).values(role=Role.ADMIN))
    assert (await root.post("/admin/sessions/all/end")).status_code == 403
    assert "/admin/users" not in await text_of(root, "/")
    assert "root@example.com" in await text_of(browser, "/admin/users")


# --- lists ---------------------------------------------------------------------------------------


async def test_users_are_listed_searched_and_shown(
    app: Quart, root: Client, services: Services, member: Member
) -> None:
    await make_member(services, "Борис<b>")
    await services.users.deactivate(NOBODY, UserRef.by_name("Борис<b>"))
    await log_in(app.test_client(), member)
    text = await text_of(root, "/admin/users")
    assert text.index("ada@example.com") < text.index("root@example.com")
    assert "Борис&lt;b&gt;" in text
    assert "<dt>Sessions</dt><dd>2</dd>" in text
    assert "<dt>Sessions</dt><dd>none</dd>" in text
    assert "deactivated" in text
    for sought, found in (("AD", ["ada"]), ("example.com", ["ada", "root"]), ("%", []), ("_", [])):
        text = await text_of(root, f"/admin/users?sought={sought}")
        assert [name for name in ("ada", "root") if f"<bdi>{name}</bdi></a>" in text] == found
    text = await text_of(root, "/admin/users/1")
    assert text.count("Expires") == 2
    assert "ada@example.com" in text
    for path in ("/admin/users/99", "/admin/users/99/end", "/admin/sessions/99/end"):
        assert (await root.get(path)).status_code == 404
    for path in ("/admin/users/99/end", "/admin/sessions/99/end"):
        assert (await root.post(path)).status_code == 404


async def test_users_are_listed_in_pages_by_name(root: Client, built: Built) -> None:
    names = [f"user {number:03} & more" for number in range(PAGE_SIZE + 10)]
    async with built.database.begin() as db:
        db.add_all(
            User(
                username=each,
                email=f"{each}@example.com",
                password_hash="none",
                role=Role.VIEWER,
                is_active=True,
            )
            for each in names
        )
    seen: list[str] = []
    path = "/admin/users?sought=user"
    for _ in range(5):
        text = await text_of(root, path)
        seen += [each for each in names if each.replace("&", "&amp;") + "</bdi></a>" in text]
        if 'rel="next"' not in text:
            break
        path = text.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    assert seen == names


async def test_paging_after_an_unencodable_name_finds_no_user(root: Client) -> None:
    for after, status in ((2**31 - 1, 200), (2**31, 422), (2**63, 422)):
        assert (await root.get(f"/admin/users?after={after}")).status_code == status


async def test_all_logins_are_listed_newest_first(root: Client, app: Quart, member: Member) -> None:
    for _ in range(PAGE_SIZE - 2):
        await log_in(app.test_client(), member)
    assert 'rel="next"' not in await text_of(root, "/admin/sessions")
    await log_in(app.test_client(), Member(2, "root", PASSWORD, (0, 0, 0)))
    text = await text_of(root, "/admin/sessions")
    assert text.index("<bdi>root</bdi>: ") < text.index("<bdi>ada</bdi>: ")
    assert text.count("Expires") == PAGE_SIZE
    path = text.split('rel="next" href="')[1].split('"')[0]
    assert (await text_of(root, path)).count("Expires") == 1


# --- ending sessions -----------------------------------------------------------------------------


async def test_exactly_one_login_is_ended(
    root: Client, app: Quart, browser: Client, member: Member, built: Built
) -> None:
    phone = app.test_client()
    await log_in(phone, member)
    text = await text_of(root, "/admin/sessions/1/end")
    assert "<bdi>ada</bdi>" in text
    response = await root.post("/admin/sessions/1/end")
    assert response.headers["Location"] == "/admin/users/1"
    assert await state_of(browser) == 401
    assert await state_of(phone) == await state_of(root) == 200
    assert (await root.post("/admin/sessions/1/end")).status_code == 404  # a second time
    (ended,) = await entries(built, AuditEvent.SESSIONS_ENDED)
    assert (ended.user_id, ended.actor_user_id) == (1, 2)
    assert ended.detail == '{"ended": "one", "reason": "administrator"}'


async def test_every_session_of_a_user_is_ended(
    root: Client, app: Quart, browser: Client, member: Member, built: Built
) -> None:
    phone = app.test_client()
    await log_in(phone, member)
    assert "2 sessions" in await text_of(root, "/admin/users/1/end")
    response = await root.post("/admin/users/1/end")
    assert response.headers["Location"] == "/admin/users/1"
    assert await state_of(browser) == await state_of(phone) == 401
    assert await state_of(root) == 200
    assert "No sessions." in await text_of(root, "/admin/users/1")
    (ended,) = await entries(built, AuditEvent.SESSIONS_ENDED)
    assert (ended.user_id, ended.actor_user_id) == (1, 2)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/admin/sessions/all/end", "All sessions have ended. Everyone must log in again."),
        ("/admin/users/2/end", "You are logged out on every device."),
        ("/admin/sessions/2/end", "You are logged out."),
    ],
)
async def test_an_administrator_who_ends_their_own_session_is_redirected_to_the_login_page(
    root: Client, browser: Client, path: str, sentence: str
) -> None:
    response = await root.post(path)
    assert response.headers["Location"] == "/login"
    assert sentence in await text_of(root, "/login")
    assert response.headers["Clear-Site-Data"] == '"cache"'
    assert await state_of(root) == 401
    assert await state_of(browser) == (401 if "all" in path else 200)
    await log_in(root, Member(2, "root", PASSWORD, (0, 0, 0)))
    assert await state_of(root) == 200


# Not all sessions: that refuses new logins if this clock and the database's differ.
@pytest.mark.parametrize("path", ENDS[:2])
async def test_an_old_login_is_asked_for_the_password_again(
    root: Client, browser: Client, clock: Clock, path: str
) -> None:
    clock.advance(timedelta(minutes=16))
    assert 'name="current_password"' in await text_of(root, path)

    async def ended(**form: Any) -> bool:
        response = await root.post(path, form=form)
        assert response.status_code in {303, 401, 403}
        if response.status_code != 303:
            assert 'name="current_password"' in await response.get_data(as_text=True)
        return await state_of(browser) == 401

    assert not await ended()
    assert not await ended(current_password="not the password")
    assert await ended(current_password=PASSWORD)


async def test_the_password_is_required_before_all_sessions_are_ended(
    root: Client, browser: Client, clock: Clock
) -> None:
    clock.advance(timedelta(minutes=16))
    path = "/admin/sessions/all/end"
    assert 'name="current_password"' in await text_of(root, path)
    assert (await root.post(path)).status_code == 403
    assert await state_of(browser) == 200


async def test_an_administrator_who_was_logged_out_meanwhile_ends_nothing(
    root: Client, browser: Client, services: Services
) -> None:
    await services.session_administration.end_all_of(NOBODY, UserRef.by_name("root"))
    response = await root.post("/admin/users/1/end")
    assert response.status_code in {303, 200}
    assert await state_of(browser) == 200


pytestmark = pytest.mark.sqlite_unless_thorough
