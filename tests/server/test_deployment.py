"""A visit through the proxies of deploy/ to three processes, which use PostgreSQL by PgBouncer."""

import json
import re
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest
from standins.certificates import CertificateAuthority

from quart_app.settings import with_setting
from tests.conftest import PASSWORD, migrated_database, settings_for
from tests.deployment import DEPLOY, combined, deployed_pooler, deployed_proxy, with_replaced
from tests.event_streams import Listener, listening_by
from tests.listening import program_of
from tests.processes import ENDED_WITHIN_SECONDS, new_user
from tests.servers import Server, hypercorns

COOKIE = "__Host-session"
# Each would change what the application believes about a request.
FORGED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "http",
    "Forwarded": "for=203.0.113.9;host=evil.example;proto=http",
    "X-User-Id": "77",
    "X-Request-Id": "0123456789abcdef0123456789abcdef",
}


class Deployed(NamedTuple):
    """The three processes, and the name of a user."""

    servers: list[Server]
    username: str


class Site(NamedTuple):
    """A proxy's addresses and log, and a client that speaks HTTP/2 and keeps cookies."""

    kind: str
    url: str
    http_port: int
    log: Path
    trusted: ssl.SSLContext
    client: httpx2.Client
    deployed: Deployed


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def deployed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("deployed")
    public_url = "https://app.example.org"
    with (
        migrated_database("postgresql", request, folder) as url,
        deployed_pooler(request.config, url) as pooled,
    ):
        settings = with_setting(
            settings_for(pooled), trusted_proxies=1, database_listen_url=url, public_url=public_url
        )
        environ = {"QUART_APP_PUBLIC_URL": public_url}
        with hypercorns(3, settings, folder, environ=environ) as servers:
            yield Deployed(servers, new_user(settings))


class _Echo(BaseHTTPRequestHandler):
    """The other application: it answers with the identity headers that it gets."""

    def do_GET(self) -> None:
        body = json.dumps(
            {name: self.headers.get(name) for name in ("X-User-Id", "X-Platform-Connection-Id")}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def other_application() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module", params=["nginx", "haproxy", "caddy"])
def site(
    request: pytest.FixtureRequest,
    deployed: Deployed,
    authority: CertificateAuthority,
    other_application: str,
) -> Iterator[Site]:
    servers = [server.url.removeprefix("http://") for server in deployed.servers]
    certificate = authority.certificate("localhost")
    with deployed_proxy(
        request.config, request.param, servers, certificate, guarded=other_application
    ) as (https, http, log):
        url = f"https://localhost:{https}"
        trusted = ssl.create_default_context(cafile=str(authority.file))
        with httpx2.Client(
            base_url=url, verify=trusted, http2=True, headers={"Origin": url, **FORGED}
        ) as client:
            yield Site(request.param, url, http, log, trusted, client, deployed)


@contextmanager
def events(site: Site) -> Iterator[Listener]:
    """Read the stream of the client's session by a connection of its own."""
    with (
        httpx2.Client(
            base_url=site.url, verify=site.trusted, http2=True, cookies=site.client.cookies
        ) as client,
        listening_by(client) as listener,
    ):
        yield listener


def log_in(site: Site) -> None:
    form = {"username": site.deployed.username, "password": PASSWORD}
    answer = site.client.post("/login", data=form)
    assert (answer.status_code, answer.http_version) == (303, "HTTP/2"), answer.text
    assert site.client.cookies[COOKIE]


def add_account(site: Site, name: str) -> int:
    body = {
        "name": f"{name} {site.kind}",
        "platform_type": "mastodon",
        "instance_url": f"https://{site.kind}-{name.lower()}.example",
        "access_token": "a-token",
        "verify": False,
    }
    answer = site.client.post("/api/platforms", json=body)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


@pytest.mark.alone
def test_a_visit_through_the_deployed_files(site: Site) -> None:
    log_in(site)
    assert site.client.get("/platforms").status_code == 200
    first, second = add_account(site, "One"), add_account(site, "Two")
    listed = [each["id"] for each in site.client.get("/api/platforms").json()]
    assert {first, second} <= set(listed)
    cookie = site.client.cookies[COOKIE]

    with events(site) as listener:
        began = time.monotonic()
        answer = site.client.post(f"/api/platforms/{second}/switch")
        assert answer.json()["platform_connection_id"] == second
        assert at_event(listener, "platform") - began < ENDED_WITHIN_SECONDS

        assert site.client.post("/api/logout").status_code == 204
        ended = time.monotonic()
        for server in site.deployed.servers:
            wait_until_refused(server, cookie, ended)
        assert at_event(listener, "ended") - ended < ENDED_WITHIN_SECONDS
    assert site.client.get("/api/session_state").status_code == 401


def at_event(listener: Listener, kind: str) -> float:
    """Return when the next event of this kind was read."""
    while (event := listener.next()).kind != kind:
        assert event.kind != "closed"
    return event.at


def wait_until_refused(server: Server, cookie: str, since: float) -> None:
    """Replay the cookie at a process until it is refused, which must happen within the limit."""
    while True:
        sent = time.monotonic() - since
        headers = {"Cookie": f"{COOKIE}={cookie}"}
        status = server.client.get("/api/session_state", headers=headers).status_code
        if status == 401:
            return
        assert status == 200
        assert sent <= ENDED_WITHIN_SECONDS, f"still answered when asked after {sent:.3f} s"


def test_no_forwarded_header_of_a_client_gets_through(site: Site) -> None:
    log_in(site)
    sessions = site.client.get("/api/sessions").json()
    assert {each["address"] for each in sessions} == {"127.0.0.1"}
    for origin in ("https://evil.example", site.url.replace("https", "http")):
        answer = site.client.post("/api/session/renew", headers={"Origin": origin})
        assert answer.status_code == 403, origin


def test_one_id_leads_from_the_proxy_to_the_audit_log(site: Site) -> None:
    answer = site.client.post(
        "/login", data={"username": site.deployed.username, "password": PASSWORD}
    )
    (request_id,) = answer.headers.get_list("X-Request-Id")
    assert re.fullmatch("[0-9a-f]{32}", request_id)
    assert request_id != FORGED["X-Request-Id"]
    logs = [server.log for server in site.deployed.servers]
    wait_for_line(f'"request_id": "{request_id}"', logs)  # the audit entry
    wait_for_line(f"us {request_id}\n", logs)  # the access log
    if site.kind != "caddy":  # its access log, if you want one, has the header of the answer
        wait_for_line(f" {request_id}\n", [site.log])


def wait_for_line(part: str, logs: list[Path]) -> None:
    """Wait until one of the logs has it: lines are written after the answer."""
    until = time.monotonic() + 10
    while not any(part in log.read_text() for log in logs):
        assert time.monotonic() < until, part
        time.sleep(0.05)


def test_every_process_gets_requests(site: Site) -> None:
    path = f"/healthz/{site.kind}"
    for _ in range(12):
        assert site.client.get(path).status_code == 404
    assert all(path in server.log.read_text() for server in site.deployed.servers)


def test_plain_http_leads_to_https_and_metrics_are_for_operators(site: Site) -> None:
    assert site.client.get("/metrics").status_code == 403
    if site.kind != "caddy":  # it makes its redirects with its certificates
        answer = httpx2.get(f"http://127.0.0.1:{site.http_port}/login?next=/platforms")
        assert answer.status_code == 308
        assert answer.headers["Location"].startswith("https://")
        assert answer.headers["Location"].endswith("/login?next=/platforms")


@pytest.mark.parametrize("site", ["nginx"], indirect=True)
def test_nginx_tells_another_application_whose_session_it_is(site: Site) -> None:
    site.client.cookies.clear()
    assert site.client.get("/old/").status_code == 401
    log_in(site)
    user_id = site.client.get("/api/session_state").json()["user_id"]
    platform_connection_id = site.client.get("/api/session_state").json()["platform_connection_id"]
    assert site.client.get("/old/").json() == {
        "X-User-Id": str(user_id),
        "X-Platform-Connection-Id": None
        if platform_connection_id is None
        else str(platform_connection_id),
    }


def test_haproxy_accepts_the_file_with_its_documented_addresses(
    authority: CertificateAuthority, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    program = program_of(pytestconfig, "haproxy", "HAProxy (Debian's package haproxy)")
    file = combined(tmp_path, authority.certificate("app.example.org"))
    text = with_replaced(
        "haproxy/haproxy.cfg", {"/etc/haproxy/certificates/app.example.org.pem": str(file)}
    )
    (tmp_path / "haproxy.cfg").write_text(text)
    assert_accepted(program, "-c", "-f", tmp_path / "haproxy.cfg")


def test_caddy_accepts_the_file_as_it_is(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    program = program_of(pytestconfig, "caddy", "Caddy (Debian's package caddy)")
    file = DEPLOY / "caddy/Caddyfile"
    assert_accepted("env", f"HOME={tmp_path}", program, "validate", "--config", file)


def assert_accepted(*command: str | Path) -> None:
    """Run a proxy's own check, which must find nothing to warn of, either."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "WARN" not in output.upper(), output
