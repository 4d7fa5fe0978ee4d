"""Hash passwords with argon2id and compare them, in threads; read the legacy hashes, too."""

import asyncio
import os
import sys
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

from werkzeug.security import check_password_hash, generate_password_hash

from quart_app.model import LEGACY_HASHES
from quart_app.services.identity import argon2id

_LEGACY_METHOD = "scrypt:32768:8:1"
# At 5, a thread gets a quarter of a core that it shares with a busy thread at 0. At 10 it would get
# a tenth: on a machine busy with other work logins would time out, and the time that a legacy hash
# takes would show whose it is.
_NICE = 5
SHORTEST = 8
LONGEST = 1024

T = TypeVar("T")


class Passwords:
    """One pool of threads for all hashing, one a core. This also bounds the memory for hashes.

    A hash costs 10 to 20 ms of one core and 19 MiB, by design.
    """

    def __init__(self) -> None:
        self.threads = _cores()
        self._threads = ThreadPoolExecutor(
            self.threads, thread_name_prefix="passwords", initializer=_let_others_go_first
        )
        self._decoy = argon2id.decoy()  # compared where there is no user

    async def hash(self, password: str) -> str:
        """Return the argon2id hash, in PHC format."""
        return await self._in_thread(partial(argon2id.make, _encoded(password)))

    async def hash_for_legacy(self, password: str) -> str:
        """Return a hash that the older application can read, too."""
        return await self._in_thread(
            lambda: generate_password_hash(
                _encoded(password).decode("utf-8", "surrogatepass"), _LEGACY_METHOD
            )
        )

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Compare every spelling. Without a user or a hash it takes as long, and returns False.

        The number of spellings depends only on the typed password, so the time reveals nothing
        about the user.
        """
        hashed = password_hash or self._decoy
        for spelling in _spellings(password):
            if await self._in_thread(partial(_matches, hashed, _encoded(spelling))):
                return bool(password_hash)
        return False

    def needs_rehash(self, password_hash: str) -> bool:
        """Return whether a hash is a legacy one, or argon2id with other costs than ours."""
        return not argon2id.is_ours(password_hash)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def is_same_password(one: str, other: str) -> bool:
    """Return whether two passwords are equal, however their accents are composed."""
    return unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)


def _cores() -> int:
    """Return the number of cores that this process may use: perhaps fewer than the machine has."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _let_others_go_first() -> None:
    """Lower the priority of this thread, so that it mostly computes when other threads are idle.

    Requests of logged-in users need a millisecond of the event loop. They would otherwise wait for
    a core during password comparisons. On Linux each thread has a priority; elsewhere only the
    process has. The priority is never raised: a process that started with a lower priority may not
    raise it.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        nice = max(os.getpriority(os.PRIO_PROCESS, thread), _NICE)
        with suppress(OSError):  # if that is forbidden, logins work anyway
            os.setpriority(os.PRIO_PROCESS, thread, nice)


def _encoded(password: str) -> bytes:
    # A lone surrogate has no UTF-8 form. Passed on unchanged, it is just another password.
    return password.encode("utf-8", "surrogatepass")


def _spellings(password: str) -> list[str]:
    """Return the password as typed, then composed (NFC) and decomposed (NFD) if they differ.

    Some keyboards send an accented letter as one character, others as two. The stored hash is of
    the typed form, which may be either. An ASCII password has one spelling.
    """
    normalized = (unicodedata.normalize(form, password) for form in ("NFC", "NFD"))
    return list(dict.fromkeys([password, *normalized]))


def _matches(password_hash: str, password: bytes) -> bool:
    if not password_hash.startswith(LEGACY_HASHES):
        return argon2id.matches(password_hash, password)
    try:
        return check_password_hash(password_hash, password.decode("utf-8", "surrogatepass"))
    except (ValueError, OverflowError):  # the stored value is not a hash
        return False
