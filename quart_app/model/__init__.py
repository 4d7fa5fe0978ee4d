"""The tables, one module for each subject. No queries, and nothing loads by itself.

`users` and `platform_connections` come from the older application: their columns keep its names,
types and values, and this application adds its own columns.
"""

from quart_app.model.alerts import Alert, AlertKind
from quart_app.model.audit import AuditEntry, AuditEvent
from quart_app.model.authorizations import AppRegistration, PlatformAuthorization
from quart_app.model.changes import Change
from quart_app.model.lengths import (
    ACCOUNT_ID_LENGTH,
    ADDRESS_LENGTH,
    ALERT_KIND_LENGTH,
    AVATAR_DIGEST_LENGTH,
    AVATAR_TYPE_LENGTH,
    DEVICE_ID_LENGTH,
    DISPLAY_NAME_LENGTH,
    EMAIL_LENGTH,
    END_REASON_LENGTH,
    EVENT_LENGTH,
    HOST_LENGTH,
    INSTANCE_URL_LENGTH,
    LEGACY_REFUSAL_LENGTH,
    PASSWORD_HASH_LENGTH,
    PLATFORM_NAME_LENGTH,
    PLATFORM_TYPE_LENGTH,
    PLATFORM_USERNAME_LENGTH,
    PROBLEM_LENGTH,
    PROFILE_URL_LENGTH,
    REQUEST_ID_LENGTH,
    ROLE_LENGTH,
    SCOPES_LENGTH,
    SESSION_HASH_LENGTH,
    SID_LENGTH,
    SOFTWARE_LENGTH,
    STATE_HASH_LENGTH,
    THROTTLE_KEY_LENGTH,
    USER_AGENT_LENGTH,
    USERNAME_LENGTH,
)
from quart_app.model.logins import Login
from quart_app.model.platform_accounts import Avatar, ConnectionState, PlatformAccount
from quart_app.model.platforms import PlatformConnection, PlatformType
from quart_app.model.revocations import EndReason, Revocation
from quart_app.model.throttles import Throttle
from quart_app.model.types import LARGEST_ID, Base, StoredText, UtcDateTime
from quart_app.model.users import (
    LEGACY_HASHES,
    NO_PASSWORD,
    NOT_KEPT,
    REFUSED,
    LegacyRefusal,
    Role,
    RoleByName,
    User,
)
from quart_app.session.claims import LARGEST_BIG_ID

__all__ = [
    "ACCOUNT_ID_LENGTH",
    "ADDRESS_LENGTH",
    "ALERT_KIND_LENGTH",
    "AVATAR_DIGEST_LENGTH",
    "AVATAR_TYPE_LENGTH",
    "DEVICE_ID_LENGTH",
    "DISPLAY_NAME_LENGTH",
    "EMAIL_LENGTH",
    "END_REASON_LENGTH",
    "EVENT_LENGTH",
    "HOST_LENGTH",
    "INSTANCE_URL_LENGTH",
    "LARGEST_BIG_ID",
    "LARGEST_ID",
    "LEGACY_HASHES",
    "LEGACY_REFUSAL_LENGTH",
    "NOT_KEPT",
    "NO_PASSWORD",
    "PASSWORD_HASH_LENGTH",
    "PLATFORM_NAME_LENGTH",
    "PLATFORM_TYPE_LENGTH",
    "PLATFORM_USERNAME_LENGTH",
    "PROBLEM_LENGTH",
    "PROFILE_URL_LENGTH",
    "REFUSED",
    "REQUEST_ID_LENGTH",
    "ROLE_LENGTH",
    "SCOPES_LENGTH",
    "SESSION_HASH_LENGTH",
    "SID_LENGTH",
    "SOFTWARE_LENGTH",
    "STATE_HASH_LENGTH",
    "THROTTLE_KEY_LENGTH",
    "USERNAME_LENGTH",
    "USER_AGENT_LENGTH",
    "Alert",
    "AlertKind",
    "AppRegistration",
    "AuditEntry",
    "AuditEvent",
    "Avatar",
    "Base",
    "Change",
    "ConnectionState",
    "EndReason",
    "LegacyRefusal",
    "Login",
    "PlatformAccount",
    "PlatformAuthorization",
    "PlatformConnection",
    "PlatformType",
    "Revocation",
    "Role",
    "RoleByName",
    "StoredText",
    "Throttle",
    "User",
    "UtcDateTime",
]
