"""Cookie headers for comparing verdicts: good sessions, bad ones, and what becomes of them."""

import hashlib
import string
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from quart_app.session import timestamp
from quart_app.session.cookies import ACTIVITY_SALT
from tests.processes import session_of, with_session
from tests.session.applications import OTHER_KEY, signer

_LETTERS = string.ascii_letters + string.digits + "-_.=+/"
_OTHERS = ["theme=dark", 'x="', "x", "=", "$Version=1", "a-session=1", "Session=x", "session_x=1"]
_HOURS = [timedelta(hours=hours) for hours in (-800, -25, -23, -9, -7, -1, 1)]


def variants(cookie: str) -> list[str]:
    """Return values of the session cookie: live ones, and ones of each kind that is not live."""
    moments = [timestamp(datetime.now(UTC) + hours) for hours in _HOURS]
    times = ("created_at", "last_activity", "expires_at")
    changes: list[dict[str, Any]] = [
        *({name: moment} for name in times for moment in moments),
        *({"sid": sid} for sid in ("A" * 21 + "w", "short", None, 5)),
        *({"epoch": epoch} for epoch in (-1, 1, 2**40, "0", None, True)),
        *({"user_id": user_id} for user_id in (77, 0, -1, "1", True, None, 2**63)),
        *({"platform_connection_id": each} for each in (None, 5, 0, -1, "5", True, [5], 2**63)),
        *({"authenticated": each} for each in (False, 1, None)),
        *({"remember": each} for each in (True, "yes", None)),
        {"colour": "green", "user_id": None},
        {"nested": {"a": [1, 2]}},
    ]
    payload = session_of(cookie)
    foreign = [
        signer(OTHER_KEY),
        signer(salt="another"),
        signer(digest=hashlib.sha256),
        signer(salt=ACTIVITY_SALT),
    ]
    return [
        cookie,
        *(with_session(cookie, **change) for change in changes),
        *(str(each.dumps(payload)) for each in foreign),
        *(str(signer().dumps(each)) for each in (["no", "dict"], {"colour": "green"}, 5)),
    ]


def activities(cookie: str) -> list[str]:
    """Return values of the activity cookie, for this session and for another."""
    sign, sid = signer(salt=ACTIVITY_SALT), session_of(cookie)["sid"]
    moments = [timestamp(datetime.now(UTC) + hours) for hours in _HOURS]
    return [
        *(str(sign.dumps([each, moment])) for each in (sid, "B" * 22) for moment in moments),
        *(str(sign.dumps(each)) for each in ([sid], [sid, 5], sid, {sid: moments[0]})),
        str(signer().dumps([sid, moments[0]])),
    ]


def cookie_headers(
    random: Random, sessions: Sequence[str], activity: Sequence[str]
) -> Iterator[list[bytes]]:
    """Yield the Cookie headers of one request after the other, without end.

    HTTP allows each of them: no control characters, and no space at either end.
    """
    while True:
        count = random.choice([1, 1, 1, 1, 2, 3, 10, 11])
        pairs = [f"session={_mutated(random, random.choice(sessions))}" for _ in range(count)]
        pairs += [
            f"session_activity={_mutated(random, random.choice(activity))}"
            for _ in range(random.choice([0, 0, 1, 2]))
        ]
        pairs += random.sample(_OTHERS, random.choice([0, 0, 1, 3]))
        if random.random() < 0.1:
            pairs.append("padding=" + "p" * random.choice([2000, 4096, 8000]))
        random.shuffle(pairs)
        separator = random.choice(["; ", ";", " ; ", "; ; "])
        at = random.randrange(len(pairs)) if random.random() < 0.2 else 0
        parts = [separator.join(each) for each in (pairs[:at], pairs[at:]) if each]
        yield [part.strip().encode("latin-1") for part in parts]


def _mutated(random: Random, value: str) -> str:
    """Return the value itself, half of the time, else with one or two changes."""
    for _ in range(random.choice([0, 0, 1, 2])):
        value = random.choice(_MUTATIONS)(random, value)
    return value


def _replace(random: Random, value: str) -> str:
    at = random.randrange(len(value) + 1)
    return value[:at] + random.choice(_LETTERS) + value[at + 1 :]


def _replace_last(random: Random, value: str) -> str:
    """Change the last character, which has unused bits: some of these still verify."""
    return value[:-1] + random.choice(_LETTERS)


def _insert(random: Random, value: str) -> str:
    at = random.randrange(len(value) + 1)
    return value[:at] + random.choice("!%,:@\xe9 =.") + value[at:]


def _pad(random: Random, value: str) -> str:
    return value + "=" * random.randrange(1, 4)


def _truncate(random: Random, value: str) -> str:
    return value[: random.randrange(len(value) + 1)]


def _swap_parts(random: Random, value: str) -> str:
    parts = value.split(".")
    random.shuffle(parts)
    return ".".join(parts)


def _quote(random: Random, value: str) -> str:
    if random.random() < 0.5:
        return f'"{value}"'
    return '"' + "".join(f"\\{ord(each):03o}" for each in value[:3]) + value[3:] + '"'


def _case(random: Random, value: str) -> str:
    return random.choice([value.upper(), value.lower(), value.swapcase()])


_MUTATIONS: list[Callable[[Random, str], str]] = [
    *(_replace, _replace_last, _insert, _pad, _truncate, _swap_parts, _quote, _case)
]
