"""Invalid bodies and failing databases: a clear answer, no traceback, nothing lost."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from quart import Quart, Response
from quart.typing import TestClientProtocol as Client
from sqlalchemy import URL, event

from quart_app.settings import Settings, with_setting
from quart_app.storage import sqlite
from quart_app.storage.database import Database
from tests.conftest import (
    ENCRYPTION_KEY,
    SECRET_KEY,
    MakeApp,
    Member,
    administer,
    log_in,
    set_cookies,
)

GOOD = '{"username": "ada", "password": "wrong"}'
FORM = "application/x-www-form-urlencoded"
NOT_JSON = "The body is not well-formed JSON."
NOT_AN_OBJECT = "The body must be a JSON object."


async def assert_no_trace(response: Response) -> str:
    """Assert that the response reveals no internals and sets no session; return its text."""
    text = await response.get_data(as_text=True)
    assert "Traceback" not in text
    assert "SELECT" not in text
    assert "pydantic" not in text
    assert not set_cookies(response)
    return text


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize(
    ("body", "status", "field", "sentence"),
    [
        ("", 400, None, NOT_JSON),
        ("{", 400, None, NOT_JSON),
        (GOOD[:-1], 400, None, NOT_JSON),
        (GOOD + GOOD, 400, None, NOT_JSON),
        ("\ufeff" + GOOD, 400, None, NOT_JSON),
        (GOOD.encode("utf-16"), 400, None, NOT_JSON),
        (b'{"username": "\xff", "password": "x"}', 400, None, NOT_JSON),
        (b"\x00", 400, None, NOT_JSON),
        ('{"username": "\\ud800", "password": "x"}', 400, None, NOT_JSON),
        ("[" * 30_000, 400, None, NOT_JSON),
        ("[" * 30_000 + "]" * 30_000, 400, None, NOT_JSON),
        ('{"username": ' * 4_000 + "1" + "}" * 4_000, 400, None, NOT_JSON),
        ('{"username": ' + "1" * 6_000 + "}", 400, None, NOT_JSON),
        ("username=ada&password=x", 400, None, NOT_JSON),
        ("null", 422, None, NOT_AN_OBJECT),
        ("NaN", 422, None, NOT_AN_OBJECT),
        ('"ada"', 422, None, NOT_AN_OBJECT),
        (f"[{GOOD}]", 422, None, NOT_AN_OBJECT),
        ("{}", 422, "username", "This field is missing."),
        ('{"username": NaN, "password": "x"}', 422, "username", None),
        ('{"username": -Infinity, "password": "x"}', 422, "username", None),
        ('{"username": 1e999, "password": "x"}', 422, "username", None),
        ('{"username": null, "password": "x"}', 422, "username", None),
        ('{"username": ["ada"], "password": "x"}', 422, "username", None),
        ('{"username": {"a": 1}, "password": "x"}', 422, "username", None),
        ('{"username": "", "password": "x"}', 422, "username", None),
        (
            '{"username": "a\\u0000", "password": "x"}',
            422,
            "username",
            "This contains a NUL character.",
        ),
        ('{"username": "' + "a" * 121 + '", "password": "x"}', 422, "username", None),
        ('{"username": "a", "password": "' + "x" * 1025 + '"}', 422, "password", None),
        ('{"username": "a", "password": 12345678}', 422, "password", None),
        ('{"username": "a", "password": "x", "remember": "true"}', 422, "remember", None),
        ('{"username": "a", "password": "x", "remember": 1}', 422, "remember", None),
        (
            '{"username": "a", "password": "x", "admin": 1}',
            422,
            "admin",
            "There is no such field here.",
        ),
        ('{"username": "a", "password": "x", "": 1}', 422, "", "There is no such field here."),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str | bytes) else None,
)
async def test_an_invalid_json_body_is_refused_and_the_field_named(
    visitor: Client, body: str | bytes, status: int, field: str | None, sentence: str | None
) -> None:
    data = body.encode() if isinstance(body, str) else body
    response = await visitor.post(
        "/api/login", data=data, headers={"Content-Type": "application/json"}
    )
    await assert_no_trace(response)
    problem = await response.get_json(force=True)
    assert response.mimetype == "application/problem+json"
    assert response.status_code == problem["status"] == status
    assert problem["code"] == ("malformed_body" if status == 400 else "invalid_input")
    assert problem.get("field") == field
    assert sentence in {None, problem["title"]}


@pytest.mark.parametrize("engine_name", ["sqlite"])
async def test_a_refusal_never_repeats_the_value(visitor: Client) -> None:
    secret = "hunter2" * 200
    for refused in (
        await visitor.post("/api/login", json={"username": "ada", "password": secret}),
        await visitor.post("/login", form={"username": "ada", "password": secret}),
        await visitor.post("/api/login", json={"username": "ada", "password": ["hunter2"]}),
    ):
        assert refused.status_code == 422
        assert "hunter2" not in await assert_no_trace(refused)


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", FORM, "multipart/form-data; boundary=x", "nonsense"]
)
async def test_a_json_route_accepts_only_json(
    browser: Client, member: Member, content_type: str | None
) -> None:
    headers = None if content_type is None else {"Content-Type": content_type}
    path = f"/api/platforms/{member.platform_ids[1]}/switch"
    for address, body in (("/api/login", GOOD), (path, "{}"), (path, "platform_connection_id=9")):
        response = await browser.post(address, data=body.encode(), headers=headers)
        await assert_no_trace(response)
        assert response.status_code == 415
        assert (await response.get_json(force=True))["code"] == "unsupported_body"


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize(
    ("body", "status"), [("", 200), ("{}", 200), ("[]", 422), ('{"a": 1}', 422), ("{", 400)]
)
async def test_a_request_without_a_body_needs_no_content_type(
    browser: Client, body: str, status: int
) -> None:
    headers = {"Content-Type": "application/json"} if body else None
    response = await browser.post("/api/session/renew", data=body.encode(), headers=headers)
    assert response.status_code == status


MANY_PARTS = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 1_100 + b"--x--\r\n"


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize(
    ("body", "content_type", "status", "sentence"),
    [
        (b"", FORM, 422, "This field is missing."),
        (b"", None, 422, "This field is missing."),
        (GOOD.encode(), "application/json", 422, "This field is missing."),
        (b"username=a&username=b&password=x", FORM, 422, "This field was sent twice."),
        (b"username=a&password=x&admin=1", FORM, 422, "There is no such field here."),
        (b"username=a%00&password=x", FORM, 422, "This contains a NUL character."),
        (b"username=a&password=x&remember=perhaps", FORM, 422, "valid boolean"),
        (b"username=" + b"a" * 121 + b"&password=x", FORM, 422, "at most 120 characters"),
        (b"username=a&password=x&next=/" + b"a" * 2048, FORM, 422, "at most 2048 characters"),
        (b"username=%ed%a0%80&password=%ff", FORM, 401, "Wrong name or password."),
        (b"username=\xff\xfe&password=x", FORM, 422, "This field is missing."),
        (b"username=a&password=x&f=&f=", FORM, 422, "sent twice"),
        (b"username=a&password=x" + b"&f=" * 100, FORM, 413, "The request is too large."),
        (b"username=a&password=" + b"%C3%A9" * 6_000, FORM, 413, "The request is too large."),
        (b"x", "multipart/form-data", 415, "x-www-form-urlencoded"),
        (b"x", "Multipart/Mixed; boundary=x", 415, "x-www-form-urlencoded"),
        (b"--x\r\n\r\n\r\n--x--", "multipart/form-data; boundary=x", 415, "urlencoded"),
        (MANY_PARTS, "multipart/form-data; boundary=x", 415, "x-www-form-urlencoded"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, bytes) else None,
)
async def test_an_invalid_form_is_shown_again_with_an_explanation(
    visitor: Client, body: bytes, content_type: str | None, status: int, sentence: str
) -> None:
    headers = {"Content-Type": content_type} if content_type else None
    response = await visitor.post("/login", data=body, headers=headers)
    text = await assert_no_trace(response)
    assert response.status_code == status
    assert response.mimetype == "text/html"
    assert sentence in text


# --- database failures ---------------------------------------------------------------------------


@contextmanager
def locked(url: URL) -> Iterator[URL]:
    """Make another writer hold the lock."""
    if url.get_backend_name() == "sqlite":
        other = sqlite3.connect(str(url.database), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        yield url
        other.close()
    else:
        dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(dsn) as connection:
            connection.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
            yield url


@contextmanager
def read_only(url: URL) -> Iterator[URL]:
    if url.get_backend_name() == "sqlite":
        yield url.update_query_dict({"mode": "ro"})
    else:  # like a standby
        setting = f"ALTER DATABASE {url.database} SET default_transaction_read_only ="
        administer(url, f"{setting} on")
        yield url
        administer(url, "SET default_transaction_read_only = off", f"{setting} off")


@contextmanager
def absent(url: URL) -> Iterator[URL]:
    path = Path(f"{url.database}.absent")
    yield url.set(database=str(path))
    assert not path.exists()


@contextmanager
def not_a_database(url: URL) -> Iterator[URL]:
    path = Path(f"{url.database}.garbage")
    garbage = b"This is no database. " * 500
    path.write_bytes(garbage)
    yield url.set(database=str(path))
    assert path.read_bytes() == garbage


@contextmanager
def not_listening(url: URL) -> Iterator[URL]:
    yield url.set(query={}, host="127.0.0.1", port=1)


Trouble = Callable[[URL], AbstractContextManager[URL]]
TROUBLES: list[tuple[str, Trouble]] = [
    ("sqlite", locked),
    ("sqlite", read_only),
    ("sqlite", absent),
    ("sqlite", not_a_database),
    ("postgresql", locked),
    ("postgresql", read_only),
    ("postgresql", not_listening),
]


def hurry(app: Quart, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the application wait for a lock for a moment only, instead of five seconds."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_SECONDS", 0)
    database: Database = app.extensions["quart_app"].accounts.database
    is_sqlite = database.url.get_backend_name() == "sqlite"

    def prepare(connection: Any, _entry: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA busy_timeout = 50" if is_sqlite else "SET lock_timeout = 50")
        cursor.close()
        connection.commit()

    event.listen(database.engine.sync_engine, "connect", prepare)


@dataclass(frozen=True)
class Troubled:
    """The member's browser, which logged in before the database began to fail."""

    trouble: Trouble
    browser: Client
    visitor: Client


@pytest.fixture(params=TROUBLES, ids=lambda case: f"{case[0]} {case[1].__name__}")
def case(request: pytest.FixtureRequest) -> tuple[str, Trouble]:
    found: tuple[str, Trouble] = request.param
    return found


@pytest.fixture
async def troubled(
    case: tuple[str, Trouble],
    settings: Settings,
    make_app: MakeApp,
    member: Member,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Troubled]:
    well = (await make_app(settings)).test_client()
    await log_in(well, member)
    with case[1](settings.database_url) as url:
        app = await make_app(with_setting(settings, database_url=url))
        hurry(app, monkeypatch)
        browser = app.test_client()
        browser.cookie_jar = well.cookie_jar
        yield Troubled(case[1], browser, app.test_client())
    # After the failure nothing was lost.
    again = (await make_app(settings)).test_client()
    assert (await log_in(again, member))["user_id"] == member.id
    listed = await (await again.get("/api/platforms")).get_json()
    assert [each["id"] for each in listed] == list(member.platform_ids)


@pytest.fixture
def engine_name(case: tuple[str, Trouble]) -> str:
    """The engine that can fail in this way."""
    return case[0]


async def test_a_login_during_a_database_failure_gets_a_retry_response(
    troubled: Troubled, member: Member, caplog: pytest.LogCaptureFixture
) -> None:
    fields = {"username": member.username, "password": member.password}
    for response in (
        await troubled.visitor.post("/api/login", json=fields),
        await troubled.visitor.post("/login", form=fields),
    ):
        text = await assert_no_trace(response)
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
        assert "The service is temporarily unavailable. Nothing was changed." in text
        assert ('"unavailable"' in text) is (response.mimetype == "application/problem+json")
        assert member.password not in text
    lines = [*caplog.messages, *(record.message for record in caplog.get_records("setup"))]
    assert any("unavailable: " in line or "sessions can't be read" in line for line in lines)
    assert member.username not in caplog.text


async def test_a_session_survives_a_database_failure(
    troubled: Troubled, member: Member, case: tuple[str, Trouble]
) -> None:
    # While the revocation list cannot be read, no session can be verified.
    can_be_read = troubled.trouble in {locked, read_only}
    state = await troubled.browser.get("/api/session_state")
    assert state.status_code == (200 if can_be_read else 503)
    path = f"/platforms/{member.platform_ids[1]}/switch"
    # A logout that could not be stored must not say "you are logged out".
    addresses = [path, f"/api{path}", "/logout_all", "/api/logout_all"]
    # The lock is on users only, which the end of one session does not need.
    if case != ("postgresql", locked):
        addresses += ["/logout", "/api/logout"]
    for address in addresses:
        response = await troubled.browser.post(address)
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
        assert set_cookies(response) == {}
        await assert_no_trace(response)
    if can_be_read:
        state = await troubled.browser.get("/api/session_state")
        assert (await state.get_json())["platform_connection_id"] == member.platform_ids[0]


async def test_a_database_failure_makes_the_process_not_ready_but_keeps_it_alive(
    troubled: Troubled,
) -> None:
    assert (await troubled.visitor.get("/healthz")).status_code == 200
    ready = await troubled.visitor.get("/readyz")
    body = await ready.get_json(force=True)
    # On PostgreSQL only one table is locked; on SQLite the check would need the lock.
    if troubled.trouble is locked:
        assert ready.status_code == 200
        assert body == {"status": "ready"}
    else:
        assert ready.status_code == 503
        assert body == {
            "status": "not ready",
            "reasons": ["The database does not answer, or can't be written to."],
        }


@pytest.mark.parametrize("case", [("sqlite", read_only), ("postgresql", read_only)])
async def test_pages_still_work_with_a_read_only_database(
    troubled: Troubled, member: Member
) -> None:
    for path in ("/", "/platforms", "/account", "/api/platforms"):
        assert (await troubled.browser.get(path)).status_code == 200
    first = member.platform_ids[0]
    for response in (
        await troubled.browser.post(f"/platforms/{first}/remove"),
        await troubled.browser.delete(f"/api/platforms/{first}"),
        await troubled.browser.patch(f"/api/platforms/{first}", json={"name": "New"}),
    ):
        assert response.status_code == 503
        await assert_no_trace(response)


@pytest.mark.parametrize("engine_name", ["sqlite", "postgresql"])
async def test_a_database_without_our_schema_is_not_ready(
    empty_database_url: URL, make_app: MakeApp
) -> None:
    if empty_database_url.get_backend_name() == "sqlite":
        sqlite3.connect(str(empty_database_url.database)).close()  # creates an empty file
    app = await make_app(
        Settings(
            secret_key=SECRET_KEY,
            platform_encryption_keys=(ENCRYPTION_KEY,),
            database_url=empty_database_url,
        )
    )
    client = app.test_client()
    ready = await client.get("/readyz")
    assert ready.status_code == 503
    (reason,) = (await ready.get_json(force=True))["reasons"]
    assert "not set up" in reason
    assert "db upgrade" in reason
    response = await client.post("/api/login", json={"username": "ada", "password": "x"})
    assert response.status_code == 503
    await assert_no_trace(response)


pytestmark = pytest.mark.sqlite_unless_thorough
