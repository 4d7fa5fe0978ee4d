"""The form of log lines: text for people, or one JSON object a line for programs.

A record may have `fields`, which the JSON object gets beside those of every record, or in place of
them.
"""

import json
import logging
import textwrap
from datetime import UTC, datetime
from typing import Any, Final

_TEXT: Final = "[%(asctime)s] %(levelname)s in %(module)s: %(message)s"
# Hypercorn replaces their handlers when it starts to log, which is after the application is made.
_SERVERS_LOGGERS: Final = ("hypercorn.access", "hypercorn.error")


class TextFormatter(logging.Formatter):
    """Lines that end with the request's id, and its trace, unless they have it already."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 logging's name
        """Return the line, without a traceback."""
        line = super().formatMessage(record)
        request_id = getattr(record, "request_id", None)
        trace_id = getattr(record, "trace_id", None)
        if request_id and request_id not in line:
            line += f" (request {request_id})"
        return f"{line} (trace {trace_id})" if trace_id else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line, of printable ASCII only."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = datetime.fromtimestamp(record.created, UTC)
        shown: dict[str, Any] = {
            "time": at.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        for name in ("request_id", "trace_id"):
            if (value := getattr(record, name, None)) is not None:
                shown[name] = value
        shown |= getattr(record, "fields", {})
        if record.exc_text:
            shown["exception"] = textwrap.dedent(record.exc_text)
        if record.stack_info:
            shown["stack"] = textwrap.dedent(record.stack_info)
        return json.dumps(shown).replace("\x7f", "\\u007f")


_JSON: Final = JsonFormatter()


def install(log_format: str, handler: logging.Handler) -> None:
    """Let the application's handler write "text" or "json"; with "json", all others do so, too."""
    if log_format == "text":
        handler.setFormatter(TextFormatter(_TEXT))
        return
    handler.setFormatter(_JSON)
    if logging.lastResort is not None:  # for loggers without a handler, such as asyncio's
        logging.lastResort.setFormatter(_JSON)
    logging.captureWarnings(capture=True)
    logging.getLogger("py.warnings").addHandler(handler)
    for name in _SERVERS_LOGGERS:
        logging.getLogger(name).addFilter(_with_json)


def _with_json(record: logging.LogRecord) -> bool:
    """Let the handlers of the record's logger write JSON."""
    for handler in logging.getLogger(record.name).handlers:
        handler.setFormatter(_JSON)
    return True
