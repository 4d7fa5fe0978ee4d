"""What a name that a person chose may hold: every script, joiners and all."""

import unicodedata

# Control characters, lone surrogates, and what ends a line or a paragraph.
_REFUSED = {"Cc", "Cs", "Zl", "Zp"}
# Unicode's property Bidi_Control (UAX 9): with them a name reads as another one.
_BIDI_CONTROLS = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSEEN = {"Cf", "Zs"}
SENTENCE = "A name can't contain control characters, line breaks or direction marks."


def is_writable(name: str) -> bool:
    """Tell whether a line can show it as what it is.

    A zero-width joiner is a letter's part in some scripts, a no-break space belongs to others.
    """
    return not any(
        unicodedata.category(character) in _REFUSED or character in _BIDI_CONTROLS
        for character in name
    )


def is_visible(name: str) -> bool:
    """Tell whether any of it is seen."""
    return any(unicodedata.category(character) not in _UNSEEN for character in name)
