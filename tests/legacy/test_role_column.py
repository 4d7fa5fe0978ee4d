"""The role column works in each form that an adopted database may have."""

import asyncio
import sys
from typing import Any

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import URL

from quart_app.errors import InvalidInput
from quart_app.model import Role
from quart_app.services import Services
from quart_app.services.administration.user_ref import UserRef
from quart_app.settings import Settings
from quart_app.storage.schema import upgrade_schema
from tests import forking
from tests.callers import NOBODY
from tests.conftest import ENCRYPTION_KEY
from tests.legacy.legacy_database import (
    FIRST,
    LATER,
    MODELS,
    PASSWORDS,
    build_legacy_database,
    connected,
)
from tests.servers import ROOT, STARTUP_SECONDS, environ_of

pytestmark = pytest.mark.sqlite_unless_thorough

LABELS = "('ADMIN', 'MODERATOR', 'REVIEWER', 'VIEWER')"
# By engine and name: the form of the schema, and the statements that change its role column.
FORMS: dict[tuple[str, str], tuple[str, list[str]]] = {
    ("sqlite", "varchar"): (FIRST, []),
    ("sqlite", "checked"): (
        FIRST,
        [
            "ALTER TABLE users RENAME COLUMN role TO former",
            f"ALTER TABLE users ADD COLUMN role VARCHAR(9) CHECK (role IN {LABELS})",
            f"UPDATE users SET role = former WHERE former IN {LABELS}",  # noqa: S608 our own names
            "ALTER TABLE users DROP COLUMN former",
        ],
    ),
    ("postgresql", "varchar"): (FIRST, []),
    ("postgresql", "text"): (FIRST, ["ALTER TABLE users ALTER COLUMN role TYPE text"]),
    ("postgresql", "enumeration"): (MODELS, []),
    ("postgresql", "enumeration, later"): (LATER, []),
    ("postgresql", "enumeration with a default"): (
        MODELS,
        [
            "UPDATE users SET role = 'VIEWER' WHERE role IS NULL",
            (
                "ALTER TABLE users ALTER COLUMN role SET NOT NULL,"
                " ALTER COLUMN role SET DEFAULT 'VIEWER'"
            ),
        ],
    ),
    ("postgresql", "enumeration of another schema"): (
        MODELS,
        [
            'CREATE SCHEMA "Old App"',
            'ALTER TYPE userrole RENAME TO "User Role"',
            'ALTER TYPE "User Role" SET SCHEMA "Old App"',
        ],
    ),
    ("postgresql", "enumeration without one of the names"): (
        MODELS,
        [
            "CREATE TYPE fewer AS ENUM ('REVIEWER', 'VIEWER', 'ADMIN')",
            "UPDATE users SET role = 'VIEWER' WHERE role = 'MODERATOR'",
            "ALTER TABLE users ALTER COLUMN role TYPE fewer USING role::text::fewer",
        ],
    ),
    ("postgresql", "domain over an enumeration"): (
        MODELS,
        [
            "CREATE DOMAIN known_role AS userrole",
            "ALTER TABLE users ALTER COLUMN role TYPE known_role",
        ],
    ),
}
EVERY_FORM = pytest.mark.parametrize(
    ("engine_name", "form"), FORMS, ids=[" ".join(name) for name in FORMS]
)


@pytest.fixture
async def database_url(empty_database_url: URL, engine_name: str, form: str) -> URL:
    """An adopted database whose role column has this form."""
    schema, statements = FORMS[engine_name, form]
    build_legacy_database(empty_database_url, encryption_key=ENCRYPTION_KEY, form=schema)
    with connected(empty_database_url) as execute:
        for statement in statements:
            execute(statement)
    await upgrade_schema(empty_database_url)
    return empty_database_url


def roles(url: URL) -> dict[str, Any]:
    with connected(url) as execute:
        return dict(execute("SELECT username, role FROM users"))


@pytest.fixture
async def ada(app: Quart) -> Client:
    """The browser of the legacy administrator."""
    client = app.test_client()
    given = {"username": "ada", "password": PASSWORDS["ada"]}
    assert (await client.post("/api/login", json=given)).status_code == 200
    return client


async def run(settings: Settings, *arguments: str) -> str:
    """Run a command and return its output."""
    ended = await asyncio.to_thread(
        forking.run,
        [sys.executable, "-m", "quart_app", *arguments],
        env=environ_of(settings),
        cwd=ROOT,
        timeout=STARTUP_SECONDS,
    )
    assert ended.returncode == 0, ended.stderr.decode()
    return str(ended.stdout, "utf-8")


@EVERY_FORM
async def test_roles_are_read_with_their_meaning(services: Services) -> None:
    found = {user.username: user.role for user in await services.users.everybody(NOBODY)}
    assert (found["ada"], found["bert"]) == (Role.ADMIN, Role.REVIEWER)
    assert (found["dora"], found["fred"]) == (Role.VIEWER, Role.VIEWER)


# Each command is a separate process, which takes a second to start.
@pytest.mark.parametrize(
    ("engine_name", "form"),
    [
        ("sqlite", "checked"),
        ("postgresql", "enumeration, later"),
        ("postgresql", "enumeration of another schema"),
    ],
)
async def test_every_command_that_uses_a_role_works(settings: Settings, database_url: URL) -> None:
    said = await run(settings, "user", "create", "root", "root@example.com", "--role", "admin")
    assert "Created user root, role admin" in said
    await run(settings, "user", "create", "cleo", "cleo@example.com", "--link")
    await run(settings, "user", "role", "cleo", "reviewer")
    await run(settings, "user", "role", "ada", "viewer")
    await run(settings, "user", "deactivate", "bert")
    await run(settings, "user", "activate", "bert")
    listed = await run(settings, "user", "list")
    assert "\tcleo\tcleo@example.com\treviewer\tactive\t" in listed
    found = roles(database_url)
    assert (found["root"], found["cleo"], found["ada"]) == ("ADMIN", "REVIEWER", "VIEWER")


@EVERY_FORM
async def test_every_page_of_an_administrator_works(ada: Client, database_url: URL) -> None:
    for path in (
        *("/admin/users", "/admin/users?q=be", "/admin/sessions", "/admin/audit"),
        *("/admin/users/new", "/admin/users/2", "/admin/users/2/role"),
        *("/admin/users/2/deactivate", "/admin/users/2/activate"),
    ):
        assert (await ada.get(path)).status_code == 200, path
    for path, given, status in (
        ("new", {"username": "cleo", "email": "cleo@example.com", "role": "viewer"}, 200),
        ("new", {"username": "root", "email": "root@example.com", "role": "admin"}, 200),
        ("2/role", {"role": "admin"}, 303),
        ("2/role", {"role": "viewer"}, 303),
        ("3/role", {"role": "reviewer"}, 303),
        ("2/deactivate", {}, 303),
        ("2/activate", {}, 303),
    ):
        answer = await ada.post(f"/admin/users/{path}", form=given)
        assert answer.status_code == status, (path, await answer.get_data(as_text=True))
    found = roles(database_url)
    assert (found["cleo"], found["root"]) == ("VIEWER", "ADMIN")
    assert (found["bert"], found["carol"]) == ("VIEWER", "REVIEWER")


@EVERY_FORM
async def test_the_last_administrator_cannot_be_removed(ada: Client, database_url: URL) -> None:
    answer = await ada.post("/admin/users/1/role", form={"role": "viewer"})
    assert answer.status_code == 409
    answer = await ada.post("/admin/users/1/deactivate", form={})
    assert answer.status_code == 409
    assert roles(database_url)["ada"] == "ADMIN"


@pytest.mark.parametrize(
    ("engine_name", "form"), [("postgresql", "enumeration without one of the names")]
)
async def test_a_role_that_the_column_type_lacks_is_refused_in_one_sentence(
    ada: Client, services: Services, database_url: URL
) -> None:
    new = {"username": "cleo", "email": "cleo@example.com", "role": "moderator"}
    for path, given in (("new", new), ("2/role", {"role": "moderator"})):
        answer = await ada.post(f"/admin/users/{path}", form=given)
        assert answer.status_code == 422
        assert "cannot store the role moderator" in await answer.get_data(as_text=True)
    with pytest.raises(InvalidInput, match="cannot store the role moderator"):
        await services.users.change_role(NOBODY, UserRef.by_name("bert"), Role.MODERATOR)
    assert roles(database_url)["bert"] == "REVIEWER"
    assert "cleo" not in roles(database_url)
