"""Check connected accounts: whether the server still accepts the access token, and whose it is."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import AppError, NotFound
from quart_app.fediverse.errors import ServerError, TokenRefused
from quart_app.fediverse.fediverse import Fediverse
from quart_app.fediverse.types import Avatar, RemoteAccount
from quart_app.instances import server_of
from quart_app.model import PlatformAccount, PlatformConnection
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.background.shielding import shielded
from quart_app.services.caller import Caller
from quart_app.services.platforms.credentials import Credentials
from quart_app.services.platforms.errors import CredentialsLost, OtherAccountAuthorized
from quart_app.services.platforms.steps.account_records import keep_account, keep_avatar
from quart_app.services.platforms.steps.outbound_limit import OutboundLimit
from quart_app.services.platforms.steps.owners import own_connection
from quart_app.services.platforms.steps.token_refreshing import TokenRefreshing
from quart_app.storage import platform_accounts as stored_accounts
from quart_app.storage import platforms as stored
from quart_app.storage import users as stored_users
from quart_app.storage.changes import add_change
from quart_app.storage.database import Database

_FIRST_WAIT: Final = timedelta(hours=1)  # after a problem of the server's; then twice as long
_LONGEST_WAIT: Final = timedelta(days=1)  # one request a day to a server that is gone


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The outcome of a check: the account as its server describes it, or the problem."""

    host: str
    account: RemoteAccount | None = None
    problem: AppError | None = None


@dataclass(frozen=True, kw_only=True)
class AccountChecks:
    """Checks of connections, which set their states."""

    database: Database
    fediverse: Fediverse
    credentials: Credentials
    refreshing: TokenRefreshing
    limit: OutboundLimit
    audit: AuditWriter
    now: Callable[[], datetime]

    async def check(self, caller: Caller, platform_connection_id: int) -> CheckResult:
        """Check one of the user's connections now. Raises NotFound, TooManyOutbound."""
        self.limit.count(caller)
        async with self.database.read() as db:
            await own_connection(db, self.audit, caller, platform_connection_id)
        result = await self.check_connection(platform_connection_id)
        if result is None:
            raise NotFound("You have no such account. It may have been removed.")
        return result

    @shielded  # a refresh token that was used must be replaced in the database
    async def check_connection(self, platform_connection_id: int) -> CheckResult | None:
        """Check any connection, and write down the result; None if it was removed.

        A token that is replaced meanwhile, by a reconnection, is checked in place of the first.
        """
        result, is_current = await self._check(platform_connection_id)
        if not is_current:
            result, _ = await self._check(platform_connection_id)
        return result

    async def _check(self, platform_connection_id: int) -> tuple[CheckResult | None, bool]:
        """Return the result, and whether the token that was checked is still the stored one."""
        await self.refreshing.refresh_if_due(platform_connection_id)
        async with self.database.read() as db:
            connection = await stored.connection_by_id(db, platform_connection_id)
        if connection is None:
            return None, True
        host = server_of(connection.instance_url)
        token = self.credentials.unseal(str(connection.access_token))
        result = await self._ask(host, token)
        avatar = await self._avatar(result)
        async with self.database.begin() as db:
            # The user first, as every use case that adds an account: no two take one name at once.
            await stored_users.user_by_id(db, connection.user_id, lock=True)
            connection = await stored.connection_by_id(db, platform_connection_id, lock=True)
            if connection is None:
                return None, True
            if self.credentials.unseal(str(connection.access_token)) != token:
                return result, False
            return await self._keep(db, connection, result, avatar), True

    async def _ask(self, host: str, token: str | None) -> CheckResult:
        if token is None:
            return CheckResult(host=host, problem=CredentialsLost())
        try:
            account = await self.fediverse.verify_credentials(host, token)
        except ServerError as problem:
            return CheckResult(host=host, problem=problem)
        return CheckResult(host=host, account=account)

    async def _avatar(self, result: CheckResult) -> Avatar | None:
        url = result.account.avatar_url if result.account else None
        return await self.fediverse.avatar(url) if url else None

    async def _keep(
        self,
        db: AsyncSession,
        connection: PlatformConnection,
        result: CheckResult,
        avatar: Avatar | None,
    ) -> CheckResult:
        """Write down a result, and tell the user's open pages if the state changes."""
        kept = await stored_accounts.account_of(db, connection.id)
        was_usable = kept.reconnect_needed_since is None
        if result.account is not None and kept.account_id not in {None, result.account.id}:
            problem = OtherAccountAuthorized(
                f"The access token belongs to @{result.account.username} now, another account."
                " Connect this account again."
            )
            result = CheckResult(host=result.host, problem=problem)
        if result.account is not None:
            kept = await keep_account(db, connection, result.host, result.account, now=self.now())
            await keep_avatar(db, kept, avatar)
        elif result.problem is not None:
            self._keep_problem(kept, result.problem)
        await db.flush()
        if was_usable != (kept.reconnect_needed_since is None):
            await add_change(db, connection.user_id, at=self.now())
        return result

    def _keep_problem(self, kept: PlatformAccount, problem: AppError) -> None:
        now = self.now()
        kept.problem, kept.checked_at = problem.code, now
        kept.failed_checks += 1
        kept.next_check_at = now + wait_after(kept.failed_checks)
        # A token that never worked may lack a permission, or be of a kind that can't be checked.
        has_worked = kept.account_id is not None
        is_lost = isinstance(problem, CredentialsLost | OtherAccountAuthorized)
        if is_lost or (has_worked and isinstance(problem, TokenRefused)):
            kept.reconnect_needed_since = kept.reconnect_needed_since or now


def wait_after(failed_checks: int) -> timedelta:
    """Return how long to wait for the next check after so many that failed in a row."""
    wait = _FIRST_WAIT
    for _ in range(1, failed_checks):
        wait = min(wait * 2, _LONGEST_WAIT)
    return wait
