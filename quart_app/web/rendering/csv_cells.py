"""CSV whose cells are text in every spreadsheet, and never a formula (OWASP, CSV injection)."""

import csv
import io
import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from quart_app.text.printable import printable

_BEGINS_A_FORMULA: Final = frozenset("=+-@")
# The beginning of a cell. In locales with a decimal comma, spreadsheets split at semicolons and
# ignore our quotes. Some drop leading spaces first.
_CELL: Final = re.compile("(?:^|;)[ \"']*")


def csv_lines(rows: Sequence[Sequence[object]]) -> str:
    """Return rows as lines of CSV (RFC 4180), every cell in quotes; None is an empty cell.

    Characters that are not printable, such as line ends, tabs and marks of no width, are escaped.
    """
    lines = io.StringIO()
    writer = csv.writer(lines, quoting=csv.QUOTE_ALL)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return lines.getvalue()


def _cell(value: object) -> str:
    text = "" if value is None else printable(str(value))
    pieces, done = [], 0
    for beginning in _CELL.finditer(text):
        pieces.append(text[done : beginning.end()])
        done = beginning.end()
        if _can_begin_a_formula(text[done : done + 1]):
            pieces.append("'")
    return "".join([*pieces, text[done:]])


def _can_begin_a_formula(character: str) -> bool:
    """Recognize full-width, small, raised and lowered forms, and the minus sign, too."""
    plain = unicodedata.normalize("NFKC", character).replace("\N{MINUS SIGN}", "-")
    return plain[:1] in _BEGINS_A_FORMULA
