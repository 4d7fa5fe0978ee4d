"""The clients of `scripts/bench/login_storm.py`, with minimal HTTP to use little processor time."""

import asyncio
import math
import os
import socket
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from quart_app.services.identity import argon2id

_ADDRESSES = 100  # that users log in from
_ASK_EVERY_SECONDS = 0.025
_TIMEOUT_SECONDS = 60.0


@dataclass(kw_only=True)
class Compared:
    """The number of passwords compared, and the time for it."""

    number: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0

    def __iadd__(self, other: Self) -> Self:
        self.number += other.number
        self.seconds += other.seconds
        self.processor_seconds += other.processor_seconds
        return self


@dataclass(kw_only=True)
class Asked:
    """Response times, and the number of responses by status; status 0 means no response."""

    processor_seconds: float = 0.0
    waits: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def __iadd__(self, other: Self) -> Self:
        self.processor_seconds += other.processor_seconds
        self.waits += other.waits
        self.statuses += other.statuses
        return self


@dataclass(kw_only=True)
class Stormed(Asked):
    """The same for logins, with the total time, and the port and session cookie of each login."""

    seconds: float = 0.0
    cookies: list[tuple[int, str]] = field(default_factory=list)

    def __iadd__(self, other: Self) -> Self:
        self.seconds += other.seconds
        self.cookies += other.cookies
        return super().__iadd__(other)


def compare_passwords(seconds: float) -> Compared:
    """Compare a password repeatedly in one thread per core, as the only work."""
    made = argon2id.make(b"a password")
    began, began_processor = time.perf_counter(), time.process_time()

    def compare() -> int:
        number = 0
        while time.perf_counter() - began < seconds:
            argon2id.matches(made, b"a password")
            number += 1
        return number

    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        numbers = [each.result() for each in [pool.submit(compare) for _ in range(threads)]]
    return Compared(
        number=sum(numbers),
        seconds=time.perf_counter() - began,
        processor_seconds=time.process_time() - began_processor,
    )


def storm(
    ports: Sequence[int],
    password: str,
    users: Iterable[int],
    *,
    at_once: int,
    seconds: float,
    within: float = 0.0,
) -> Stormed:
    """Log in each user once, on a new connection, and start no login after `seconds`.

    The first `at_once` logins start evenly spread over `within` seconds; then a login starts
    whenever another one ends.
    """
    return asyncio.run(
        _storm(ports, password, users, at_once=at_once, seconds=seconds, within=within)
    )


async def _storm(
    ports: Sequence[int],
    password: str,
    users: Iterable[int],
    *,
    at_once: int,
    seconds: float,
    within: float,
) -> Stormed:
    stormed, waiting = Stormed(), iter(users)
    began, began_processor = time.perf_counter(), time.process_time()

    async def log_in_one_after_the_other(first: int) -> None:
        await asyncio.sleep(within * first / at_once)
        for user in waiting:
            if time.perf_counter() - began >= seconds:
                return
            port, asked = ports[user % len(ports)], time.perf_counter()
            try:
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    status, cookie = await _log_in(port, f"user{user}", password, user)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                status, cookie = 0, None
            stormed.statuses[status] += 1
            stormed.waits.append(time.perf_counter() - asked)
            if cookie is not None:
                stormed.cookies.append((port, cookie))

    async with asyncio.TaskGroup() as group:
        for first in range(at_once):
            group.create_task(log_in_one_after_the_other(first))
    stormed.seconds = time.perf_counter() - began
    stormed.processor_seconds = time.process_time() - began_processor
    return stormed


async def _log_in(port: int, name: str, password: str, number: int) -> tuple[int, str | None]:
    body = f'{{"username": "{name}", "password": "{password}"}}'
    request = (
        f"POST /api/login HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
        f"X-Forwarded-For: 198.51.100.{number % _ADDRESSES + 1}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request.encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    finally:
        writer.close()
    cookie = None
    for line in head.split("\r\n"):
        name, _, value = line.partition(": ")
        if name.lower() == "set-cookie" and value.startswith("session="):
            cookie = value.removeprefix("session=").partition(";")[0]
    return int(head.split(" ", 2)[1]), cookie


def ask(
    cookies: Sequence[tuple[int, str]], *, seconds: float = math.inf, until: Path | None = None
) -> Asked:
    """Request the session's state with each cookie in turn, for a time or until a file exists."""
    visitors = {port: _Visitor(port) for port, _ in cookies}
    asked, began_processor = Asked(), time.process_time()
    began = due = answered = time.perf_counter()
    while due - began < seconds and not (until and until.exists()):
        time.sleep(max(0.0, due - time.perf_counter()))
        # A request that was due before the previous answer came has been waiting since then.
        since = due if answered > due else time.perf_counter()
        port, cookie = cookies[len(asked.waits) % len(cookies)]
        asked.statuses[visitors[port].ask(cookie)] += 1
        answered = time.perf_counter()
        asked.waits.append(answered - since)
        due += _ASK_EVERY_SECONDS
        visitors[port].reconnect_if_closed()
    for visitor in visitors.values():
        visitor.close()
    asked.processor_seconds = time.process_time() - began_processor
    return asked


class _Visitor:
    """A persistent connection, reopened after the server closes it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._is_over = False
        self._connect()

    def _connect(self) -> None:
        self._connection = socket.create_connection(("127.0.0.1", self._port), _TIMEOUT_SECONDS)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, cookie: str) -> int:
        """Request the session's state, and return the status."""
        self._connection.sendall(
            f"GET /api/session_state HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            f"X-Forwarded-For: 192.0.2.1\r\nCookie: session={cookie}\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._received()
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = [line.lower().partition(b": ") for line in head.split(b"\r\n")]
        headers = {name: value for name, _, value in lines}
        missing = int(headers[b"content-length"]) - len(body)
        while missing > 0:
            missing -= len(self._received())
        self._is_over = headers.get(b"connection") == b"close"
        return int(head.split(b" ", 2)[1])

    def _received(self) -> bytes:
        received = self._connection.recv(65536)
        if not received:
            raise ConnectionError("The server closed the connection.")
        return received

    def reconnect_if_closed(self) -> None:
        """Open a new connection if the server closes this one, as it does after 1,000 requests."""
        if self._is_over:
            self.close()
            self._connect()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
