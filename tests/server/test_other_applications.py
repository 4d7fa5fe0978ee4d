"""A Flask application under gunicorn, which nginx or Caddy guards by /auth/verify.

The applications and the proxies' configurations are those of the documents.
"""

import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from quart_app.settings import with_setting
from tests.conftest import PASSWORD, migrated_database, settings_for
from tests.listening import free_port, running
from tests.processes import (
    ENDED_WITHIN_SECONDS,
    Processes,
    connect,
    cookie_of,
    log_in,
    log_out,
    session_of,
    two_processes,
    with_session,
)
from tests.proxies import caddy, nginx
from tests.servers import ROOT, cookieless_client, environ_of

START = {"nginx": nginx, "caddyfile": caddy}
HTML = {"Accept": "text/html,application/xhtml+xml"}
FORGED = [
    {"X-User-Id": "77", "X-Platform-Connection-Id": "88"},
    {"x-user-id": "77", "X-PLATFORM-CONNECTION-ID": "88"},
    *({"X{}User{}Id".format(*marks): "77"} for marks in product("-_", repeat=2)),
    *({"X{}Platform{}Connection{}Id".format(*marks): "88"} for marks in product("-_", repeat=3)),
    {"X-Forwarded-Uri": "/login", "X-Original-URI": "/", "X-Forwarded-Method": "OPTIONS"},
]


class Site(NamedTuple):
    """A proxy with the Flask application below /old/, and the processes of this one.

    The proxy asks process B, so that what happens on A has to travel.
    """

    client: httpx2.Client
    processes: Processes


def block(page: str, language: str, number: int = 0) -> str:
    """Return a block of code of a document."""
    text = (ROOT / "docs" / page).read_text()
    blocks: list[str] = re.findall(rf"(?s)```{language}\n(.*?)```", text)
    return blocks[number]


@contextmanager
def gunicorn(folder: Path, code: str, environ: dict[str, str] | None = None) -> Iterator[int]:
    """Serve a Flask application with synchronous workers; yield its port.

    It accepts header names with `_`, which it drops by default: the proxy must do so.
    """
    (folder / "old.py").write_text(code)
    (folder / "gunicorn.conf.py").write_text("header_map = 'dangerous'\n")
    port = free_port()
    command = [
        *("env", f"PYTHONPATH={ROOT}", *(f"{k}={v}" for k, v in (environ or {}).items())),
        *(sys.executable, "-m", "gunicorn", "--chdir", str(folder)),
        *("--config", str(folder / "gunicorn.conf.py")),
        *("--bind", f"127.0.0.1:{port}", "--workers", "2", "--no-control-socket", "old:app"),
    ]
    with running(command, [port], folder / "gunicorn.log"):
        yield port


@contextmanager
def proxied(config: pytest.Config, kind: str, app: str, other: int) -> Iterator[httpx2.Client]:
    """Run a proxy with the documented configuration; `app` is host and port of this application."""
    port = free_port()
    text = block("auth-verify.md", kind)
    for documented, real in (
        ("127.0.0.1:8000", app),
        ("127.0.0.1:5000", f"127.0.0.1:{other}"),
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("http://:80 ", f"http://127.0.0.1:{port} "),
    ):
        text = text.replace(documented, real)
    with START[kind](config, text, [port]), cookieless_client(f"http://127.0.0.1:{port}") as client:
        yield client


@pytest.fixture(scope="module")
def processes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Processes]:
    folder = tmp_path_factory.mktemp("processes")
    with migrated_database("sqlite", request, folder) as url:
        settings = with_setting(settings_for(url), trusted_proxies=1, guarded_paths=("/old/",))
        with two_processes(settings, folder) as both:
            yield both


@pytest.fixture(scope="module")
def flask_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("flask")
    with gunicorn(folder, block("beside-a-flask-app.md", "python")) as port:
        yield port


@pytest.fixture(scope="module", params=START)
def site(
    request: pytest.FixtureRequest, pytestconfig: pytest.Config, flask_port: int
) -> Iterator[Site]:
    processes: Processes = request.getfixturevalue("processes")
    b = processes.b.url.removeprefix("http://")
    with proxied(pytestconfig, request.param, b, flask_port) as client:
        yield Site(client, processes)


@pytest.fixture
def cookie(site: Site) -> str:
    """A session cookie of a new user without a platform connection."""
    return log_in(site.processes.a, site.processes.new_user())


def ask(site: Site, cookie: str = "", **more: Any) -> httpx2.Response:
    headers = {"Cookie": f"session={cookie}"} if cookie else {}
    headers |= more.pop("headers", {})
    return site.client.request(more.pop("method", "GET"), "/old/", headers=headers, **more)


def test_the_other_application_is_told_the_user_and_the_platform_connection(
    site: Site, cookie: str
) -> None:
    user_id = session_of(cookie)["user_id"]
    expected = {"user_id": user_id, "platform_connection_id": None, "said": ""}
    assert ask(site, cookie).json() == expected
    platform_connection_id = connect(site.processes.a, cookie, "Photos")
    answer = site.client.post(
        f"/api/platforms/{platform_connection_id}/switch", headers={"Cookie": f"session={cookie}"}
    )
    switched = cookie_of(answer)
    assert switched, answer.text
    expected["platform_connection_id"] = platform_connection_id
    assert ask(site, switched).json() == expected
    assert ask(site, switched, method="POST", content="a form").json() == expected | {
        "said": "a form"
    }


@pytest.mark.parametrize("forged", FORGED, ids=map(str, range(len(FORGED))))
def test_no_client_can_name_itself(site: Site, cookie: str, forged: dict[str, str]) -> None:
    answer = ask(site, cookie, headers=forged)
    assert answer.status_code == 200, answer.text
    assert answer.json()["user_id"] == session_of(cookie)["user_id"]
    assert answer.json()["platform_connection_id"] is None
    assert ask(site, headers=forged).status_code == 401
    assert ask(site, "forged.cookie", headers=forged).status_code == 401


def test_a_browser_without_a_session_is_sent_to_the_login_page(site: Site) -> None:
    answer = ask(site, headers=HTML)
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/login?next=/old/"
    assert ask(site).status_code == 401
    page = site.client.get(answer.headers["Location"], headers=HTML)
    assert 'name="next" value="/old/"' in page.text


def test_a_login_leads_back_to_the_page_of_the_other_application(site: Site) -> None:
    asked = site.client.get("/old/page?number=7", headers=HTML).headers["Location"]
    sent_back = dict(parse_qsl(urlsplit(asked).query))["next"]
    form = {"username": site.processes.new_user(), "password": PASSWORD, "next": sent_back}
    answer = site.processes.a.ask("POST", "/login", data=form)
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/old/page?number=7"


def test_the_other_applications_own_errors_are_passed_on(site: Site, cookie: str) -> None:
    headers = {"Cookie": f"session={cookie}", **HTML}
    assert site.client.get("/old/nowhere", headers=headers).status_code == 404
    assert site.client.put("/old/", headers=headers).status_code == 405


def test_too_many_session_cookies_do_not_lead_to_the_login_page(site: Site, cookie: str) -> None:
    many = "session=x; " * 10 + f"session={cookie}"
    answer = site.client.get("/old/", headers={"Cookie": many, **HTML})
    assert answer.status_code == 403


def test_the_question_itself_is_open_to_clients_only_through_the_application(
    site: Site, cookie: str
) -> None:
    """A client learns nothing there but its own ids."""
    headers = {"Cookie": f"session={cookie}", "X-User-Id": "77"}
    answer = site.client.get("/auth/verify/old/", headers=headers)
    assert answer.status_code == 204
    assert answer.headers["X-User-Id"] == str(session_of(cookie)["user_id"])
    assert site.client.get("/_verify", headers=headers).status_code == 404


@pytest.mark.alone
def test_a_logout_is_final_in_the_other_application_within_a_second(
    site: Site, cookie: str
) -> None:
    for everywhere in (False, True):
        copy = log_in(site.processes.a, site.processes.new_user()) if everywhere else cookie
        assert ask(site, copy).status_code == 200
        since = time.monotonic()
        log_out(site.processes.a, copy, everywhere=everywhere)
        while True:
            sent = time.monotonic() - since
            if (status := ask(site, copy).status_code) == 401:
                break
            assert status == 200
            assert sent <= ENDED_WITHIN_SECONDS, f"still answered when asked after {sent:.3f} s"


@pytest.mark.parametrize("kind", START)
def test_nothing_is_passed_on_while_nobody_answers_the_question(
    kind: str, flask_port: int, processes: Processes, pytestconfig: pytest.Config
) -> None:
    cookie = log_in(processes.a, processes.new_user())
    with proxied(pytestconfig, kind, f"127.0.0.1:{free_port()}", flask_port) as client:
        answer = client.get("/old/", headers={"Cookie": f"session={cookie}"})
        assert answer.status_code == (503 if kind == "nginx" else 502), answer.text


def test_flask_reads_the_cookie_with_the_same_key(processes: Processes, tmp_path: Path) -> None:
    cookie = log_in(processes.a, processes.new_user())
    greeting = f"Hello, user {session_of(cookie)['user_id']}."
    code = block("beside-a-flask-app.md", "python", 1)
    with ExitStack() as stack:
        port = stack.enter_context(gunicorn(tmp_path, code, environ_of(processes.settings)))
        client = stack.enter_context(cookieless_client(f"http://127.0.0.1:{port}"))

        def greeted(value: str) -> str:
            answer = client.get("/greeting", headers={"Cookie": f"session={value}"})
            assert (answer.status_code, "Set-Cookie" in answer.headers) == (200, False)
            return answer.text

        assert greeted(cookie) == greeting
        assert greeted("x" + cookie) == greeted("") == "Hello."
        over = with_session(cookie, expires_at="2025-01-01T00:00:00.000000Z")
        assert greeted(over) == "Hello."
        log_out(processes.a, cookie)
        assert greeted(cookie) == greeting  # as the page warns
