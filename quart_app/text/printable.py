"""Escaping of text for log lines and terminals, in one place."""


def printable(text: str) -> str:
    r"""Return the text on one line, with every character that is not printable escaped.

    A line end would forge a line of its own, an escape sequence would control the terminal, and a
    bidirectional mark would reorder what is read: they become `\n`, `\x1b` and `\u202e`. Lone
    surrogates, which no encoding can write, become `\udc80`.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
