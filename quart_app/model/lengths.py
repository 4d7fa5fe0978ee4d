"""The columns' lengths in characters, for whatever checks or cuts off a text before it is stored.

Forms, JSON bodies and templates read them here, too. Only revisions of the schema repeat them.
"""

from typing import Final

from quart_app.session.claims import SESSION_ID_LENGTH

USERNAME_LENGTH: Final = 64
EMAIL_LENGTH: Final = 120
PASSWORD_HASH_LENGTH: Final = 256
ROLE_LENGTH: Final = 9
PLATFORM_NAME_LENGTH: Final = 100
PLATFORM_TYPE_LENGTH: Final = 50
INSTANCE_URL_LENGTH: Final = 500
PLATFORM_USERNAME_LENGTH: Final = 200
SID_LENGTH: Final = SESSION_ID_LENGTH
DEVICE_ID_LENGTH: Final = SESSION_ID_LENGTH  # made as session ids are
ADDRESS_LENGTH: Final = 45  # an IPv6 address that embeds an IPv4 one
USER_AGENT_LENGTH: Final = 255
END_REASON_LENGTH: Final = 32
EVENT_LENGTH: Final = 32
REQUEST_ID_LENGTH: Final = 32
SESSION_HASH_LENGTH: Final = 16
ALERT_KIND_LENGTH: Final = 32
THROTTLE_KEY_LENGTH: Final = 32
LEGACY_REFUSAL_LENGTH: Final = 16
HOST_LENGTH: Final = 261  # 255 of a name, a colon and a port
ACCOUNT_ID_LENGTH: Final = 255
DISPLAY_NAME_LENGTH: Final = 255
PROFILE_URL_LENGTH: Final = 500
SOFTWARE_LENGTH: Final = 64
SCOPES_LENGTH: Final = 1000
PROBLEM_LENGTH: Final = 32
STATE_HASH_LENGTH: Final = 64  # SHA-256 in hex
AVATAR_DIGEST_LENGTH: Final = 16
AVATAR_TYPE_LENGTH: Final = 16
