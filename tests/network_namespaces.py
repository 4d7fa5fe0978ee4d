"""Linux network namespaces, each with interfaces and addresses of its own."""

import ctypes
from pathlib import Path
from typing import Final

NETWORK_NAMESPACES: Final = Path("/run/netns")  # where `ip netns` keeps them
_CLONE_NEWNET: Final = 0x40000000  # linux/sched.h


def enter_network_namespace(name: str) -> None:
    """Give the sockets that this thread opens from now on the interfaces of a namespace."""
    path = NETWORK_NAMESPACES / name
    with path.open() as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns", str(path))
