"""Login names and e-mail addresses as they are compared: one key for every spelling of a name."""

import re
import unicodedata
from typing import Final

from quart_app.hosts import ascii_host

# Unicode's property Default_Ignorable_Code_Point, which includes zero-width characters and
# variation selectors (DerivedCoreProperties.txt, Unicode 14 to 17).
_IGNORABLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)

LONGEST_KEY: Final = 255  # a few characters fold to 18; nobody's real name is cut off


def name_key(name: str) -> str:
    """Return what a name is compared by: Unicode's toNFKC_Casefold, without spaces at the ends.

    Case, width, composition and invisible characters make no difference, and `ß` is `ss` (Unicode
    section 3.13, R5 of UAX 31). The same for every language: the Turkish
    dotless i is no `i`.
    """
    if name.isascii():  # most names: a hundred times as fast
        return name.lower().strip()[:LONGEST_KEY]
    text = unicodedata.normalize("NFD", name)
    for _ in range(2):  # folding may compose anew, and composing may bring new capitals
        text = unicodedata.normalize("NFKC", _IGNORABLE.sub("", text.casefold()))
    return text.strip()[:LONGEST_KEY]


def email_key(email: str) -> str:
    """Return what an e-mail address is compared by: the key of its local part, and its host.

    The host is what mail would be sent to: `straße.example` is not `strasse.example`.
    """
    local, at, host = unicodedata.normalize("NFKC", email).strip().rpartition("@")
    if not at:
        return name_key(email)
    try:
        host = ascii_host(_IGNORABLE.sub("", host).strip())
    except ValueError:  # an address literal, or one that nothing was ever sent to
        host = name_key(host)
    return f"{name_key(local)}@{host}"[:LONGEST_KEY]
