"""Administrators create, deactivate and activate users, and change their role."""

import asyncio
import re
from datetime import timedelta
from typing import Any

import pytest
from quart import Quart, Response
from quart.typing import TestClientProtocol as Client
from sqlalchemy import func, select

from quart_app.composition import Built
from quart_app.model import AuditEntry, AuditEvent, PlatformConnection, Role, User
from quart_app.services import Services
from quart_app.services.administration.user_ref import UserRef
from tests.callers import NOBODY
from tests.conftest import PASSWORD, Clock, Member, log_in
from tests.web.test_reset_links import (
    NEW_PASSWORD,
    can_log_in,
    is_void,
    made_by,
    opened,
    token_in,
    use,
)
from tests.web.test_session_ends import state_of

# The statements have tests of their own on both engines.
pytestmark = pytest.mark.sqlite_unless_thorough

NEW = {"username": "cleo", "email": "cleo@example.com", "role": "viewer"}
LAST = "This is the only administrator who can log in"


async def html_of(response: Response, status: int = 200) -> str:
    text: str = await response.get_data(as_text=True)
    assert response.status_code == status, text
    return text


async def page(client: Client, path: str) -> str:
    return await html_of(await client.get(path))


async def created(root: Client, **fields: str) -> str:
    """Create a user with the form, and return the link's token."""
    response = await root.post("/admin/users/new", form=NEW | fields)
    return token_in(await html_of(response))


async def user(built: Built, username: str) -> User | None:
    async with built.database.read() as db:
        return await db.scalar(select(User).where(User.username == username))


async def number_of_users(built: Built) -> int | None:
    async with built.database.read() as db:
        return await db.scalar(select(func.count(User.id)))


async def written(built: Built, user_id: int, *events: AuditEvent) -> list[AuditEntry]:
    async with built.database.read() as db:
        query = select(AuditEntry).where(
            AuditEntry.user_id == user_id, AuditEntry.event.in_(events)
        )
        return list(await db.scalars(query.order_by(AuditEntry.id)))


async def second_administrator(app: Quart, services: Services) -> Client:
    """A browser of another administrator, user 3."""
    await services.users.create(
        NOBODY, username="rita", email="rita@example.com", role=Role.ADMIN, password=PASSWORD
    )
    client = app.test_client()
    await log_in(client, Member(3, "rita", PASSWORD, (0, 0, 0)))
    return client


# --- creating ------------------------------------------------------------------------------------


async def test_a_new_user_chooses_a_password_with_a_link_that_is_shown_once(
    app: Quart, root: Client, visitor: Client, built: Built, clock: Clock
) -> None:
    form = await page(root, "/admin/users/new")
    assert '<option value="viewer" selected>' in form
    assert "password" not in re.findall('type="([a-z]+)"', form)
    response = await root.post("/admin/users/new", form=NEW)
    html = await html_of(response)
    assert response.headers["Cache-Control"] == "no-store"
    token = token_in(html)
    assert "1 day" in html
    assert (clock() + timedelta(days=1)).strftime("%H:%M UTC") in html
    cleo = await user(built, "cleo")
    assert cleo is not None
    assert (cleo.email, cleo.role, cleo.is_active) == ("cleo@example.com", Role.VIEWER, True)
    for path in ("/admin/users/3", "/admin/users/3/reset_link", "/admin/audit"):
        assert token not in await page(root, path)
    made = await written(built, 3, AuditEvent.USER_CREATED, AuditEvent.PASSWORD_RESET_LINK_MADE)
    assert [(each.event, each.actor_user_id) for each in made] == [
        ("user_created", 2),
        ("password_reset_link_made", 2),
    ]
    assert made[0].detail == '{"role": "viewer"}'
    assert (await use(visitor, token)).status_code == 303
    assert await can_log_in(app, NEW_PASSWORD, "cleo")
    assert await is_void(visitor, token)


async def test_the_first_link_is_valid_for_a_day(
    root: Client, visitor: Client, clock: Clock
) -> None:
    token = await created(root)
    clock.advance(timedelta(days=1, seconds=-1))
    assert (await visitor.get("/reset", query_string={"token": token})).status_code == 200
    clock.advance(timedelta(seconds=2))
    assert await is_void(visitor, token)


async def test_a_new_administrator_can_administer(app: Quart, root: Client) -> None:
    token = await created(root, role="admin")
    client = app.test_client()
    await use(client, token)
    await log_in(client, Member(3, "cleo", NEW_PASSWORD, (0, 0, 0)))
    assert "cleo@example.com" in await page(client, "/admin/users")


@pytest.mark.parametrize(
    ("fields", "status", "field", "sentence"),
    [
        ({"username": "ada"}, 409, "username", "That name is taken. Choose another."),
        ({"username": "ada@example.com"}, 409, "username", "That name is taken. Choose another."),
        (
            {"email": "ADA@Example.com"},
            409,
            "email",
            "That e-mail address is taken. Choose another.",
        ),
        ({"username": " cleo"}, 422, "username", "without a space at either end"),
        ({"username": ""}, 422, "username", "at least 1 character"),
        ({"username": "cl\u202eeo"}, 422, "username", "direction marks"),
        ({"username": "c" * 65}, 422, "username", "1 to 64 characters"),
        ({"email": "cleo"}, 422, "email", "such as name@host"),
        ({"email": f"{'c' * 120}@example.com"}, 422, "email", "at most 120 characters"),
        ({"role": "god"}, 422, "role", "Input should be"),
        ({"password": "hunter22"}, 422, "password", "There is no such field here."),
    ],
)
async def test_an_error_is_shown_at_its_field_and_the_input_is_kept(  # noqa: PLR0917
    root: Client, built: Built, fields: dict[str, str], status: int, field: str, sentence: str
) -> None:
    sent = NEW | {"role": "reviewer"} | fields
    html = await html_of(await root.post("/admin/users/new", form=sent), status)
    assert sentence in html
    for name in ("username", "email"):
        assert f'value="{sent[name]}"' in html or not sent[name]
    if field in NEW:
        assert f'<a href="#{field}">' in html
        (tag,) = re.findall(f'<(?:input|select) id="{field}"[^>]*>', html)
        assert 'aria-invalid="true"' in tag
        assert f"{field}-error" in tag
    if sent["role"] == "reviewer":
        assert '<option value="reviewer" selected>' in html
    assert await number_of_users(built) == 2


async def test_only_one_of_two_concurrent_requests_creates_the_same_user(
    root: Client, built: Built
) -> None:
    answers = await asyncio.gather(*(root.post("/admin/users/new", form=NEW) for _ in range(4)))
    assert sorted(each.status_code for each in answers) == [200, 409, 409, 409]
    assert await number_of_users(built) == 3


async def test_an_administrator_who_lost_the_role_meanwhile_creates_no_user(
    browser: Client, built: Built
) -> None:
    await html_of(await browser.post("/admin/users/new", form=NEW), 403)
    await html_of(await browser.post("/admin/users/new", form={"username": "?"}), 403)
    assert await number_of_users(built) == 1


# --- deactivating and activating -----------------------------------------------------------------


async def test_a_deactivated_user_is_logged_out_at_once_and_keeps_the_connections(
    app: Quart, root: Client, browser: Client, visitor: Client, built: Built
) -> None:
    token = token_in(await html_of(await root.post("/admin/users/1/reset_link")))
    asked = await page(root, "/admin/users/1/deactivate")
    for words in (
        "<bdi>ada</bdi>",
        "Deactivate ada",
        "All their sessions end at once",
        "Accounts and their access tokens are kept",
    ):
        assert words in asked
    response = await root.post("/admin/users/1/deactivate")
    assert response.headers["Location"] == "/admin/users/1"
    assert await state_of(browser) == 401
    assert not await can_log_in(app, PASSWORD)
    assert await is_void(visitor, token)
    async with built.database.read() as db:
        assert len(list(await db.scalars(select(PlatformConnection)))) == 3
    html = await page(root, "/admin/users/1")
    assert "This user is deactivated" in html
    assert 'href="/admin/users/1/activate"' in html
    assert 'href="/admin/users/1/deactivate"' not in html
    assert (await root.post("/admin/users/1/activate")).status_code == 303
    assert await can_log_in(app, PASSWORD)
    assert await state_of(browser) == 401
    done = await written(built, 1, AuditEvent.USER_DEACTIVATED, AuditEvent.USER_ACTIVATED)
    assert [(each.event, each.actor_user_id) for each in done] == [
        ("user_deactivated", 2),
        ("user_activated", 2),
    ]


async def test_a_new_role_applies_to_existing_sessions(
    root: Client, browser: Client, built: Built
) -> None:
    await html_of(await browser.get("/admin/users"), 403)
    response = await root.post("/admin/users/1/role", form={"role": "admin"})
    assert response.headers["Location"] == "/admin/users/1"
    assert "root@example.com" in await page(browser, "/admin/users")
    await root.post("/admin/users/1/role", form={"role": "reviewer"})
    await root.post("/admin/users/1/role", form={"role": "reviewer"})
    await html_of(await browser.get("/admin/users"), 403)
    assert await state_of(browser) == 200
    done = await written(built, 1, AuditEvent.ROLE_CHANGED)
    assert [(each.actor_user_id, each.detail) for each in done] == [
        (2, '{"from": "viewer", "to": "admin"}'),
        (2, '{"from": "admin", "to": "reviewer"}'),
    ]
    html = await html_of(await root.post("/admin/users/1/role", form={"role": "god"}), 422)
    assert '<a href="#role">Role</a>' in html


async def test_changing_an_unknown_user_is_not_found(root: Client) -> None:
    for what in ("deactivate", "activate", "role"):
        assert (await root.get(f"/admin/users/99/{what}")).status_code == 404
        response = await root.post(f"/admin/users/99/{what}", form=_form(what))
        assert response.status_code == 404


# --- the last administrator ----------------------------------------------------------------------


async def test_the_last_administrator_cannot_be_removed(
    root: Client, services: Services, built: Built
) -> None:
    # An administrator who cannot log in does not count.
    await services.users.create(
        NOBODY, username="rita", email="rita@example.com", role=Role.ADMIN, password=PASSWORD
    )
    await services.users.deactivate(NOBODY, UserRef.by_name("rita"))
    for path, form in (
        ("/admin/users/2/deactivate", {}),
        ("/admin/users/2/role", {"role": "viewer"}),
    ):
        html = await html_of(await root.post(path, form=form), 409)
        assert LAST in html
        assert "This is you" in html
        assert 'name="current_password"' not in html
    assert await state_of(root) == 200
    assert "ada@example.com" in await page(root, "/admin/users")
    changes = (AuditEvent.USER_DEACTIVATED, AuditEvent.ROLE_CHANGED, AuditEvent.SESSIONS_ENDED)
    assert await written(built, 2, *changes) == []


async def test_an_administrator_with_an_unused_link_does_not_count_as_the_last(
    root: Client, visitor: Client
) -> None:
    token = await created(root, role="admin")
    for attempt in range(2):
        for what in ("deactivate", "role"):
            assert LAST in await html_of(
                await root.post(f"/admin/users/2/{what}", form=_form(what)), 409
            )
        if attempt == 0:  # nor does one whose link has become invalid
            for what in ("deactivate", "activate"):
                assert (await root.post(f"/admin/users/3/{what}")).status_code == 303
    assert await opened(visitor, token) == 410
    assert (await use(visitor, await made_by(root, 3))).status_code == 303
    assert (await root.post("/admin/users/2/role", form=_form("role"))).status_code == 303


async def test_administrators_may_remove_themselves_if_another_remains(
    app: Quart, root: Client, services: Services
) -> None:
    rita = await second_administrator(app, services)
    assert "This is you" in await page(rita, "/admin/users/3/role")
    response = await rita.post("/admin/users/3/role", form={"role": "viewer"})
    assert response.headers["Location"] == "/"
    assert "You are no longer an administrator" in await page(rita, "/")
    await root.post("/admin/users/3/role", form={"role": "admin"})
    assert "This is you" in await page(rita, "/admin/users/3/deactivate")
    response = await rita.post("/admin/users/3/deactivate")
    assert response.headers["Location"] == "/login"
    assert response.headers["Clear-Site-Data"] == '"cache"'
    assert await state_of(rita) == 401
    assert not await can_log_in(app, PASSWORD, "rita")


CHANGES = {
    "deactivate each other": ("deactivate", "deactivate", True),
    "take the role from each other": ("role", "role", True),
    "deactivate and take the role": ("deactivate", "role", True),
    "both deactivate themselves": ("deactivate", "deactivate", False),
}


@pytest.mark.parametrize(("first", "second", "each_other"), CHANGES.values(), ids=CHANGES.keys())
async def test_two_administrators_who_remove_each_other_at_once_leave_one(
    app: Quart, root: Client, services: Services, first: str, second: str, *, each_other: bool
) -> None:
    rita = await second_administrator(app, services)
    of_root, of_rita = (3, 2) if each_other else (2, 3)
    answers = await asyncio.gather(
        root.post(f"/admin/users/{of_root}/{first}", form=_form(first)),
        rita.post(f"/admin/users/{of_rita}/{second}", form=_form(second)),
    )
    # The second is refused: as the last administrator, or as a user who no longer is one.
    statuses = sorted(each.status_code for each in answers)
    assert statuses[0] == 303
    assert statuses[1] in ({303, 401, 403, 404} if each_other else {409})
    users = await services.users.everybody(NOBODY)
    left = [each.username for each in users if each.role is Role.ADMIN and each.is_active]
    assert len(left) == 1


def _form(what: str) -> dict[str, str]:
    return {"role": "viewer"} if what == "role" else {}


async def test_two_administrators_who_end_each_others_sessions_do_not_deadlock(
    app: Quart, root: Client, services: Services
) -> None:
    rita = await second_administrator(app, services)
    # Open both connections in advance, so that neither request is ahead.
    await asyncio.gather(*(each.get("/admin/users") for each in (root, rita) * 2))
    answers = await asyncio.gather(root.post("/admin/users/3/end"), rita.post("/admin/users/2/end"))
    assert {each.status_code for each in answers} == {303}
    assert 401 in {await state_of(root), await state_of(rita)}


# --- confirming with the password ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/admin/users/new", NEW),
        ("/admin/users/1/deactivate", {}),
        ("/admin/users/1/activate", {}),
        ("/admin/users/1/role", {"role": "moderator"}),
    ],
)
async def test_an_old_login_is_asked_for_the_password_again(
    root: Client, built: Built, clock: Clock, path: str, form: dict[str, Any]
) -> None:
    async def entries() -> int | None:
        async with built.database.read() as db:
            return await db.scalar(select(func.count(AuditEntry.id)))

    clock.advance(timedelta(minutes=16))
    assert 'name="current_password"' in await page(root, path)
    before = await entries()
    for password, status in ({}, 403), ({"current_password": "not the password"}, 401):
        html = await html_of(await root.post(path, form=form | password), status)
        assert 'name="current_password"' in html
        for name, value in form.items():
            assert f'value="{value}"' in html, name
        assert "not the password" not in html
        assert await entries() == before
    right = form | {"current_password": PASSWORD}
    assert (await root.post(path, form=right)).status_code in {200, 303}
    assert await entries() != before


async def test_an_administrator_who_was_logged_out_meanwhile_changes_nothing(
    root: Client, services: Services, built: Built
) -> None:
    # This process may not know it yet.
    await services.session_administration.end_all_of(NOBODY, UserRef.by_name("root"))
    for path, form in (
        ("/admin/users/new", NEW),
        ("/admin/users/1/deactivate", {}),
        ("/admin/users/1/role", {"role": "admin"}),
    ):
        response = await root.post(path, form=form)
        assert response.headers["Location"].startswith("/login")
    ada = await user(built, "ada")
    assert ada is not None
    assert (ada.is_active, ada.role) == (True, Role.VIEWER)
    assert await number_of_users(built) == 2
