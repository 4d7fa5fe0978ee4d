"""Hashing and comparing passwords: the cost, and the accepted inputs."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher, Type, extract_parameters
from werkzeug.security import generate_password_hash

from quart_app.services.identity.passwords import Passwords
from tests.conftest import PASSWORD

LEGACY_METHODS = ["scrypt:32768:8:1", "pbkdf2:sha256:600000", "pbkdf2:sha256:1000"]


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    passwords = Passwords()
    yield passwords
    passwords.close()


async def test_a_hash_is_argon2id_with_the_configured_cost(passwords: Passwords) -> None:
    made = await passwords.hash(PASSWORD)
    assert made.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert made != await passwords.hash(PASSWORD)
    assert not passwords.needs_rehash(made)
    assert await passwords.matches(made, PASSWORD)
    assert not await passwords.matches(made, f"{PASSWORD} ")


async def test_the_decoy_hash_costs_the_same_as_a_real_one(passwords: Passwords) -> None:
    made = await passwords.hash(PASSWORD)
    assert extract_parameters(passwords._decoy) == extract_parameters(made)
    assert extract_parameters(made).type == Type.ID


@pytest.mark.parametrize("method", LEGACY_METHODS)
async def test_a_legacy_hash_matches_and_needs_a_rehash(passwords: Passwords, method: str) -> None:
    legacy = generate_password_hash(PASSWORD, method)
    assert await passwords.matches(legacy, PASSWORD)
    assert not await passwords.matches(legacy, PASSWORD[:-1])
    assert not await passwords.matches(legacy, "\ud800")
    assert passwords.needs_rehash(legacy)


async def test_an_argon2id_hash_with_other_costs_matches_and_needs_a_rehash(
    passwords: Passwords,
) -> None:
    cheap = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    assert await passwords.matches(cheap, PASSWORD)
    assert passwords.needs_rehash(cheap)


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        PASSWORD,
        "x" * 256,
        "$argon2id$",
        "$argon2id$v=19$m=19456,t=2,p=1$####$####",
        "$argon2id$v=19$m=99999999,t=2,p=1$c29tZXNhbHQ$c29tZWhhc2g",
        "$argon2id$v=19$m=19456,t=2,p=1$\u0441\u043e\u043b\u044c$c29tZWhhc2g",
        "$2b$12$abcdefghijklmnopqrstuv",
        "scrypt:",
        "scrypt:1$salt$00",
        "scrypt:32768:8:1",
        "scrypt:32768:8:1$salt$",
        "scrypt:1073741824:8:1$salt$00",
        "scrypt:a:b:c$salt$00",
        f"scrypt:{2**70}:8:1$salt$00",
        f"pbkdf2:sha256:{2**70}$salt$00",
        "pbkdf2:sha256:many$salt$00",
        "pbkdf2:sha256:0$salt$00",
        "pbkdf2:nohash:1000$salt$00",
        "pbkdf2:sha256:1000$$00",
    ],
)
async def test_an_invalid_hash_matches_no_password(passwords: Passwords, garbage: str) -> None:
    for password in ("", PASSWORD, garbage):
        assert not await passwords.matches(garbage, password)


@pytest.mark.parametrize(
    "password",
    ["", "\x00", f"{PASSWORD}\x00x", "\ud800", "пароль\u0301", "🔑" * 8, "x" * 100_000],
    ids=["empty", "NUL", "NUL within", "surrogate", "Cyrillic", "emoji", "long"],
)
async def test_any_text_is_a_password_and_every_character_counts(
    passwords: Passwords, password: str
) -> None:
    made = await passwords.hash(password)
    assert await passwords.matches(made, password)
    assert not await passwords.matches(made, f"{password}x")
    assert not await passwords.matches(made, password[:-1] or "x")
    assert not await passwords.matches(None, password)


_COMPARE_IN_A_NICE_PROCESS = """
import asyncio, os, threading
from quart_app.services.identity.passwords import Passwords
os.nice(10)
passwords = Passwords()
assert not asyncio.run(passwords.matches(None, "any"))
print(*{os.getpriority(os.PRIO_PROCESS, each.native_id) for each in threading.enumerate()})
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has no priority of its own")
def test_hashing_never_raises_a_low_process_priority() -> None:
    """A higher priority is not permitted, and asking for it would fail every hash."""
    ended = subprocess.run(
        [sys.executable, "-c", _COMPARE_IN_A_NICE_PROCESS],
        text=True,
        capture_output=True,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == (f"{min(19, os.nice(0) + 10)}\n", "")


async def test_passwords_are_hashed_even_if_no_priority_can_be_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    passwords = Passwords()
    assert await passwords.matches(await passwords.hash(PASSWORD), PASSWORD)
    passwords.close()


@pytest.mark.alone
async def test_the_event_loop_stays_responsive_while_passwords_are_hashed(
    passwords: Passwords,
) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    legacy = generate_password_hash(PASSWORD, LEGACY_METHODS[0])
    ticker = asyncio.create_task(tick())
    await asyncio.gather(
        *(passwords.hash(PASSWORD) for _ in range(10)),
        *(passwords.matches(None, PASSWORD) for _ in range(10)),
        *(passwords.matches(legacy, PASSWORD) for _ in range(5)),
    )
    ticker.cancel()
    assert ticks > 25


@pytest.mark.skipif(sys.platform != "linux", reason="other systems don't tell")
def test_there_is_one_hashing_thread_per_usable_core() -> None:
    may_use = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(may_use)})
    try:
        passwords = Passwords()
        passwords.close()
        assert passwords.threads == 1
    finally:
        os.sched_setaffinity(0, may_use)
