"""Every response that says "later" says when: Retry-After, and a sentence on the page."""

import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client

from quart_app import errors
from quart_app.errors import AppError
from quart_app.model import Role
from quart_app.services import Services
from quart_app.services.identity.hashing_queue import FairQueue
from quart_app.services.identity.steps.throttle import OF_A_NAME, OF_A_SESSION
from quart_app.services.sessions import events as events_service
from quart_app.web.pipeline.access import public
from quart_app.web.rendering.error_responses import status_of
from tests.callers import NOBODY
from tests.conftest import PASSWORD, Clock, Member, log_in
from tests.web.test_rate_limits import WRONG, fail
from tests.web.test_routes import acting_routes, ask, routes

pytestmark = pytest.mark.sqlite_unless_thorough
LATER = {429, 503}
ANSWERED_WHEN_STALE = {
    *("static", "api_openapi.show", "csp_reports.take", "metrics.show"),
    *("operations.healthz", "operations.readyz"),
}
TEMPORARY_ERRORS = [
    error
    for _, error in inspect.getmembers(errors, inspect.isclass)
    if issubclass(error, AppError)
    and error is not AppError
    and status_of(error.__new__(error)) in LATER  # its class decides; some need arguments
]


def has_retry_after(response: Any) -> bool:
    return str(response.headers.get("Retry-After", "")).isdigit()


@pytest.mark.parametrize("error", TEMPORARY_ERRORS)
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (1, "1 second."), (59, "59 seconds."), (61, "2 minutes."), (7200, "2 hours.")],
)
async def test_every_temporary_error_has_retry_after(
    app: Quart,
    *,
    error: Callable[..., AppError],
    accept: str,
    seconds: int | None,
    words: str,
) -> None:
    async def refuse() -> str:
        raise error(retry_after_seconds=seconds)

    app.add_url_rule("/new", "new", public(refuse))
    response = await app.test_client().get("/new", headers={"Accept": accept})
    text = await response.get_data(as_text=True)
    assert response.status_code in LATER
    assert response.headers["Retry-After"] == str(5 if seconds is None else seconds)
    assert (f"Try again in {words}" in text) is (seconds is not None)


async def test_every_route_has_retry_after_while_the_revocation_list_is_stale(
    app: Quart, browser: Client
) -> None:
    app.extensions["quart_app"].revocations._bound_seconds = 0
    for endpoint, method, path in routes(app):
        response = await ask(browser, method, path)
        if endpoint in ANSWERED_WHEN_STALE and endpoint != "operations.readyz":
            assert response.status_code not in LATER
        else:
            assert response.status_code == 503, path
            assert has_retry_after(response), path


async def test_every_route_that_compares_a_password_has_retry_after_when_rate_limited(
    app: Quart, services: Services, clock: Clock
) -> None:
    await services.users.create(
        NOBODY, username="root", email="root@example.com", role=Role.ADMIN, password=PASSWORD
    )
    client = app.test_client()
    await log_in(client, Member(1, "root", PASSWORD, (0, 0, 0)))
    # Otherwise the administrator is not asked for the password.
    clock.advance(timedelta(minutes=16))
    confirm = {"current_password": WRONG}
    for _ in range(OF_A_SESSION.free + 1):
        assert (await client.delete("/api/sessions", json=confirm)).status_code == 401
    throttled = set()
    for method, path in acting_routes(app):
        if "logout" in path or "not_me" in path:
            continue
        for more in ({}, {"new_password": "another one, and long enough"}):
            body = confirm | more
            kind: dict[str, Any] = {"json": body} if path.startswith("/api/") else {"form": body}
            untyped: Any = client
            response = await untyped.open(path, method=method, **kind)
            if response.status_code in LATER:
                throttled.add(path)
                assert has_retry_after(response), path
                assert "Try again in 1 second." in await response.get_data(as_text=True), path
    assert throttled >= {
        *("/account/password", "/api/account/password", "/api/sessions", "/api/sessions/1"),
        *("/devices/1/end", "/devices/others/end", "/admin/users/1/end", "/admin/sessions/all/end"),
    }


@pytest.mark.usefixtures("member")
async def test_a_rate_limited_login_says_how_long_to_wait(visitor: Client, clock: Clock) -> None:
    await fail(visitor, OF_A_NAME.free + 1)
    wait = 1
    while wait < 100:
        clock.advance(timedelta(seconds=wait))
        await fail(visitor, 1)
        wait *= 2
    body = {"username": "ada", "password": PASSWORD}
    by_json = await visitor.post("/api/login", json=body)
    page = await visitor.post("/login", form=body)
    assert (await by_json.get_json())["title"].endswith("Try again in 3 minutes.")  # of 128 s
    assert "Try again in 3 minutes." in await page.get_data(as_text=True)
    assert by_json.headers["Retry-After"] == page.headers["Retry-After"] == "128"


async def test_too_many_streams_and_too_many_logins_have_retry_after(
    app: Quart, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_service, "MAX_STREAMS_PER_SESSION", 0)
    response = await browser.get("/api/session_events")
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "30"
    queue = FairQueue(1, timedelta())
    object.__setattr__(app.extensions["quart_app"].accounts.comparison, "hashing_queue", queue)
    body = {"username": "ada", "password": PASSWORD}
    async with queue.slot(None):
        for answer in (
            await browser.post("/api/login", json=body),
            await browser.post("/login", form=body),
        ):
            assert answer.status_code == 503
            assert has_retry_after(answer)
