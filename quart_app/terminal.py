"""Standard streams of commands: closed, full, or of an encoding that lacks characters.

`say` is the only way by which commands write, so that no name or error controls the terminal or
forges a line (ruff's banned-api refuses the others).
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
    """What was found out about the standard streams at the start."""

    is_output_closed = False


def prepare_streams() -> None:
    """Let there be streams to read and write, and nothing that can't be written to them.

    A closed one becomes the null device; otherwise a database file would get its number, and what
    is written to the stream would go there. Characters that the encoding lacks are escaped.
    """
    Streams.is_output_closed = sys.stdout is None
    for number, (name, flags) in enumerate(zip(_NAMES, _FLAGS, strict=True)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, _null_device("r" if name == "stdin" else "w"))
    for file in (sys.stdout, sys.stderr):
        if hasattr(file, "reconfigure"):
            file.reconfigure(errors="backslashreplace")


@cache
def _null_device(mode: str) -> IO[str]:
    return Path(os.devnull).open(mode, encoding="utf-8")  # until the process ends


def say(*fields: object, file: TextIO | None = None, end: str = "\n") -> None:
    """Write one line, by default to standard output: fields with tabs between, each printable.

    Raises OSError where it can't be written.
    """
    stream = sys.stdout if file is None else file
    stream.write("\t".join(printable(str(field)) for field in fields) + end)
    stream.flush()


def say_lines(text: str, *, file: TextIO | None = None) -> None:
    """Write text of several lines of ours; names in it must not hold line ends. Raises OSError."""
    for line in text.split("\n"):
        say(line, file=file)


def complain(sentence: str, *, usage: str | None = None) -> None:
    """Write an error to standard error; if even that can't be written, the exit code must do."""
    try:
        if usage is not None:
            say_lines(usage, file=sys.stderr)
        say(f"Error: {sentence}", file=sys.stderr)
    except OSError:
        mute(sys.stderr)


def mute(file: TextIO) -> None:
    """Write no more to a stream that failed: what is in its buffer would fail again at exit."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())
