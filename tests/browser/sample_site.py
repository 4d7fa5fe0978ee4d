"""Users with much to show, and one with nothing, on a server of their own."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.async_api import BrowserContext

from quart_app.composition import build_services
from quart_app.model import AuditEvent, PlatformAccount, PlatformType, Role
from quart_app.services.administration.user_ref import UserRef
from quart_app.settings import Settings
from tests.browser.page_examples import Values
from tests.callers import NOBODY, caller_of
from tests.conftest import PASSWORD, migrated_database, settings_for
from tests.peers.fixtures import Peers, reaching
from tests.processes import log_in, with_session
from tests.servers import Server, hypercorn_at_public_url

USERS, ENTRIES = 3, 12
CONNECTIONS = 10  # more than eight, so that the search is shown
LONG = "A name as long as it can be, because nothing prevents a name of very many words, or no end"


@dataclass(frozen=True)
class Scene:
    server: Server
    settings: Settings
    values: Values


async def fill(settings: Settings) -> Values:
    """Create users with much to show and one with nothing; return their ids and tokens."""
    built = build_services(settings)
    services = built.services
    ids: dict[str, int] = {}
    for name in ("root", "member", "newcomer", "collector", "walker", "gone", "ada"):
        role = Role.ADMIN if name == "root" else Role.VIEWER
        user, _ = await services.users.create(
            NOBODY, username=name, email=f"{name}@example.com", role=role, password=PASSWORD
        )
        ids[name] = user.id
    given, password = await services.users.create(
        NOBODY, username="given", email="given@example.com", role=Role.VIEWER, password=None
    )
    await services.users.deactivate(NOBODY, UserRef.by_name("gone"))
    for number in range(USERS):
        await services.users.create_with_link(
            NOBODY,
            username=f"zoe-{number:02}",
            email=f"zoe-{number:02}@example.com",
            role=Role.MODERATOR,
        )
    numbered = [f"Garden {number:02}" for number in range(CONNECTIONS)]
    for owner, names in {
        "root": ["Photos", "Notes"],
        "walker": ["Notes", "Photos"],
        "member": ["Photos", "Notes", LONG, "حديقة الزهور", "Off"],
        "collector": numbered,
    }.items():
        for number, name in enumerate(names):
            connection, _ = await services.platforms.connect(
                caller_of(ids[owner]),
                name=name,
                platform_type=list(PlatformType)[number % 2],
                instance_url=f"https://instance{number}.example",
                access_token="token",
                username="rosa" if number % 3 else None,
            )
            if name == "Off":
                await services.platforms.change(
                    caller_of(ids[owner]), connection.id, is_active=False
                )
                ids["off"] = connection.id
            elif owner == "member" and name in {"Notes", LONG}:
                ids["connection" if name == "Notes" else "long"] = connection.id
    async with built.database.begin() as db:
        now = datetime.now(UTC)
        states: dict[str, dict[str, Any]] = {
            "connection": {"reconnect_needed_since": now, "problem": "token_refused"},
            "long": {"token_expires_at": now + timedelta(days=13, hours=1)},
        }
        for name, state in states.items():
            db.add(
                PlatformAccount(
                    platform_connection_id=ids[name], checked_at=now, failed_checks=0, **state
                )
            )
        for _ in range(ENTRIES):
            await services.audit.writer.record(db, AuditEvent.LOGIN, NOBODY, user_id=ids["member"])
    link = await services.user_passwords.make_reset_link(NOBODY, UserRef.by_name("ada"))
    await built.close()
    values = {name: str(id_) for name, id_ in ids.items()}
    return values | {
        "given": str(password),
        "given_id": str(given.id),
        "token": link.url.rpartition("=")[2],
    }


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def scene(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, running_peers: Peers
) -> Iterator[Scene]:
    """A server that reaches a Fediverse server, whose name is the value `peer`."""
    folder = tmp_path_factory.mktemp("accessibility")
    with migrated_database(request.param, request, folder) as url:
        settings = reaching(settings_for(url), running_peers)
        values = asyncio.run(fill(settings)) | {"peer": running_peers["pixelfed"].host}
        with hypercorn_at_public_url(settings, folder) as server:
            log_in(server, "member")  # from another device
            values["login"] = "1"
            log_in(server, "walker")
            yield Scene(server, settings, values)


async def enter(context: BrowserContext, scene: Scene, who: str) -> None:
    """Log in as the user before the comma; the text after it describes the state to reach."""
    name, _, how = who.partition(", ")
    if name == "a visitor":
        return
    answer = await context.request.post(
        f"{scene.server.url}/api/login", data={"username": name, "password": PASSWORD}
    )
    assert answer.ok, await answer.text()
    answer = await context.request.post(f"{scene.server.url}/account/it_was_me", form={"up_to": 99})
    assert answer.ok, await answer.text()
    if how == "who does nothing":
        # Requests from here on are not activity.
        await context.set_extra_http_headers({"X-Unattended": "true"})
        await make_older(context, scene, scene.settings.session_idle - timedelta(seconds=90))
    elif how == "an hour later":
        await make_older(context, scene, timedelta(hours=1))
    elif how == "told of another login":
        await asyncio.to_thread(log_in, scene.server, name)


async def make_older(context: BrowserContext, scene: Scene, duration: timedelta) -> None:
    """Move the login and the last activity into the past."""
    (cookie,) = [each for each in await context.cookies() if each["name"] == "session"]
    then = (datetime.now(UTC) - duration).isoformat()
    value = with_session(cookie["value"], created_at=then, last_activity=then)
    await context.clear_cookies()  # including the activity cookie
    await context.add_cookies([{"name": "session", "value": value, "url": scene.server.url}])
