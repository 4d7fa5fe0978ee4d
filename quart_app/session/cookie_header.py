"""The Cookie header, read so that no other cookie in it can hide ours (RFC 6265, section 5.4).

A browser sends every cookie of a name that any path or domain of the site has set, and takes
whatever others put into their values. So the header is only split at `;`: a quotation mark means
nothing, and every value of a name is returned, not the first.
"""

from collections.abc import Iterable
from typing import Final

# Cookies of one name that are looked at. Each costs a few HMACs, and a browser has one or two.
MOST_COOKIES_OF_A_NAME: Final = 10


def cookie_header(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the Cookie header of an ASGI request; HTTP/2 may split it into several headers."""
    header = b""
    for name, value in headers:
        if name == b"cookie":
            header = header + b"; " + value if header else value
    return header


def cookies_named(header: bytes, name: str) -> list[str]:
    """Return the values of every cookie of that name, in the header's order.

    At most one more than MOST_COOKIES_OF_A_NAME, so that a caller sees that there are too many.
    """
    wanted, values = name.encode(), []
    for pair in header.split(b";"):
        found, _, value = pair.partition(b"=")
        if found.strip() == wanted:
            values.append(value.strip().decode("ascii", "replace"))
            if len(values) > MOST_COOKIES_OF_A_NAME:
                break
    return values
