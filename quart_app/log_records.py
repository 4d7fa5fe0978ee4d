"""Log records that name their request and are safe against log injection, for every logger.

Messages and exceptions contain text from strangers: paths, names, values in a driver's error.
Every message becomes one printable line. Traceback lines are indented, so that none of them can
look like a record.
"""

import io
import logging
import textwrap
import traceback
from typing import Any

from quart_app.observed_request import observed_request
from quart_app.text.printable import printable

_INDENT = "    "


def install() -> None:
    """Make every record from now on, from any library, a PrintableRecord."""
    logging.setLogRecordFactory(PrintableRecord)


class PrintableRecord(logging.LogRecord):
    """A record whose text is printable, whatever handler or formatter writes it.

    `request_id` and `trace_id` are those of the request that is being answered, or None.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        observed = observed_request()
        self.request_id = observed.request_id if observed else None
        self.trace_id = observed.trace_id if observed else None
        # A formatter uses exc_text if it is set, instead of formatting the exception itself.
        if self.exc_info and self.exc_info[0] is None:
            self.exc_info = None
        if self.exc_info:
            written = io.StringIO()
            traceback.print_exception(*self.exc_info, file=written)
            self.exc_text = _continued(written.getvalue())
        if self.stack_info:
            self.stack_info = _continued(self.stack_info)

    def getMessage(self) -> str:  # noqa: N802 the name that logging calls
        """Return the message on one line."""
        try:
            message = super().getMessage()
        except (TypeError, ValueError, KeyError):  # values that do not fit their format
            message = f"{self.msg!r} {self.args!r}"
        return printable(message)


def _continued(text: str) -> str:
    # Not str.splitlines(), which also splits at some control characters.
    lines = text.rstrip("\n").split("\n")
    return textwrap.indent("\n".join(map(printable, lines)), _INDENT, lambda _: True)
