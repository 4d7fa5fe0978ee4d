"""A caller without a login acts for nobody."""

import pytest

from quart_app.errors import NotLoggedIn
from quart_app.services.caller import Caller
from tests.callers import A_SID, caller_of


def test_a_caller_with_a_login_has_its_user_and_session() -> None:
    caller = caller_of(7)
    assert (caller.user_id, caller.sid) == (7, A_SID)


@pytest.mark.parametrize("name", ["login", "user_id", "sid"])
def test_a_caller_without_a_login_has_none(name: str) -> None:
    with pytest.raises(NotLoggedIn):
        getattr(Caller.command_line(), name)
