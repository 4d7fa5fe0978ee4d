"""A caller without a login has no user, and every use case takes a caller."""

import inspect
from collections.abc import Iterator
from typing import get_type_hints

import pytest

from quart_app.errors import NotLoggedIn
from quart_app.services import Services
from quart_app.services.caller import Caller
from quart_app.session.revocations import RevocationList
from tests.callers import A_SID, caller_of


def test_a_caller_with_a_login_has_its_user_and_session() -> None:
    caller = caller_of(7)
    assert (caller.user_id, caller.sid) == (7, A_SID)


@pytest.mark.parametrize("name", ["login", "user_id", "sid"])
def test_a_caller_without_a_login_has_no_user(name: str) -> None:
    with pytest.raises(NotLoggedIn):
        getattr(Caller.command_line(), name)


def use_cases() -> Iterator[tuple[str, dict[str, inspect.Parameter]]]:
    """Yield the public methods of all use cases, with their parameters except `self`."""
    for name, subject in get_type_hints(Services).items():
        if subject is RevocationList:  # defined by the session library
            continue
        for method, function in inspect.getmembers(subject, inspect.isfunction):
            if not method.startswith("_"):
                _, *parameters = inspect.signature(function).parameters.values()
                yield f"{name}.{method}", {each.name: each for each in parameters}


def test_a_use_case_takes_its_caller_first_and_never_only_a_user() -> None:
    taking = {name: given for name, given in use_cases() if "caller" in given}
    assert {"accounts.log_in", "platforms.switch", "audit.count"} <= taking.keys()
    for name, given in taking.items():
        before = list(given)[: list(given).index("caller")]
        assert set(before) <= {"event"}, name
        assert given["caller"].default is inspect.Parameter.empty, name
    assert [name for name, given in use_cases() if "user_id" in given and name not in taking] == []
