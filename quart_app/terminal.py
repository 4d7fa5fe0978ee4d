"""Standard streams of commands, which may be closed, full, or lack characters in their encoding.

Commands write only through `say`, so that no name or error can send control characters to the
terminal or forge a line. Ruff's banned-api setting enforces this.
"""

import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, TextIO

from quart_app.text.printable import printable

_FLAGS = (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)
_NAMES = ("stdin", "stdout", "stderr")


class Streams:
    """The state of the standard streams at the start."""

    is_output_closed = False


def prepare_streams() -> None:
    """Open closed standard streams as the null device, and escape what the encoding lacks.

    If a stream stayed closed, the next opened file, such as the database, would get its file
    descriptor, and output would be written into that file.
    """
    Streams.is_output_closed = sys.stdout is None
    for number, (name, flags) in enumerate(zip(_NAMES, _FLAGS, strict=True)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # gets the lowest free descriptor, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, _null_device("r" if name == "stdin" else "w"))
    for file in (sys.stdout, sys.stderr):
        if hasattr(file, "reconfigure"):
            file.reconfigure(errors="backslashreplace")


@cache
def _null_device(mode: str) -> IO[str]:
    return Path(os.devnull).open(mode, encoding="utf-8")  # until the process ends


def say(*fields: object, file: TextIO | None = None, end: str = "\n") -> None:
    """Write one line of printable fields, separated by tabs, to standard output or `file`.

    Raises OSError.
    """
    stream = sys.stdout if file is None else file
    stream.write("\t".join(printable(str(field)) for field in fields) + end)
    stream.flush()


def say_lines(text: str, *, file: TextIO | None = None) -> None:
    """Write text of several lines; values in it must not contain line ends. Raises OSError."""
    for line in text.split("\n"):
        say(line, file=file)


def complain(sentence: str, *, usage: str | None = None) -> None:
    """Write an error to standard error; if that fails, only the exit code shows the failure."""
    try:
        if usage is not None:
            say_lines(usage, file=sys.stderr)
        say(f"Error: {sentence}", file=sys.stderr)
    except OSError:
        mute(sys.stderr)


def mute(file: TextIO) -> None:
    """Redirect a failed stream to the null device, so that the flush at exit does not fail, too."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())
