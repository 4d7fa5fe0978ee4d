"""/openapi.json is complete, and Schemathesis finds no answer that it does not describe."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import URL

from quart_app.app import create_app
from quart_app.web.api.openapi import description_of, path_of
from tests.conftest import PASSWORD, settings_for
from tests.servers import Server, hypercorn

pytestmark = pytest.mark.parametrize("engine_name", ["sqlite"])

SECONDS, SECONDS_IF_THOROUGH = 60, 600
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)
OF_METHODS = "unsupported_method,allow_header_conformance"
# These ask other servers, whose names would be random.
ASKS_SERVERS = "^/api/platforms(/authorizations|/[^/]+/access_token)?$"
# After these the session has ended, and all other answers would be 401.
ENDS_SESSION = "^/api/(login|logout|logout_all|account/password|sessions)$"
EVERY_METHOD = "^/auth/verify$"  # which OpenAPI can't say


def test_every_route_of_programs_is_described(database_url: URL) -> None:
    app = create_app(settings_for(database_url))
    described = description_of(app)["paths"]
    for rule in app.url_map.iter_rules():
        is_for_programs = rule.rule.startswith("/api/") or rule.endpoint.startswith("operations.")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            is_described = method.lower() in described.get(path_of(rule), {})
            assert is_described or not is_for_programs, (method, rule.rule)
    assert "/auth/verify" in described


def schemathesis(
    server: Server, folder: Path, seconds: int, *more: str, checks: str = f"{CHECKS},{OF_METHODS}"
) -> None:
    """Ask everything that `more` selects; fail at the first undescribed answer."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"),
        *("--checks", checks, "--max-time", str(seconds), "--phases", "examples,coverage,fuzzing"),
        *("--header", f"Cookie: session={cookie_of(server)}", "--warnings", "off", "--no-color"),
        *more,
    ]
    ended = subprocess.run(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3 * seconds + 120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    assert "Traceback" not in server.log.read_text()


def cookie_of(server: Server) -> str:
    login = {"username": "ada", "password": PASSWORD}
    return server.ask("POST", "/api/login", json=login).cookies["session"]


@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("member")
def test_schemathesis_finds_no_undescribed_answer(
    database_url: URL,
    tmp_path: Path,
    thorough: bool,  # noqa: FBT001 a fixture
) -> None:
    seconds = SECONDS_IF_THOROUGH if thorough else SECONDS
    with hypercorn(settings_for(database_url), tmp_path) as server:
        others = f"{ASKS_SERVERS}|{ENDS_SESSION}|{EVERY_METHOD}"
        schemathesis(server, tmp_path, seconds * 2 // 3, "--exclude-path-regex", others)
        schemathesis(server, tmp_path, seconds // 6, "--include-path-regex", ENDS_SESSION)
        schemathesis(
            *(server, tmp_path, seconds // 6, "--include-path-regex", EVERY_METHOD), checks=CHECKS
        )
