"""From which address a request came: as it is written down, and as what it is counted."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from quart_app.model import ADDRESS_LENGTH

_PREFIX_BITS: Final = 64  # what one customer has of IPv6, at the least (RFC 6177)
# As some proxies forward it. Each connection has a port of its own, and would be somebody else.
_WITH_PORT: Final = re.compile(r"(?:\[([^\]]+)\]|([0-9.]+))(?::[0-9]{1,5})?")


def shown_address(address: str | None) -> str | None:
    """Return an address as it is written down: an IPv4 one as such, though it came by IPv6."""
    if address is None:
        return None
    parsed = _parsed(address)
    return address[:ADDRESS_LENGTH] if parsed is None else str(parsed)


def counted_address(address: str | None) -> str | None:
    """Return what an address is counted by: itself, or the /64 of an IPv6 one."""
    parsed = None if address is None else _parsed(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((int(parsed), _PREFIX_BITS), strict=False))
    return shown_address(address)


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    if found := _WITH_PORT.fullmatch(address):
        address = found[1] or found[2]
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:  # a socket's path, or what a proxy of ours made up
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, IPv6Address) else parsed
