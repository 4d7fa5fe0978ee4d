"""Sealing and unsealing what other sites gave us."""

import pytest
from cryptography.fernet import Fernet

from quart_app.services.platforms.credentials import Credentials

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))
SECRET = "токен \x00 token"


def test_what_was_sealed_is_unsealed_and_looks_like_nothing() -> None:
    token = Credentials((NEW,)).seal(SECRET)
    assert Credentials((NEW,)).unseal(token) == SECRET
    assert "token" not in token
    assert Fernet(NEW).decrypt(token).decode() == SECRET  # the older application's own form
    assert token != Credentials((NEW,)).seal(SECRET)


def test_the_newest_key_seals_and_every_key_unseals() -> None:
    both = Credentials((NEW, OLD))
    assert both.unseal(Credentials((OLD,)).seal(SECRET)) == SECRET
    assert Credentials((NEW,)).unseal(both.seal(SECRET)) == SECRET


@pytest.mark.parametrize(
    "token",
    [
        "",
        SECRET,
        "gAAAAA",
        Credentials((OLD,)).seal(SECRET),
        Credentials((NEW,)).seal(SECRET)[:-4],
        Fernet(NEW).encrypt(b"\xff").decode(),
        "\ud800",
    ],
    ids=["empty", "plain", "cut", "lost key", "cut short", "not text", "surrogate"],
)
def test_what_no_key_of_ours_sealed_is_none(token: str) -> None:
    assert Credentials((NEW,)).unseal(token) is None
