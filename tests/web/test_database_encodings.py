"""The application on PostgreSQL databases with encodings other than UTF-8."""

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from quart.typing import TestClientProtocol as Client
from sqlalchemy import URL

from quart_app.errors import InvalidInput
from quart_app.model import PlatformType, Role
from quart_app.services import Services
from quart_app.storage.schema import upgrade_schema
from tests.callers import NOBODY, caller_of
from tests.conftest import PASSWORD, administer, log_in, make_member

# An encoding, a name that it contains, and one that it does not.
ENCODINGS = [
    ("LATIN1", "café", "Ζωή☕"),
    ("LATIN9", "prix€", "Ωmega"),
    ("WIN1251", "Зоя", "café"),
    ("EUC_JP", "写真", "🦊 fox"),
]


@pytest.fixture
def encoding() -> str:
    return "SQL_ASCII"


@pytest.fixture
async def database_url(encoding: str, postgres: URL) -> URL:
    url = postgres.set(database=f"test_{secrets.token_hex(8)}")
    administer(
        postgres,
        f"CREATE DATABASE {url.database} ENCODING '{encoding}' TEMPLATE template0"
        " LC_COLLATE 'C' LC_CTYPE 'C'",
    )
    await upgrade_schema(url)
    return url


@pytest.fixture(autouse=True)
def _dropped(database_url: URL, postgres: URL) -> Iterator[None]:
    yield
    administer(postgres, f"DROP DATABASE {database_url.database} WITH (FORCE)")


@pytest.mark.parametrize(("encoding", "held", "lacking"), ENCODINGS)
async def test_a_login_name_that_the_database_cannot_encode_matches_no_user(
    visitor: Client, services: Services, held: str, lacking: str
) -> None:
    member = await make_member(services, held)
    for name in (lacking, f"{lacking}@example.com", "Ζωή☕ 写真"):
        response = await visitor.post(
            "/api/login",
            json={"username": name, "password": PASSWORD},
            headers={"User-Agent": f"Browser {lacking} ☕"},
        )
        body = await response.get_json()
        assert (response.status_code, body["code"]) == (401, "bad_credentials"), body
    assert (await log_in(visitor, member))["user_id"] == member.id
    page = await visitor.get("/devices", headers={"User-Agent": f"Browser {lacking} ☕"})
    assert page.status_code == 200


@pytest.mark.parametrize(("encoding", "held", "lacking"), ENCODINGS)
async def test_a_new_name_that_the_database_cannot_encode_is_refused_with_its_field(
    visitor: Client, services: Services, held: str, lacking: str
) -> None:
    member = await make_member(services, held)
    for username, email, field in (
        (lacking, "a@example.com", "username"),
        ("bob", f"{lacking.replace(' ', '')}@example.com", "email"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await services.users.create(
                NOBODY, username=username, email=email, role=Role.VIEWER, password=PASSWORD
            )
        assert refused.value.field == field
    with pytest.raises(InvalidInput) as refused:
        await services.platforms.connect(
            caller_of(member.id),
            name=lacking,
            platform_type=PlatformType.MASTODON,
            instance_url="https://mastodon9.example",
            access_token="t",
        )
    assert refused.value.field == "name"
    await log_in(visitor, member)
    for name, status in ((lacking, 422), (held, 200)):
        response = await visitor.patch(
            f"/api/platforms/{member.platform_ids[0]}", json={"name": name}
        )
        body = await response.get_json()
        assert response.status_code == status, body
        assert status == 200 or body["field"] == "name"


@pytest.mark.parametrize("username", ["ada", "Ζωή☕"])
async def test_a_database_without_an_encoding_keeps_every_name(
    visitor: Client, services: Services, username: str
) -> None:
    member = await make_member(services, username)
    assert (await log_in(visitor, member))["user_id"] == member.id


async def test_bytes_that_are_not_utf_8_break_no_page(
    visitor: Client, services: Services, database_url: URL
) -> None:
    member = await make_member(services)
    dsn = database_url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE platform_connections SET name = E'Caf\\xe9' || id")
    await log_in(visitor, member)
    for path in ("/platforms", "/api/platforms"):
        response = await visitor.get(path)
        assert response.status_code == 200
        text = await response.get_data(as_text=True)
        assert "Caf\ufffd" in text.replace("\\ufffd", "\ufffd")  # as JSON may contain it
