"""Connections: how many may be open, how long a client may keep one waiting, and what it may send.

Hypercorn 0.18 has no bounds of its own, so these modules supply them to its process:
`descriptors` the limit of the operating system, `register` the open connections and their order of
closing, `listener` the accept loop, `tcp`, `http1` and `http2` subclasses of Hypercorn's classes,
`refusals` the headers of answers that the server makes by itself, `draining` the stop.
Only `hypercorn` replaces the originals with these subclasses.
"""
