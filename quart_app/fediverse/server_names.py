"""Names of servers in addresses: DNS names in one spelling, and nothing else."""

import re
from typing import Final

import httpx2

from quart_app.hosts import ascii_host

HTTPS_PORT: Final = 443
# A host that ends in a number is an IPv4 address (URL Standard, "ends in a number checker"), which
# resolvers read in many notations: 127.1, 0x7f000001, 2130706433.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


def server_in(url: httpx2.URL | str) -> str:
    """Return the server of an https address: `host`, or `host:port` where that is not 443.

    Raises ValueError for everything that is not `https://name[:port]/…`: another scheme, a user
    name, an IP address in any notation, a dot at the end, or a spelling that is not the usual one.
    """
    try:
        url = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ValueError("not an address") from error
    if url.scheme != "https" or url.userinfo:
        raise ValueError("not a plain https address")
    name = url.raw_host.decode("ascii")
    if ascii_host(name) != name:
        raise ValueError("not the usual spelling")
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        raise ValueError("an IP address")
    return name if url.port in {None, HTTPS_PORT} else f"{name}:{url.port}"


def url_at(server: str, path: str) -> httpx2.URL:
    """Return the address of a path at a server. Raises ValueError if that is no server's name."""
    text = f"https://{server}{path}"
    if server_in(text) != server:
        raise ValueError("not a server's name")
    return httpx2.URL(text)


def is_at(server: str, url: object) -> bool:
    """Return whether `url`, a value from outside, is an https address at the server."""
    try:
        return isinstance(url, str) and server_in(url) == server
    except ValueError:
        return False
