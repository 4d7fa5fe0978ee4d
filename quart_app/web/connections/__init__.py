"""Connections: how many may be open, how long a client may keep one waiting, and what it may send.

Hypercorn 0.18 has no bounds of its own, so these modules supply them to its process:
`descriptors` the limit of the operating system, `register` the open connections and the order in
which they are closed, `listener` the accept loop, `tcp`, `http1` and `http2` subclasses of
Hypercorn's classes, `hypercorn` the only place where these are put in place of the originals.
"""
