"""The verdict of the revocation list, before a request and before its response sets a cookie."""

from datetime import timedelta

import pytest

from quart_app.session import renew_session, update_session
from tests.conftest import Clock, set_cookies
from tests.session.applications import cookie_of, logged_in_as, plain_app


async def test_a_switch_is_kept_if_the_list_becomes_stale_during_the_request(clock: Clock) -> None:
    verdicts = iter([True, None])
    client = plain_app(clock, is_alive=lambda *_: next(verdicts)).test_client()
    await client.post("/create")
    verdicts = iter([True, None])
    assert set(set_cookies(await client.post("/switch/2"))) == {"session"}


class Verdict:
    """The verdict, which a test sets."""

    def __init__(self) -> None:
        self.is_alive: bool | None = True

    def __call__(self, *_: object) -> bool | None:
        return self.is_alive


async def test_a_session_that_ends_during_the_request_sets_no_cookie(clock: Clock) -> None:
    verdict = Verdict()
    app = plain_app(clock, is_alive=verdict)

    @app.post("/switch_slowly")
    async def switch_slowly() -> str:
        update_session(tenant=2)
        verdict.is_alive = False
        return "switched"

    @app.get("/read_slowly")
    async def read_slowly() -> str:
        renew_session()
        verdict.is_alive = False
        return "read"

    client = app.test_client()
    await client.post("/create")
    clock.advance(timedelta(hours=1))
    assert set_cookies(await client.post("/switch_slowly")) == {}
    verdict.is_alive = True
    assert set_cookies(await client.get("/read_slowly")) == {}
    verdict.is_alive = True
    assert set(set_cookies(await client.post("/switch/2"))) == {"session"}


@pytest.mark.parametrize("is_alive", [False, None])
async def test_an_ended_or_unverifiable_session_is_empty_and_its_cookie_is_kept(
    clock: Clock, *, is_alive: bool | None
) -> None:
    verdict = Verdict()
    client = plain_app(clock, is_alive=verdict).test_client()
    await client.post("/create")
    before = cookie_of(client)
    verdict.is_alive = is_alive
    response = await client.get("/validate")
    assert await response.get_json() == {"login": None, "session": {}}
    assert response.headers["Cache-Control"] == "no-store"
    assert set_cookies(response) == {}
    assert cookie_of(client) == before
    if is_alive is None:  # whatever a handler does then
        for path in ("/switch/2", "/clear"):
            assert set_cookies(await client.post(path)) == {}
    verdict.is_alive = True
    assert await logged_in_as(client) == 7
