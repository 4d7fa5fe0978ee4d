"""Columns of daily numbers: in proportion, and always visible."""

from datetime import date, timedelta
from itertools import pairwise

import pytest

from quart_app.web.rendering.chart import HEIGHT, chart_of

FIRST = date(2026, 2, 1)


def days(*numbers: int | None) -> list[tuple[date, int | None]]:
    return [(FIRST + timedelta(days=each), number) for each, number in enumerate(numbers)]


def test_the_largest_number_is_as_high_as_the_chart_and_the_others_in_proportion() -> None:
    chart = chart_of(days(0, 5, 10, None))
    assert (chart.most, chart.total) == (10, 15)
    assert [column.height for column in chart.columns] == [0, HEIGHT / 2, HEIGHT, 0]
    assert [column.y + column.height for column in chart.columns] == [HEIGHT] * 4
    assert chart.columns[3].number is None


def test_one_beside_a_million_is_visible() -> None:
    chart = chart_of(days(1, 1_000_000, 0))
    assert [column.height > 1 for column in chart.columns] == [True, True, False]


@pytest.mark.parametrize("numbers", [(), (0, 0), (None, None)])
def test_an_empty_chart_is_not_an_error(numbers: tuple[int | None, ...]) -> None:
    chart = chart_of(days(*numbers))
    assert (chart.most, chart.total) == (0, 0)
    assert {column.height for column in chart.columns} <= {0}


def test_columns_are_side_by_side_within_the_width() -> None:
    columns = chart_of(days(*range(30))).columns
    assert columns[0].x > 0
    assert columns[-1].x + columns[-1].width < 100
    for left, right in pairwise(columns):
        assert left.x + left.width < right.x
    for column in columns:
        assert column.x < column.middle < column.x + column.width


def test_every_seventh_day_has_its_date_except_at_the_edge() -> None:
    positions = [
        position
        for position, column in enumerate(chart_of(days(*range(30))).columns)
        if column.has_label
    ]
    assert positions == [5, 12, 19, 26]
