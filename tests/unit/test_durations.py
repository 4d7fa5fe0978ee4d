"""Durations in words."""

from datetime import timedelta

import pytest

from quart_app.durations import in_words

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (30 * DAY, "30 days"),
        (24 * HOUR, "1 day"),
        (36 * HOUR, "1 day and 12 hours"),
        (8 * HOUR, "8 hours"),
        (90 * MINUTE, "1 hour and 30 minutes"),
        (15 * MINUTE, "15 minutes"),
        (MINUTE, "1 minute"),
        (90 * SECOND, "1 minute and 30 seconds"),
        (SECOND, "1 second"),
        (2 * DAY + 3 * HOUR + 59 * MINUTE, "2 days and 3 hours"),  # rounded down
        (2 * DAY + 59 * MINUTE, "2 days"),
        (HOUR + 59 * SECOND, "1 hour"),
        (SECOND / 2, "0 seconds"),
        (timedelta(), "0 seconds"),
        (365 * DAY, "365 days"),
    ],
)
def test_a_duration_is_shown_in_its_two_largest_units(duration: timedelta, words: str) -> None:
    assert in_words(duration) == words
