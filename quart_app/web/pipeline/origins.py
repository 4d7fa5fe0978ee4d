"""Compare web origins (RFC 6454): scheme, host and port."""

from typing import Final, NamedTuple
from urllib.parse import urlsplit

from quart_app.hosts import ascii_host

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """The origin of a page. `host` is lower case, and a name is in its ASCII form."""

    scheme: str
    host: str
    port: int


def origin_of(url: str) -> Origin | None:
    """Return the origin of an http or https URL or of an `Origin` header.

    None if it has none, such as `null`, which browsers send for pages without an origin.
    """
    try:
        parts = urlsplit(url)
        default_port = _DEFAULT_PORTS[parts.scheme]
        port = default_port if parts.port is None else parts.port
        host = parts.hostname or ""
        # An IPv6 address, whose colons no host name has.
        return Origin(parts.scheme, host if ":" in host else ascii_host(host), port)
    except (ValueError, KeyError):
        return None
