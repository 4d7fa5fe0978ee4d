"""The Cookie header: splitting, joining and limits."""

import pytest

from quart_app.session import cookies_named, joined_cookie_header
from quart_app.session.cookie_header import MOST_COOKIES_OF_A_NAME
from tests.conftest import Clock
from tests.session.applications import SID, login_payload, signed_cookies


def test_the_cost_of_parsing_a_header_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures are compared for a limited number of cookies."""
    cookies = signed_cookies()
    compared = []
    is_signed = cookies._sessions.is_signed

    def see(value: str) -> bool:
        compared.append(value)
        return is_signed(value)

    monkeypatch.setattr(cookies._sessions, "is_signed", see)
    for number in (1, MOST_COOKIES_OF_A_NAME, MOST_COOKIES_OF_A_NAME + 1, 5000):
        compared.clear()
        cookies.read(b"session=a.b.c; " * number)
        assert len(compared) <= MOST_COOKIES_OF_A_NAME


def test_http_2_may_split_the_header(clock: Clock) -> None:
    cookies = signed_cookies()
    value = cookies.session_value(login_payload(clock)).encode()
    split = [(b"cookie", b'x="'), (b"accept", b"*/*"), (b"cookie", b"session=" + value)]
    read = cookies.read(joined_cookie_header(split))
    assert read is not None
    assert read.claims is not None
    assert read.claims.sid == SID


@pytest.mark.parametrize(
    ("header", "values"),
    [
        (b"a=1", ["1"]),
        (b"a=1; a=2;a=3 ;\ta=4", ["1", "2", "3", "4"]),
        (b"b=1; a", [""]),
        (b"a=b=c; =a", ["b=c"]),
        (b'a="1; a=2"', ['"1', '2"']),
        (b'a="1"; a="\\0612"; a="\\"3\\""; a="; a=""; a="\\"', ["1", "12", '"3"', '"', "", "\\"]),
        (b"aa=1; A=2; a =3", ["3"]),
        (b"a=\xff", ["\ufffd"]),
        (b"", []),
    ],
)
def test_a_header_is_split_only_at_semicolons(header: bytes, values: list[str]) -> None:
    assert cookies_named(header, "a") == values
