"""Relative times and initials, which pages make from values."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from quart_app.web.rendering.display import displayed
from quart_app.web.rendering.template_filters import ago, initials

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("passed", "words"),
    [
        (timedelta(), "just now"),
        (timedelta(seconds=59), "just now"),
        (-timedelta(seconds=59), "just now"),
        (MINUTE, "1 minute ago"),
        (3 * MINUTE + timedelta(seconds=59), "3 minutes ago"),
        (HOUR - timedelta(seconds=1), "59 minutes ago"),
        (HOUR, "1 hour ago"),
        (-3 * HOUR, "in 3 hours"),
        (DAY, "1 day ago"),
        (-30 * DAY, "in 30 days"),
        (31 * DAY, "1 month ago"),
        (365 * DAY, "11 months ago"),
        (366 * DAY, "1 year ago"),
        (-1000 * DAY, "in 2 years"),
    ],
)
def test_a_duration_is_whole_numbers_of_the_largest_unit(passed: timedelta, words: str) -> None:
    assert ago(NOW - passed, NOW) == words
    assert ago((NOW - passed).replace(tzinfo=None), NOW) == words  # as in older records


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (datetime.min.replace(tzinfo=UTC), "2025 years ago"),
        (datetime.max.replace(tzinfo=UTC), "in 7973 years"),
        (datetime.min, "2025 years ago"),  # noqa: DTZ901 naive, as an old database may have it
        (datetime.max, "in 7973 years"),  # noqa: DTZ901
        (None, ""),
        ("2026-03-01 11:00:00", ""),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), "2025 years ago"),
    ],
)
def test_a_time_that_is_far_away_or_unreadable_breaks_no_page(at: Any, words: str) -> None:
    shown = displayed(otherwise="")(ago)
    assert shown(at, NOW) == words


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("Photos", "P"),
        ("garden club of Rosa", "GC"),
        ("  (my) photos", "MP"),
        ("Émile & Zoë", "ÉZ"),
        ("第四のアカウント", "第"),
        ("حديقة الزهور", "حا"),
        ("ß", "S"),
        ("10 years", "1Y"),
        ("🌻🌻", "🌻"),
        ("&", "&"),
        ("", ""),
    ],
)
def test_initials_come_from_two_words_with_letters(name: str, letters: str) -> None:
    assert initials(name) == letters
