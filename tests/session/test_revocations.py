"""The revocation list in memory."""

from datetime import UTC, datetime, timedelta

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


def test_a_long_list_forgets_in_slices_and_keeps_what_was_renewed_meanwhile() -> None:
    now = datetime.now(UTC)
    revocations = RevocationList(refuse_after=HOUR)
    old, kept = now - 2 * HOUR, now + HOUR
    numbers = range(45_000)
    rows = [RevocationRow(n, f"sid{n}", None, None, None, old if n % 3 else kept) for n in numbers]
    users = [RevocationRow(n, None, n, 1, None, old) for n in range(15_000)]
    revocations.apply([*rows, *users])
    forgetting = revocations.forget(now)
    next(forgetting)
    assert 45_000 < len(revocations) < 60_000  # a part at a time
    # Ended again meanwhile, so it must be remembered for longer.
    revocations.apply([RevocationRow(60_000, "sid44998", None, None, None, kept)])
    slices = 1 + sum(1 for _ in forgetting)
    assert slices == 5 + 2
    assert len(revocations) == 15_001
    assert revocations.has_ended("sid0")
    assert revocations.has_ended("sid44998")
    assert not revocations.has_ended("sid1")
    assert revocations.min_epoch(7) == 0
