"""Revocable sessions for Quart: Flask's signed cookie, verified without a query, that can be ended.

This package imports nothing else of quart_app and can be used in any Quart application:
docs/session-library.md says how, and what it guarantees. Its names are loaded when they are first
used, so that what needs only the revocation list does not load Quart, and only what keeps
revocations in a database loads SQLAlchemy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quart_app.session.claims import Claims as Claims
    from quart_app.session.claims import IssuedSession as IssuedSession
    from quart_app.session.claims import SessionLimits as SessionLimits
    from quart_app.session.claims import SessionRef as SessionRef
    from quart_app.session.claims import timestamp as timestamp
    from quart_app.session.cookie_header import cookies_named as cookies_named
    from quart_app.session.cookie_header import joined_cookie_header as joined_cookie_header
    from quart_app.session.cookies import CookieFormat as CookieFormat
    from quart_app.session.extension import RevocableSessions as RevocableSessions
    from quart_app.session.extension import RevocationsUnavailable as RevocationsUnavailable
    from quart_app.session.extension import require_fresh_revocations as require_fresh_revocations
    from quart_app.session.follower import RevocationFollower as RevocationFollower
    from quart_app.session.interface import RevocableSessionInterface as RevocableSessionInterface
    from quart_app.session.interface import SessionTooLarge as SessionTooLarge
    from quart_app.session.marks import answers_when_stale as answers_when_stale
    from quart_app.session.marks import is_activity as is_activity
    from quart_app.session.marks import is_answered_when_stale as is_answered_when_stale
    from quart_app.session.marks import not_activity as not_activity
    from quart_app.session.purge_clock import PurgeClock as PurgeClock
    from quart_app.session.revocations import NewRevocation as NewRevocation
    from quart_app.session.revocations import RevocationList as RevocationList
    from quart_app.session.revocations import RevocationRow as RevocationRow
    from quart_app.session.session import Session as Session
    from quart_app.session.session import clear_session as clear_session
    from quart_app.session.session import create_session as create_session
    from quart_app.session.session import (
        has_too_many_session_cookies as has_too_many_session_cookies,
    )
    from quart_app.session.session import is_session_unverifiable as is_session_unverifiable
    from quart_app.session.session import presented_sessions as presented_sessions
    from quart_app.session.session import recheck_session as recheck_session
    from quart_app.session.session import renew_session as renew_session
    from quart_app.session.session import update_session as update_session
    from quart_app.session.session import validate_session as validate_session
    from quart_app.session.sqlalchemy_store import (
        SQLAlchemyRevocationStore as SQLAlchemyRevocationStore,
    )
    from quart_app.session.store import MemoryRevocationStore as MemoryRevocationStore
    from quart_app.session.store import RevocationStore as RevocationStore
    from quart_app.session.table import append_in_commit_order as append_in_commit_order
    from quart_app.session.table import revocations_table as revocations_table

_MODULES = {
    "Claims": "claims",
    "CookieFormat": "cookies",
    "IssuedSession": "claims",
    "MemoryRevocationStore": "store",
    "NewRevocation": "revocations",
    "PurgeClock": "purge_clock",
    "RevocableSessionInterface": "interface",
    "RevocableSessions": "extension",
    "RevocationFollower": "follower",
    "RevocationList": "revocations",
    "RevocationRow": "revocations",
    "RevocationStore": "store",
    "RevocationsUnavailable": "extension",
    "SQLAlchemyRevocationStore": "sqlalchemy_store",
    "Session": "session",
    "SessionLimits": "claims",
    "SessionRef": "claims",
    "SessionTooLarge": "interface",
    "answers_when_stale": "marks",
    "append_in_commit_order": "table",
    "clear_session": "session",
    "is_activity": "marks",
    "is_answered_when_stale": "marks",
    "joined_cookie_header": "cookie_header",
    "cookies_named": "cookie_header",
    "create_session": "session",
    "has_too_many_session_cookies": "session",
    "is_session_unverifiable": "session",
    "not_activity": "marks",
    "presented_sessions": "session",
    "recheck_session": "session",
    "renew_session": "session",
    "require_fresh_revocations": "extension",
    "revocations_table": "table",
    "timestamp": "claims",
    "update_session": "session",
    "validate_session": "session",
}
__all__ = tuple(_MODULES)


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
