"""The headers that every answer carries, whatever kind it is."""

import re
from datetime import timedelta
from typing import Any

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client

from quart_app.settings import Settings, with_setting
from tests.conftest import STATIC, Clock, MakeApp, Member, log_in, set_cookies
from tests.web.test_routes import ask

ALWAYS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
ANSWERS: list[tuple[str, str, int]] = [
    ("GET", "/login", 303),
    ("GET", "/", 200),
    ("GET", "/platforms", 200),
    ("GET", "/account", 200),
    ("GET", "/platforms/1/remove", 200),
    ("GET", "/api/session_state", 200),
    ("GET", "/healthz", 200),
    ("GET", f"{STATIC}/style.css", 200),
    ("GET", "/nothing", 404),
    ("GET", "/api/nothing", 404),
    ("GET", f"{STATIC}/nothing", 404),
    ("PUT", "/login", 405),
    ("GET", "/setup", 410),
    ("GET", "/crash", 500),
    ("GET", "/api/crash", 500),
    ("OPTIONS", "/login", 200),
    ("POST", "/api/platforms", 415),
    ("POST", "/platforms", 422),
    ("POST", "/api/logout", 204),
]


@pytest.fixture
def engine_name() -> str:
    """One engine will do: this is about HTTP."""
    return "sqlite"


def with_a_crash(app: Quart) -> Quart:
    async def crash() -> str:
        raise RuntimeError

    app.add_url_rule("/crash", "crash", crash)
    app.add_url_rule("/api/crash", "api_crash", crash)
    return app


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
async def test_every_answer_carries_the_security_headers(
    app: Quart, member: Member, method: str, path: str, status: int
) -> None:
    client = with_a_crash(app).test_client()
    await log_in(client, member)
    response = await ask(client, method, path)
    assert response.status_code == status
    assert {name: response.headers.get(name) for name in ALWAYS} == ALWAYS
    assert "Strict-Transport-Security" not in response.headers
    assert "Server" not in response.headers


async def test_a_refusal_of_size_or_of_another_site_carries_them_too(visitor: Client) -> None:
    for headers, status in (
        ({"Content-Length": "65537"}, 413),
        ({"Origin": "null"}, 403),
    ):
        for path in ("/login", "/api/login"):
            response = await visitor.post(path, headers=dict(headers))
            assert response.status_code == status
            assert {name: response.headers.get(name) for name in ALWAYS} == ALWAYS


@pytest.mark.parametrize("path", ["/login", "/nothing", "/crash", f"{STATIC}/style.css"])
async def test_over_https_the_browser_is_told_to_stay_there(
    make_app: MakeApp, settings: Settings, path: str
) -> None:
    app = await make_app(with_setting(settings, public_url="https://quart.example"))
    response = await with_a_crash(app).test_client().get(path, scheme="https")
    assert response.headers["Strict-Transport-Security"] == "max-age=31536000"


async def test_a_static_file_is_no_activity(browser: Client, clock: Clock) -> None:
    clock.advance(timedelta(hours=1))
    assert not set_cookies(await browser.get(f"{STATIC}/style.css"))
    assert set_cookies(await browser.get("/"))  # a page is, at the same time


@pytest.mark.parametrize("path", ["/", "/platforms", "/account", "/api/platforms"])
async def test_what_a_member_sees_is_kept_by_no_cache(browser: Client, path: str) -> None:
    response = await browser.get(path)
    assert response.headers["Cache-Control"] == "no-store"
    assert "Cookie" in response.headers["Vary"]


async def test_pages_hold_nothing_inline(browser: Client, visitor: Client, member: Member) -> None:
    pages: list[Any] = [await visitor.get("/login"), await visitor.get("/nothing")]
    paths = ("/", "/platforms", "/account", f"/platforms/{member.platform_ids[0]}/remove")
    pages += [await browser.get(path) for path in paths]
    for page in pages:
        html = await page.get_data(as_text=True)
        assert "<main" in html
        assert not re.search(r"<style|<script(?![^>]* src=)|\sstyle=|\son[a-z]+=|javascript:", html)


pytestmark = pytest.mark.sqlite_unless_thorough
