"""/auth/verify in process: its answers, its headers, and what must not change its verdict."""

from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client

from quart_app.session.cookie_header import MOST_COOKIES_OF_A_NAME
from quart_app.settings import Settings, with_setting
from tests.conftest import Clock, MakeApp, Member, set_cookies
from tests.web.test_headers import ALWAYS

pytestmark = pytest.mark.sqlite_unless_thorough

PATH = "/auth/verify"
Headers = list[tuple[bytes, bytes]]
# Headers of the original request, which a proxy may pass on with its question.
PASSED_ON: list[Headers] = [
    [(b"x-forwarded-uri", b"/admin"), (b"x-forwarded-method", b"DELETE")],
    [(b"x-forwarded-uri", b"\xff\xfe")],
    [(b"x-original-url", b"/login"), (b"x-forwarded-host", b"evil.example")],
    [(b"x-forwarded-for", b"nonsense"), (b"x-forwarded-proto", b"gopher")],
    [(b"host", b"a..b")],
    [(b"host", b"")],
    [(b"upgrade", b"websocket"), (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")],
    [(b"sec-fetch-site", b"cross-site"), (b"origin", b"https://evil.example")],
    [(b"origin", b"null"), (b"access-control-request-method", b"PUT")],
    [(b"content-length", b"100000000"), (b"content-type", b"application/json")],
    [(b"content-type", b"multipart/form-data; boundary=x")],
    [(b"x-user-id", b"77"), (b"x-platform-connection-id", b"88")],
    [(b"authorization", b"Bearer x"), (b"accept", b"a" * 5000)],
]


class Answer(NamedTuple):
    """An answer as ASGI has it; `headers` keeps every header, in order."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for each, value in self.headers if each == name]

    @property
    def identity(self) -> tuple[list[str], list[str]]:
        return self.all("x-user-id"), self.all("x-platform-connection-id")


async def ask(
    app: Quart,
    cookie: str = "",
    *,
    method: str = "GET",
    path: str = PATH,
    query: bytes = b"",
    headers: Headers | None = None,
) -> Answer:
    """Send a request without Quart's client, which could not send some of these."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("the body was read")

    scope: Any = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [*(headers or []), *([(b"cookie", cookie.encode())] if cookie else [])],
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 80),
        "extensions": {},
    }
    await app(scope, receive, send)
    start, *bodies = sent
    found = [(name.decode(), value.decode()) for name, value in start["headers"]]
    return Answer(start["status"], found, b"".join(each.get("body", b"") for each in bodies))


@pytest.fixture
async def session(app: Quart, member: Member) -> str:
    """The Cookie header of a session whose platform connection is the member's first."""
    return await cookie_after_login(app, member)


async def cookie_after_login(app: Quart, member: Member, name: str = "session") -> str:
    response = await app.test_client().post(
        "/api/login", json={"username": member.username, "password": member.password}
    )
    return set_cookies(response)[name].partition(";")[0]


async def test_a_session_is_answered_with_its_user_and_platform_connection(
    app: Quart, member: Member, session: str
) -> None:
    answer = await ask(app, session)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.identity == ([str(member.id)], [str(member.platform_ids[0])])
    other = member.platform_ids[2]
    switch: Any = await app.test_client().post(
        f"/api/platforms/{other}/switch", headers={"Cookie": session}
    )
    switched = set_cookies(switch)["session"].partition(";")[0]
    assert (await ask(app, switched)).identity == ([str(member.id)], [str(other)])


async def test_both_headers_are_sent_although_there_is_no_platform_connection(
    app: Quart, member: Member, browser: Client
) -> None:
    for each in member.platform_ids:
        assert (await browser.delete(f"/api/platforms/{each}")).status_code == 204
    answer = await ask(app, await cookie_after_login(app, member))
    assert (answer.status, answer.identity) == (204, ([str(member.id)], [""]))


@pytest.mark.parametrize("cookie", ["", "theme=dark", "session=", "session=x.y.z"])
async def test_a_request_without_a_session_is_answered_with_401(app: Quart, cookie: str) -> None:
    answer = await ask(app, cookie)
    assert (answer.status, answer.identity) == (401, ([""], [""]))
    assert b'"not_logged_in"' in answer.body


async def test_a_session_that_has_ended_or_expired_is_answered_with_401(
    app: Quart, member: Member, session: str, clock: Clock
) -> None:
    other = await cookie_after_login(app, member)
    await app.test_client().post("/api/logout", headers={"Cookie": session})
    assert [(await ask(app, each)).status for each in (session, other)] == [401, 204]
    clock.advance(timedelta(hours=8))
    assert (await ask(app, other)).identity == ([""], [""])


async def test_a_session_is_answered_with_503_while_the_revocation_list_is_stale(
    app: Quart, session: str
) -> None:
    revocations = app.extensions["quart_app"].revocations
    revocations._confirmed = None
    answer = await ask(app, session)
    assert (answer.status, answer.identity) == (503, ([""], [""]))
    assert answer.all("retry-after") == ["5"]
    assert b'"unavailable"' in answer.body
    assert (await ask(app)).status == 401  # whatever the list says, this is no session
    revocations.confirm(revocations.read_clocks())
    assert (await ask(app, session)).status == 204


async def test_too_many_session_cookies_are_answered_with_403(app: Quart, session: str) -> None:
    """A login would not help, so the answer must not send the browser to one."""
    answer = await ask(app, "session=x; " * MOST_COOKIES_OF_A_NAME + session)
    assert (answer.status, answer.identity) == (403, ([""], [""]))
    assert b'"too_many_cookies"' in answer.body


@pytest.mark.parametrize("path", [PATH, f"{PATH}/", f"{PATH}/old/page.html", f"{PATH}/é//.."])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "TRACE", "BREW"])
async def test_any_method_and_any_path_below_are_accepted(
    app: Quart, member: Member, session: str, method: str, path: str
) -> None:
    answer = await ask(app, session, method=method, path=path, query=b"\xff&" * 500)
    assert (answer.status, answer.all("x-user-id")) == (204, [str(member.id)])
    assert (await ask(app, method=method, path=path, query=b"\xff")).status == 401


@pytest.mark.parametrize("path", [f"{PATH}x", "/auth", "/auth/", "/auth/verif", f"/x{PATH}"])
async def test_other_paths_are_not_answered_here(app: Quart, session: str, path: str) -> None:
    response: Any = await app.test_client().get(path, headers={"Cookie": session})
    assert response.status_code == 404
    assert "X-User-Id" not in response.headers


@pytest.mark.parametrize("passed_on", PASSED_ON, ids=map(str, range(len(PASSED_ON))))
@pytest.mark.parametrize("trusted_proxies", [0, 1])
async def test_headers_of_the_original_request_do_not_change_the_verdict(
    settings: Settings,
    make_app: MakeApp,
    member: Member,
    passed_on: Headers,
    trusted_proxies: int,
) -> None:
    app = await make_app(with_setting(settings, trusted_proxies=trusted_proxies))
    session = await cookie_after_login(app, member)
    answer = await ask(app, session, headers=passed_on, method="POST")
    assert (answer.status, answer.identity[0]) == (204, [str(member.id)])
    answer = await ask(app, headers=passed_on, method="POST")
    assert (answer.status, answer.identity) == (401, ([""], [""]))


async def test_the_answer_takes_no_query_and_sets_no_cookie(
    app: Quart, session: str, statements: list[str], clock: Clock
) -> None:
    before = await session_state(app, session)
    clock.advance(timedelta(hours=1))  # a page would now renew the session
    statements.clear()
    answers = [await ask(app, each) for each in (session, "", "session=x.y.z")]
    assert not statements
    assert not any(answer.all("set-cookie") for answer in answers)
    assert (await session_state(app, session))["last_activity"] == before["last_activity"]


async def session_state(app: Quart, cookie: str) -> Any:
    response = await app.test_client().get("/api/session_state", headers={"Cookie": cookie})
    return await response.get_json()


async def test_every_answer_has_a_request_id_and_is_kept_by_no_cache(
    app: Quart, session: str
) -> None:
    answers = {}
    for cookie in (session, "", "session=x; " * 11):
        answer = await ask(app, cookie)
        answers[answer.status] = answer
    app.extensions["quart_app"].revocations._confirmed = None
    answers[503] = await ask(app, session)
    assert set(answers) == {204, 401, 403, 503}
    for status, answer in answers.items():
        assert answer.all("cache-control") == ["no-store"]
        assert answer.all("vary") == ["Cookie"]
        if status != 204:  # a proxy may show it to a browser
            headers = {name.lower(): value for name, value in ALWAYS.items()}
            assert headers.items() <= dict(answer.headers).items()
            assert answer.all("content-length") == [str(len(answer.body))]
    ids = {answer.all("x-request-id")[0] for answer in answers.values()}
    assert len(ids) == len(answers)


async def test_the_cookie_of_an_https_site_is_read(
    settings: Settings, make_app: MakeApp, member: Member
) -> None:
    app = await make_app(with_setting(settings, public_url="https://app.example"))
    cookie = await cookie_after_login(app, member, "__Host-session")
    assert (await ask(app, cookie)).status == 204
    assert (await ask(app, cookie.removeprefix("__Host-"))).status == 401


async def test_cookies_in_several_headers_are_read_together(app: Quart, session: str) -> None:
    others: Headers = [(b"cookie", b"theme=dark"), (b"cookie", b'session="x')]
    assert (await ask(app, session, headers=others)).status == 204
    many: Headers = [(b"cookie", b"session=x")] * MOST_COOKIES_OF_A_NAME
    assert (await ask(app, session, headers=many)).status == 403
