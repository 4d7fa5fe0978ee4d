"""Addresses that nobody outside may make this application connect to, and those that are public."""

import ipaddress
from ipaddress import ip_address, ip_network

import pytest

from quart_app.fediverse.guarded_connections import Destinations
from quart_app.fediverse.public_addresses import is_public
from quart_app.fediverse.server_names import server_in, url_at

NOT_A_SERVER = "not a|no host|not the usual|an IP address"
HOSTILE = [
    # This host and its networks.
    "0.0.0.0",  # noqa: S104 nothing is bound to it
    "0.0.0.1",
    "0.255.255.255",
    "127.0.0.1",
    "127.1.2.3",
    "127.255.255.255",
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "192.168.255.255",
    "100.64.0.1",
    "100.127.255.255",
    # Metadata of clouds.
    "169.254.169.254",
    "169.254.170.2",
    "169.254.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd20:ce::254",
    # Protocols, documentation, benchmarks, multicast, reserved.
    "192.0.0.1",
    "192.0.0.8",
    "192.0.0.170",
    "192.0.2.1",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.175.48.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.255",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    # IPv6: this host, its networks, documentation, multicast.
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "fec0::1",
    "feff::1",
    "fc00::1",
    "fdff::1",
    "ff02::1",
    "ff0e::1",
    "100::1",
    "100:0:0:1::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:1::1",
    "2620:4f:8000::1",
    "4000::1",
    "::ffff:0:1",
    # IPv6 addresses that hold an IPv4 address: mapped, compatible, translated, NAT64, 6to4, Teredo.
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "::127.0.0.1",
    "::10.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::808:808",
    "64:ff9b:1::7f00:1",
    "64:ff9b:1:ffff::a00:1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2002:808:808::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "168.63.129.15",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.0.3.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2003::1",
    "2606:4700:4700::1111",
    "2a01:4f8::1",
    "3ffe:ffff::1",
]


@pytest.mark.parametrize("address", HOSTILE)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_permitted(address: str) -> None:
    assert is_public(ip_address(address))


def test_the_table_has_at_least_sixty_different_addresses() -> None:
    assert len({ip_address(address) for address in HOSTILE}) >= 60


@pytest.mark.parametrize("version", ["_IPv4Constants", "_IPv6Constants"])
def test_networks_that_python_calls_private_are_refused_too(version: str) -> None:
    """Where a newer Python knows a range that our table lacks, this finds it."""
    constants = getattr(ipaddress, version)
    exceptions = getattr(constants, "_private_networks_exceptions", [])
    for network in constants._private_networks:
        for address in (network[0], network[-1]):
            if not any(address in each for each in exceptions):
                assert not is_public(address), address


def test_a_named_network_is_open_at_the_named_ports_only() -> None:
    opened = Destinations([ip_network("10.0.0.0/8"), ip_network("fd00::/8")], [range(8000, 8002)])
    inside, outside = ip_address("10.1.2.3"), ip_address("1.1.1.1")
    assert [port for port in (22, 80, 443, 8000, 8001, 8002) if opened.permit(inside, port)] == [
        443,
        8000,
        8001,
    ]
    assert [port for port in (22, 80, 443, 8000) if opened.permit(outside, port)] == [443]
    assert opened.permit(ip_address("fd12::1"), 443)
    assert not opened.permit(ip_address("127.0.0.1"), 443)
    assert not opened.permit(ip_address("::ffff:10.1.2.3"), 443)


@pytest.mark.parametrize(
    "url",
    [
        "http://server.example/",
        "ftp://server.example/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://127.0.0.1./",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://0x/",
        "https://1.1.1.1/",
        "https://server.example.0x7f/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://server.example./",
        "https://me@server.example/",
        "https://me:secret@server.example/",
        "https://server.example\\@127.0.0.1/",
        "https://server.example%2f/",
        "https://server%00.example/",
        "https://-server.example/",
        "https://server..example/",
        "https:///path",
        "https:server.example",
        "//server.example/",
        "server.example",
        "",
    ],
)
def test_an_address_that_is_not_https_with_a_plain_name_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=NOT_A_SERVER):
        server_in(url)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("https://server.example/path?query", "server.example"),
        ("https://SERVER.example:443/", "server.example"),
        ("https://server.example:8443/", "server.example:8443"),
        ("https://straße.example/", "xn--strae-oqa.example"),
        ("https://1.example/", "1.example"),
        ("https://localhost/", "localhost"),
    ],
)
def test_the_server_of_an_address_has_one_spelling(url: str, server: str) -> None:
    assert server_in(url) == server


@pytest.mark.parametrize(
    "server",
    [
        "Server.example",
        "server.example/",
        "server.example?",
        "server.example#a",
        "a@b.example",
        "server.example:443",
        "server.example:",
        "server.example/@c.example",
        "",
        "a b",
        "a:b",
    ],
)
def test_no_path_is_put_behind_what_is_no_servers_name(server: str) -> None:
    with pytest.raises(ValueError, match=NOT_A_SERVER):
        url_at(server, "/oauth/token")
