"""Encrypting and decrypting credentials of other sites."""

import pytest
from cryptography.fernet import Fernet

from quart_app.services.platforms.credentials import Credentials

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))
SECRET = "токен \x00 token"


def test_encrypted_credentials_can_be_decrypted_and_reveal_nothing() -> None:
    token = Credentials((NEW,)).seal(SECRET)
    assert Credentials((NEW,)).unseal(token) == SECRET
    assert "token" not in token
    assert Fernet(NEW).decrypt(token).decode() == SECRET  # the legacy application's own form
    assert token != Credentials((NEW,)).seal(SECRET)


def test_the_newest_key_encrypts_and_every_key_decrypts() -> None:
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
def test_credentials_encrypted_with_an_unknown_key_decrypt_to_none(token: str) -> None:
    assert Credentials((NEW,)).unseal(token) is None
