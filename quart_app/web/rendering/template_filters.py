"""Words that pages make of values: how long ago something was, initials, a server's name."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from quart import Quart

from quart_app.instances import server_of, username_of
from quart_app.model import PlatformConnection, PlatformType, Role
from quart_app.web.pipeline.gate import now
from quart_app.web.rendering.display import displayed

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
# From the longest; a month is the mean one of the Gregorian calendar. As in static/js/times.js.
_UNITS: Final = (
    ("year", 365.2425 * _DAY),
    ("month", 365.2425 * _DAY / 12),
    ("day", _DAY),
    ("hour", _HOUR),
    ("minute", _MINUTE),
)
# Names that are not just capitalized, by those that NodeInfo has.
_SOFTWARE: Final = {
    "gotosocial": "GoToSocial",
    "glitchcafe": "GlitchCafe",
    "snac": "snac",
    "unknown": "not recognized",
}


def install(app: Quart) -> None:
    """Let templates write `at|ago`, `connection|server` and the other words of this module.

    They know `Role`, and the values of PlatformType as `platform_types`.
    """

    @displayed(otherwise="")
    def ago_now(at: datetime) -> str:
        return ago(at, now())

    @displayed(otherwise="")
    def server(connection: PlatformConnection) -> str:
        return server_of(connection.instance_url)

    @displayed(otherwise="")
    def username(connection: PlatformConnection) -> str:
        return username_of(connection.instance_url, connection.username) or ""

    app.jinja_env.globals["Role"] = Role

    @displayed(otherwise="")
    def software(name: str) -> str:
        return _SOFTWARE.get(name, name.capitalize())

    app.jinja_env.globals["platform_types"] = [each.value for each in PlatformType]
    app.jinja_env.filters.update(
        ago=ago_now,
        initials=displayed(otherwise="")(initials),
        server=server,
        software=software,
        username=username,
    )


def ago(at: datetime, now: datetime) -> str:
    """Return words such as `3 minutes ago` or `in 3 hours`; within a minute, no number.

    They count whole units of the largest unit that fits. A time without a time zone is in UTC.
    """
    passed = now - (at if at.tzinfo else at.replace(tzinfo=UTC))
    for unit, length in _UNITS:
        if number := abs(passed) // length:
            words = f"{number} {unit}" if number == 1 else f"{number} {unit}s"
            return f"{words} ago" if passed > timedelta() else f"in {words}"
    return "just now"


def initials(name: str) -> str:
    """Return the first letter or digit of the first two words that have one, else of the name."""
    words = ("".join(filter(str.isalnum, word)) for word in name.split())
    return "".join(word[0].upper()[:1] for word in islice(filter(None, words), 2)) or name[:1]
