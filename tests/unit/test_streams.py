"""Event streams end at the limits of their session, and without a verdict on it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from quart_app.services.sessions.events import Events, Stream
from quart_app.session.revocations import RevocationList, RevocationRow, read_clocks
from quart_app.settings import read_database_url
from quart_app.storage.changes import ChangeFeed
from quart_app.storage.database import Database
from tests.callers import A_SID, caller_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)


@pytest.fixture
def revocations() -> RevocationList:
    """A fresh list without revocations."""
    made = RevocationList(refuse_after=timedelta(hours=1))
    made.confirm(read_clocks())
    return made


def must_end(
    revocations: RevocationList, *, left: timedelta = TICK, idle_left: timedelta = TICK
) -> bool:
    feed = ChangeFeed(Database(read_database_url("sqlite:///never-opened.db")))
    claims = replace(caller_of(1).login, expires_at=NOW + left)
    stream = Stream(claims, idle_expires_at=NOW + idle_left)
    return Events(feed, revocations, lambda: NOW).is_over(stream)


@pytest.mark.parametrize(("left", "expected"), [(TICK, False), (0 * TICK, True), (-TICK, True)])
def test_a_stream_ends_at_either_limit_of_its_session(
    revocations: RevocationList, left: timedelta, *, expected: bool
) -> None:
    assert must_end(revocations, left=left) is expected
    assert must_end(revocations, idle_left=left) is expected


def test_a_stream_ends_with_its_session(revocations: RevocationList) -> None:
    assert not must_end(revocations)
    revocations.apply([RevocationRow(1, A_SID, None, None, None, NOW)])
    assert must_end(revocations)


def test_a_stream_ends_while_the_list_is_stale() -> None:
    assert must_end(RevocationList(refuse_after=timedelta(hours=1)))
