"""Seal every stored secret again with the newest key, so that older keys can be removed."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from quart_app.services.platforms.credentials import Credentials
from quart_app.storage import sealed_secrets as stored
from quart_app.storage.database import Database
from quart_app.storage.sealed_secrets import SecretColumns, StoredSecret

_ROWS_AT_ONCE: Final = 200  # some 30 ms of a thread, and one short transaction


@dataclass(kw_only=True)
class Rotated:
    """The numbers of secrets by what became of them.

    `connection_ids` are the connections with a secret that no key opens; `unopened` counts these
    secrets, and those of attempts to connect, which expire.
    """

    resealed: int = 0
    sealed_before: int = 0
    unopened: int = 0
    connection_ids: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class KeyRotation:
    """Seals secrets again beside running processes, which know the newest key, too.

    It can be stopped at any time, and finds at its next run what is left.
    """

    database: Database
    credentials: Credentials

    async def rotate(self, progress: Callable[[int, int], None]) -> Rotated:
        """Seal again what another key sealed. Raises Unavailable.

        `progress` gets the number of rows that are done, and of all rows.
        """
        async with self.database.read() as db:
            numbers = [await stored.number_of_rows(db, each) for each in stored.ALL_SECRETS]
        rotated, done = Rotated(), 0
        for secrets in stored.ALL_SECRETS:
            after = 0
            while rows := await self._rows(secrets, after):
                await self._reseal([secret for row in rows for secret in row], rotated)
                after, done = rows[-1][0].row_id, done + len(rows)
                progress(done, max(done, sum(numbers)))
        return rotated

    async def _rows(self, secrets: SecretColumns, after: int) -> Sequence[Sequence[StoredSecret]]:
        async with self.database.read() as db:
            return await stored.rows_of_secrets(db, secrets, after=after, most=_ROWS_AT_ONCE)

    async def _reseal(self, secrets: Sequence[StoredSecret], rotated: Rotated) -> None:
        tokens = await asyncio.to_thread(
            lambda: [self.credentials.reseal(secret.token) for secret in secrets]
        )
        async with self.database.begin() as db:
            replaced = [
                await stored.replace_secret(db, secret, token)
                for secret, token in zip(secrets, tokens, strict=True)
                if token is not None and token != secret.token
            ]
        # A token that was replaced meanwhile is left alone: a running process sealed it.
        rotated.resealed += sum(replaced)
        rotated.sealed_before += len(secrets) - tokens.count(None) - sum(replaced)
        rotated.unopened += tokens.count(None)
        of_connections = {
            secret.row_id
            for secret, token in zip(secrets, tokens, strict=True)
            if token is None and secret.column.table in _OF_CONNECTIONS
        }
        rotated.connection_ids = sorted({*rotated.connection_ids, *of_connections})


_OF_CONNECTIONS: Final = (stored.CONNECTION_SECRETS.table, stored.ACCOUNT_SECRETS.table)
