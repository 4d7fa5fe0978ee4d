"""Positions of the columns of a chart of numbers a day, which `chart.html` draws as SVG.

Horizontal positions are in per cent of any width, vertical ones in pixels. So letters keep their
size from the narrowest screen to the widest, and no script measures anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

HEIGHT: Final = 72  # pixels, of the highest column
_LEAST: Final = 2  # pixels: a small number stays visible next to a much greater one
_FILLED: Final = 0.7  # of a day's width
_DAYS_A_LABEL: Final = 7


@dataclass(frozen=True, kw_only=True)
class Column:
    """A day's column; `x` and `width` in per cent, `y` and `height` in pixels from the top.

    `number` is None if it is unknown; `has_label` tells if the date is written below.
    """

    day: date
    number: int | None
    x: float
    width: float
    middle: float
    y: float
    height: float
    has_label: bool


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Columns in the order of their days, the most of a day, and the sum."""

    columns: Sequence[Column]
    most: int
    total: int


def chart_of(numbers: Sequence[tuple[date, int | None]]) -> Chart:
    """Return the chart of numbers a day; the greatest is as high as the chart."""
    known = [number for _, number in numbers if number is not None]
    most = max(known, default=0)
    return Chart(
        columns=[
            _column(position, len(numbers), day, number, most)
            for position, (day, number) in enumerate(numbers)
        ],
        most=most,
        total=sum(known),
    )


def _column(position: int, days: int, day: date, number: int | None, most: int) -> Column:
    step = 100 / days
    height = max(_LEAST, HEIGHT * number / most) if number else 0.0
    return Column(
        day=day,
        number=number,
        x=round(step * (position + (1 - _FILLED) / 2), 3),
        width=round(step * _FILLED, 3),
        middle=round(step * (position + 0.5), 3),
        y=round(HEIGHT - height, 2),
        height=round(height, 2),
        # CounterKey from today, so that it has one; not at the edges, where it would be cut off.
        has_label=(days - 1 - position) % _DAYS_A_LABEL == _DAYS_A_LABEL // 2,
    )
