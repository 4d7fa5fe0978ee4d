"""Delete many rows in short transactions, so that other writers never wait for long."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

BATCH_ROWS: Final = 500
PAUSE_SECONDS: Final = 0.1  # after each batch, for other writers


class DeleteSome(Protocol):
    """A query that deletes at most `most` rows, and returns the number deleted."""

    async def __call__(self, transaction: Any, /, *, most: int) -> int:
        """Delete them."""


async def delete_in_batches(
    begin: Callable[[], AbstractAsyncContextManager[Any]],
    delete_some: DeleteSome,
    *,
    turn: AbstractAsyncContextManager[Any] | None = None,
) -> None:
    """Delete all rows that the query finds, each batch in a transaction opened by `begin`.

    `turn` is held for one batch and its pause: deletions that share a lock run one at a time.
    If one batch fails, those before it stay deleted.
    """
    turn = turn or asyncio.Lock()
    most = deleted = BATCH_ROWS
    while deleted == most:
        async with turn:
            async with begin() as transaction:
                deleted = await delete_some(transaction, most=most)
            await asyncio.sleep(PAUSE_SECONDS)
