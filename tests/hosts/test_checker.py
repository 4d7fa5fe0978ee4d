"""The checker of histories, on histories written by hand: each rule accepts, and each refuses."""

from dataclasses import replace
from typing import Any

import pytest

from tests.hosts.checker import Limits, violations
from tests.hosts.history import PROXY, Action, Call, Fault, History, Stored

LIMITS = Limits(calm_seconds=1.5, stale_seconds=10, settling_seconds=6, recovery_seconds=20)
USERS = {"ada": 1, "bob": 2}


def call(action: Action, began: float, **more: Any) -> Call:
    """Return a call of ada with session s, answered within 0.1 s, and as expected."""
    status = {Action.ADD: 201, Action.LOG_OUT: 204, Action.LOG_OUT_EVERYWHERE: 204}.get(action, 200)
    return Call(
        **{
            "action": action,
            "target": "app1",
            "user": "ada",
            "session": "s",
            "began": began,
            "ended": began + 0.1,
            "status": status,
            "request_id": "r",
            **more,
        }
    )


def state(action: Action, began: float, current: int, **more: Any) -> Call:
    """Return a call that was answered with the session state, to the browser itself."""
    values = {"user_id": 1, "current": current, "has_newest_cookie": True}
    return call(action, began, **{**values, **more})


LOGIN = state(Action.LOGIN, 0, 1)
LOG_OUT = call(Action.LOG_OUT, 10)
EVERYWHERE = call(Action.LOG_OUT_EVERYWHERE, 10, session="t")
OF_T = replace(LOGIN, session="t")
CUT = Fault("cut off", frozenset({"app1"}), 9, 14)


def read(began: float, **more: Any) -> Call:
    return call(Action.READ, began, user_id=1, current=1, **more)


def refused(began: float, **more: Any) -> Call:
    return call(Action.READ, began, status=401, **more)


def switch(began: float, to: int, **more: Any) -> Call:
    return state(Action.SWITCH, began, to, subject=to, **more)


def add(began: float, name: str, **more: Any) -> Call:
    return call(Action.ADD, began, subject=name, **more)


def listed(began: float, *names: str, **more: Any) -> Call:
    return call(Action.ACCOUNTS, began, accounts=names, **more)


def unanswered(lost: Call) -> Call:
    return replace(lost, status=None, user_id=None, current=None, accounts=None)


def found(*calls: Call, faults: tuple[Fault, ...] = (), **more: Any) -> list[str]:
    """Return the violations in these calls, with everything stored unless said otherwise."""
    stored = Stored(
        sessions=frozenset(each.session for each in calls if each.session),
        ended=frozenset({"s", "t"}),
        accounts=frozenset((each.user, str(each.subject)) for each in calls),
        request_ids=frozenset({"r"}),
    )
    values: dict[str, Any] = {"targets": (), "stored": stored} | more
    return violations(
        History(user_ids=USERS, calls=list(calls), faults=list(faults), **values), LIMITS
    )


@pytest.mark.parametrize(
    "history",
    [
        [LOGIN, read(5), LOG_OUT, refused(10.2), refused(30)],
        # Another process learns of it within the bound.
        [LOGIN, LOG_OUT, read(11.5), refused(11.7)],
        # An unanswered logout may have happened, or not.
        [LOGIN, unanswered(LOG_OUT), refused(12)],
        [LOGIN, replace(LOG_OUT, status=503), read(12), read(20)],
        # It may happen after the client has stopped waiting.
        [LOGIN, unanswered(LOG_OUT), read(12), refused(13)],
        [LOGIN, call(Action.END_DEVICE, 10, session="t", subject="s"), refused(12), OF_T],
        [LOGIN, OF_T, EVERYWHERE, refused(12)],
        [LOGIN, call(Action.END_DEVICE, 10, subject="t", status=404), OF_T],
        # A login at the same time as "log out everywhere" may come first or second.
        [replace(LOGIN, began=10.05, ended=10.2), OF_T, EVERYWHERE, read(20)],
        [replace(LOGIN, began=10.05, ended=10.2), OF_T, EVERYWHERE, refused(20)],
        # Anybody may log out.
        [LOGIN, LOG_OUT, replace(LOG_OUT, began=20)],
        [LOGIN, switch(1, 2), state(Action.READ, 2, 2), switch(3, 1), state(Action.READ, 4, 1)],
        [LOGIN, unanswered(switch(1, 2)), state(Action.READ, 2, 1), state(Action.READ, 3, 1)],
        [LOGIN, unanswered(switch(1, 2)), state(Action.READ, 2, 2), state(Action.READ, 3, 2)],
        # A copy of an older cookie has an older current account.
        [LOGIN, switch(1, 2), state(Action.READ, 2, 1, has_newest_cookie=False)],
        [LOGIN, add(1, "a"), listed(2, "a"), add(3, "b"), listed(4, "a", "b")],
        [LOGIN, unanswered(add(1, "a")), listed(2), listed(3, "a"), listed(4, "a")],
        # A list that was begun before the addition ended may lack it.
        [LOGIN, add(1, "a"), listed(1.05)],
    ],
)
def test_a_good_history_has_no_violation(history: list[Call]) -> None:
    assert found(*history) == []


@pytest.mark.parametrize(
    ("history", "violation"),
    [
        ([LOGIN, LOG_OUT, read(11.7)], "ended session accepted 1.600 s"),
        # The browser still has the session, and adds an account.
        ([LOGIN, LOG_OUT, add(12, "a")], "ended session accepted"),
        ([LOGIN, OF_T, EVERYWHERE, read(12)], "ended session accepted"),
        (
            [LOGIN, OF_T, call(Action.END_DEVICE, 10, session="t", subject="s"), read(12)],
            "ended session accepted",
        ),
        # Nobody knows whether the logout happened until the session is refused.
        (
            [LOGIN, unanswered(LOG_OUT), refused(20), read(22, target="app2")],
            "ended session accepted 1.900 s",
        ),
        ([LOGIN, refused(5)], "session lost"),
        ([LOGIN, refused(5), LOG_OUT], "session lost"),
        # That it was refused itself shows that it ended nothing.
        ([LOGIN, replace(LOG_OUT, status=401), refused(12)], "session lost"),
        ([LOGIN, OF_T, replace(EVERYWHERE, user="bob"), refused(12)], "session lost"),
        # "Log out everywhere" ends no session that begins afterwards.
        ([replace(LOGIN, began=11, ended=12), OF_T, EVERYWHERE, refused(14)], "session lost"),
        ([read(1)], "session without a login"),
        ([LOGIN, replace(read(1), user_id=2)], "answer for user 2"),
        ([LOGIN, switch(1, 2), state(Action.READ, 2, 1)], "current account is 1"),
        (
            [
                *(LOGIN, unanswered(switch(1, 2))),
                *(state(Action.READ, 2, 2), state(Action.READ, 3, 1)),
            ],
            "current account is 1",
        ),
        ([LOGIN, state(Action.SWITCH, 1, 1, subject=2)], "current account is 1"),
        ([LOGIN, add(1, "a"), listed(2)], "account a lost"),
        ([LOGIN, unanswered(add(1, "a")), listed(2, "a"), listed(3)], "account a lost"),
        ([LOGIN, listed(2, "b")], "account b, which ada has not added"),
        ([LOGIN, add(1, "a", user="bob", session=None), listed(2, "a")], "which ada has not added"),
        ([LOGIN, add(1, "a", status=401), listed(2, "a"), LOG_OUT], "which ada has not added"),
        ([LOGIN, read(1, status=500)], "unexpected status 500"),
        ([LOGIN, add(1, "a", status=404)], "unexpected status 404"),
        ([call(Action.LOGIN, 0, session=None, status=401)], "right password refused"),
    ],
)
def test_a_bad_history_has_a_violation(history: list[Call], violation: str) -> None:
    assert any(violation in each for each in found(*history))


@pytest.mark.parametrize(
    ("began", "fault", "is_accepted"),
    [
        (12, CUT, True),
        (19, CUT, True),
        (20.2, CUT, False),  # it refuses every session by then, even if it is cut off
        (12, replace(CUT, targets=frozenset({"app2"})), False),  # another host is disturbed
        (12, replace(CUT, began=0, ended=3), False),  # has settled before the logout
        (12, replace(CUT, began=0, ended=5), True),  # has not
        (12, replace(CUT, began=12.5, ended=13), False),  # began after the answer
    ],
)
def test_only_a_disturbed_host_may_accept_for_longer(
    began: float, fault: Fault, *, is_accepted: bool
) -> None:
    assert (found(LOGIN, LOG_OUT, read(began), faults=(fault,)) == []) == is_accepted


@pytest.mark.parametrize(
    ("written", "without", "violation"),
    [
        (LOGIN, {"sessions": frozenset({"t"})}, "login not stored"),
        (add(1, "a"), {"accounts": frozenset()}, "account not stored"),
        (LOG_OUT, {"ended": frozenset({"t"})}, "end of s not stored"),
        (EVERYWHERE, {"ended": frozenset({"t"})}, "end of s not stored"),
        (call(Action.END_DEVICE, 1, subject="s"), {"ended": frozenset()}, "end of s not stored"),
        (switch(1, 2), {"request_ids": frozenset()}, "not in the audit log"),
    ],
)
def test_an_acknowledged_write_must_be_stored(
    written: Call, without: dict[str, Any], violation: str
) -> None:
    stored = Stored(
        sessions=frozenset({"s", "t"}),
        ended=frozenset({"s", "t"}),
        accounts=frozenset({("ada", "a")}),
        request_ids=frozenset({"r"}),
    )
    calls = {LOGIN, OF_T, written}
    assert found(*calls, stored=stored) == []
    lacking = found(*calls, stored=replace(stored, **without))
    assert any(violation in each for each in lacking)


def test_a_write_without_an_answer_need_not_be_stored() -> None:
    lost = unanswered(add(1, "a"))
    stored = Stored(sessions=frozenset({"s"}), request_ids=frozenset({"r"}))
    assert found(LOGIN, lost, stored=stored) == []


@pytest.mark.parametrize(
    ("recovered", "later", "violation"),
    [
        ({PROXY: 105.0}, read(106, target=PROXY), None),
        ({PROXY: 121.0}, read(122, target=PROXY), "did not recover within 20 s"),
        ({}, read(122, target=PROXY), "did not recover within 20 s"),
        ({PROXY: 105.0}, read(106, target=PROXY, status=503), "no answer after recovery (503)"),
        ({PROXY: 105.0}, read(104, target=PROXY, status=503), None),
    ],
)
def test_every_target_must_recover_and_then_answer(
    recovered: dict[str, float], later: Call, violation: str | None
) -> None:
    sentences = found(LOGIN, later, targets=(PROXY,), healed=100.0, recovered=recovered)
    assert sentences == [] if violation is None else violation in sentences[0]
