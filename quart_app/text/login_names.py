"""Keys that compare login names and e-mail addresses: one for every spelling of a name."""

import unicodedata
from contextlib import suppress
from typing import Final

import idna

from quart_app.hosts import ascii_host
from quart_app.text.invisible import without_invisible

LONGEST_KEY: Final = 255  # some characters fold to 18; no real name is cut off


def name_key(name: str) -> str:
    """Return a name's comparison key: Unicode's toNFKC_Casefold, without spaces at the ends.

    Case, width, composition and invisible characters make no difference, and `ß` is `ss` (Unicode
    section 3.13, R5 of UAX 31). The same for every language: the Turkish
    dotless i is no `i`.
    """
    if name.isascii():  # most names: a hundred times as fast
        return name.lower().strip()[:LONGEST_KEY]
    text = unicodedata.normalize("NFD", name)
    for _ in range(2):  # folding may compose again, and that may add capitals
        text = unicodedata.normalize("NFKC", without_invisible(text.casefold()))
    return text.strip()[:LONGEST_KEY]


def email_key(email: str) -> str:
    """Return an e-mail address's comparison key: the key of its local part, and its host.

    The host is the one that mail would be sent to: `straße.example` is not `strasse.example`.
    """
    local, at, host = unicodedata.normalize("NFKC", email).strip().rpartition("@")
    if not at:
        return name_key(email)
    try:
        host = ascii_host(without_invisible(host).strip())
    except ValueError:  # an address literal, or one that nothing was ever sent to
        host = name_key(host)
    return f"{name_key(local)}@{host}"[:LONGEST_KEY]


def throttle_key(login_name: str) -> str:
    """Return the key that counts wrong passwords for a name; all names of one user share it.

    A login name is a user's name or an address. So this key distinguishes no more than either of
    the other keys does: a host is compared as it is shown, folded as names are.
    """
    local, at, host = email_key(login_name).rpartition("@")
    if not at:
        return name_key(login_name)
    with suppress(idna.IDNAError):  # what can't be a host stays as it is
        host = idna.decode(host)
    return name_key(f"{local}@{host}")
