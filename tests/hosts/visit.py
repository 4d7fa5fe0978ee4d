"""One run: clients use all hosts while these fail, and until everything has recovered."""

import asyncio
import ssl
import time
from secrets import token_hex
from typing import Final

import psycopg
from sqlalchemy import URL

from quart_app.composition import build_services
from tests.conftest import PASSWORD, make_member, settings_for
from tests.hosts.clients import Browser, User, Web
from tests.hosts.cluster import APPLICATION_PORTS, Cluster
from tests.hosts.faults import Planned, make_faults
from tests.hosts.history import PROXY, Action, History, Stored
from tests.servers import STARTUP_SECONDS

_USERS: Final = ("ada", "bob", "cleo", "dan")
_BROWSERS_OF_EACH: Final = 2
_READ_AGAIN: Final = 5


async def visit(
    cluster: Cluster,
    users: dict[User, int],
    planned: list[Planned],
    *,
    seed: int,
    calm_seconds: float,
    recovery_seconds: float,
) -> History:
    """Run clients until the faults are over, everything answers and `calm_seconds` have passed.

    `users` maps each to the user's id; the last ones log in at one target each, when the faults
    are over. The history lacks `stored`.
    """
    urls = cluster.urls()
    history = History({user.name: user_id for user, user_id in users.items()}, tuple(urls))
    history.first_accounts = frozenset({"Platform 1", "Platform 2", "Platform 3"})
    web = Web(urls, ssl.create_default_context(cafile=str(cluster.authority)), history)
    browsers = [
        Browser(web, user, f"{user.name} {number}", seed)
        for user in list(users)[: len(_USERS)]
        for number in range(_BROWSERS_OF_EACH)
    ]
    are_over = asyncio.Event()
    await _wait_until_ready(web, cluster)
    async with asyncio.TaskGroup() as tasks:
        await asyncio.gather(*(browser.log_in() for browser in browsers))
        for browser in browsers:
            tasks.create_task(_use(browser, are_over))
        history.faults += await make_faults(cluster, planned)
        history.healed = time.monotonic()
        await asyncio.gather(
            *(_note_recovery(web, history, target, recovery_seconds) for target in urls)
        )
        await asyncio.sleep(history.healed + calm_seconds - time.monotonic())
        are_over.set()
    await _read_everything(web, browsers)
    await web.close()
    return history


async def _use(browser: Browser, are_over: asyncio.Event) -> None:
    while not are_over.is_set():
        await browser.step()


async def _wait_until_ready(web: Web, cluster: Cluster) -> None:
    deadline = time.monotonic() + STARTUP_SECONDS
    for target in web.targets:
        while not await web.is_ready(target):
            assert time.monotonic() < deadline, cluster.logs()
            await asyncio.sleep(0.05)


async def _note_recovery(web: Web, history: History, target: str, patience_seconds: float) -> None:
    """Log in at a target until that is answered, and note when it was.

    By a user of the target's own: a login that was interrupted counts as one under way for half a
    minute, and five of a user's make further ones wait on devices that are not known.
    """
    user = next(name for name in history.user_ids if name.startswith(target))
    while time.monotonic() < history.healed + patience_seconds:
        call, _ = await web.send(
            Action.LOGIN, target, user, body={"username": user, "password": PASSWORD}
        )
        if call.is_acknowledged:
            history.recovered[target] = call.ended
            return
        await asyncio.sleep(0.2)


async def _read_everything(web: Web, browsers: list[Browser]) -> None:
    """Read each live session and the newest ended ones at every target, and the accounts."""
    live = [(browser.user, browser.session) for browser in browsers if browser.session]
    users = {browser.user for browser in browsers}
    ended = [(user, session) for user in users for session in user.ended[-_READ_AGAIN:]]

    async def read(target: str) -> None:
        for user, session in (*live, *ended):
            await web.send(Action.READ, target, user.name, session)
        for user, session in live:
            await web.send(Action.ACCOUNTS, target, user.name, session)

    await asyncio.gather(*map(read, web.targets))


async def make_users(url: URL) -> dict[User, int]:
    """Create users with three accounts each; return each with the user's id."""
    run = token_hex(3)
    built = build_services(settings_for(url))
    members = [
        await make_member(built.services, f"{name}-{run}")
        for name in (*_USERS, PROXY, *APPLICATION_PORTS)
    ]
    await built.close()
    return {User(member.username, member.platform_ids): member.id for member in members}


def read_stored(url: URL) -> Stored:
    """Read the content of the database."""
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn) as connection:
        logins = connection.execute("SELECT sid, ended_at IS NOT NULL FROM logins").fetchall()
        accounts = connection.execute(
            "SELECT users.username, platform_connections.name"
            " FROM platform_connections JOIN users ON users.id = platform_connections.user_id"
        ).fetchall()
        audit = connection.execute(
            "SELECT request_id FROM audit WHERE request_id IS NOT NULL"
        ).fetchall()
    return Stored(
        sessions=frozenset(sid for sid, _ in logins),
        ended=frozenset(sid for sid, has_ended in logins if has_ended),
        accounts=frozenset((user, name) for user, name in accounts),
        request_ids=frozenset(request_id for (request_id,) in audit),
    )
