"""No part of the response to a refused login reveals whether the user exists."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from statistics import mean, median

import httpx2
import pytest
from sqlalchemy import URL
from werkzeug.security import generate_password_hash

from quart_app.model import Role, User
from quart_app.services.identity.passwords import Passwords
from quart_app.settings import Settings
from quart_app.storage.database import Database
from tests.conftest import ENCRYPTION_KEY, PASSWORD, SECRET_KEY
from tests.servers import Server, hypercorn

HELD_SECONDS = 1
pytestmark = [pytest.mark.alone, pytest.mark.sqlite_unless_thorough]
NOBODY = "nobody"
# Database values for users of each kind; the legacy ones as Werkzeug made them.
HASHES: dict[str, Callable[[], str]] = {
    "argon2id": lambda: asyncio.run(_argon2id()),
    "scrypt": lambda: generate_password_hash(PASSWORD, "scrypt:32768:8:1"),
    "pbkdf2": lambda: generate_password_hash(PASSWORD, "pbkdf2:sha256:600000"),
    "inactive": lambda: asyncio.run(_argon2id()),
    "no hash": lambda: "",
}
KINDS = [NOBODY, *HASHES]


async def _argon2id() -> str:
    passwords = Passwords()
    made = await passwords.hash(PASSWORD)
    passwords.close()
    return made


@pytest.fixture
def count(*, thorough: bool) -> int:
    """Users of each kind; each of them is tried once."""
    return 40 if thorough else 2


@pytest.fixture
def server(database_url: URL, tmp_path: Path, count: int) -> Iterator[Server]:
    hashes = {kind: make() for kind, make in HASHES.items()}

    async def fill() -> None:
        database = Database(database_url)
        async with database.begin() as db:
            db.add_all(
                User(
                    username=name_of(kind, number),
                    email=f"{name_of(kind, number)}@example.com",
                    password_hash=made,
                    role=Role.VIEWER,
                    is_active=kind != "inactive",
                )
                for kind, made in hashes.items()
                for number in range(count)
            )
        await database.close()

    asyncio.run(fill())
    settings = Settings(
        secret_key=SECRET_KEY,
        platform_encryption_keys=(ENCRYPTION_KEY,),
        database_url=database_url,
        failed_login=timedelta(seconds=HELD_SECONDS),
        trusted_proxies=1,  # each visitor has an address of its own
    )
    with hypercorn(settings, tmp_path) as server:
        yield server


def name_of(kind: str, number: int) -> str:
    return f"{kind[:2]}{number:04}"


def refused(server: Server, kind: str, number: int) -> tuple[float, httpx2.Response]:
    address = f"192.0.2.{random.randrange(250)}"  # noqa: S311 to tell visitors apart
    body = {"username": name_of(kind, number), "password": "not the password"}
    since = time.perf_counter()
    response = server.client.post("/api/login", json=body, headers={"X-Forwarded-For": address})
    return time.perf_counter() - since, response


def test_text_headers_and_timing_do_not_reveal_whether_a_user_exists(
    server: Server, count: int, measured: Callable[[str], None], *, thorough: bool
) -> None:
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    answers = set()
    asked = [(kind, number) for number in range(count) for kind in KINDS]
    random.shuffle(asked)
    refused(server, NOBODY, 9999)  # the first request warms everything up
    for kind, number in asked:
        lasted, response = refused(server, kind, number)
        seconds[kind].append(lasted)
        headers = {
            name: value
            for name, value in response.headers.items()
            if name not in {"date", "x-request-id"}
        }
        answers.add((response.status_code, response.text, str(headers)))
    assert len(answers) == 1
    assert min(map(min, seconds.values())) >= HELD_SECONDS
    medians = {kind: median(each) for kind, each in seconds.items()}
    measured(
        "a refused login, median seconds: "
        + ", ".join(f"{kind} {each:.4f}" for kind, each in medians.items())
    )
    if thorough:
        for kind in HASHES:
            chance = chance_of_difference(seconds[kind], seconds[NOBODY])
            measured(f"{kind} against nobody: p = {chance:.3f} of {count} each")
            assert chance > 0.001
    # Without the equal work, pbkdf2 takes ten times as long as argon2id, and a missing hash no
    # time.
    else:
        assert max(medians.values()) - min(medians.values()) < 0.1


def chance_of_difference(one: list[float], other: list[float], rounds: int = 5000) -> float:
    """Return the probability that the means differ this much by chance: a permutation test."""
    found = abs(mean(one) - mean(other))
    together = one + other
    as_large = 0
    for _ in range(rounds):
        random.shuffle(together)
        as_large += abs(mean(together[: len(one)]) - mean(together[len(one) :])) >= found
    return (as_large + 1) / (rounds + 1)
