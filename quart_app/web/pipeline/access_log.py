"""The access log: one line for each request, whose parts no request can forge."""

import logging
from collections.abc import Mapping
from urllib.parse import quote

from quart_app.observed_request import observed_request
from quart_app.text.printable import printable
from quart_app.web.pipeline.request_ids import REQUEST_ID_HEADER

_LOGGER = "hypercorn.access"
_PATH_ATOM, _ADDRESS_ATOM = "U", "h"
_REQUEST_ID_ATOM = f"{{{REQUEST_ID_HEADER.lower()}}}o"
_ATOMS = {
    "address": _ADDRESS_ATOM,
    "method": "m",
    "path": _PATH_ATOM,
    "protocol": "H",
    "status": "s",
    "bytes": "b",
    "microseconds": "D",
}
# Of an address that a proxy told us: its port is unknown.
_NO_PORT = ":0"
# RFC 3986 section 3.3: what a path holds as it is.
_IN_A_PATH = "/!$&'()*+,;=:@~"
# The format puts quotes around parts of the line. A backslash would make the escapes ambiguous.
_ESCAPED = {ord('"'): r"\x22", ord("\\"): r"\x5c"}


def install(*, as_json: bool) -> None:
    """Let Hypercorn's access log show paths as they were sent, and escape what could forge it."""
    if as_json:
        logging.getLogger(_LOGGER).addFilter(with_fields)
    logging.getLogger(_LOGGER).addFilter(in_one_line)


def with_fields(record: logging.LogRecord) -> bool:
    """Give the record the fields that its JSON object shows, whatever the format of text is."""
    if isinstance(record.args, dict):
        atoms, observed = _Escaped(record.args), observed_request()
        shown = {name: atoms[atom] for name, atom in _ATOMS.items()}
        record.fields = {
            "message": "{method} {path} {status}".format_map(shown),
            "request_id": atoms[_REQUEST_ID_ATOM],
            "access": {**shown, "route": observed.route if observed else None},
        }
    return True


def in_one_line(record: logging.LogRecord) -> bool:
    """Format the line with every value escaped: the method, the path, and any header.

    A line end in a value would write a line of its own, a quote would end the value early, and an
    escape sequence would control the terminal.
    """
    if isinstance(record.args, dict):
        record.msg, record.args = record.msg % _Escaped(record.args), ()
    record.msg, record.args = printable(record.getMessage()), ()
    return True


class _Escaped:
    """Hypercorn's values (its "atoms"), escaped for a line of the log."""

    def __init__(self, atoms: Mapping[str, object]) -> None:
        self._atoms = atoms

    def __getitem__(self, name: str) -> object:
        value = self._atoms[name]
        if not isinstance(value, str):
            return value
        if name == _ADDRESS_ATOM:
            value = value.removesuffix(_NO_PORT)
        if name == _PATH_ATOM:  # Hypercorn has taken its percent signs away
            value = quote(value, safe=_IN_A_PATH, errors="replace")
        return value.translate(_ESCAPED)
