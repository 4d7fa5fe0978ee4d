"""A login leads back to another application behind it, but only where the settings name it."""

import pytest
from quart.typing import TestClientProtocol as Client
from sqlalchemy import URL

from quart_app.settings import Settings, with_setting
from tests.conftest import Member, settings_for


@pytest.fixture
def engine_name() -> str:
    """One engine is enough: the path is not stored."""
    return "sqlite"


@pytest.fixture
def settings(database_url: URL) -> Settings:
    return with_setting(settings_for(database_url), guarded_paths=("/old/",))


@pytest.mark.parametrize(
    ("path", "arrives"),
    [
        ("/old/", True),
        ("/old/a/page?number=7&b=%2F%2Fevil.example#part", True),
        ("/old/api/", True),
        ("/old", False),
        ("/older/", False),
        ("/new/old/", False),
        ("//old/", False),
        ("/old//evil.example", False),
        ("/old/../evil", False),
        ("/old/%2e%2e/evil", False),
        ("/old/%2e%2e%2fevil", False),
        ("/old/..", False),
        ("/old/\\evil.example", False),
        ("/old/ page", False),
    ],
)
async def test_a_login_leads_back_only_below_a_guarded_path(
    visitor: Client, member: Member, path: str, *, arrives: bool
) -> None:
    form = {"username": member.username, "password": member.password, "next": path}
    response = await visitor.post("/login", form=form)
    assert response.headers["Location"] == (path if arrives else "/")
