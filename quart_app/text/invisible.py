"""Invisible characters, which make two names look alike."""

import re
from typing import Final

# Unicode's property Default_Ignorable_Code_Point, which includes zero-width characters and
# variation selectors (DerivedCoreProperties.txt, Unicode 14 to 17).
_IGNORABLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def without_invisible(text: str) -> str:
    """Return the text without characters that are never shown."""
    return _IGNORABLE.sub("", text)
