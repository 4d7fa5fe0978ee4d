"""The address of a request: the form that is recorded, and the form that is counted."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from quart_app.model import ADDRESS_LENGTH

_PREFIX_BITS: Final = 64  # one IPv6 customer has at least a /64 (RFC 6177)
# Some proxies forward the port, too. It differs for each connection, so it must not count.
_WITH_PORT: Final = re.compile(r"(?:\[([^\]]+)\]|([0-9.]+))(?::[0-9]{1,5})?")


def shown_address(address: str | None) -> str | None:
    """Return an address in the form that is recorded. IPv4 mapped to IPv6 becomes IPv4."""
    if address is None:
        return None
    parsed = _parsed(address)
    return address[:ADDRESS_LENGTH] if parsed is None else str(parsed)


def counted_address(address: str | None) -> str | None:
    """Return the address that is counted: the /64 of an IPv6 address, or the address itself."""
    parsed = None if address is None else _parsed(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((int(parsed), _PREFIX_BITS), strict=False))
    return shown_address(address)


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    if found := _WITH_PORT.fullmatch(address):
        address = found[1] or found[2]
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:  # the path of a socket, or a name from our proxy
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, IPv6Address) else parsed
