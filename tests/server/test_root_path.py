"""The application below a path of a site, behind nginx."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import URL

from quart_app.settings import Settings, with_setting
from tests.conftest import PASSWORD, settings_for
from tests.listening import free_port
from tests.processes import new_user
from tests.proxies import nginx
from tests.servers import ROOT, hypercorn

_NGINX = """
server {{
  listen 127.0.0.1:{port};
  location /app/ {{ proxy_pass {app}{removes}; proxy_set_header Host $http_host; }}
  location /other/ {{ proxy_pass {other}{removes}; proxy_set_header Host $http_host; }}
}}
"""
# With a URI, nginx replaces the location's path by it.
PASSED_ON, REMOVED = "", "/"


_DOCUMENTED = """
upstream quart_app {{ server {address}; }}
server {{
  listen 127.0.0.1:{port};
  proxy_set_header Host $http_host;
  {locations}
}}
"""


def documented_locations() -> str:
    """Return the configuration of nginx in docs/operations.md."""
    text = (ROOT / "docs/operations.md").read_text()
    found = re.search(r"In nginx, replace .*?:\n\n((?:    .*\n|\n)+)", text)
    assert found is not None
    return found[1]


@pytest.fixture
def settings(migrated_sqlite: Path) -> Settings:
    return settings_for(URL.create("sqlite+aiosqlite", database=str(migrated_sqlite)))


@contextmanager
def two_applications(
    settings: Settings, folder: Path, config: pytest.Config, removes: str
) -> Iterator[str]:
    """Serve at /app and /other of one site. They share a database and the keys of their cookies."""
    port = free_port()
    site = f"http://127.0.0.1:{port}"
    with (
        hypercorn(with_setting(settings, public_url=f"{site}/app"), folder) as app,
        hypercorn(with_setting(settings, public_url=f"{site}/other"), folder) as other,
        nginx(
            config, _NGINX.format(port=port, app=app.url, other=other.url, removes=removes), [port]
        ),
    ):
        yield site


@pytest.mark.parametrize("removes", [PASSED_ON, REMOVED], ids=["passed on", "removed"])
def test_two_applications_below_two_paths_of_one_site_share_no_session(
    settings: Settings, tmp_path: Path, pytestconfig: pytest.Config, removes: str
) -> None:
    form = {"username": new_user(settings), "password": PASSWORD}
    with (
        two_applications(settings, tmp_path, pytestconfig, removes) as site,
        httpx2.Client(base_url=site, headers={"Origin": site}) as client,
    ):

        def log_in(root: str) -> None:
            asked = client.get(f"{root}/devices")
            assert asked.headers["Location"] == f"{root}/login?next={root}/devices"
            answer = client.post(f"{root}/login", data=form | {"next": f"{root}/devices"})
            assert (answer.status_code, answer.headers["Location"]) == (303, f"{root}/devices")
            assert client.get(f"{root}/devices").status_code == 200

        def verdicts() -> list[int]:
            return [client.get(f"{root}/auth/verify").status_code for root in ("/app", "/other")]

        assert client.get("/app").headers["Location"].endswith("/app/")  # nginx's
        log_in("/app")
        assert verdicts() == [204, 401]
        log_in("/other")
        assert verdicts() == [204, 204]
        assert client.post("/app/logout").status_code == 303
        assert verdicts() == [401, 204]
        assert {cookie.path for cookie in client.cookies.jar} == {"/app", "/other"}


def test_the_documented_locations_of_nginx_serve_the_application(
    settings: Settings, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    port = free_port()
    site = f"http://127.0.0.1:{port}"
    login = {"username": new_user(settings), "password": PASSWORD}
    with hypercorn(with_setting(settings, public_url=f"{site}/app"), tmp_path) as server:
        configuration = _DOCUMENTED.format(
            address=server.url.removeprefix("http://"), port=port, locations=documented_locations()
        )
        with (
            nginx(pytestconfig, configuration, [port]),
            httpx2.Client(base_url=f"{site}/app") as client,
        ):
            assert client.post("/api/login", json=login).status_code == 200
            assert client.get("/devices").status_code == 200
            with client.stream("GET", "/api/session_events") as events:
                assert events.headers["Content-Type"].startswith("text/event-stream")
                assert next(events.iter_raw())
            assert client.get("/metrics").status_code == 403
            assert httpx2.get(f"{site}/devices").status_code == 404
