"""Revocable sessions for Quart: Flask's signed cookie, verified without a query, that can be ended.

This package imports nothing else of quart_app and can be used in any Quart application:
docs/session-library.md says how, and what it guarantees. Its names are loaded when they are first
used, so that what needs only the revocation list does not load Quart, and only
`SQLAlchemyRevocationStore` loads SQLAlchemy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quart_app.session.claims import Claims as Claims
    from quart_app.session.claims import IssuedSession as IssuedSession
    from quart_app.session.claims import SessionLimits as SessionLimits
    from quart_app.session.claims import SessionRef as SessionRef
    from quart_app.session.extension import RevocableSessions as RevocableSessions
    from quart_app.session.extension import RevocationsUnavailable as RevocationsUnavailable
    from quart_app.session.extension import answers_when_stale as answers_when_stale
    from quart_app.session.extension import not_activity as not_activity
    from quart_app.session.interface import RevocableSessionInterface as RevocableSessionInterface
    from quart_app.session.interface import SessionTooLarge as SessionTooLarge
    from quart_app.session.revocations import RevocationList as RevocationList
    from quart_app.session.session import Session as Session
    from quart_app.session.sqlalchemy_store import (
        SQLAlchemyRevocationStore as SQLAlchemyRevocationStore,
    )
    from quart_app.session.store import MemoryRevocationStore as MemoryRevocationStore
    from quart_app.session.store import RevocationStore as RevocationStore

_MODULES = {
    "Claims": "claims",
    "IssuedSession": "claims",
    "MemoryRevocationStore": "store",
    "RevocableSessionInterface": "interface",
    "RevocableSessions": "extension",
    "RevocationList": "revocations",
    "RevocationStore": "store",
    "RevocationsUnavailable": "extension",
    "SQLAlchemyRevocationStore": "sqlalchemy_store",
    "Session": "session",
    "SessionLimits": "claims",
    "SessionRef": "claims",
    "SessionTooLarge": "interface",
    "answers_when_stale": "extension",
    "not_activity": "extension",
}
__all__ = tuple(_MODULES)


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
