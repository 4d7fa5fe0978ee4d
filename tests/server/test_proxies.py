"""The application behind nginx and HAProxy, over HTTP/1.1."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import URL

from quart_app.settings import with_setting
from quart_app.web.pipeline.deployment_notes import NOT_TRUSTED, ONE_ADDRESS, OTHER_HOST
from tests.conftest import PASSWORD, settings_for
from tests.listening import free_port
from tests.processes import new_user
from tests.proxies import haproxy, nginx
from tests.servers import Server, hypercorn

_NGINX = """
server {{
  listen 127.0.0.1:{port};
  location / {{ proxy_pass {url}; proxy_set_header Host $host; }}
}}
"""
_HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen site
  bind 127.0.0.1:{port}
  server one {address}
"""


@pytest.fixture
def server(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Server]:
    url = URL.create("sqlite+aiosqlite", database=str(migrated_sqlite))
    with hypercorn(settings_for(url), tmp_path) as server:
        yield server


@pytest.mark.parametrize("name", ["nginx", "HAProxy"])
def test_the_application_answers_through_a_proxy(
    server: Server, name: str, pytestconfig: pytest.Config
) -> None:
    port = free_port()
    start, template = {"nginx": (nginx, _NGINX), "HAProxy": (haproxy, _HAPROXY)}[name]
    address = server.url.removeprefix("http://")
    with start(pytestconfig, template.format(port=port, url=server.url, address=address), [port]):
        answer = httpx2.get(f"http://127.0.0.1:{port}/readyz")
    assert answer.status_code == 200, answer.text


def test_a_login_over_plain_http_works_although_nginx_drops_the_port(
    migrated_sqlite: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    port = free_port()
    site = f"http://127.0.0.1:{port}"
    settings = settings_for(URL.create("sqlite+aiosqlite", database=str(migrated_sqlite)))
    form = {"username": "nobody", "password": "wrong"}

    def log_in(origin: str) -> int:
        # Over plain http, browsers send Origin and no Sec-Fetch-Site.
        return httpx2.post(f"{site}/login", data=form, headers={"Origin": origin}).status_code

    with (
        hypercorn(with_setting(settings, public_url=site), tmp_path) as server,
        nginx(pytestconfig, _NGINX.format(port=port, url=server.url), [port]),
    ):
        assert log_in(site) == 401  # the password was compared
        assert log_in("http://127.0.0.1:1") == 403
        assert log_in("http://evil.example") == 403


def test_a_server_whose_proxy_it_does_not_know_says_so_once(
    migrated_sqlite: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    port = free_port()
    settings = settings_for(URL.create("sqlite+aiosqlite", database=str(migrated_sqlite)))
    forms = [{"username": new_user(settings), "password": PASSWORD} for _ in range(3)]
    settings = with_setting(settings, public_url="http://quart.example")
    forwarding = _NGINX.replace("; }", "; proxy_set_header X-Forwarded-For $remote_addr; }")
    with (
        hypercorn(settings, tmp_path) as server,
        nginx(pytestconfig, forwarding.format(port=port, url=server.url), [port]),
    ):
        assert server.ask("GET", "/readyz").json() == {"status": "ready"}
        for form in [*forms, *forms]:
            answer = httpx2.post(f"http://127.0.0.1:{port}/login", data=form)
            assert answer.status_code == 303
        notes = server.ask("GET", "/readyz").json()["notes"]
    assert notes == [NOT_TRUSTED, OTHER_HOST, ONE_ADDRESS]
    log = server.log.read_text()
    assert [log.count(note) for note in notes] == [1, 1, 1]


def test_the_access_log_has_the_address_of_the_client_of_trusted_proxies(
    migrated_sqlite: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    port = free_port()
    settings = settings_for(URL.create("sqlite+aiosqlite", database=str(migrated_sqlite)))
    forwarding = _NGINX.replace(
        "; }}", "; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }}"
    )
    # The client is the outer of two proxies. It passes on what its own client claims.
    claimed = {"X-Forwarded-For": "198.51.100.7, 2001:db8::9"}
    # Pages, an answer that is made before Quart, and a refusal.
    paths = ["/login", "/auth/verify", "/nothing", f"/refused?{'&' * 100}"]
    with (
        hypercorn(with_setting(settings, trusted_proxies=2), tmp_path) as server,
        nginx(pytestconfig, forwarding.format(port=port, url=server.url), [port]),
    ):
        for path in paths:
            httpx2.get(f"http://127.0.0.1:{port}{path}", headers=claimed)
        httpx2.get(f"{server.url}/direct", headers={"X-Forwarded-For": "198.51.100.7"})
    lines = [line for line in server.log.read_text().splitlines() if '"GET /' in line]
    found = {line.split('"')[1].split()[1]: line.split('"')[0].split()[-1] for line in lines}
    assert {found[path.partition("?")[0]] for path in paths} == {"2001:db8::9"}
    assert found["/direct"].startswith("127.0.0.1:")  # by fewer proxies than are trusted
