"""Use cases of a user's own sessions: log out, here or everywhere."""

from dataclasses import dataclass

from quart_app.errors import NotFound
from quart_app.model import EndReason
from quart_app.services.background.shielding import shielded
from quart_app.services.caller import Caller
from quart_app.services.sessions.steps.revoking import Revoking
from quart_app.session.claims import SessionRef
from quart_app.session.revocations import RevocationRow
from quart_app.storage import users as stored_users


@dataclass(frozen=True)
class Sessions:
    """Ends sessions of the caller."""

    revoking: Revoking

    @shielded
    async def end(self, caller: Caller, *sessions: SessionRef) -> None:
        """End the sessions of a user who logs out, unless they have ended already."""
        revocations = self.revoking.revocations
        alive = [each for each in sessions if not revocations.has_ended(each.sid)]
        if not alive:
            return
        async with self.revoking.begin(caller) as revoker:
            await revoker.end_each(alive, EndReason.LOGGED_OUT)
        # Another process may have just ended one: end it here, too, before this returns.
        revocations.apply(
            RevocationRow(0, each.sid, None, None, None, each.expires_at, EndReason.LOGGED_OUT)
            for each in alive
        )

    @shielded
    async def end_all(self, caller: Caller, reason: EndReason) -> None:
        """End every session of the caller's user, unless the caller's session ended meanwhile.

        Raises NotFound, NotLoggedIn.
        """
        async with self.revoking.begin(caller) as revoker:
            user = await stored_users.user_by_id(revoker.db, caller.user_id, lock=True)
            if user is None:
                raise NotFound
            await revoker.refuse_ended_caller()
            await revoker.end_all(user, reason)
