"""Sentences about the violations in a history: a pure function, in the way of Jepsen.

A call whose answer was lost may have been carried out or not, at any time between its beginning and
its end. The rules accept either, but not both: once one answer has shown which, later ones agree.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from math import inf
from typing import Final

from tests.hosts.history import WRITES, Action, Call, Fault, History

_UNAVAILABLE: Final = frozenset({None, 408, 502, 503, 504})  # of the proxy, or of a stale process
_EXPECTED: Final = _UNAVAILABLE | {200, 201, 204, 401}


@dataclass(frozen=True)
class Limits:
    """How long an ended session may still be accepted, and how long recovery may take.

    `calm_seconds` applies to a host that can read the database. It is the promised second, and
    slack for a busy machine. `stale_seconds` always applies: QUART_APP_REFUSE_AFTER_SECONDS.
    A host counts as calm `settling_seconds` after its last fault.
    """

    calm_seconds: float
    stale_seconds: float
    settling_seconds: float
    recovery_seconds: float


def violations(history: History, limits: Limits) -> list[str]:
    """Return a sentence for each violation, none if the history is as promised."""
    by_session: dict[str, list[Call]] = defaultdict(list)
    for call in sorted(history.calls, key=lambda call: call.began):
        if call.session is not None:
            by_session[call.session].append(call)
    return [
        *_unexpected_answers(history),
        *_answers_to_the_wrong_user(history),
        *chain.from_iterable(
            _verdicts(sid, calls, history, limits) for sid, calls in by_session.items()
        ),
        *chain.from_iterable(_current_accounts(calls) for calls in by_session.values()),
        *_accounts(history),
        *_not_stored(history),
        *_not_recovered(history, limits),
    ]


def _unexpected_answers(history: History) -> Iterator[str]:
    for call in history.calls:
        has_ended_before = call.action is Action.END_DEVICE and call.status == 404
        if call.status not in _EXPECTED and not has_ended_before:
            yield f"unexpected status {call.status}: {call}"
        elif call.action is Action.LOGIN and call.is_refused:
            yield f"right password refused: {call}"


def _answers_to_the_wrong_user(history: History) -> Iterator[str]:
    for call in history.calls:
        if call.user_id is not None and call.user_id != history.user_ids[call.user]:
            yield f"answer for user {call.user_id}: {call}"


# --- sessions ------------------------------------------------------------------------------------


def _verdicts(sid: str, calls: list[Call], history: History, limits: Limits) -> Iterator[str]:
    """Check that ended sessions are refused in time, and live sessions never."""
    login = next((call for call in calls if call.action is Action.LOGIN), None)
    if login is None:
        yield f"session without a login: {calls[0]}"
        return
    ends = [call for call in history.calls if _may_end(call, sid, login)]
    refusals = [call for call in calls if call.is_refused]
    for refusal in refusals:
        if not any(end.began < refusal.ended for end in ends):
            yield f"session lost: {refusal}"
    certain = [end for end in ends if _surely_ends(end, login)]
    if certain and sid not in history.stored.ended:
        yield f"end of {sid} not stored: {certain[0]}"
    for call in calls:
        if _shows_life(call):
            for end in (*certain, *refusals):
                seconds = call.began - end.ended
                if seconds > _bound_seconds(end.ended, call, history.faults, limits):
                    yield f"ended session accepted {seconds:.3f} s after ({end}): {call}"
                    break


def _may_end(call: Call, sid: str, login: Call) -> bool:
    if call.is_refused:
        return False
    if call.action is Action.LOG_OUT:
        return call.session == sid
    if call.action is Action.END_DEVICE:
        return call.subject == sid
    is_everywhere = call.action is Action.LOG_OUT_EVERYWHERE and call.user == login.user
    return is_everywhere and call.ended > login.began


def _surely_ends(end: Call, login: Call) -> bool:
    """Return whether a call that may end the session did so, if its answer is true.

    A login at the same time as "log out everywhere" may come before it or after it.
    """
    is_concurrent = end.action is Action.LOG_OUT_EVERYWHERE and end.began < login.ended
    return end.is_acknowledged and not is_concurrent


def _shows_life(call: Call) -> bool:
    """Return whether this answer is one for live sessions only. Anybody may log out."""
    return call.is_acknowledged and call.action not in {Action.LOGIN, Action.LOG_OUT}


def _bound_seconds(since: float, call: Call, faults: list[Fault], limits: Limits) -> float:
    is_calm = not any(
        call.target in fault.targets
        and fault.began < call.ended
        and since < fault.ended + limits.settling_seconds
        for fault in faults
    )
    return limits.calm_seconds if is_calm else limits.stale_seconds


def _current_accounts(calls: list[Call]) -> Iterator[str]:
    """Check one browser's view of its current account, which only its own switches change."""
    possible: set[int | None] | None = None  # None before the login's answer
    for call in calls:
        if not call.has_newest_cookie:
            continue
        if call.action is Action.SWITCH and not call.is_refused:
            switched_to = call.subject
            assert isinstance(switched_to, int)
            if call.is_acknowledged:
                possible = {switched_to}
            elif possible is not None:
                possible = possible | {switched_to}
        if call.user_id is not None:
            if possible is not None and call.current not in possible:
                yield f"current account is {call.current} instead of {possible}: {call}"
            possible = {call.current}


# --- accounts ------------------------------------------------------------------------------------


def _accounts(history: History) -> Iterator[str]:
    """Check that lists of accounts have what was acknowledged or seen, and nothing else."""
    for user in history.user_ids:
        calls = [call for call in history.calls if call.user == user]
        additions = {
            str(call.subject): call
            for call in calls
            if call.action is Action.ADD and not call.is_refused
        }
        known = {name: call.ended for name, call in additions.items() if call.is_acknowledged}
        known |= dict.fromkeys(history.first_accounts, -inf)
        lists = [call for call in calls if call.accounts is not None]
        for call in sorted(lists, key=lambda call: call.ended):
            names = set(call.accounts or ())
            for name in known.keys() - names:
                if known[name] < call.began:
                    yield f"account {name} lost, known since {known[name]:.3f}: {call}"
            for name in names - known.keys():
                known[name] = call.ended
                if name not in additions:
                    yield f"account {name}, which {user} has not added: {call}"


# --- the end -------------------------------------------------------------------------------------


def _not_stored(history: History) -> Iterator[str]:
    """Check that the database has what was acknowledged."""
    stored = history.stored
    requirements: tuple[tuple[Callable[[Call], bool], Callable[[Call], bool], str], ...] = (
        (
            lambda call: call.action is Action.LOGIN,
            lambda call: call.session in stored.sessions,
            "login not stored",
        ),
        (
            lambda call: call.action is Action.ADD,
            lambda call: (call.user, str(call.subject)) in stored.accounts,
            "account not stored",
        ),
        (
            lambda call: call.action in WRITES,
            lambda call: call.request_id in stored.request_ids,
            "not in the audit log",
        ),
    )
    for call in history.calls:
        for concerns, is_met, sentence in requirements:
            if call.is_acknowledged and concerns(call) and not is_met(call):
                yield f"{sentence}: {call}"


def _not_recovered(history: History, limits: Limits) -> Iterator[str]:
    """Check that every target answered soon after the last fault, and did not fail again."""
    for target in history.targets:
        at = history.recovered.get(target)
        if at is None or at - history.healed > limits.recovery_seconds:
            yield f"{target} did not recover within {limits.recovery_seconds:g} s"
    everywhere = history.recovered.keys() >= set(history.targets)
    since = max(history.recovered.values(), default=inf) if everywhere else inf
    for call in history.calls:
        if call.began > since and call.status in _UNAVAILABLE:
            yield f"no answer after recovery ({call.status}): {call}"
