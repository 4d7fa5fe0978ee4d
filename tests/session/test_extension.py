"""RevocableSessions in an application of its own, with nothing else of quart_app."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from quart import Quart, render_template_string, session, websocket
from quart.typing import TestClientProtocol as Client

from quart_app.session import (
    MemoryRevocationStore,
    RevocableSessions,
    answers_when_stale,
    not_activity,
)
from tests.conftest import Clock, set_cookies

KEY = "a key for tests, of thirty-two bytes or more"
MINUTE = timedelta(minutes=1)
SESSION_COOKIES = {"session", "session_activity"}


def is_text(value: object) -> bool:
    return isinstance(value, str)


def application(clock: Clock, store: Any = None, **config: Any) -> tuple[Quart, RevocableSessions]:
    app = Quart("library")
    app.config.update({"SECRET_KEY": KEY} | config)
    sessions = RevocableSessions(
        app,
        store=store or MemoryRevocationStore(),
        extra_claims={"tenant": is_text},
        clock=clock.seconds,
    )

    @app.post("/login/<int:user_id>")
    async def log_in(user_id: int) -> str:
        await sessions.begin(user_id, tenant="north")
        return "in"

    @app.post("/remembered/<user_id>")
    async def log_in_remembered(user_id: str) -> str:
        await sessions.begin(user_id, remember=True)
        return "in"

    @app.get("/")
    async def index() -> dict[str, Any]:
        claims = sessions.current()
        return {"user_id": claims and claims.user_id, "extra": claims and dict(claims.extra)}

    @app.post("/tenant/<name>")
    async def change_tenant(name: str) -> str:
        sessions.update(tenant=None if name == "none" else name)
        return "changed"

    @app.post("/logout")
    async def log_out() -> str:
        await sessions.end()
        return "out"

    @app.post("/logout_everywhere")
    async def log_out_everywhere() -> str:
        claims = sessions.current()
        assert claims is not None
        await sessions.end_all(claims.user_id)
        return "out"

    @app.post("/end_everybodys")
    async def end_everybodys() -> str:
        await sessions.end_everybodys()
        return "out"

    @app.get("/alive")
    @answers_when_stale
    @not_activity
    async def alive() -> str:
        return "alive"

    return app, sessions


@asynccontextmanager
async def serving(app: Quart) -> AsyncIterator[Quart]:
    await app.startup()
    yield app
    await app.shutdown()


Serve = Callable[..., Awaitable[tuple[Quart, RevocableSessions]]]


@pytest.fixture
async def serve(clock: Clock) -> AsyncIterator[Serve]:
    started: list[Quart] = []

    async def serve(**config: Any) -> tuple[Quart, RevocableSessions]:
        app, sessions = application(clock, **config)
        await app.startup()
        started.append(app)
        return app, sessions

    yield serve
    for app in started:
        await app.shutdown()


async def user_of(client: Client) -> Any:
    response = await client.get("/")
    return (await response.get_json())["user_id"]


def copy_of(client: Client, app: Quart) -> Client:
    """Another browser with a copy of this one's cookies."""
    copy = app.test_client()
    for cookie in client.cookie_jar or ():
        copy.set_cookie("localhost", cookie.name, str(cookie.value))
    return copy


# --- beginning, reading, changing, ending --------------------------------------------------------


@pytest.mark.parametrize(("path", "user_id"), [("/login/7", 7), ("/remembered/u-7", "u-7")])
async def test_a_user_id_is_an_int_or_a_text(serve: Serve, path: str, user_id: Any) -> None:
    app, _ = await serve()
    client = app.test_client()
    assert await user_of(client) is None
    await client.post(path)
    assert await user_of(client) == user_id


async def test_a_logout_ends_every_copy_of_the_cookie(serve: Serve) -> None:
    app, _ = await serve()
    client = app.test_client()
    await client.post("/login/7")
    copy, other = copy_of(client, app), app.test_client()
    await other.post("/login/7")
    response = await client.post("/logout")
    lines = [line.split("=")[0] for line in response.headers.getlist("Set-Cookie")]
    assert lines == ["session_activity", "session"]  # in this order, see the interface
    assert await user_of(copy) is None
    assert await user_of(other) == 7


async def test_logout_everywhere_ends_exactly_the_users_sessions(serve: Serve) -> None:
    app, _ = await serve()
    first, second, somebody_else = (app.test_client() for _ in range(3))
    await first.post("/login/7")
    await second.post("/login/7")
    await somebody_else.post("/login/8")
    await first.post("/logout_everywhere")
    assert [await user_of(each) for each in (first, second, somebody_else)] == [None, None, 8]
    await first.post("/login/7")  # in the same moment: the clock does not advance
    assert await user_of(first) == 7


async def test_all_sessions_end_and_new_ones_begin(serve: Serve) -> None:
    app, _ = await serve()
    first, second = app.test_client(), app.test_client()
    await first.post("/login/7")
    await second.post("/login/8")
    await first.post("/end_everybodys")
    assert [await user_of(each) for each in (first, second)] == [None, None]
    await first.post("/login/7")
    assert await user_of(first) == 7


async def test_a_new_login_ends_the_browsers_previous_session(serve: Serve) -> None:
    app, _ = await serve()
    client = app.test_client()
    await client.post("/login/7")
    copy = copy_of(client, app)
    await client.post("/login/8")
    assert await user_of(client) == 8
    assert await user_of(copy) is None


async def test_other_cookies_do_not_hide_the_session_and_a_logout_ends_them_all(
    serve: Serve,
) -> None:
    app, _ = await serve()
    one, other = app.test_client(), app.test_client()
    await one.post("/login/7")
    await other.post("/login/8")
    cookies = [
        next(str(each.value) for each in client.cookie_jar or () if each.name == "session")
        for client in (one, other)
    ]
    visitor = app.test_client(use_cookies=False)
    header = {"Cookie": f'x="; session=foreign; session={cookies[0]}; session={cookies[1]}; y="'}
    response = await visitor.get("/", headers=header)
    assert (await response.get_json())["user_id"] == 7
    await visitor.post("/logout", headers=header)
    assert [await user_of(each) for each in (one, other)] == [None, None]
    many = {"Cookie": "; ".join(["session=x"] * 500 + [f"session={cookies[0]}"])}
    assert (await visitor.get("/", headers=many)).status_code == 400
    assert (await visitor.get("/alive", headers=many)).status_code == 200


async def test_extra_claims_can_be_set_changed_and_removed(serve: Serve) -> None:
    app, _ = await serve()
    client = app.test_client()
    await client.post("/login/7")
    for name, extra in (("south", {"tenant": "south"}), ("none", {})):
        await client.post(f"/tenant/{name}")
        response = await client.get("/")
        assert (await response.get_json()) == {"user_id": 7, "extra": extra}


async def test_an_undeclared_claim_is_refused(serve: Serve) -> None:
    app, sessions = await serve(PROPAGATE_EXCEPTIONS=False)

    @app.post("/wrong")
    async def wrong() -> str:
        with pytest.raises(ValueError, match="extra claim"):
            await sessions.begin(7, tenant=5)
        with pytest.raises(ValueError, match="user id"):
            await sessions.begin(-1)
        return "refused"

    client = app.test_client()
    assert await (await client.post("/wrong")).get_data(as_text=True) == "refused"
    assert await user_of(client) is None


# --- limits --------------------------------------------------------------------------------------


async def test_limits_come_from_the_configuration(serve: Serve, clock: Clock) -> None:
    app, _ = await serve(REVOCABLE_SESSIONS_IDLE=600, REVOCABLE_SESSIONS_ABSOLUTE=30 * MINUTE)
    client = app.test_client()
    await client.post("/login/7")
    for _ in range(3):
        clock.advance(9 * MINUTE)
        assert await user_of(client) == 7  # activity moves the idle limit
    clock.advance(3 * MINUTE)
    assert await user_of(client) is None  # and not the absolute one
    await client.post("/login/7")
    clock.advance(11 * MINUTE)
    assert await user_of(client) is None


async def test_marked_views_are_not_activity(serve: Serve, clock: Clock) -> None:
    app, _ = await serve()
    client = app.test_client()
    await client.post("/login/7")
    clock.advance(2 * MINUTE)
    assert set_cookies(await client.get("/alive")) == {}
    assert set(set_cookies(await client.get("/"))) == {"session_activity"}


@pytest.mark.parametrize(
    ("key", "value"),
    [("IDLE", "8 hours"), ("IDLE", -1), ("RENEWAL", None), ("DIGEST", "md5")],
)
def test_an_invalid_configuration_key_is_named(clock: Clock, key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"REVOCABLE_SESSIONS_{key}"):
        application(clock, **{f"REVOCABLE_SESSIONS_{key}": value})


async def test_a_permanent_session_without_a_login_ends_after_its_lifetime(
    serve: Serve, clock: Clock
) -> None:
    app, _ = await serve(PERMANENT_SESSION_LIFETIME=5 * MINUTE)

    @app.post("/colour")
    async def choose() -> str:
        session["colour"] = "green"
        return "chosen"

    @app.get("/colour")
    async def colour() -> str:
        return str(session.get("colour"))

    client = app.test_client()
    await client.post("/colour")
    for minutes, found in ((4, "green"), (2, "None")):
        clock.advance(minutes * MINUTE)
        assert await (await client.get("/colour")).get_data(as_text=True) == found


# --- a failing store -----------------------------------------------------------------------------


class BrokenStore(MemoryRevocationStore):
    """A store whose database is away once `is_away` is set."""

    is_away = False

    async def append(self, revocations: Any) -> Any:
        if self.is_away:
            raise ConnectionError
        return await super().append(revocations)

    async def revocations_after(self, last: Any) -> AsyncIterator[Any]:
        if self.is_away:
            raise ConnectionError
        async for rows in super().revocations_after(last):
            yield rows


async def test_a_logout_that_cannot_be_written_is_503_and_changes_nothing(serve: Serve) -> None:
    store = BrokenStore()
    app, _ = await serve(store=store)
    client = app.test_client()
    await client.post("/login/7")
    store.is_away = True
    response = await client.post("/logout")
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert set_cookies(response) == {}
    store.is_away = False
    assert await user_of(client) == 7


async def test_a_stale_list_is_503_except_for_marked_views(clock: Clock) -> None:
    app, sessions = application(clock)
    await app.startup()
    client, visitor = app.test_client(), app.test_client()
    await client.post("/login/7")
    await app.shutdown()  # nothing follows the store now
    sessions.revocations._confirmed = None
    assert (await client.get("/")).status_code == 503
    assert (await visitor.post("/login/7")).status_code == 503
    assert (await visitor.get("/")).status_code == 200
    assert (await client.get("/alive")).status_code == 200


# --- documented behaviour of Quart and Flask -----------------------------------------------------


async def test_without_a_secret_key_the_session_is_null_with_quarts_error(clock: Clock) -> None:
    app, _ = application(clock, SECRET_KEY=None)

    @app.get("/write")
    async def write() -> str:
        with pytest.raises(RuntimeError, match="secret key"):
            session["colour"] = "green"
        return str(session.get("colour"))

    async with serving(app):
        response = await app.test_client().get("/write")
        assert await response.get_data(as_text=True) == "None"
        assert await user_of(app.test_client()) is None


async def test_the_cookies_have_the_configured_attributes(
    serve: Serve,
) -> None:
    app, _ = await serve(
        SESSION_COOKIE_NAME="own",
        SESSION_COOKIE_DOMAIN="example.com",
        SESSION_COOKIE_PATH="/under",
        SESSION_COOKIE_HTTPONLY=False,
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_COOKIE_PARTITIONED=True,
    )
    response = await app.test_client().post("/login/7")
    line = set_cookies(response)["own"]
    for attribute in ("Domain=example.com", "Path=/under", "Secure", "SameSite=Strict"):
        assert attribute in line
    assert "Partitioned" in line
    assert "HttpOnly" not in line


async def test_the_path_defaults_to_the_application_root(serve: Serve) -> None:
    app, _ = await serve(APPLICATION_ROOT="/app")
    assert "Path=/app" in set_cookies(await app.test_client().post("/login/7"))["session"]


async def test_fallback_keys_verify_and_the_newest_key_signs(clock: Clock) -> None:
    old = "an older key, of thirty-two bytes or more"
    before, _ = application(clock, SECRET_KEY=old)
    async with serving(before):
        client = before.test_client()
        await client.post("/login/7")
    for fallbacks, user_id in (([old], 7), ([], None)):
        after, _ = application(clock, SECRET_KEY_FALLBACKS=fallbacks)
        async with serving(after):
            assert await user_of(copy_of(client, after)) == user_id


async def test_a_change_in_a_websocket_is_logged_as_lost(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    app, _ = await serve()

    @app.websocket("/ws")
    async def ws() -> None:
        session["colour"] = "green"
        await websocket.send("changed")

    with caplog.at_level(logging.ERROR):
        async with app.test_client().websocket("/ws") as connection:
            assert await connection.receive() == "changed"
    assert "The change is lost" in caplog.text


READS: dict[str, Callable[[], object]] = {
    "[]": lambda: session["a"],
    "get": lambda: session.get("a"),
    "in": lambda: "a" in session,
    "len": lambda: len(session),
    "bool": lambda: bool(session),
    "iter": lambda: list(session),
    "reversed": lambda: list(reversed(session)),  # type: ignore[call-overload]
    "keys": lambda: list(session.keys()),
    "values": lambda: list(session.values()),
    "items": lambda: list(session.items()),
    "==": lambda: session == {},
    "!=": lambda: session != {},
    "|": lambda: session | {},  # type: ignore[operator]
    "reflected |": lambda: {} | session,  # type: ignore[operator]
    "copy": lambda: session.copy(),  # type: ignore[attr-defined] # noqa: PLW0108 a proxy
    "dict": lambda: dict(session),
    "**": lambda: dict(**session),
    "repr": lambda: repr(session),
    "str": lambda: str(session),
    "format": lambda: f"{session}",
    "setdefault": lambda: session.setdefault("a", 1),
    "pop": lambda: session.pop("nothing", None),
    "permanent": lambda: session.permanent,
}


@pytest.mark.parametrize("way", [*READS, "{{ session }}", "{{ session.a }}", "{% for %}"])
async def test_every_way_to_read_the_session_adds_vary(serve: Serve, way: str) -> None:
    app, _ = await serve(REVOCABLE_SESSIONS_AUTOMATIC=False)

    @app.post("/fill")
    async def fill() -> str:
        session["a"] = 1
        return "filled"

    @app.get("/read")
    async def read() -> str:
        if way in READS:
            READS[way]()
            return "read"
        template = way if way.startswith("{{") else "{% for key in session %}{% endfor %}"
        return await render_template_string(template)

    @app.get("/unread")
    async def unread() -> str:
        return "unread"

    client = app.test_client()
    await client.post("/fill")
    assert (await client.get("/read")).headers["Vary"] == "Cookie"
    assert "Vary" not in (await client.get("/unread")).headers


async def test_the_test_client_prepares_and_reads_the_session_as_quart_documents(
    serve: Serve,
) -> None:
    app, _ = await serve()

    @app.get("/colour")
    async def colour() -> str:
        return str(session["colour"])

    client = app.test_client()
    async with client.session_transaction() as prepared:
        prepared["colour"] = "green"
    assert await (await client.get("/colour")).get_data(as_text=True) == "green"
    async with client.session_transaction() as read:
        assert read == {"colour": "green"}
