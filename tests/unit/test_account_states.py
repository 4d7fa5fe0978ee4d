"""The words for a state of an account, and for what a check found."""

from datetime import UTC, datetime, timedelta

import pytest

from quart_app.errors import AppError
from quart_app.fediverse import errors
from quart_app.model import PlatformAccount, PlatformConnection
from quart_app.services.platforms.errors import CredentialsLost, OtherAccountAuthorized
from quart_app.web.rendering.account_states import problem_of, problem_with, states_of
from tests.error_classes import answered_errors

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
# These end an authorization, and no check.
NOT_OF_CHECKS = {errors.ServerError, errors.AppRefused, errors.CodeRefused, errors.InvalidScope}


def account(*, is_active: bool = True, **values: object) -> PlatformConnection:
    connection = PlatformConnection(id=1, is_active=is_active)
    connection.__dict__["account"] = PlatformAccount(platform_connection_id=1, **values)
    return connection


def test_every_problem_that_a_check_can_find_has_words() -> None:
    found: set[type[AppError]] = {
        each
        for each in answered_errors()
        # A private one does not leave its module.
        if issubclass(each, errors.ServerError) and not each.__name__.startswith("_")
    }
    found = found - NOT_OF_CHECKS | {CredentialsLost, OtherAccountAuthorized}
    assert len(found) >= 8
    unknown = problem_with("no such code")
    assert {each.__name__ for each in found if problem_with(each.code) == unknown} == set()


def test_an_account_that_works_has_no_state_and_no_problem() -> None:
    never_checked = PlatformConnection(id=1, is_active=True)
    never_checked.__dict__["account"] = None
    for each in (never_checked, account(checked_at=NOW)):
        assert list(states_of(each, NOW)) == []
        assert problem_of(each) == ""


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"is_active": False}, ["switched off"]),
        ({"reconnect_needed_since": NOW}, ["reconnect needed"]),
        (
            {"is_active": False, "reconnect_needed_since": NOW},
            ["switched off", "reconnect needed"],
        ),
        ({"token_expires_at": NOW + timedelta(days=14, seconds=1)}, []),
        ({"token_expires_at": NOW + timedelta(days=14)}, ["access expires in 14 days"]),
        ({"token_expires_at": NOW + timedelta(days=14), "refresh_token": "sealed"}, []),
        ({"token_expires_at": NOW - timedelta(hours=2)}, ["access expired 2 hours ago"]),
        (
            {"token_expires_at": NOW, "reconnect_needed_since": NOW},
            ["reconnect needed"],
        ),
    ],
)
def test_states_are_said_in_words(values: dict[str, object], words: list[str]) -> None:
    assert [each.words for each in states_of(account(**values), NOW)] == words  # type: ignore[arg-type]


def test_access_that_was_lost_without_a_problem_is_explained() -> None:
    """As after a migration, or when the time of the access has passed."""
    assert problem_of(account(reconnect_needed_since=NOW)) == (
        "the server no longer accepts the access"
    )
