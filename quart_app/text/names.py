"""Rules for names that people choose: every script is allowed, joiners included."""

import unicodedata

# Control characters, lone surrogates, and what ends a line or a paragraph.
_REFUSED = {"Cc", "Cs", "Zl", "Zp"}
# Unicode's property Bidi_Control (UAX 9): with them a name looks like another name.
_BIDI_CONTROLS = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSEEN = {"Cf", "Zs"}
SENTENCE = "A name can't contain control characters, line breaks or direction marks."


def is_writable(name: str) -> bool:
    """Return whether one line can show the name unchanged.

    Zero-width joiners are parts of letters in some scripts, and others use no-break spaces.
    """
    return not any(
        unicodedata.category(character) in _REFUSED or character in _BIDI_CONTROLS
        for character in name
    )


def is_visible(name: str) -> bool:
    """Return whether the name has any visible character."""
    return any(unicodedata.category(character) not in _UNSEEN for character in name)
