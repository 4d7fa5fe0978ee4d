"""The login page of a new installation explains how to create the first user."""

import pytest
from quart.typing import TestClientProtocol as Client
from sqlalchemy import text

from quart_app.composition import Built
from quart_app.model import Role
from quart_app.services import Services
from tests.callers import NOBODY
from tests.conftest import PASSWORD

# The statements have tests of their own on both engines.
pytestmark = pytest.mark.sqlite_unless_thorough

HINT = "No users yet."


async def html_of(client: Client) -> str:
    return str(await (await client.get("/login")).get_data(as_text=True))


async def test_the_login_page_explains_how_to_create_the_first_user(
    visitor: Client, services: Services
) -> None:
    for _ in range(2):
        html = await html_of(visitor)
        assert HINT in html
        assert "user create NAME EMAIL --role admin" in html
        assert "scripts/serve" in html
        assert "/setup" not in html  # the link itself is a secret
        assert "token" not in html
        assert "Ask an administrator" not in html
    refused = await visitor.post("/login", form={"username": "x", "password": "x"})
    assert HINT in await refused.get_data(as_text=True)
    await services.users.create(
        NOBODY, username="eve", email="eve@example.com", role=Role.ADMIN, password=PASSWORD
    )
    html = await html_of(visitor)
    assert HINT not in html
    assert "user create" not in html


@pytest.mark.usefixtures("member")
async def test_the_check_for_a_first_user_stops_once_a_user_was_found(
    visitor: Client, statements: list[str]
) -> None:
    assert HINT not in await html_of(visitor)
    first = len(statements)
    for _ in range(3):
        assert HINT not in await html_of(visitor)
    assert len(statements) == first


async def test_the_login_page_works_without_the_database(visitor: Client, built: Built) -> None:
    async with built.database.begin() as db:
        await db.execute(text("ALTER TABLE users RENAME TO away"))
    assert HINT not in await html_of(visitor)
    async with built.database.begin() as db:
        await db.execute(text("ALTER TABLE away RENAME TO users"))
    assert HINT in await html_of(visitor)  # no user had been found yet
