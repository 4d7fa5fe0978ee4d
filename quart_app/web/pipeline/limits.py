"""The limits that pages show or hand to browsers, each from where it is enforced."""

from dataclasses import dataclass
from datetime import timedelta

from quart import Quart

from quart_app import model
from quart_app.durations import in_words
from quart_app.services.identity.passwords import LONGEST, SHORTEST
from quart_app.services.identity.reauthentication import REAUTHENTICATION_WINDOW
from quart_app.session import SessionLimits
from quart_app.web.pipeline.fields import LONGEST_TOKEN


@dataclass(frozen=True, kw_only=True)
class ShownLimits:
    """What templates know as `limits`: durations, and lengths in characters."""

    remembered: SessionLimits
    fresh_login: timedelta = REAUTHENTICATION_WINDOW
    shortest_password: int = SHORTEST
    longest_password: int = LONGEST
    username: int = model.USERNAME_LENGTH
    email: int = model.EMAIL_LENGTH
    address: int = model.ADDRESS_LENGTH
    platform_name: int = model.PLATFORM_NAME_LENGTH
    instance_url: int = model.INSTANCE_URL_LENGTH
    platform_username: int = model.PLATFORM_USERNAME_LENGTH
    access_token: int = LONGEST_TOKEN


def install(app: Quart, *, remembered: SessionLimits) -> None:
    """Let templates write `limits.fresh_login|duration`; a remembered session has `remembered`."""
    app.jinja_env.globals["limits"] = ShownLimits(remembered=remembered)
    app.jinja_env.filters["duration"] = in_words
