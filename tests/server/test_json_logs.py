"""JSON logs of a real process: each line is an object, whatever strangers send."""

import json
import socket
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from quart_app.settings import Settings, with_setting
from tests.conftest import PASSWORD, settings_for
from tests.processes import new_user
from tests.servers import hypercorns
from tests.unit.test_log_records import TEXTS

APP = "tests.crashing_application:create_crashing_app()"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def sqlite_settings(file: Path) -> Settings:
    return settings_for(URL.create("sqlite+aiosqlite", database=str(file)))


def send(url: str, request: bytes) -> None:
    """Send bytes, and read the answer until the server closes or is silent."""
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 5) as connection:
        connection.sendall(request)
        assert connection.recv(4096)


def objects_in(log: Path) -> list[dict[str, Any]]:
    lines = log.read_text().removesuffix("\n").split("\n")
    assert all(line.isascii() and line.isprintable() for line in lines)
    return [json.loads(line) for line in lines]


def test_every_line_is_an_object_with_the_id_of_its_request(
    migrated_sqlite: Path, tmp_path: Path
) -> None:
    settings = with_setting(sqlite_settings(migrated_sqlite), log_format="json")
    username = new_user(settings)
    with hypercorns(1, settings, tmp_path, app=APP) as (server,):
        ids = [
            server.ask("GET", "/crash", params={"text": text}).headers["X-Request-Id"]
            for text in TEXTS
        ]
        body = {"username": username, "password": PASSWORD}
        answer = server.client.post(
            "/api/login", json=body, headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        )
        send(server.url, b'GET /%0a%22%7b%1b HTTP/1.1\r\nHost: a\r\nUser-Agent: "}\xff\x1b\r\n\r\n')
        send(server.url, b"\x16\x03\x01 nonsense\r\n\r\n")
    logged = objects_in(server.log)
    for request_id in ids:
        mine = [each for each in logged if each.get("request_id") == request_id]
        loggers = {each["logger"] for each in mine}
        assert {"asyncio", "py.warnings", "quart_app.audit", "hypercorn.access"} <= loggers
        (failure,) = [each for each in mine if "exception" in each]
        assert failure["exception"].startswith("Traceback (most recent call last):\n  File")
    (login,) = [each for each in logged if "audit" in each]
    assert login["audit"]["event"] == "login"
    assert login["audit"]["request_id"] == answer.headers["X-Request-Id"]
    assert login["trace_id"] == TRACE
    (access,) = [each["access"] for each in logged if each["message"] == "POST /api/login 200"]
    assert (access["address"].split(":")[0], access["route"]) == ("127.0.0.1", "/api/login")
    assert access["microseconds"] > 0
    assert any(each["message"].startswith("Running on http://") for each in logged)
    assert any(each["message"].startswith("GET /%0A%22%7B%1B 404") for each in logged)


def test_lines_of_text_name_their_request(migrated_sqlite: Path, tmp_path: Path) -> None:
    with hypercorns(1, sqlite_settings(migrated_sqlite), tmp_path, app=APP) as (server,):
        answer = server.ask("GET", "/crash", params={"text": "a text"})
    request_id = answer.headers["X-Request-Id"]
    lines = server.log.read_text().splitlines()
    (audit,) = [line for line in lines if '{"event": "a text"}' in line]
    assert audit.endswith(f"(request {request_id})")
    (failure,) = [line for line in lines if "Exception in request" in line]
    assert failure.count(request_id) == 1
