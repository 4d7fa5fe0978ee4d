"""Check at start that the keys open the stored credentials, before new ones are sealed.

Connections sealed with a new key, beside those of a lost key, would hide that the key is wrong.
"""

import asyncio
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import AppError, Unavailable
from quart_app.services.platforms.credentials import Credentials
from quart_app.storage import sealed_secrets as stored
from quart_app.storage.database import Database

# The secrets of this many of the newest and of the oldest rows; opening one takes 0.05 ms.
TRIED_AT_EITHER_END = 500


class WrongEncryptionKey(AppError):  # noqa: N818 errors here are named for the fact
    """No key opens any of the stored credentials."""

    code = "wrong_encryption_key"


@dataclass(frozen=True)
class KeyFit:
    """The number of stored credentials that were tried, and of those that no key opens."""

    tried: int
    unopened: int

    @property
    def sentence(self) -> str | None:
        """The problem, as a sentence for the operator; None if no key is missing."""
        if self.unopened == 0:
            return None
        if self.unopened == self.tried:
            return (
                "QUART_APP_PLATFORM_ENCRYPTION_KEY decrypts none of the credentials in the database"
                f" ({self.tried:,} tried). Set it to the key that encrypted them; after a"
                " migration, to the older application's PLATFORM_ENCRYPTION_KEY."
            )
        return (
            f"QUART_APP_PLATFORM_ENCRYPTION_KEY does not decrypt {self.unopened:,} of"
            f" {self.tried:,} stored credentials that were tried. Add the key that encrypted them,"
            " or add those accounts again."
        )


@dataclass(frozen=True)
class SealedCredentials:
    """The credentials in the database, and the keys that are to open them."""

    database: Database
    credentials: Credentials

    async def fit(self) -> KeyFit:
        """Try the keys on some of the stored credentials. Raises Unavailable."""
        try:
            async with self.database.read() as db:
                tokens = await self._tokens(db, stored.CONNECTION_SECRETS)
                # The older application's database has no such table.
                if await stored.has_table_of(db, stored.ACCOUNT_SECRETS):
                    tokens += await self._tokens(db, stored.ACCOUNT_SECRETS)
        except DBAPIError as error:  # such as a missing privilege
            raise Unavailable from error
        return await asyncio.to_thread(self._fit, tokens)

    async def check(self) -> str | None:
        """Return a warning if keys are missing, or None.

        Raises WrongEncryptionKey if no key fits. Raises Unavailable.
        """
        fit = await self.fit()
        if fit.tried and fit.unopened == fit.tried:
            raise WrongEncryptionKey(fit.sentence)
        return fit.sentence

    async def _tokens(self, db: AsyncSession, secrets: stored.SecretColumns) -> list[str]:
        return await stored.sealed_tokens(db, secrets, most=TRIED_AT_EITHER_END)

    def _fit(self, tokens: list[str]) -> KeyFit:
        # As text: SQLite keeps bytes in a text column, too.
        unopened = sum(self.credentials.unseal(str(token)) is None for token in tokens)
        return KeyFit(len(tokens), unopened)


async def refuse_new_key(database: Database) -> None:
    """Raise WrongEncryptionKey if the database already holds sealed credentials.

    A database without our tables holds no credentials. Raises Unavailable.
    """
    async with database.read() as db:
        secrets = stored.CONNECTION_SECRETS
        has_table = await stored.has_table_of(db, secrets)
        if has_table and await stored.sealed_tokens(db, secrets, most=1):
            raise WrongEncryptionKey(
                "QUART_APP_PLATFORM_ENCRYPTION_KEY is missing, and a new key could not decrypt the"
                " credentials in the database. Set it to the key that encrypted them; after a"
                " migration, to the older application's PLATFORM_ENCRYPTION_KEY."
            )
