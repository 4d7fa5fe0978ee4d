"""argon2id: libsodium makes our hashes and compares them; argon2-cffi compares all others.

Both write and read the same text (PHC format). libsodium uses the processor's vector unit, which
the wheels of argon2-cffi don't (docs/decisions/0045-argon2id-by-libsodium.md). Both release the
interpreter's lock while they compute. They are imported at the first hash, because most commands
hash nothing.
"""

import base64
import os
import re
from typing import Final

# OWASP Password Storage Cheat Sheet: argon2id with m = 19456 KiB, t = 2, p = 1.
_MEMORY_KIB: Final = 19456
_PASSES: Final = 2
_SALT_BYTES: Final = 16
_DIGEST_BYTES: Final = 32
_START: Final = f"$argon2id$v=19$m={_MEMORY_KIB},t={_PASSES},p=1$"
_OURS: Final = re.compile(re.escape(_START) + r"[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}")


def make(password: bytes) -> str:
    """Return a hash with a random salt. Takes about 10 ms of a core, and 19 MiB."""
    from nacl.pwhash import argon2id  # noqa: PLC0415 see the docstring of this module

    return argon2id.str(password, opslimit=_PASSES, memlimit=_MEMORY_KIB * 1024).decode("ascii")


def is_ours(password_hash: str) -> bool:
    """Return whether a hash has the costs and lengths of those that `make` returns."""
    return _OURS.fullmatch(password_hash) is not None


def matches(password_hash: str, password: bytes) -> bool:
    """Return whether this password has this hash: any argon2 hash. No password has broken text."""
    if is_ours(password_hash):
        return _matches_ours(password_hash.encode("ascii"), password)
    return _matches_any(password_hash, password)


def _matches_ours(password_hash: bytes, password: bytes) -> bool:
    from nacl.exceptions import InvalidkeyError  # noqa: PLC0415
    from nacl.pwhash import argon2id  # noqa: PLC0415

    try:
        return argon2id.verify(password_hash, password)
    except InvalidkeyError:  # the password is wrong, or the salt or digest is not base64
        return False


def _matches_any(password_hash: str, password: bytes) -> bool:
    from argon2 import PasswordHasher  # noqa: PLC0415
    from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415

    try:
        return PasswordHasher().verify(password_hash, password)
    except (VerificationError, InvalidHashError, ValueError):  # ValueError: not ASCII
        return False


def decoy() -> str:
    """Return a hash that takes as long to compare as any of ours. Nobody knows its password."""
    salt, digest = (os.urandom(length) for length in (_SALT_BYTES, _DIGEST_BYTES))
    return f"{_START}{_base64(salt)}${_base64(digest)}"


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii").rstrip("=")
