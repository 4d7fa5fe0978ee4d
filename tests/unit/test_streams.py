"""Tell when an event stream is over: at the limits of its session, and without a verdict on it."""

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


def is_over(
    revocations: RevocationList, *, left: timedelta = TICK, idle_left: timedelta = TICK
) -> bool:
    feed = ChangeFeed(Database(read_database_url("sqlite:///never-opened.db")))
    claims = replace(caller_of(1).login, expires_at=NOW + left)
    stream = Stream(claims, idle_expires_at=NOW + idle_left)
    return Events(feed, revocations, lambda: NOW).is_over(stream)


@pytest.mark.parametrize(("left", "expected"), [(TICK, False), (0 * TICK, True), (-TICK, True)])
def test_a_stream_is_over_at_either_limit_of_its_session(
    revocations: RevocationList, left: timedelta, *, expected: bool
) -> None:
    assert is_over(revocations, left=left) is expected
    assert is_over(revocations, idle_left=left) is expected


def test_a_stream_is_over_when_its_session_has_ended(revocations: RevocationList) -> None:
    assert not is_over(revocations)
    revocations.apply([RevocationRow(1, A_SID, None, None, None, NOW)])
    assert is_over(revocations)


def test_a_stream_is_over_while_nobody_knows_whether_its_session_has_ended() -> None:
    assert is_over(RevocationList(refuse_after=timedelta(hours=1)))
