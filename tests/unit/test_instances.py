"""Normalized spellings of servers and accounts, and tokens as they are pasted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_app.errors import InvalidInput
from quart_app.hosts import ascii_host
from quart_app.instances import account_at, is_same_account, server_of, url_of, username_of
from quart_app.services.platforms.platform_fields import checked_token


@pytest.mark.parametrize(
    ("stored", "server"),
    [
        ("https://server.example", "server.example"),
        ("https://server.example/", "server.example"),
        ("https://Server.EXAMPLE/@me?x=1#y", "server.example"),
        ("HTTPS://server.example:443/", "server.example"),
        ("http://server.example", "server.example"),
        ("http://server.example:80/web", "server.example"),
        ("https://server.example./", "server.example"),
        ("https://me:secret@server.example", "server.example"),
        ("  server.example \n", "server.example"),
        ("server.example:8443/", "server.example:8443"),
        ("http://server.example:8080", "server.example:8080"),
        ("https://stra\u00dfe.example/", "xn--strae-oqa.example"),
        ("https://B\u00dcCHER.example", "xn--bcher-kva.example"),
        ("https://xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("https://ser\u200bver.example", "server.example"),
        ("https://my_host:3000", "my_host:3000"),
        ("https://127.0.0.1:3000", "127.0.0.1:3000"),
    ],
)
def test_a_stored_address_names_its_server(stored: str, server: str) -> None:
    assert server_of(stored) == server
    assert url_of(stored) == f"https://{server}"


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "ftp://server.example",
        "no server",
        "https://",
        "https://[::1",
        "https://a..b",
        "https://x:99999",
    ],
)
def test_an_address_without_a_server_name_is_unchanged(stored: str) -> None:
    assert server_of(stored) == url_of(stored) == stored


@given(st.text())
def test_any_stored_value_can_be_shown(stored: str) -> None:
    assert server_of(server_of(stored)) == server_of(stored)
    assert url_of(url_of(stored)) == url_of(stored)
    username_of(stored, stored)
    is_same_account(server_of(stored), stored, stored)


@pytest.mark.parametrize(
    "username",
    [
        *("alice", "@alice", "Alice", "ALICE@mastodon.social", "@alice@Mastodon.Social"),
        *("alice@mastodon.social.", "alice@mastodon.social:443", " alice@mastodon.social "),
        *("https://mastodon.social/@alice", "https://Mastodon.Social/alice/"),
        *("https://mastodon.social/@alice@mastodon.social", "acct:alice@mastodon.social"),
    ],
)
def test_these_spellings_are_one_account(username: str) -> None:
    assert is_same_account("mastodon.social", username, "alice")
    assert account_at("mastodon.social", username).lower() == "alice"


@pytest.mark.parametrize(
    "username",
    [
        *("alice@mastodon.example", "alicia", "al ice", "alice@mastodon.social@", "alice@"),
        *("https://mastodon.example/@alice", "https://mastodon.social/@alice@mastodon.example"),
        *("alice@mastodon.social:8443", "@@alice", ""),
    ],
)
def test_these_are_other_accounts(username: str) -> None:
    assert not is_same_account("mastodon.social", username, "alice")


def test_accounts_on_an_internationalized_domain_are_matched() -> None:
    assert is_same_account("xn--strae-oqa.example", "alice@stra\u00dfe.example", "alice")
    assert not is_same_account("strasse.example", "alice@stra\u00dfe.example", "alice")


@pytest.mark.parametrize(
    ("host", "ascii"),
    [
        ("stra\u00dfe.example", "xn--strae-oqa.example"),
        ("STRASSE.example", "strasse.example"),
        ("\u03b2\u03cc\u03bb\u03bf\u03c2.example", "xn--nxasmm1c.example"),
        ("\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.example", "xn--mgba3gch31f060k.example"),
        ("my_host", "my_host"),
        ("Server.Example.", "server.example"),
    ],
)
def test_a_host_is_mapped_as_browsers_do(host: str, ascii: str) -> None:  # noqa: A002
    assert ascii_host(host) == ascii
    assert ascii_host(ascii) == ascii


@pytest.mark.parametrize(
    "host",
    ["", ".", "a..b", "-a", "a-", "a b", "a/b", "x" * 64, "xn--a", "\u2100", "a.\u200d", "\ud800"],
)
def test_an_invalid_host_name_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        ascii_host(host)


@pytest.mark.parametrize(
    "pasted",
    [
        *(
            "abc-DEF_123.~+/=",
            " abc-DEF_123.~+/=",
            "abc-DEF_123.~+/=\r\n",
            "\u00a0abc-DEF_123.~+/=\t",
        ),
        *("Bearer abc-DEF_123.~+/=", "bearer  abc-DEF_123.~+/= ", "\nBEARER\tabc-DEF_123.~+/="),
        "Authorization: Bearer abc-DEF_123.~+/=",
    ],
)
def test_a_token_is_stored_without_text_that_was_copied_around_it(pasted: str) -> None:
    assert checked_token(pasted) == "abc-DEF_123.~+/="


@pytest.mark.parametrize(
    ("pasted", "named"),
    [
        ("abcdefghijk\u200bl", "a zero-width space at position 12"),
        ("abc\u200d", "a zero-width joiner at position 4"),
        ("\ufeffabc", "a zero-width no-break space at position 1"),
        ("a\u00a0b", "a no-break space at position 2"),
        ("a b", "a space at position 2"),
        ("a\nb", "a line break at position 2"),
        ("a\tb", "a tab at position 2"),
        ("\u201cabc\u201d", "a left double quotation mark at position 1"),
        ("abc\u2019", "a right single quotation mark at position 4"),
        ("a\u2013b", "an en dash at position 2"),
        ("a\u2014b", "an em dash at position 2"),
        ("a\u2010b", "a hyphen at position 2"),
        ("a\u2026", "a horizontal ellipsis at position 2"),
        ("a\u0007", "a control character (U+0007) at position 2"),
        ("a\u007f", "a control character (U+007F) at position 2"),
        ("a\u202e", "a right-to-left override at position 2"),
        ("a\u00e9", "a latin small letter e with acute at position 2"),
        ("a\ue000", "a character without a name (U+E000) at position 2"),
        ("Bearer a\u200bb", "a zero-width space at position 9"),
        ("  a\u200bb", "a zero-width space at position 4"),
        ("a\u2028b", "a line separator at position 2"),
    ],
)
def test_the_first_character_that_no_header_can_carry_is_named(pasted: str, named: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        checked_token(pasted)
    assert f"The token contains {named}." in refused.value.sentence
    assert refused.value.field == "access_token"
    assert refused.value.sentence.isprintable()


@pytest.mark.parametrize("pasted", ["", " ", "\n", "Bearer", "Bearer ", "\u00a0"])
def test_an_empty_token_is_refused(pasted: str) -> None:
    with pytest.raises(InvalidInput, match="Enter an access token"):
        checked_token(pasted)


@given(st.text())
def test_a_stored_token_can_be_sent(pasted: str) -> None:
    try:
        token = checked_token(pasted)
    except InvalidInput:
        return
    assert token
    assert all("!" <= character <= "~" for character in token)
    assert token in pasted
