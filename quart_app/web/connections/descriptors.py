"""The number of file descriptors that this process may open."""

import resource
from contextlib import suppress

# For the database, log files, and connections that are being closed.
_RESERVED = 384
_MOST_CONNECTIONS = 8192


def raise_descriptor_limit() -> int:
    """Raise the soft limit to the hard one, and return the soft limit that holds now.

    The usual soft limit, 1,024, exists for programs that use select(2); event loops do not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems refuse the value that they report
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return _MOST_CONNECTIONS + _RESERVED if soft == resource.RLIM_INFINITY else soft


def connections_within(descriptors: int) -> int:
    """Return how many connections may be open at once under this descriptor limit."""
    return min(_MOST_CONNECTIONS, max(descriptors - _RESERVED, descriptors // 2))
