"""Normalise host names to the ASCII form that DNS, TLS and the Host header use."""

from typing import Final

import idna

LONGEST_HOST: Final = 253  # RFC 1035 section 2.3.4, as text
_IDEOGRAPHIC_FULL_STOPS: Final = str.maketrans("\u3002\uff0e\uff61", "...")  # UTS 46 section 4


def ascii_host(host: str) -> str:
    """Return a host name in lower case and ASCII, without a trailing dot.

    Non-ASCII names are mapped by UTS 46, non-transitional, as browsers do. `str.encode("idna")`
    follows IDNA 2003, which turns `straße.example` into another host, `strasse.example`. An IP
    address is returned unchanged. Raises ValueError if no host can have that name.
    """
    name = host.translate(_IDEOGRAPHIC_FULL_STOPS).removesuffix(".")
    labels = name.lower().split(".")
    if not name.isascii() or any(label.startswith("xn--") for label in labels):
        name = idna.encode(name, uts46=True, transitional=False).decode()  # ValueError
        labels = name.split(".")
    if len(name) > LONGEST_HOST or not all(map(_is_label, labels)):
        raise ValueError("no host has that name")
    return name.lower()


def _is_label(label: str) -> bool:
    """Return whether this is a DNS label. Containers and local networks also use `_`."""
    return (
        0 < len(label) <= 63  # noqa: PLR2004 RFC 1035 section 2.3.4
        and label.isascii()
        and label.strip("-") == label
        and label.replace("-", "").replace("_", "").isalnum()
    )
