"""Untrusted text is shown as text in a log or a terminal, never as a command."""

import pytest

from quart_app.text.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("Ζωή☕ 漢字", "Ζωή☕ 漢字"),
        ("two\nlines\r\n", "two\\nlines\\r\\n"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("bell\x07 null\x00 delete\x7f", "bell\\x07 null\\x00 delete\\x7f"),
        ("C1 \x9b31m and next line \x85", "C1 \\x9b31m and next line \\x85"),
        ("line \u2028 and paragraph \u2029", "line \\u2028 and paragraph \\u2029"),
        ("txt.\u202eexe", "txt.\\u202eexe"),
        ("bytes \udcff\ud800", "bytes \\udcff\\ud800"),
    ],
)
def test_unprintable_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    printable(text).encode()  # any text can be written after the escape
