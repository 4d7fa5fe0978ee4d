"""Rules for every route: authentication, cross-site requests and body size.

These tests walk the application's own URL map, so a new route must follow the same rules.
"""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from quart import Quart, Response
from quart.typing import TestClientProtocol as Client

from quart_app.web.pipeline import gate
from quart_app.web.pipeline.access import Mark, is_marked
from quart_app.web.rendering.assets import read_tree

PUBLIC = {
    "static",
    "accounts.login_page",
    "accounts.log_in",
    "accounts.log_out",
    "accounts.set_up_page",
    "accounts.set_up",
    "one_time_passwords.form_page",
    "one_time_passwords.choose",
    "reset_links.form_page",
    "reset_links.use",
    "api_openapi.show",
    "api_session.log_in",
    "api_session.log_out",
    "csp_reports.take",
    "metrics.show",
    "operations.healthz",
    "operations.readyz",
}
ACTING = {"POST", "PUT", "PATCH", "DELETE"}
HALF_THE_LIMIT = b" " * (gate.LARGEST_BODY_BYTES // 2)


@pytest.fixture
def engine_name() -> str:
    """One engine is enough, because no test here reaches the database."""
    return "sqlite"


def routes(app: Quart) -> Iterator[tuple[str, str, str]]:
    """Yield the endpoint, method and a path of every route."""
    urls = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        names = {"tree_hash": read_tree().hash, "filename": "style.css"}
        values = {name: names.get(name, 1) for name in rule.arguments}
        path = urls.build(rule.endpoint, values)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield rule.endpoint, method, path


def acting_routes(app: Quart) -> list[tuple[str, str]]:
    found = [(method, path) for _, method, path in routes(app) if method in ACTING]
    assert ("POST", "/logout") in found
    assert ("DELETE", "/api/platforms/1") in found
    return found


async def ask(
    client: Any, method: str, path: str, headers: dict[str, str] | None = None
) -> Response:
    """Send a request with any method; the test client's type has no way to do so without JSON."""
    response: Response = await client.open(path, method=method, headers=dict(headers or {}))
    return response


def asks_to_log_in(response: Response) -> bool:
    if response.status_code == HTTPStatus.SEE_OTHER:
        location = response.headers["Location"]
        if any("_notice_" in line for line in response.headers.getlist("Set-Cookie")):  # a logout's
            return False
        return location == "/login" or location.startswith("/login?next=")
    return response.status_code == HTTPStatus.UNAUTHORIZED


async def test_every_route_requires_a_login_or_is_listed_as_public(
    app: Quart, visitor: Client
) -> None:
    views = app.view_functions.items()
    assert {endpoint for endpoint, view in views if is_marked(Mark.PUBLIC, view)} == PUBLIC
    wrong = [
        (method, path)
        for endpoint, method, path in routes(app)
        if asks_to_log_in(await ask(visitor, method, path)) is (endpoint in PUBLIC)
    ]
    assert not wrong


async def test_a_new_route_is_closed_until_it_is_marked_public(app: Quart, visitor: Client) -> None:
    async def new() -> str:
        return "for members only"

    app.add_url_rule("/new", "new", new)
    app.add_url_rule("/api/new", "api_new", new)
    assert (await visitor.get("/new")).headers["Location"] == "/login?next=/new"
    assert (await visitor.get("/api/new")).status_code == 401
    assert (await visitor.head("/api/new")).status_code == 401


async def test_logging_out_without_a_session_leads_to_the_login_page(visitor: Client) -> None:
    response = await visitor.post("/logout")
    assert response.status_code == 303
    assert response.headers["Location"] == "/login"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": ""},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://["},
        {"Origin": "http://localhost:8001"},
        {"Origin": "https://localhost"},
        {"Origin": "http://localhost.evil.example"},
    ],
    ids=str,
)
async def test_every_route_refuses_cross_site_requests(
    app: Quart, browser: Client, headers: dict[str, str]
) -> None:
    before = await (await browser.get("/api/platforms")).get_json()
    for method, path in acting_routes(app):
        response = await ask(browser, method, path, headers)
        text = await response.get_data(as_text=True)
        assert response.status_code == 403, (method, path)
        assert ("cross_site" if path.startswith("/api/") else "came from another site") in text
        assert "Set-Cookie" not in response.headers
    assert (await browser.get("/api/session_state")).status_code == 200
    assert await (await browser.get("/api/platforms")).get_json() == before


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://behind.a.proxy.example"},
        {"Origin": "http://localhost"},
        {"Origin": "http://localhost:80"},
        {"Origin": "HTTP://LOCALHOST"},
        {"Origin": "http://localhost", "Host": "localhost:80"},
        {"Origin": "http://localhost:8001", "Host": "localhost:8001"},
    ],
    ids=str,
)
async def test_every_route_accepts_same_origin_requests_and_clients_that_are_no_browser(
    app: Quart, visitor: Client, headers: dict[str, str]
) -> None:
    for method, path in acting_routes(app):
        response = await ask(visitor, method, path, headers)
        assert response.status_code != 403, (method, path)


@pytest.mark.parametrize(
    ("origin", "status"),
    [("https://localhost", 204), ("https://localhost:443", 204), ("http://localhost", 403)],
)
async def test_the_origin_of_an_https_request_is_https(
    visitor: Client, origin: str, status: int
) -> None:
    response = await visitor.post("/api/logout", headers={"Origin": origin}, scheme="https")
    assert response.status_code == status


async def test_another_site_may_link_to_a_page(browser: Client) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"}
    assert (await browser.get("/", headers=headers)).status_code == 200


async def send(
    client: Client, method: str, path: str, headers: dict[str, str], chunks: list[bytes]
) -> Response:
    """Send chunks without ever finishing the body."""
    async with client.request(path, method=method, headers=headers) as connection:
        for chunk in chunks:
            await connection.send(chunk)
    return await connection.as_response()


@pytest.mark.parametrize(
    ("headers", "chunks"),
    [
        ({"Content-Length": str(gate.LARGEST_BODY_BYTES + 1)}, []),
        ({"Content-Length": "10000000"}, []),
        ({"Transfer-Encoding": "chunked"}, [HALF_THE_LIMIT, HALF_THE_LIMIT, b"."]),
        ({}, [HALF_THE_LIMIT * 3]),
    ],
    ids=["declared", "declared as 10 MB", "chunked", "undeclared"],
)
@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
async def test_no_route_accepts_more_than_64_kib(
    app: Quart, browser: Client, content_type: str, headers: dict[str, str], chunks: list[bytes]
) -> None:
    for method, path in acting_routes(app):
        response = await send(
            browser, method, path, {"Content-Type": content_type, **headers}, chunks
        )
        text = await response.get_data(as_text=True)
        assert response.status_code == 413, (method, path)
        is_json = path.startswith("/api/")
        assert ("body_too_large" if is_json else "The request is too large.") in text
    assert (await browser.get("/api/session_state")).status_code == 200


@pytest.mark.parametrize(("excess", "status"), [(0, 400), (1, 413)])
async def test_the_limit_is_exactly_64_kib(visitor: Client, excess: int, status: int) -> None:
    response = await visitor.post(
        "/api/login",
        data=b" " * (gate.LARGEST_BODY_BYTES + excess),
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code == status


async def test_a_get_request_with_a_large_body_is_refused(visitor: Client) -> None:
    response = await visitor.get("/login", headers={"Content-Length": "65537"})
    assert response.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/nothing", 404, "not_found"),
        ("POST", "/api/nothing", 404, "not_found"),
        ("PUT", "/api/platforms", 405, "method_not_allowed"),
        ("TRACE", "/api/platforms", 405, "method_not_allowed"),
        ("GET", "/api/login", 405, "method_not_allowed"),
    ],
)
async def test_an_unknown_path_is_a_problem_document(
    visitor: Client, method: str, path: str, status: int, code: str
) -> None:
    response = await ask(visitor, method, path)
    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    assert (await response.get_json(force=True))["code"] == code
    assert ("Allow" in response.headers) is (status == 405)


@pytest.mark.parametrize(
    "path", ["/nothing", "/static/", "/static/../app.py", "/static/..%2f..%2fapp.py", "/a%00b"]
)
async def test_an_unknown_path_is_a_page_for_browsers(visitor: Client, path: str) -> None:
    response = await visitor.get(path)
    assert response.status_code == 404
    assert response.mimetype == "text/html"
    assert "There is nothing here." in await response.get_data(as_text=True)


pytestmark = pytest.mark.sqlite_unless_thorough
