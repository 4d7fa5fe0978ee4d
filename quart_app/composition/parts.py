"""What several use cases share: each part is one property, and is built at its first use."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property

from quart_app.fediverse.fediverse import Fediverse
from quart_app.services.administration.steps.new_users import NewUsers
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.background.purging import Purging
from quart_app.services.identity.authorization import Authorization
from quart_app.services.identity.hashing_queue import FairQueue
from quart_app.services.identity.login_results import LoginResults
from quart_app.services.identity.password_permits import PasswordPermits
from quart_app.services.identity.passwords import Passwords
from quart_app.services.identity.reauthentication import Reauthentication
from quart_app.services.identity.steps.alert_records import AlertRecords
from quart_app.services.identity.steps.comparing import PasswordComparison
from quart_app.services.identity.steps.reset_link_issuing import ResetLinkIssuer
from quart_app.services.identity.steps.session_start import SessionStart
from quart_app.services.identity.steps.throttle import Throttling
from quart_app.services.platforms.checks import AccountChecks
from quart_app.services.platforms.credentials import Credentials
from quart_app.services.platforms.steps.access_revoking import AccessRevoking
from quart_app.services.platforms.steps.apps import Apps
from quart_app.services.platforms.steps.instance_directory import InstanceDirectory
from quart_app.services.platforms.steps.outbound_limit import OutboundLimit
from quart_app.services.platforms.steps.token_refreshing import TokenRefreshing
from quart_app.services.sessions.steps.issuing import SessionIssuer
from quart_app.services.sessions.steps.revoking import Revoking
from quart_app.session.revocations import RevocationList
from quart_app.settings import Settings
from quart_app.storage.clock import new_purge_clock
from quart_app.storage.database import Database
from quart_app.storage.revocations import FOLLOWER


class Parts:
    """The objects that several use cases share."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self.settings = settings
        self._clock = clock
        self.database = Database(settings.database_url)
        self.follower_database = Database(settings.database_url, name=FOLLOWER)
        self.listen_database = (
            Database(settings.database_listen_url, name=FOLLOWER)
            if settings.database_listen_url
            else None
        )
        self.revocations = RevocationList(refuse_after=settings.refuse_after)
        self.audit = AuditWriter(settings.audit_retention)
        self.passwords = Passwords()
        self.login_results = LoginResults()
        self.credentials = Credentials(settings.platform_encryption_keys)
        self.purge_clock = new_purge_clock()
        self.fediverse = Fediverse(
            allowed_private_networks=settings.allowed_private_networks,
            allowed_private_ports=settings.allowed_private_ports,
            extra_ca_file=settings.extra_ca_file,
        )

    def now(self) -> datetime:
        """Return the time of the application's clock."""
        return datetime.fromtimestamp(self._clock(), UTC)

    @cached_property
    def directory(self) -> InstanceDirectory:
        """The recognized servers."""
        return InstanceDirectory(self.fediverse, self.now)

    @cached_property
    def outbound_limit(self) -> OutboundLimit:
        """The limit on what one user lets other servers be asked."""
        return OutboundLimit(self.now)

    @cached_property
    def access_revoking(self) -> AccessRevoking:
        """Revokes access that nothing here uses."""
        return AccessRevoking(
            database=self.database,
            fediverse=self.fediverse,
            directory=self.directory,
            credentials=self.credentials,
            now=self.now,
        )

    @cached_property
    def apps(self) -> Apps:
        """The registrations of this application at servers."""
        return Apps(
            database=self.database,
            fediverse=self.fediverse,
            credentials=self.credentials,
            callback_url=f"{self.settings.public_url}/platforms/callback",
            website=self.settings.public_url,
            now=self.now,
        )

    @cached_property
    def account_checks(self) -> AccountChecks:
        """The checks of connected accounts."""
        return AccountChecks(
            database=self.database,
            fediverse=self.fediverse,
            credentials=self.credentials,
            refreshing=TokenRefreshing(
                database=self.database,
                fediverse=self.fediverse,
                directory=self.directory,
                credentials=self.credentials,
                now=self.now,
            ),
            limit=self.outbound_limit,
            audit=self.audit,
            now=self.now,
        )

    @cached_property
    def purging(self) -> Purging:
        """The purge of expired rows."""
        return Purging(self.database, self.purge_clock)

    @cached_property
    def revoking(self) -> Revoking:
        """The transactions that end sessions."""
        limits = (self.settings.session_absolute, self.settings.session_remember_absolute)
        return Revoking(
            database=self.database,
            revocations=self.revocations,
            audit=self.audit,
            longest=max(limits),
            now=self.now,
        )

    @cached_property
    def issuer(self) -> SessionIssuer:
        """The issuer of sessions."""
        return SessionIssuer(
            revocations=self.revocations,
            absolute=self.settings.session_absolute,
            remember_absolute=self.settings.session_remember_absolute,
            now=self.now,
        )

    @cached_property
    def alert_records(self) -> AlertRecords:
        """The writer of alerts."""
        return AlertRecords(self.now)

    @cached_property
    def hashing_queue(self) -> FairQueue:
        """The queue of passwords to hash or compare."""
        # Two per thread: while one login waits for its transaction, the thread hashes another.
        return FairQueue(2 * self.passwords.threads, self.settings.login_queue)

    @cached_property
    def comparison(self) -> PasswordComparison:
        """The comparison of typed passwords, with its throttle."""
        throttling = Throttling(
            database=self.database,
            secret=self.settings.secret_key,
            audit=self.audit,
            now=self.now,
        )
        return PasswordComparison(self.passwords, self.hashing_queue, throttling)

    @cached_property
    def permits(self) -> PasswordPermits:
        """The permits to replace a one-time password."""
        return PasswordPermits(self.settings.session_keys, self.now)

    @cached_property
    def session_start(self) -> SessionStart:
        """The last step of every login."""
        return SessionStart(
            revoking=self.revoking,
            issuer=self.issuer,
            alerts=self.alert_records,
            audit=self.audit,
            throttling=self.comparison.throttling,
            logins_per_hour=self.settings.logins_per_user_per_hour,
            now=self.now,
        )

    @cached_property
    def reauthentication(self) -> Reauthentication:
        """The confirmation of a password within a session."""
        return Reauthentication(self.comparison, self.audit, self.now)

    @cached_property
    def authorization(self) -> Authorization:
        """The check of an administrator's right."""
        return Authorization(self.database, self.audit)

    @cached_property
    def new_users(self) -> NewUsers:
        """The step that adds a user."""
        return NewUsers(self.passwords, self.audit, self.now)

    @cached_property
    def reset_link_issuer(self) -> ResetLinkIssuer:
        """The issuer of reset links."""
        return ResetLinkIssuer(f"{self.settings.public_url}/reset", self.audit, self.now)
