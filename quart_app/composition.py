"""The composition of the use cases: for the application, and for commands without HTTP."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from quart_app.services import Services
from quart_app.services.administration.audit_reader import AuditReader
from quart_app.services.administration.login_days import LoginDays
from quart_app.services.administration.membership import Membership
from quart_app.services.administration.sessions import SessionAdministration
from quart_app.services.administration.users import Users
from quart_app.services.audit.audit import Audit
from quart_app.services.background.periodic import PeriodicTask
from quart_app.services.background.purging import Purging
from quart_app.services.background.shielding import drain
from quart_app.services.identity.accounts import Accounts
from quart_app.services.identity.alerts import Alerts
from quart_app.services.identity.authorization import Authorization
from quart_app.services.identity.devices import Devices
from quart_app.services.identity.first_user import FirstUser
from quart_app.services.identity.hashing_queue import FairQueue
from quart_app.services.identity.one_time_passwords import OneTimePasswords
from quart_app.services.identity.page_context import PageContexts
from quart_app.services.identity.password_permits import PasswordPermits
from quart_app.services.identity.passwords import Passwords
from quart_app.services.identity.reset_links import ResetLinks
from quart_app.services.identity.setup_tokens import SetupTokens
from quart_app.services.identity.throttle import Throttling
from quart_app.services.operations.readiness import Readiness
from quart_app.services.platforms.credentials import Credentials
from quart_app.services.platforms.platforms import Platforms
from quart_app.services.platforms.sealed_credentials import SealedCredentials
from quart_app.services.sessions.changes import Changes
from quart_app.services.sessions.events import Events
from quart_app.services.sessions.login_records import LoginRecords
from quart_app.services.sessions.sessions import Sessions
from quart_app.session.revocations import RevocationList
from quart_app.settings import Settings
from quart_app.storage.changes import ChangeFeed
from quart_app.storage.clock import new_purge_clock
from quart_app.storage.database import Database
from quart_app.storage.revocations import FOLLOWER, DatabaseRevocationStore


@dataclass(frozen=True, kw_only=True)
class Built:
    """The use cases, and the resources that they keep open."""

    services: Services
    database: Database
    passwords: Passwords
    periodic_tasks: Sequence[PeriodicTask]
    revocation_store: DatabaseRevocationStore

    async def close(self) -> None:
        """Finish the work in progress, then close the database's connections and the threads."""
        await drain()
        await self.revocation_store.close()
        await self.services.audit.close()
        await self.database.close()
        self.passwords.close()


def build_services(settings: Settings, *, clock: Callable[[], float] = time.time) -> Built:
    """Return the use cases for these settings, without opening a connection."""

    def now() -> datetime:
        return datetime.fromtimestamp(clock(), UTC)

    database, passwords = Database(settings.database_url), Passwords()
    credentials = Credentials(settings.platform_encryption_keys)
    purge_clock = new_purge_clock()
    purging = Purging(database, purge_clock)
    followed = Database(settings.database_url, name=FOLLOWER)
    revocations = RevocationList(refuse_after=settings.refuse_after)
    audit = Audit(database, settings.audit_retention, purge_clock)
    sessions = Sessions(
        database=database,
        revocations=revocations,
        audit=audit,
        absolute=settings.session_absolute,
        remember_absolute=settings.session_remember_absolute,
        now=now,
    )
    alerts = Alerts(sessions=sessions, audit=audit, purging=purging, now=now)
    accounts = Accounts(
        database=database,
        passwords=passwords,
        sessions=sessions,
        alerts=alerts,
        audit=audit,
        # Two per thread: while one login waits for its transaction, the thread hashes another.
        hashing_queue=FairQueue(2 * passwords.threads, settings.login_queue),
        throttling=Throttling(database=database, secret=settings.secret_key, audit=audit, now=now),
        failed_login=settings.failed_login,
        logins_per_hour=settings.logins_per_user_per_hour,
        now=now,
        permits=PasswordPermits(settings.session_keys, now),
    )
    login_records, changes = LoginRecords(purging), Changes(purging)
    devices = Devices(sessions, accounts, now)
    authorization = Authorization(database, audit)
    users = Users(
        database=database,
        passwords=passwords,
        sessions=sessions,
        alerts=alerts,
        audit=audit,
        now=now,
    )
    reset_links = ResetLinks(
        address=f"{settings.public_url}/reset",
        passwords=passwords,
        sessions=sessions,
        alerts=alerts,
        audit=audit,
        devices=devices,
        authorization=authorization,
        hashing_queue=accounts.hashing_queue,
        now=now,
    )
    services = Services(
        accounts=accounts,
        one_time_passwords=OneTimePasswords(accounts),
        first_user=FirstUser(database),
        users=users,
        alerts=alerts,
        sessions=sessions,
        login_records=login_records,
        changes=changes,
        events=Events(ChangeFeed(followed), revocations, now),
        page_contexts=PageContexts(database, now),
        devices=devices,
        revocations=revocations,
        platforms=Platforms(
            database=database,
            credentials=credentials,
            audit=audit,
            most_of_a_user=settings.platforms_per_user,
            now=now,
        ),
        sealed_credentials=SealedCredentials(database, credentials),
        setup_tokens=SetupTokens(settings.session_keys),
        readiness=Readiness(database, revocations),
        audit=audit,
        audit_reader=AuditReader(database, authorization),
        login_days=LoginDays(audit, authorization, now),
        authorization=authorization,
        administration=SessionAdministration(
            sessions=sessions, devices=devices, authorization=authorization, now=now
        ),
        membership=Membership(
            users=users,
            reset_links=reset_links,
            sessions=sessions,
            devices=devices,
            authorization=authorization,
        ),
        reset_links=reset_links,
    )
    periodic_tasks = [
        *audit.periodic_tasks(),
        *login_records.periodic_tasks(),
        *changes.periodic_tasks(),
        *alerts.periodic_tasks(),
    ]
    return Built(
        services=services,
        database=database,
        passwords=passwords,
        periodic_tasks=periodic_tasks,
        revocation_store=DatabaseRevocationStore(followed, purge_clock),
    )
