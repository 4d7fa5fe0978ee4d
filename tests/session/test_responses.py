"""What a response says of the session: its cookies, Vary, Cache-Control, and errors."""

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from quart import Response, session

from quart_app.session import SessionTooLarge, create_session, validate_session
from tests.conftest import Clock, set_cookies
from tests.session.applications import SECOND, issued, plain_app


async def test_a_crash_logs_nobody_in(clock: Clock) -> None:
    app = plain_app(clock)

    @app.post("/crash")
    async def crash() -> str:
        create_session(issued(clock, expires_at=clock() + SECOND))
        raise RuntimeError("after the session was made")

    @app.post("/unavailable")
    async def unavailable() -> Response:
        session["colour"] = "green"
        return Response("no", 503)

    for path, status in (("/crash", 500), ("/unavailable", 503)):
        response = await app.test_client().post(path)
        assert response.status_code == status
        assert set_cookies(response) == {}


def session_copy() -> object:
    return session.copy()  # type: ignore[attr-defined]


READS: dict[str, Callable[[], object]] = {
    "[]": lambda: session["user_id"],
    "get": lambda: session.get("user_id"),
    "in": lambda: "user_id" in session,
    "len": lambda: len(session),
    "bool": lambda: bool(session),
    "iter": lambda: list(session),
    "keys": lambda: list(session.keys()),
    "values": lambda: list(session.values()),
    "items": lambda: list(session.items()),
    "==": lambda: session == {},
    "copy": session_copy,
    "dict": lambda: dict(session),
    "**": lambda: dict(**session),
    "setdefault": lambda: session.setdefault("user_id", 1),
    "permanent": lambda: session.permanent,
    "validate": validate_session,
}


@pytest.mark.parametrize("way", READS)
async def test_a_response_that_read_the_session_is_not_cached(clock: Clock, way: str) -> None:
    app = plain_app(clock)

    @app.get("/read")
    async def read() -> str:
        READS[way]()
        return "read"

    @app.get("/unread")
    async def unread() -> str:
        return "unread"

    client = app.test_client()
    await client.post("/create")
    response = await client.get("/read")
    assert response.headers["Vary"] == "Cookie"
    assert response.headers["Cache-Control"] == "no-store"
    response = await client.get("/unread")
    assert "Vary" not in response.headers
    assert "Cache-Control" not in response.headers


async def test_vary_is_added_to_the_handlers_own(clock: Clock) -> None:
    app = plain_app(clock)

    @app.get("/read")
    async def read() -> tuple[str, dict[str, str]]:
        return str(session.get("user_id")), {"Vary": "Accept"}

    response = await app.test_client().get("/read")
    assert response.headers["Vary"] == "Accept, Cookie"
    assert "Cache-Control" not in response.headers  # nobody is signed in


async def test_a_handler_may_let_the_browser_keep_an_answer_for_the_same_session(
    clock: Clock,
) -> None:
    app = plain_app(clock)
    own = {"Cache-Control": "private, max-age=60"}

    @app.get("/read")
    async def read() -> tuple[str, dict[str, str]]:
        return str(session.get("user_id")), own

    @app.get("/changed")
    async def changed() -> tuple[str, dict[str, str]]:
        session["seen"] = True
        return "changed", own

    @app.get("/public")
    async def public() -> tuple[str, dict[str, str]]:
        return str(session.get("user_id")), {"Cache-Control": "public, max-age=60"}

    client = app.test_client()
    await client.post("/create")
    found = {path: (await client.get(path)).headers for path in ("/read", "/public", "/changed")}
    assert found["/read"]["Vary"] == "Cookie"
    assert [each["Cache-Control"] for each in found.values()] == [
        own["Cache-Control"],
        "no-store",
        "no-store",
    ]


async def test_a_session_too_large_for_browsers_is_an_error(clock: Clock) -> None:
    app = plain_app(clock)
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.post("/fill")
    async def fill() -> str:
        session["much"] = secrets.token_hex(4096)  # nothing that compresses
        return "filled"

    response = await app.test_client().post("/fill")
    assert response.status_code == 500
    assert set_cookies(response) == {}
    assert issubclass(SessionTooLarge, ValueError)


async def test_one_request_cannot_change_values_given_to_another(clock: Clock) -> None:
    app = plain_app(clock)

    @app.post("/fill")
    async def fill() -> str:
        session["list"] = [1]
        return "filled"

    @app.get("/append")
    async def append() -> dict[str, Any]:
        session["list"].append(2)
        return dict(session)

    client = app.test_client()
    await client.post("/fill")
    for _ in range(3):
        assert await (await client.get("/append")).get_json() == {"list": [1, 2]}
