"""DNS look-ups in threads of their own, so that a name server that hangs holds up nothing else."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_address
from typing import Final

from quart_app.fediverse.public_addresses import IPAddress

# Returns the addresses of a host, the best one first. Raises OSError if there are none.
Resolve = Callable[[str], Awaitable[Sequence[IPAddress]]]

_THREADS: Final = 16  # the system's resolver waits up to 30 s, and can't be interrupted


class SystemResolver:
    """The system's own resolver: /etc/hosts, then DNS."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "resolver")

    async def __call__(self, host: str) -> Sequence[IPAddress]:
        """Return the addresses of `host` in the order of RFC 6724. Raises OSError."""
        look_up = partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        return list(dict.fromkeys(ip_address(str(sockaddr[0])) for *_, sockaddr in found))

    def close(self) -> None:
        """Let the threads end after the look-ups that are running."""
        self._threads.shutdown(wait=False, cancel_futures=True)
