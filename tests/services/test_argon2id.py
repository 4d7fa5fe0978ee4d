"""argon2id by libsodium, beside argon2-cffi as the reference: same texts, same verdicts."""

import random
import secrets

import pytest
from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import hash_secret

from quart_app.services.identity import argon2id

REFERENCE = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
CHEAP = {"time_cost": 1, "memory_cost": 8, "parallelism": 1, "hash_len": 32}
ALPHABET = "$=,+/.- 0Az\u00e9\x00"
PASSWORDS = [
    b"",
    b"\x00",
    b"a password\x00with more",
    "пароль\u0301🔑".encode(),
    b"\xed\xa0\x80\xff",
    b"x" * 100_000,
]


def matches_by_reference(password_hash: str, password: bytes) -> bool:
    try:
        return REFERENCE.verify(password_hash, password)
    except (VerificationError, InvalidHashError, ValueError):
        return False


@pytest.mark.timeout(1800)
def test_each_library_verifies_the_hashes_of_the_other(*, thorough: bool) -> None:
    """Compare 1,000 hashes of each with --thorough."""
    for number in range(1000 if thorough else 12):
        password = PASSWORDS[number] if number < len(PASSWORDS) else secrets.token_bytes(number)
        wrong = password[:-1] if number % 2 and password else password + b"\x00"
        ours, reference = argon2id.make(password), REFERENCE.hash(password)
        assert extract_parameters(ours) == extract_parameters(reference)
        assert matches_by_reference(ours, password)
        assert argon2id.is_ours(reference)
        assert argon2id.matches(reference, password)
        assert not argon2id.matches(reference, wrong)


def test_both_libraries_find_the_same_hashes_broken(*, thorough: bool) -> None:
    """Change, drop or insert a character of a hash: both still agree about the right password."""
    made, chance, verdicts = argon2id.make(b"pw"), random.Random(16), set()  # noqa: S311
    for _ in range(1000 if thorough else 60):
        at, dropped = chance.randrange(len(made) + 1), chance.randrange(2)
        inserted = chance.choice([*ALPHABET, ""])
        changed = made[:at] + inserted + made[at + dropped :]
        if "m=1" not in changed or "m=19456" in changed:  # not with gigabytes of memory
            verdict = argon2id.matches(changed, b"pw")
            assert verdict == matches_by_reference(changed, b"pw"), changed
            verdicts.add(verdict)
    assert verdicts == {True, False}


@pytest.mark.parametrize("last", "AQgwBRhx/")
def test_unused_bits_of_a_salt_make_a_hash_invalid_for_both(last: str) -> None:
    """The last of 22 characters has 4 bits that encode nothing: only A, Q, g and w are valid."""
    *start, salt, digest = argon2id.make(b"pw").split("$")
    is_right = last == salt[-1]
    other = "$".join([*start, salt[:-1] + last, digest])
    assert argon2id.is_ours(other)
    assert argon2id.matches(other, b"pw") == matches_by_reference(other, b"pw") == is_right


@pytest.mark.parametrize(
    ("kind", "costs"),
    [
        (Type.ID, {"memory_cost": 19456, "time_cost": 3}),
        (Type.ID, {"memory_cost": 19457, "time_cost": 2}),
        (Type.ID, {"parallelism": 2, "memory_cost": 16}),
        (Type.ID, {"hash_len": 4}),
        (Type.ID, {"hash_len": 200}),
        (Type.ID, {"version": 16}),
        (Type.I, {"memory_cost": 19456, "time_cost": 2}),
        (Type.D, {"memory_cost": 19456, "time_cost": 2}),
    ],
)
def test_the_reference_compares_every_hash_that_is_not_like_ours(
    kind: Type, costs: dict[str, int]
) -> None:
    made = hash_secret(b"pw", secrets.token_bytes(8), type=kind, **(CHEAP | costs)).decode()
    assert not argon2id.is_ours(made)
    assert argon2id.matches(made, b"pw")
    assert not argon2id.matches(made, b"px")
