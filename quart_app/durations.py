"""Durations in words, for pages, commands and scripts that show a limit."""

from datetime import timedelta
from typing import Final

_UNITS: Final = (
    ("day", timedelta(days=1)),
    ("hour", timedelta(hours=1)),
    ("minute", timedelta(minutes=1)),
    ("second", timedelta(seconds=1)),
)


def in_words(duration: timedelta) -> str:
    """Return `30 days` or `1 day and 12 hours`: the largest unit, and the next one if not zero.

    The result is rounded down, so that no limit is shown longer than it is.
    """
    position = next(
        (each for each, (_, length) in enumerate(_UNITS) if duration >= length), len(_UNITS) - 1
    )
    unit, length = _UNITS[position]
    number, rest = divmod(duration, length)
    words = _words(number, unit)
    for next_unit, next_length in _UNITS[position + 1 : position + 2]:
        if following := rest // next_length:
            words += f" and {_words(following, next_unit)}"
    return words


def _words(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
