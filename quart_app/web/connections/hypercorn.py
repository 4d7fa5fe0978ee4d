"""Replacement of Hypercorn's classes by our subclasses, because it has no setting for them."""

import logging
from importlib import import_module

from quart_app.web.connections.http1 import BoundedH11Protocol
from quart_app.web.connections.http2 import BoundedH2Protocol
from quart_app.web.connections.tcp import BoundedTCPServer

_log = logging.getLogger("quart_app.connections")
# The module that makes instances, the name it uses, and the subclass that is put there.
_PLACES = (
    ("hypercorn.asyncio.run", "TCPServer", BoundedTCPServer),
    ("hypercorn.protocol", "H11Protocol", BoundedH11Protocol),
    ("hypercorn.protocol", "H2Protocol", BoundedH2Protocol),
)


def bound_hypercorn() -> None:
    """Make Hypercorn in this process use the bounded classes; a second call is harmless.

    If a name is not the class that ours extends, as in another version, it stays unchanged and the
    log gets a line about it.
    """
    for module_name, name, ours in _PLACES:
        module = import_module(module_name)
        found = getattr(module, name, None)
        if found in ours.__mro__:
            setattr(module, name, ours)
        else:
            _log.error("Hypercorn has no %s.%s to bound; connections are not.", module_name, name)
