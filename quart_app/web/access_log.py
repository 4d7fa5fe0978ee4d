"""One request is one line of the access log, whatever its path holds."""

import logging
from urllib.parse import quote

from quart_app.printable import printable

_LOGGER = "hypercorn.access"
_PATH_ATOM = "U"
# RFC 3986 section 3.3: what a path holds as it is.
_IN_A_PATH = "/!$&'()*+,;=:@~"


def install() -> None:
    """Let Hypercorn's access log show paths as they were sent, and no control characters."""
    logging.getLogger(_LOGGER).addFilter(in_one_line)


def in_one_line(record: logging.LogRecord) -> bool:
    """Put the path's percent signs back, which Hypercorn took away, and escape what isn't shown.

    A path with a line end would else write a line of its own, and one with an escape sequence
    would speak to the terminal.
    """
    if isinstance(record.args, dict) and isinstance(path := record.args.get(_PATH_ATOM), str):
        record.args[_PATH_ATOM] = quote(path, safe=_IN_A_PATH, errors="replace")
    line = record.getMessage()
    record.msg, record.args = printable(line), ()
    return True
