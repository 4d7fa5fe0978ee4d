"""The headers of every kind of response."""

import gzip
import json
import re
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from werkzeug.datastructures import Headers

from quart_app.settings import Settings, with_setting
from quart_app.web.rendering.error_responses import _STATUS
from tests.conftest import (
    PASSWORD,
    STATIC,
    Clock,
    MakeApp,
    Member,
    log_in,
    set_cookies,
    without_nonce,
)
from tests.web.test_routes import routes

NO_PAGE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# Except for static files, which may be cached, and the policy of pages.
ALWAYS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": NO_PAGE,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
A_PAGE = re.compile(
    "default-src 'none'; script-src 'nonce-([^']+)'; style-src 'nonce-\\1'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'; report-uri /api/csp_reports"
)
JSON = {"Content-Type": "application/json"}
A_CONNECTION = json.dumps(
    {
        "name": "Fourth",
        "platform_type": "mastodon",
        "instance_url": "https://fourth.example",
        "access_token": "token",
        "verify": False,
    }
)
WRONG_PASSWORD = ("POST", "/api/login", JSON, '{"username": "nobody", "password": "x"}')
ROOT = Member(2, "root", PASSWORD, (0, 0, 0))
# Method, path, request data and status: every kind of response.
ANSWERS: list[tuple[str, str, dict[str, str], str, int]] = [
    ("GET", "/", {}, "", 200),
    ("HEAD", "/", {}, "", 200),
    ("OPTIONS", "/login", {}, "", 200),
    ("GET", "/healthz", {}, "", 200),
    ("GET", "/api/session_state", {}, "", 200),
    ("GET", f"{STATIC}/style.css", {}, "", 200),
    ("HEAD", f"{STATIC}/style.css", {}, "", 200),
    ("POST", "/api/platforms", JSON, A_CONNECTION, 201),
    ("POST", "/api/platforms/1/default", {}, "", 200),
    ("POST", "/api/csp_reports", {"Content-Type": "application/reports+json"}, "[]", 204),
    ("GET", f"{STATIC}/style.css", {"Range": "bytes=0-9"}, "", 206),
    ("GET", "/login", {}, "", 303),
    ("GET", f"{STATIC}/style.css", {"If-None-Match": "*"}, "", 304),
    ("GET", f"{STATIC}//style.css", {}, "", 308),
    ("POST", "/api/platforms", JSON, "{", 400),
    ("GET", "/login", {"Host": "a..b"}, "", 400),
    (
        "POST",
        "/api/account/password",
        JSON,
        '{"current_password": "wrong", "new_password": "a new and longer one"}',
        401,
    ),
    ("GET", "/admin/users", {}, "", 403),
    ("POST", "/api/platforms/authorizations", JSON, '{"server": "localhost"}', 502),
    ("POST", "/login", {"Sec-Fetch-Site": "cross-site"}, "", 403),
    ("GET", "/nothing", {}, "", 404),
    ("GET", "/api/nothing", {}, "", 404),
    ("GET", "/platforms/999/rename", {}, "", 404),
    ("GET", f"{STATIC}/nothing", {}, "", 404),
    ("GET", "/static/style.css", {}, "", 404),
    ("PUT", "/login", {}, "", 405),
    ("POST", "/api/platforms", JSON, A_CONNECTION.replace("Fourth", "Platform 1"), 409),
    ("GET", "/setup", {}, "", 410),
    ("POST", "/api/platforms", {"Content-Length": "65537"}, "", 413),
    ("POST", "/platforms", {"Content-Length": "65537"}, "", 413),
    ("POST", "/api/platforms", {}, "", 415),
    ("POST", "/platforms", {}, "", 422),
    (*WRONG_PASSWORD, 429),
    ("GET", "/crash", {}, "", 500),
    ("GET", "/api/crash", {}, "", 500),
    ("POST", "/platforms/1/switch", {}, "", 503),
]


@pytest.fixture
def engine_name() -> str:
    """One engine is enough, because this is about HTTP."""
    return "sqlite"


def crashing(app: Quart) -> Quart:
    async def crash() -> str:
        raise RuntimeError

    app.add_url_rule("/crash", "crash", crash)
    app.add_url_rule("/api/crash", "api_crash", crash)
    return app


class Answer(NamedTuple):
    """The beginning of a response; a page is one piece."""

    status_code: int
    headers: Headers
    begin: str


async def begin_of_answer(
    client: Any, method: str, path: str, headers: dict[str, str] | None = None, body: str = ""
) -> Answer:
    """Send a request, and disconnect when the response begins, because an event stream does not
    end.

    Cookies in the response are ignored.
    """
    async with client.request(path, method=method, headers=dict(headers or {})) as connection:
        await connection.send(body.encode())
        await connection.send_complete()
        begin = await connection.receive()
        await connection.disconnect()
    assert connection.status_code is not None
    return Answer(connection.status_code, connection.headers, begin.decode())


def assert_has_headers(response: Answer) -> None:
    """Check the headers for this kind of response."""
    told = {name: response.headers.get(name) for name in ALWAYS}
    policy = str(told.pop("Content-Security-Policy"))
    of_a_page = A_PAGE.fullmatch(policy)
    if "<main" in response.begin:
        assert of_a_page
        carriers = re.findall(
            "<(?:script|style|link[^>]* rel=.(?:style|module))[^>]*>", response.begin
        )
        assert carriers
        assert all(f' nonce="{of_a_page[1]}"' in each for each in carriers)
        assert not re.search(
            r"<style|<script(?![^>]* src=)|<[^>]+\s(?:style|on[a-z]+)=|javascript:", response.begin
        )
    else:
        # Of a HEAD request for a page.
        assert policy == NO_PAGE or (of_a_page and response.begin == "")
    if told["Cache-Control"] == "public, max-age=31536000, immutable":
        assert "Cookie" not in response.headers.get("Vary", "")
        assert not set_cookies(response)
        told.pop("Cache-Control")
    if told["Referrer-Policy"] == "strict-origin":  # of links that set a password
        told.pop("Referrer-Policy")
    assert told == {name: ALWAYS[name] for name in told}
    # Of CORS there is nothing: no other origin reads an answer.
    names = {name.lower() for name in response.headers.keys()}  # noqa: SIM118 pairs, otherwise
    assert not [name for name in names if name.startswith("access-control-")]
    assert not {"server", "strict-transport-security"} & names


async def test_every_kind_of_response_has_the_headers(app: Quart, browser: Client) -> None:
    crashing(app)
    for method, path, headers, body, status in ANSWERS:
        if status == 429:
            for _ in range(6):
                await begin_of_answer(browser, *WRONG_PASSWORD)
        if status == 503:
            app.extensions["quart_app"].revocations._confirmed = None  # the list is stale
        response = await begin_of_answer(browser, method, path, headers, body)
        assert response.status_code == status, (method, path)
        assert_has_headers(response)


def test_the_list_of_kinds_is_complete() -> None:
    assert {answer[-1] for answer in ANSWERS} >= {int(status) for status in _STATUS.values()}


async def test_every_routes_responses_have_the_headers(
    app: Quart, browser: Client, root: Client, visitor: Client, member: Member
) -> None:
    shown = set()
    for client, who in ((visitor, None), (browser, member), (root, ROOT)):
        for endpoint, method, path in routes(app):
            for asked in (method, "HEAD", "OPTIONS") if method == "GET" else (method,):
                response = await begin_of_answer(client, asked, path)
                assert_has_headers(response)
                if (asked, response.status_code) == ("GET", 200):
                    shown.add(endpoint)
                if who and method != "GET" and not await is_logged_in(client):
                    await log_in(client, who)
    assert shown >= {"accounts.login_page", "platforms.list_page", "admin.users_page", "static"}


async def is_logged_in(client: Client) -> bool:
    return (await client.get("/api/session_state")).status_code == 200


async def test_a_nonce_is_used_in_one_response(visitor: Client) -> None:
    nonces = set()
    for _ in range(3):
        policy = (await visitor.get("/login")).headers["Content-Security-Policy"]
        nonces |= set(re.findall("'nonce-(.{22})'", policy))  # 128 bits
    assert len(nonces) == 3


async def test_a_page_is_compressed_unless_another_site_may_have_requested_it(
    browser: Client,
) -> None:
    takes = {"Accept-Encoding": "gzip, br"}
    plain = await (await browser.get("/platforms")).get_data(as_text=True)
    for site in ("same-origin", "none"):
        response = await browser.get("/platforms", headers={**takes, "Sec-Fetch-Site": site})
        assert response.headers["Content-Encoding"] == "gzip"
        content = await response.get_data(as_text=False)
        assert response.headers["Content-Length"] == str(len(content))
        assert without_nonce(gzip.decompress(content).decode()) == without_nonce(plain)
    for headers in (
        takes,
        {**takes, "Sec-Fetch-Site": "cross-site"},
        {**takes, "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "none", "Accept-Encoding": "gzip;q=0"},
    ):
        response = await browser.get("/platforms", headers=dict(headers))
        assert "Content-Encoding" not in response.headers
    # Only pages: data for programs is never compressed.
    headers = {**takes, "Sec-Fetch-Site": "same-origin"}
    response = await browser.get("/api/platforms", headers=headers)
    assert "Content-Encoding" not in response.headers


async def test_preflight_requests_of_other_origins_are_refused(visitor: Client) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for path in ("/api/platforms", "/login", "/nothing", f"{STATIC}/style.css"):
        response = await begin_of_answer(visitor, "OPTIONS", path, headers)
        assert response.status_code == 403
        assert_has_headers(response)


@pytest.mark.parametrize("path", ["/login", "/nothing", "/crash", f"{STATIC}/style.css"])
async def test_https_responses_have_hsts(make_app: MakeApp, settings: Settings, path: str) -> None:
    app = await make_app(with_setting(settings, public_url="https://quart.example"))
    response = await crashing(app).test_client().get(path, scheme="https")
    assert response.headers["Strict-Transport-Security"] == "max-age=31536000"


async def test_requesting_a_static_file_is_not_activity(browser: Client, clock: Clock) -> None:
    clock.advance(timedelta(hours=1))
    assert not set_cookies(await browser.get(f"{STATIC}/style.css"))
    assert set_cookies(await browser.get("/"))  # requesting a page at the same time is


@pytest.mark.parametrize("path", ["/", "/platforms", "/account", "/api/platforms"])
async def test_logged_in_pages_are_not_cached(browser: Client, path: str) -> None:
    response = await browser.get(path)
    assert response.headers["Cache-Control"] == "no-store"
    assert "Cookie" in response.headers["Vary"]


pytestmark = pytest.mark.sqlite_unless_thorough
