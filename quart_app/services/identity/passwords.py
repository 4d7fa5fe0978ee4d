"""Hash and compare passwords, in threads: argon2id, and the older application's hashes to read."""

import asyncio
import os
import sys
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from werkzeug.security import check_password_hash, generate_password_hash

from quart_app.model import LEGACY_HASHES

# OWASP Password Storage Cheat Sheet: argon2id with m = 19456 KiB, t = 2, p = 1.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
_LEGACY_METHOD = "scrypt:32768:8:1"
# What a core gives one of these threads, beside one at 0 that would take all of it, is a quarter.
# With 10 it is a tenth: where a machine is busy with other things logins wait in vain, and the time
# that a legacy hash takes tells whose it is.
_NICE = 5
SHORTEST = 8
LONGEST = 1024

T = TypeVar("T")


class Passwords:
    """One pool of threads for all hashing, as many as cores: so many hashes are in memory at most.

    A hash costs about 20 ms of one core and 19 MiB, by design.
    """

    def __init__(self) -> None:
        self.threads = _cores()
        self._threads = ThreadPoolExecutor(
            self.threads, thread_name_prefix="passwords", initializer=_let_others_go_first
        )
        self._decoy = _decoy()

    async def hash(self, password: str) -> str:
        """Return the argon2id hash, in PHC format."""
        return await self._in_thread(lambda: _HASHER.hash(_encoded(password)))

    async def hash_for_legacy(self, password: str) -> str:
        """Return a hash that the older application reads, too."""
        return await self._in_thread(
            lambda: generate_password_hash(
                _encoded(password).decode("utf-8", "surrogatepass"), _LEGACY_METHOD
            )
        )

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Compare every spelling; where there is no user or no hash it takes as long, and is False.

        How many spellings there are depends only on what was typed, so the time tells nothing of
        the user.
        """
        hashed = password_hash or self._decoy
        for spelling in _spellings(password):
            if await self._in_thread(partial(_matches, hashed, _encoded(spelling))):
                return bool(password_hash)
        return False

    def needs_rehash(self, password_hash: str) -> bool:
        """Tell whether it is the older application's, or argon2id of other costs than ours."""
        return password_hash.startswith(LEGACY_HASHES) or _HASHER.check_needs_rehash(password_hash)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def is_same_password(one: str, other: str) -> bool:
    """Tell whether two passwords are one, however their accents are composed."""
    return unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)


def _cores() -> int:
    """Return how many cores this process may use, which may be fewer than the machine has."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _decoy() -> str:
    """Return what an unknown name is compared with: by the same hasher, so that it costs the same.

    Of a password that nobody knows, and one for the whole process: making it is a hash, too.
    """
    return _HASHER.hash(os.urandom(16).hex())


def _let_others_go_first() -> None:
    """Let this thread compute when no other thread of the machine has anything to do, mostly.

    Who is logged in asks for a millisecond of the event loop, and would wait for a core while the
    passwords of others are compared. On Linux a priority is a thread's, elsewhere the process's.
    It is only ever lowered: a process that was begun with a lower one may not raise it.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        nice = max(os.getpriority(os.PRIO_PROCESS, thread), _NICE)
        with suppress(OSError):  # where that is forbidden, logins work all the same
            os.setpriority(os.PRIO_PROCESS, thread, nice)


def _encoded(password: str) -> bytes:
    # A lone surrogate has no UTF-8; passed on as it came, it is just another password.
    return password.encode("utf-8", "surrogatepass")


def _spellings(password: str) -> list[str]:
    """Return the password as it was typed, then composed (NFC) and decomposed (NFD) otherwise.

    An accent comes as one character from one keyboard and as two from another. Hashes are of what
    was typed, so either may be the stored one. An ASCII password has one spelling.
    """
    normalized = (unicodedata.normalize(form, password) for form in ("NFC", "NFD"))
    return list(dict.fromkeys([password, *normalized]))


def _matches(password_hash: str, password: bytes) -> bool:
    try:
        if password_hash.startswith(LEGACY_HASHES):
            return check_password_hash(password_hash, password.decode("utf-8", "surrogatepass"))
        return _HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError, ValueError, OverflowError):
        # Wrong, or in the database stands something that is no hash: nobody has that password.
        return False
