"""The revocation list in memory."""

from datetime import timedelta

from quart import Quart

from quart_app.session import (
    MemoryRevocationStore,
    RevocableSessions,
    RevocationList,
    RevocationRow,
)
from tests.conftest import Clock

HOUR = timedelta(hours=1)


def test_an_older_revocation_of_all_sessions_does_not_undo_a_newer_one(clock: Clock) -> None:
    revocations = RevocationList(refuse_after=HOUR)
    for at in (clock(), clock() - HOUR):
        revocations.apply([RevocationRow(1, None, None, None, at, clock() + HOUR)])
    assert revocations.not_before == clock()


def test_a_row_written_by_a_newer_version_is_not_an_error(clock: Clock) -> None:
    revocations = RevocationList(refuse_after=HOUR)
    revocations.apply([RevocationRow(1, None, None, None, None, clock())])
    assert len(revocations) == 0


def test_subscribers_are_called_after_the_list_has_the_revocation(clock: Clock) -> None:
    revocations = RevocationList(refuse_after=HOUR)
    seen: list[tuple[str | None, bool]] = []
    revocations.subscribe(lambda row: seen.append((row.sid, revocations.has_ended(row.sid or ""))))
    revocations.apply([RevocationRow(1, "a", None, None, None, clock() + HOUR)])
    assert seen == [("a", True)]


def test_the_extension_uses_a_given_list(clock: Clock) -> None:
    revocations = RevocationList(refuse_after=HOUR)
    sessions = RevocableSessions(
        Quart("app"),
        store=MemoryRevocationStore(),
        revocations=revocations,
        clock=clock.seconds,
    )
    assert sessions.revocations is revocations
    assert sessions.follower.revocations is revocations
