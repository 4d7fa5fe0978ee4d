"""A session is verified again when a request's late body is complete."""

import json
import socket
import time

import pytest

from tests.processes import Processes, log_in, log_out
from tests.servers import Server

BODY = json.dumps(
    {
        "name": "Late",
        "platform_type": "mastodon",
        "instance_url": "https://late.example",
        "access_token": "token",
        "verify": False,
    }
).encode()


def send_head(server: Server, cookie: str) -> socket.socket:
    host, _, port = server.url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(
        b"POST /api/platforms HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        + f"Cookie: session={cookie}\r\nContent-Length: {len(BODY)}\r\n".encode()
        + b"Connection: close\r\n\r\n"
    )
    return connection


def send_body(connection: socket.socket) -> int:
    with connection:
        connection.sendall(BODY)
        return int(connection.recv(4096).split()[1])


@pytest.mark.parametrize("is_ended", [False, True])
def test_a_session_that_ends_before_the_body_arrives_does_nothing(
    processes: Processes, *, is_ended: bool
) -> None:
    name = processes.new_user()
    cookie = log_in(processes.a, name)
    waiting = send_head(processes.b, cookie)
    time.sleep(0.3)  # the head has been read, and the session opened
    if is_ended:
        log_out(processes.a, cookie)
        time.sleep(1.0)  # the promised limit
    assert send_body(waiting) == (401 if is_ended else 201)
    listed = processes.b.ask("GET", "/api/platforms", log_in(processes.a, name))
    assert len(listed.json()) == (0 if is_ended else 1)
