"""Parsers of command lines, whose errors can't control the terminal.

Like environment.py, this runs on the bare interpreter of a fresh clone.
"""

import argparse
from typing import Any, NoReturn

import environment  # noqa: F401 puts the package on the path

from quart_app.text.printable import printable


class PrintableParser(argparse.ArgumentParser):  # noqa: TID251 the one place that may
    """A parser that escapes what it repeats of wrong arguments. Its description keeps its lines."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*arguments, **options)

    def error(self, message: str) -> NoReturn:
        """Exit with 2, the usage and the message on standard error."""
        super().error(printable(message))
