"""Addresses that a stranger may make this application connect to, and all others.

`ipaddress.is_global` is not used: Python 3.11.7 calls 64:ff9b::7f00:1 public, which a translator
turns into 127.0.0.1, and 2002:7f00:1::, which 6to4 turns into the same.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

# IANA's registry of special IPv4 addresses, with those that are only for protocols.
_NOT_PUBLIC_IPV4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by a provider's customers; Alibaba's metadata, too
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's platform, at each of its virtual machines
        "169.254.0.0/16",  # link-local, and the metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocols; Oracle's metadata, too
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
# IANA assigns public IPv6 addresses from here only. So this leaves out ::1, IPv4-mapped and
# -compatible addresses, NAT64, fc00::/7, fe80::/10, fec0::/10 and multicast.
_PUBLIC_IPV6: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_IPV6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocols, such as Teredo (2001::/32), which holds an IPv4 address
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which holds an IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)


def is_public(address: IPAddress) -> bool:
    """Return whether the address is on the public internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_IPV4)
    return address in _PUBLIC_IPV6 and not any(address in each for each in _NOT_PUBLIC_IPV6)
