"""A response in progress ends with its session, and with the role that it needs."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from quart_app.composition import Built
from quart_app.model import Role
from quart_app.services.administration.user_ref import UserRef
from quart_app.settings import Settings
from tests.callers import NOBODY
from tests.conftest import PASSWORD
from tests.processes import ENDED_WITHIN_SECONDS, log_in
from tests.servers import Server, hypercorn

ROWS, ROW_BYTES = 4_000, 4_000
# Sent before the session ends: the contents of both sides' socket buffers, and a chunk in progress.
UNDER_WAY_BYTES = 8_000_000


async def _make_rows(built: Built) -> None:
    statement = text(
        "WITH RECURSIVE rows(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM rows WHERE n < :rows)"
        " INSERT INTO audit (at, event, detail, count, keep_until)"
        " SELECT CURRENT_TIMESTAMP, 'login', :detail, 1, '2999-01-01 00:00:00' FROM rows"
    )
    detail = json.dumps({"reason": "x" * ROW_BYTES})
    async with built.database.begin() as db:
        await db.execute(statement, {"rows": ROWS, "detail": detail})


async def _log_out(built: Built) -> None:
    await built.services.session_administration.end_all_of(NOBODY, UserRef.by_name("root"))


async def _take_the_role(built: Built) -> None:
    await built.services.users.change_role(NOBODY, UserRef.by_name("root"), Role.VIEWER)


def _begin_export(server: Server, cookie: str) -> socket.socket:
    address = server.url.removeprefix("http://").split(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    client.settimeout(20)
    client.connect((address[0], int(address[1])))
    head = f"GET /admin/audit.csv HTTP/1.1\r\nHost: {address[0]}\r\nCookie: session={cookie}"
    client.sendall(f"{head}\r\n\r\n".encode())
    assert client.recv(15) == b"HTTP/1.1 200 \r\n"[:15]
    return client


def _remaining_body(client: socket.socket) -> bytes:
    pieces = []
    while piece := client.recv(1 << 16):
        pieces.append(piece)
        if piece.endswith(b"0\r\n\r\n"):
            break
    return b"".join(pieces)


@pytest.mark.parametrize(
    "end",
    [None, _log_out, _take_the_role],
    ids=lambda end: end.__name__ if end else "nothing",
)
async def test_an_export_stops_when_the_session_or_the_role_ends(
    settings: Settings,
    built: Built,
    tmp_path: Path,
    end: Callable[[Built], Awaitable[None]] | None,
) -> None:
    await built.services.users.create(
        NOBODY, username="root", email="root@example.com", role=Role.ADMIN, password=PASSWORD
    )
    await _make_rows(built)
    with hypercorn(settings, tmp_path) as server:
        with _begin_export(server, log_in(server, "root")) as client:
            await asyncio.sleep(0.5)  # until the buffers are full
            if end is not None:
                await end(built)
            await asyncio.sleep(ENDED_WITHIN_SECONDS + 0.5)
            rest = _remaining_body(client)
        is_whole = rest.endswith(b"0\r\n\r\n")
        assert is_whole is (end is None)
        assert (len(rest) > ROWS * ROW_BYTES) is is_whole
        if not is_whole:
            assert len(rest) < UNDER_WAY_BYTES
            log = server.log.read_text()
            assert "was cut off" in log
            assert "Traceback" not in log
