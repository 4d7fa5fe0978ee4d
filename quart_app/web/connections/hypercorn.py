"""Replacement of classes of Hypercorn and h2 by our subclasses; there is no setting for them."""

import logging
from collections.abc import Callable, Mapping
from importlib import import_module

from quart_app.web.connections.http1 import BoundedH11Protocol
from quart_app.web.connections.http2 import BoundedH2Protocol, StreamOfAnyLength
from quart_app.web.connections.refusals import use_headers
from quart_app.web.connections.tcp import BoundedTCPServer

_log = logging.getLogger("quart_app.connections")
# The module that makes instances, the name it uses, and the subclass that is put there.
_PLACES = (
    ("hypercorn.asyncio.run", "TCPServer", BoundedTCPServer),
    ("hypercorn.protocol", "H11Protocol", BoundedH11Protocol),
    ("hypercorn.protocol", "H2Protocol", BoundedH2Protocol),
    ("h2.connection", "H2Stream", StreamOfAnyLength),
)


def bound_hypercorn(make_headers: Callable[[], Mapping[str, str]]) -> None:
    """Make Hypercorn in this process use the bounded classes; a second call is harmless.

    `make_headers` returns the headers of a refusal, with a new request id.

    If a name is not the class that ours extends, as in another version, it stays unchanged and the
    log gets a line about it.
    """
    use_headers(make_headers)
    for module_name, name, ours in _PLACES:
        module = import_module(module_name)
        found = getattr(module, name, None)
        if found in ours.__mro__:
            setattr(module, name, ours)
        else:
            _log.error("There is no %s.%s: no limit on connections.", module_name, name)
