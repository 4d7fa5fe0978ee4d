"""Applications that break one promise each, to show that the checker notices it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from random import random
from typing import Any, Final

from quart import Quart, Response, request

from quart_app.app import create_app
from quart_app.session.revocations import RevocationList, RevocationRow
from quart_app.storage.database import Database

_LATE_SECONDS: Final = 10
_LOST: Final = 0.1


def with_late_revocations() -> Quart:
    """Return an application that applies each revocation seconds after it has read it."""
    apply = RevocationList.apply

    def apply_late(self: RevocationList, rows: Iterable[RevocationRow]) -> None:
        asyncio.get_running_loop().call_later(_LATE_SECONDS, apply, self, list(rows))

    RevocationList.apply = apply_late  # type: ignore[method-assign]
    return create_app()


def with_lost_updates() -> Quart:
    """Return an application that sometimes rolls back instead of committing."""
    begin = Database.begin

    @asynccontextmanager
    async def begin_and_forget(self: Database) -> AsyncIterator[Any]:
        async with begin(self) as db:
            yield db
            if random() < _LOST:  # noqa: S311 not secret
                await db.rollback()

    Database.begin = begin_and_forget  # type: ignore[method-assign]
    return create_app()


def with_mixed_up_answers() -> Quart:
    """Return an application that answers with what the client before was told."""
    app = create_app()
    last: list[bytes] = []

    @app.after_request
    async def mix_up(response: Response) -> Response:
        if request.path == "/api/session_state" and response.status_code == 200:
            last.append(await response.get_data(as_text=False))
            response.set_data(last[-2:][0])
        return response

    return app
