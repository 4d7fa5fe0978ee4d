"""No spreadsheet reads an exported cell as a formula, whatever its separator."""

import csv
import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_app.web.rendering.csv_cells import csv_lines

SIGNS = "=+-@＝＋－＠﹢﹣﹦﹫⁺⁻⁼₊₋₌−"  # noqa: RUF001 just these


def begins_a_formula(cell: str) -> bool:
    cell = cell.lstrip(' \t\r\n\xa0\ufeff\u200b"')
    plain = unicodedata.normalize("NFKC", cell[:1]).replace("\N{MINUS SIGN}", "-")
    return plain[:1] in {"=", "+", "-", "@"}


def assert_harmless(text: str) -> None:
    lines = csv_lines([["1", text, None]])
    for delimiter in ",;\t":
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
            if quoting == csv.QUOTE_NONE and delimiter == ",":
                continue  # no program reads CSV like this
            for row in csv.reader(
                io.StringIO(lines, newline=""), delimiter=delimiter, quoting=quoting
            ):
                assert not any(map(begins_a_formula, row)), (delimiter, row)


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize(
    "before",
    [
        *("", " ", "  ", "\t", "\r", "\n", "\r\n", "\xa0", "\u200b", "\ufeff", "\u2028", "\x00"),
        *("x;", "x; ", ";;", "x\n", "x\t", '";', 'x";', "x\r", "'\";", "a,b;"),
    ],
    ids=ascii,
)
def test_a_formula_becomes_text(before: str, sign: str) -> None:
    assert_harmless(f"{before}{sign}cmd|' /C calc'!A0")


@given(st.lists(st.sampled_from([*SIGNS, *" \t\r\n;,\"'x1\u200b\xa0"]), max_size=12).map("".join))
def test_every_text_stays_text_in_a_spreadsheet(text: str) -> None:
    assert_harmless(text)


@pytest.mark.parametrize(
    "text", ["", "ada", "a-b", "a=b", "2026-01-31T00:00:00Z", "::1", '{"a": -1}', "Zoë ☕", "a; b"]
)
def test_a_harmless_text_is_unchanged(text: str) -> None:
    assert list(csv.reader(io.StringIO(csv_lines([[text, None]])))) == [[text, ""]]
