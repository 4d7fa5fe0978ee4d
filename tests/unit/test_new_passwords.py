"""Rules for new passwords, and the sentences of their refusals."""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_app.errors import InvalidInput
from quart_app.services.identity.new_passwords import (
    _commonest_passwords,
    check_new_password,
    generated_password,
)
from tests.conftest import PASSWORD
from tests.servers import ROOT

OWN = "This password is too similar to the name or e-mail address. Choose another."
SERVICE = "This password is too similar to the name of this service. Choose another."
COMMONEST = "This is one of the most common passwords. Choose another."
WORDS = ["ada", "lovelace", "correct", "horse", "mastodon", "quart_app", "password", "Борис"]


def refusal(password: str, username: str = "ada", email: str = "lady.l@example.com") -> str | None:
    try:
        check_new_password(password, username, email)
    except InvalidInput as error:
        return error.sentence
    return None


def test_a_password_has_8_to_1024_characters_of_any_kind() -> None:
    of_eight = ["8 signs!", "żółw żół", "🔑🐎🔋📎🔑🐎🔋📎", "........", " x y z  "]
    assert [refusal(password) for password in (*of_eight, "x" * 1024)] == [None] * 6
    for password in ("", "7 signs", "🔑" * 7, "x" * 1025):
        assert refusal(password) == "A password must have 8 to 1024 characters."


@pytest.mark.parametrize(
    "password",
    ["password", "PassWord", "12345678", "qwertyuiop", "iloveyou1", "1QAZ2wsx", " password1 "],
)
def test_a_common_password_is_refused_in_any_case(password: str) -> None:
    assert refusal(password) == COMMONEST


def test_the_list_of_common_passwords_is_long_and_contains_only_valid_choices() -> None:
    listed = _commonest_passwords()
    assert len(listed) >= 3000  # OWASP ASVS 5.0, 6.2.4
    assert all(len(each) >= 8 and each == each.casefold() for each in listed)
    assert listed is _commonest_passwords()


@pytest.mark.parametrize(
    ("username", "email", "password"),
    [
        ("ada", "x@example.com", "ada12345"),
        ("ada", "x@example.com", "...ADA..."),
        ("ada", "x@example.com", "19ada-ada85"),
        ("Ada Lovelace", "x@example.com", "ada lovelace"),
        ("ada_lovelace", "x@example.com", "AdaLovelace1815"),
        ("x", "ada.lovelace@example.com", "ada.lovelace"),
        ("x", "ada.lovelace@example.com", "ada-lovelace!"),
        ("x", "ada.lovelace@example.com", "ada.lovelace@example.com"),
        ("x", "ada.lovelace@example.com", "Ada.Lovelace@Example.com 1"),
        ("Борис", "x@example.com", "борис 1990"),
        ("第四第四第四第四", "x@example.com", "第四第四第四第四"),
        ("19850101", "x@example.com", "1985-01-01"),
        ("!!!!!!!!", "x@example.com", "!!!!!!!!"),
    ],
)
def test_the_users_own_name_or_address_is_refused_with_trivial_additions(
    username: str, email: str, password: str
) -> None:
    assert refusal(password, username, email) == OWN


@pytest.mark.parametrize("password", ["quart_app", "Quart App!", "mastodon", "Pixelfed2026"])
def test_the_services_name_is_refused(password: str) -> None:
    assert refusal(password) == SERVICE


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("staple", PASSWORD),
        ("a", PASSWORD),
        ("a", "a 7391 8846 2291"),
        ("7", "7391 8846"),
        ("2291", "7391 8846 2291"),
        ("!!!!!!!!", "!?!?!?!?!"),
        ("ada", "ada was first"),
        ("ada lovelace", "Lovelace, Ada"),
        ("ada", "canada dry"),
        ("ada", "my mastodon is big"),
        ("ada", "passwords are dull"),
    ],
)
def test_a_passphrase_is_accepted_whatever_words_it_contains(username: str, password: str) -> None:
    assert refusal(password, username) is None


@given(st.lists(st.sampled_from(WORDS), min_size=2, unique=True), st.sampled_from(" -.1"))
def test_two_different_words_are_not_a_name(words: list[str], between: str) -> None:
    password = between.join(words)
    for username in words:
        assert refusal(f"{password}!!", username, f"{username}@example.com") is None


@given(st.text(max_size=40), st.text(min_size=1, max_size=20), st.text(max_size=20))
def test_invisible_input_is_refused(password: str, username: str, email: str) -> None:
    refusal(password, username, f"{email}@example.com")


def test_a_generated_password_is_never_refused() -> None:
    assert {refusal(generated_password()) for _ in range(100)} == {None}


@pytest.mark.parametrize(
    "folder",
    ["quart_app/services/identity/vendor", "quart_app/web/static/vendor", "tests/browser/vendor"],
)
def test_vendored_files_are_unchanged(folder: str) -> None:
    path = ROOT / folder
    listed = dict(re.findall(r"(?m)^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", _readme(folder)))
    assert {each.name for each in path.iterdir()} == {*listed, "README.md"}
    for name, digest in listed.items():
        assert hashlib.sha256((path / name).read_bytes()).hexdigest() == digest


def _readme(folder: str) -> str:
    return (ROOT / folder / "README.md").read_text()
