"""Applications with the session library and nothing else of quart_app, and cookies made by hand."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import flask
from itsdangerous import URLSafeTimedSerializer
from quart import Quart, session
from quart.sessions import session_json_serializer
from quart.typing import TestClientProtocol as Client

from quart_app.session import (
    CookieFormat,
    IssuedSession,
    RevocableSessionInterface,
    clear_session,
    create_session,
    renew_session,
    update_session,
    validate_session,
)
from quart_app.session.cookies import SignedCookies
from quart_app.session.interface import IsAlive, always_alive
from tests.conftest import SECRET_KEY, Clock

SECOND = timedelta(seconds=1)
OTHER_KEY = "another key, of thirty-two bytes or more"
SID = "A" * 21 + "w"


def is_number_or_none(value: object) -> bool:
    return value is None or type(value) is int


def cookie_format(**changes: Any) -> CookieFormat:
    values: dict[str, Any] = {"extra_claims": {"tenant": is_number_or_none}}
    return CookieFormat(**values | changes)


def interface(clock: Clock, *, is_alive: IsAlive = always_alive, **changes: Any) -> Any:
    """Return a session interface; Quart's annotations name its own class."""
    return RevocableSessionInterface(
        cookie_format(**changes), is_alive=is_alive, clock=clock.seconds
    )


def signed_cookies(keys: Sequence[str] = (SECRET_KEY,), **changes: Any) -> SignedCookies:
    return SignedCookies(keys, cookie_format(**changes))


def signer(
    key: str = SECRET_KEY, *, salt: str = "cookie-session", digest: Any = hashlib.sha1
) -> URLSafeTimedSerializer:
    """Return a serializer of the wire format, written independently of the library."""
    return URLSafeTimedSerializer(
        key,
        salt=salt,
        serializer=session_json_serializer,
        signer_kwargs={"key_derivation": "hmac", "digest_method": digest},
    )


def issued(clock: Clock, **changes: Any) -> IssuedSession:
    values: dict[str, Any] = {
        "user_id": 7,
        "sid": SID,
        "epoch": 0,
        "created_at": clock(),
        "expires_at": clock() + timedelta(days=1),
        "remember": False,
        "extra": {"tenant": 1},
    }
    return IssuedSession(**values | changes)


def login_payload(clock: Clock, **changes: Any) -> dict[str, Any]:
    now = clock().isoformat(timespec="microseconds")
    later = (clock() + timedelta(days=1)).isoformat(timespec="microseconds")
    return {
        "user_id": 7,
        "authenticated": True,
        "created_at": now,
        "last_activity": now,
        "expires_at": later,
        "remember": False,
        "sid": SID,
        "epoch": 0,
    } | changes


def plain_app(
    clock: Clock,
    *,
    keys: Sequence[str] = (SECRET_KEY,),
    is_alive: IsAlive = always_alive,
    **changes: Any,
) -> Quart:
    """Return an application that begins, reads, changes and clears sessions."""
    app = Quart("plain")
    app.config.update(
        SECRET_KEY=keys[0],
        SECRET_KEY_FALLBACKS=list(keys[1:]),
        SESSION_COOKIE_SAMESITE="Lax",
    )
    app.session_interface = interface(clock, is_alive=is_alive, **changes)

    @app.post("/create", defaults={"remember": False})
    @app.post("/create_remembered", defaults={"remember": True})
    async def create(*, remember: bool) -> str:
        create_session(issued(clock, remember=remember))
        return "created"

    @app.get("/validate")
    async def validate() -> dict[str, Any]:
        renew_session()
        claims = validate_session()
        return {"login": claims and claims.user_id, "session": dict(session)}

    @app.post("/switch/<int:tenant>")
    async def switch(tenant: int) -> str:
        update_session(tenant=tenant)
        return "switched"

    @app.post("/clear")
    async def clear() -> str:
        clear_session()
        return "cleared"

    return app


def flask_app(key: str = SECRET_KEY) -> flask.Flask:
    app = flask.Flask("flask_peer")
    app.secret_key = key

    @app.get("/read")
    def read() -> dict[str, Any]:
        return dict(flask.session)

    @app.get("/write")
    def write() -> str:
        flask.session["colour"] = "green"
        flask.session["when"] = datetime(2025, 1, 9, 12, tzinfo=UTC)
        return "written"

    return app


async def logged_in_as(client: Client) -> Any:
    response = await client.get("/validate")
    return (await response.get_json())["login"]


def cookie_of(client: Client, name: str = "session") -> str:
    (cookie,) = [cookie for cookie in client.cookie_jar or () if cookie.name == name]
    return str(cookie.value)


def put_cookie(client: Client, value: str, name: str = "session") -> None:
    client.set_cookie("localhost", name, value)
