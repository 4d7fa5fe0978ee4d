"""Count what strangers can cause at will, in memory of bounded size."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

from quart_app.model import ADDRESS_LENGTH, AuditEvent

MOST_COUNTED = 100  # rows of one minute, and one more for each event that is counted
_PREFIX_BITS = 64  # what one customer has of IPv6, at the least (RFC 6177)


class Counted(NamedTuple):
    """What is counted together: no more than these three is kept of a refusal."""

    event: AuditEvent
    address: str | None
    user_id: int | None
    is_overflow: bool = False


@dataclass
class Count:
    """How often, and by which request last."""

    number: int
    request_id: str | None


class Tally:
    """Counts, until they are taken away to be written down."""

    def __init__(self) -> None:
        self._counts: dict[Counted, Count] = {}

    def add(self, counted: Counted, number: int = 1, request_id: str | None = None) -> None:
        """Count it; beyond the bound, with all others of its event, whoever they are."""
        if counted not in self._counts and len(self._counts) >= MOST_COUNTED:
            counted = Counted(counted.event, None, None, is_overflow=True)
        count = self._counts.setdefault(counted, Count(0, None))
        count.number += number
        count.request_id = request_id

    def take(self) -> list[tuple[Counted, Count]]:
        """Return the counts, and begin anew."""
        taken, self._counts = self._counts, {}
        return list(taken.items())

    def put_back(self, taken: Iterable[tuple[Counted, Count]]) -> None:
        """Go on with counts that could not be written down."""
        for counted, count in taken:
            self.add(counted, count.number, count.request_id)


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
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:  # a socket's path, or what a proxy of ours made up
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, IPv6Address) else parsed
