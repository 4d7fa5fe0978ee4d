"""Requests that name their platform connection, and error responses."""

import inspect
from typing import Any

import pytest
from markupsafe import escape
from quart import Quart, session
from quart.typing import TestClientProtocol as Client

from quart_app import errors
from quart_app.errors import Category
from quart_app.fediverse.errors import ServerError
from quart_app.services.identity.reset_links import ResetLinkInvalid
from tests.conftest import ENCRYPTION_KEY, PASSWORD, SECRET_KEY, Member, log_in
from tests.error_classes import answered_errors

STATUS = {
    Category.MALFORMED: 400,
    Category.NOT_AUTHENTICATED: 401,
    Category.NOT_ALLOWED: 403,
    Category.NOT_FOUND: 404,
    Category.CONFLICT: 409,
    Category.GONE: 410,
    Category.TOO_LARGE: 413,
    Category.UNSUPPORTED: 415,
    Category.INVALID: 422,
    Category.TOO_MANY: 429,
    Category.UPSTREAM: 502,
    Category.UNAVAILABLE: 503,
}
# Errors of other servers name the host, and some share a code.
KINDS = sorted(
    (kind for kind in answered_errors() if not issubclass(kind, ServerError)),
    key=lambda kind: kind.code,
)


@pytest.fixture
def engine_name() -> str:
    """One engine is enough, because this is about HTTP."""
    return "sqlite"


def test_every_error_has_a_status_and_a_code_of_its_own() -> None:
    assert set(STATUS) == set(Category) - {Category.FAILED}
    assert {errors.NotLoggedIn, ResetLinkInvalid} < set(KINDS)
    assert len({kind.code for kind in KINDS}) == len(KINDS)
    # No class is without a category: it would be answered with 500.
    kinds = {kind for _, kind in inspect.getmembers(errors, inspect.isclass)} - set(KINDS)
    assert {kind for kind in kinds if issubclass(kind, errors.AppError)} == {errors.AppError}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.code)
async def test_every_error_shows_the_same_sentence_as_problem_document_and_as_page(
    app: Quart, member: Member, kind: type[errors.AppError]
) -> None:
    async def fail() -> str:
        error = kind("a permit") if kind is errors.PasswordChangeNeeded else kind()
        error.field = "<field>"
        raise error

    app.add_url_rule("/api/fail", "fail", fail)
    app.add_url_rule("/fail", "fail_page", fail)
    client = app.test_client()
    await log_in(client, member)
    response = await client.get("/api/fail")
    assert response.mimetype == "application/problem+json"
    assert response.status_code == STATUS[kind.category]
    assert await response.get_json(force=True) == {
        "type": f"urn:quart_app:problem:{kind.code}",
        "title": kind.default_sentence,
        "status": STATUS[kind.category],
        "code": kind.code,
        "field": "<field>",
    }
    page = await client.get("/fail")
    assert page.mimetype == "text/html"
    if kind is errors.NotLoggedIn:
        assert page.status_code == 303
    else:
        assert page.status_code == STATUS[kind.category]
        assert str(escape(kind.default_sentence)) in await page.get_data(as_text=True)
    for answer in (response, page):
        assert ("Retry-After" in answer.headers) is (STATUS[kind.category] in {429, 503})


@pytest.mark.parametrize(
    ("accept", "mimetype"),
    [
        (None, "text/html"),
        ("*/*", "text/html"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
        ("application/json", "application/problem+json"),
    ],
)
async def test_a_client_that_does_not_accept_html_gets_a_problem_document(
    visitor: Client, accept: str | None, mimetype: str
) -> None:
    response = await visitor.get("/nothing", headers={"Accept": accept} if accept else None)
    assert response.mimetype == mimetype


async def test_a_view_for_programs_answers_no_page(visitor: Client) -> None:
    response = await visitor.get("/openapi.json", headers={"Content-Type": "multipart/form-data"})
    assert (response.status_code, response.mimetype) == (415, "application/problem+json")


@pytest.mark.parametrize("path", ["/crash", "/api/crash"])
async def test_a_crash_logs_nobody_in_and_reveals_no_secret(
    app: Quart, member: Member, path: str
) -> None:
    async def crash() -> str:
        session["user_id"] = 1
        raise RuntimeError(f"SELECT {SECRET_KEY} {ENCRYPTION_KEY} {PASSWORD}")

    app.add_url_rule(path, "crash", crash)
    client = app.test_client()
    await log_in(client, member)
    response = await client.get(path)
    text = await response.get_data(as_text=True)
    assert response.status_code == 500
    assert "The error was logged. Please try again" in text
    assert "Set-Cookie" not in response.headers
    for secret in (SECRET_KEY, ENCRYPTION_KEY, PASSWORD, "SELECT", "RuntimeError", "Traceback"):
        assert secret not in text
    assert (await (await client.get("/api/session_state")).get_json())["user_id"] == member.id


def context_fields(how: str, platform_id: object) -> dict[str, Any]:
    """Return the part of a request that names its platform connection."""
    if how == "header":
        return {"headers": {"X-Platform-Connection-Id": str(platform_id)}}
    return {"form": {"platform_connection_id": str(platform_id)}}


@pytest.mark.parametrize(
    ("how", "path"),
    [
        ("header", "/api/platforms/{}/default"),
        ("header", "/platforms/{}/default"),
        ("form", "/platforms/{}/default"),
    ],
)
async def test_a_request_made_for_another_connection_changes_nothing(
    browser: Client, member: Member, how: str, path: str
) -> None:
    first, second, third = member.platform_ids
    path = path.format(second)
    response = await browser.post(path, **context_fields(how, third))
    assert response.status_code == 409
    text = await response.get_data(as_text=True)
    assert "You switched accounts after you opened this page" in text
    assert ("platform_changed" in text) is path.startswith("/api/")
    for wrong in ("", "x", "-1", "1.0", "\u0661", "9" * 5000, "0" * 20 + "9" * 5000):
        header_bytes = wrong.encode().decode("latin-1") if how == "header" else wrong
        response = await browser.post(path, **context_fields(how, header_bytes))
        assert response.status_code == 422, wrong
    assert await default_of(browser) == first
    response = await browser.post(path, **context_fields(how, first))
    assert response.status_code in {200, 303}
    assert await default_of(browser) == second


async def default_of(browser: Client) -> int:
    connections = await (await browser.get("/api/platforms")).get_json()
    (default,) = (each["id"] for each in connections if each["is_default"])
    return int(default)


async def test_a_page_made_for_another_connection_may_be_read(browser: Client) -> None:
    response = await browser.get("/api/platforms", headers={"X-Platform-Connection-Id": "999"})
    assert response.status_code == 200


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize(
    ("path", "status", "heading"),
    [("/nothing", 404, "Page not found"), ("/fail", 503, "Temporarily unavailable")],
)
async def test_an_error_page_has_a_plain_heading_and_the_request_id(
    app: Quart, browser: Client, path: str, status: int, heading: str
) -> None:
    async def fail() -> str:
        raise errors.Unavailable

    app.add_url_rule("/fail", "fail", fail)
    response = await browser.get(path)
    text = await response.get_data(as_text=True)
    assert response.status_code == status
    assert f"<h1>{heading}</h1>" in text
    assert f"<title>{heading} · quart_app</title>" in text
    assert f"<code>{response.headers['X-Request-Id']}</code>" in text


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize(
    ("asked", "headers", "target"),
    [
        ("GET /devices", {}, "/devices"),
        ("GET /admin/audit?event=login&user=a", {}, "/admin/audit?event=login&amp;user=a"),
        ("POST /platforms/1/switch", {"Referer": "http://localhost/platforms"}, "/platforms"),
        ("POST /platforms/1/switch", {"Referer": "http://evil.example/platforms"}, "/"),
        ("POST /platforms/1/switch", {"Referer": "http://[/"}, "/"),
        ("POST /login", {}, "/"),
    ],
)
async def test_the_page_about_a_stale_revocation_list_offers_to_try_again(
    app: Quart, browser: Client, asked: str, headers: dict[str, str], target: str
) -> None:
    # As if it had never been confirmed.
    app.extensions["quart_app"].revocations._bound_seconds = 0.0
    method, path = asked.split()
    ask = browser.get if method == "GET" else browser.post
    response = await ask(path, headers=headers)
    text = await response.get_data(as_text=True)
    assert response.status_code == 503
    assert f'href="{target}">Try again</a>' in text
    assert "Log in" not in text
