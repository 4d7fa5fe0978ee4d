"""Types of fields that forms, JSON bodies and queries have in common.

Every length is that of the column which stores the field, or of the limit in the use case.
"""

from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints

from quart_app.model import (
    EMAIL_LENGTH,
    INSTANCE_URL_LENGTH,
    LARGEST_BIG_ID,
    LARGEST_ID,
    PLATFORM_NAME_LENGTH,
    PLATFORM_USERNAME_LENGTH,
)
from quart_app.services.identity.passwords import LONGEST

LONGEST_PATH: Final = 2048
LONGEST_TOKEN: Final = 4096
LONGEST_LIST: Final = 200  # items in one answer to a program


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("This contains a NUL character")
    text.encode()  # a lone surrogate has no UTF-8; UnicodeEncodeError is a ValueError
    return text


# Runs after the length check, so that an error about the length counts characters.
STORABLE: Final = AfterValidator(_storable)
LoginName = Annotated[str, StringConstraints(min_length=1, max_length=EMAIL_LENGTH), STORABLE]
Password = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST), STORABLE]
Email = Annotated[str, StringConstraints(min_length=1, max_length=EMAIL_LENGTH), STORABLE]
# A path of this site, or the token of a link.
LinkText = Annotated[str, StringConstraints(max_length=LONGEST_PATH), STORABLE]
PlatformName = Annotated[
    str, StringConstraints(min_length=1, max_length=PLATFORM_NAME_LENGTH), STORABLE
]
InstanceUrl = Annotated[
    str, StringConstraints(min_length=1, max_length=INSTANCE_URL_LENGTH), STORABLE
]
PlatformUsername = Annotated[
    str, StringConstraints(min_length=1, max_length=PLATFORM_USERNAME_LENGTH), STORABLE
]
AccessToken = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TOKEN), STORABLE]
SoughtPlatform = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=PLATFORM_NAME_LENGTH), STORABLE
]
# SQLite may hold longer names than the column's.
StoredName = Annotated[str, StringConstraints(max_length=LONGEST_PATH), STORABLE]
Id = Annotated[int, Field(ge=1, le=LARGEST_ID)]
BigId = Annotated[int, Field(ge=1, le=LARGEST_BIG_ID)]
ListLength = Annotated[int, Field(ge=1, le=LONGEST_LIST)]
