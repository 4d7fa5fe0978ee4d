"""Generate secrets, and write them to instance/.env."""

import asyncio
import fcntl
import os
import secrets
from typing import Final

from cryptography.fernet import Fernet

from quart_app.services.platforms.sealed_credentials import refuse_new_key
from quart_app.settings import (
    PREFIX,
    SECRETS_FILE,
    SettingsError,
    database_url_from_environ,
    missing_secrets,
)
from quart_app.storage.database import Database
from quart_app.storage.schema import makes_a_new_file

_SECRET_BYTES: Final = 32
_OWNER_ONLY: Final = 0o600


def new_secrets() -> dict[str, str]:
    """Return new secrets by the name of their environment variable."""
    return {
        f"{PREFIX}SECRET_KEY": secrets.token_hex(_SECRET_BYTES),
        f"{PREFIX}PLATFORM_ENCRYPTION_KEY": Fernet.generate_key().decode(),
    }


def write_missing_secrets() -> list[str]:
    """Append missing secrets to instance/.env, readable only by its owner; return their names.

    Existing secrets, in that file, in .env or in the environment, are never replaced: a new key
    would log everyone out and make every stored credential unreadable. Processes that start at the
    same time take turns. Raises SettingsError if a file can't be read or written.
    """
    if not missing_secrets():
        return []
    try:
        return _write_missing_secrets()
    except OSError as error:
        raise SettingsError(
            f"{' and '.join(missing_secrets())} can't be written to {SECRETS_FILE}"
            f" ({error.strerror}): make the file writable, or set them in the environment"
        ) from None


def _write_missing_secrets() -> list[str]:
    SECRETS_FILE.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    opened = os.open(SECRETS_FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND, _OWNER_ONLY)
    with os.fdopen(opened, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
        os.fchmod(file.fileno(), _OWNER_ONLY)
        missing, made = missing_secrets(), new_secrets()
        lines = [f"{name}={made[name]}\n".encode() for name in missing]
        existing = file.read()
        if lines and existing and not existing.endswith(b"\n"):
            file.write(b"\n")
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    return missing


def refuse_new_encryption_key() -> None:
    """Refuse to generate PLATFORM_ENCRYPTION_KEY if the database has credentials already.

    Raises WrongEncryptionKey in that case, Unavailable if the database does not answer, or
    SettingsError.
    """
    if f"{PREFIX}PLATFORM_ENCRYPTION_KEY" not in missing_secrets():
        return
    url = database_url_from_environ()
    if makes_a_new_file(url):
        return

    async def refuse() -> None:
        database = Database(url)
        try:
            await refuse_new_key(database)
        finally:
            await database.close()

    asyncio.run(refuse())
