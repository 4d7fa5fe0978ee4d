"""Spellings of login names and e-mail addresses that count as one."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_app.text.login_names import LONGEST_KEY, email_key, name_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Bob", "bob"),
        ("bob ", "bob"),
        ("\u00a0bob\u3000\n", "bob"),
        ("Jos\u00e9", "jose\u0301"),
        ("JOSE\u0301", "jos\u00e9"),
        ("\u212bsa", "a\u030asa"),  # the sign for the unit of length
        ("\uff42\uff4f\uff42", "BOB"),  # full width
        ("\uff76\uff9e", "\u30ac"),  # half-width katakana, with its mark
        ("Stra\u00dfe", "STRASSE"),
        ("stra\u1e9ee", "strasse"),
        ("\u039d\u0399\u039a\u039f\u03a3", "\u03bd\u03b9\u03ba\u03bf\u03c2"),  # final sigma
        ("\u03bd\u03b9\u03ba\u03bf\u03c3", "\u03bd\u03b9\u03ba\u03bf\u03c2"),
        ("b\u200bob", "bob"),
        ("\ufeffbob", "bob"),
        ("bo\u00adb", "bob"),
        ("b\u200do\ufe0fb", "bob"),
        ("\u0418\u0412\u0410\u041d", "\u0438\u0432\u0430\u043d"),
        ("\ufb01n", "FIN"),  # a ligature
        ("\u212aim", "kim"),  # the sign for kelvin
        ("\u0130", "i\u0307"),
        ("anna maria", "Anna\u00a0Maria"),
    ],
)
def test_these_spellings_are_one_name(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bob", "bobb"),
        ("b ob", "bob"),
        ("i", "\u0131"),  # the Turkish dotless i
        ("I", "\u0131"),
        ("i", "\u0130"),
        ("bob", "b\u043eb"),  # a Cyrillic o: another letter despite its look
        ("jose", "jos\u00e9"),
        ("bob", "bob."),
    ],
)
def test_these_are_two_names(one: str, other: str) -> None:
    assert name_key(one) != name_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada@Example.COM", "ada@example.com"),
        (" ada@example.com ", "ada@example.com"),
        ("ada\uff20example\uff0ecom", "ada@example.com"),
        ("ada@example.com.", "ada@example.com"),
        ("ada@b\u00fccher.example", "ada@xn--bcher-kva.example"),
        ("ada@B\u00dcCHER.example", "ada@bu\u0308cher.example"),
        ("ada@stra\u00dfe.example", "ada@xn--strae-oqa.example"),
        ("jos\u00e9@example.com", "jose\u0301@example.com"),
        ("ada", "ADA"),
    ],
)
def test_these_spellings_are_one_address(one: str, other: str) -> None:
    assert email_key(one) == email_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ada@stra\u00dfe.example", "ada@strasse.example"),  # two hosts since IDNA 2008
        ("ada@fa\u00df.example", "ada@fass.example"),
        ("ada@\u03c2.example", "ada@\u03c3.example"),
        ("ada@m\u0131crosoft.example", "ada@microsoft.example"),
        ("ada@example.com", "ada@example.org"),
        ("ada@example.com", "ada.example.com"),
    ],
)
def test_these_are_two_addresses(one: str, other: str) -> None:
    assert email_key(one) != email_key(other)


@given(st.text() | st.text(alphabet="@.-\u00df\u200d\u0345\u0130 xn\ufdfa\uff20\u1160"))
def test_a_key_is_idempotent_and_independent_of_unicode_composition(name: str) -> None:
    for key_of in (name_key, email_key):
        key = key_of(name)
        assert len(key) <= LONGEST_KEY
        assert key_of(unicodedata.normalize("NFD", name)) == key
        assert key_of(unicodedata.normalize("NFC", f" {name}\t")) == key
        if len(key) < LONGEST_KEY:
            assert key_of(key) == key


def test_the_longest_names_keep_different_keys() -> None:
    assert name_key("a" * 64 + "b") != name_key("a" * 65)
    assert len(name_key("\ufdfa" * 64)) == LONGEST_KEY
