"""Standard streams of commands: closed, full, or of an encoding that lacks characters.

Commands write through `say` only, so that no name or error can control the terminal or forge a
line (ruff's banned-api refuses other ways).
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
    """Open missing standard streams, and make every character writable to them.

    A closed stream becomes the null device. Otherwise a database file would get its number, and
    output would go into that file. Characters that the encoding lacks are escaped.
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

    Raises OSError.
    """
    stream = sys.stdout if file is None else file
    stream.write("\t".join(printable(str(field)) for field in fields) + end)
    stream.flush()


def say_lines(text: str, *, file: TextIO | None = None) -> None:
    """Write our own text of several lines; names in it must have no line ends. Raises OSError."""
    for line in text.split("\n"):
        say(line, file=file)


def complain(sentence: str, *, usage: str | None = None) -> None:
    """Write an error to standard error; if that fails, only the exit code reports it."""
    try:
        if usage is not None:
            say_lines(usage, file=sys.stderr)
        say(f"Error: {sentence}", file=sys.stderr)
    except OSError:
        mute(sys.stderr)


def mute(file: TextIO) -> None:
    """Stop writing to a stream that failed; flushing its buffer at exit would fail again."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())
