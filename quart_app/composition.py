"""Put the use cases together: for the application, and for commands, which know no HTTP."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from quart_app.services import Services
from quart_app.services.accounts import Accounts
from quart_app.services.administration import Administration
from quart_app.services.administrators import Administrators
from quart_app.services.alerts import Alerts
from quart_app.services.audit import Audit
from quart_app.services.audit_reader import AuditReader
from quart_app.services.credentials import Credentials
from quart_app.services.devices import Devices
from quart_app.services.events import Events
from quart_app.services.first_user import FirstUser
from quart_app.services.frames import Frames
from quart_app.services.links import Links
from quart_app.services.login_days import LoginDays
from quart_app.services.membership import Membership
from quart_app.services.one_time_passwords import OneTimePasswords
from quart_app.services.password_permits import PasswordPermits
from quart_app.services.passwords import Passwords
from quart_app.services.platforms import Platforms
from quart_app.services.readiness import Readiness
from quart_app.services.reset_links import ResetLinks
from quart_app.services.revocations import Revocations
from quart_app.services.sealed_credentials import SealedCredentials
from quart_app.services.sessions import Sessions
from quart_app.services.throttle import Throttling
from quart_app.services.turns import Turns
from quart_app.services.uninterrupted import finish_what_is_running
from quart_app.services.users import Users
from quart_app.settings import Settings
from quart_app.storage.clock import PurgeClock
from quart_app.storage.database import Database
from quart_app.storage.follow import Feed


@dataclass(frozen=True)
class Built:
    """The use cases, and what they hold open."""

    services: Services
    database: Database
    passwords: Passwords

    async def close(self) -> None:
        """Carry through what was begun, then let go of the database's connections and threads."""
        await finish_what_is_running()
        await self.services.revocations.close()
        await self.services.audit.close()
        await self.database.close()
        self.passwords.close()


def build_services(settings: Settings, *, clock: Callable[[], float] = time.time) -> Built:
    """Return the use cases for these settings; nothing is connected to yet."""

    def now() -> datetime:
        return datetime.fromtimestamp(clock(), UTC)

    database, passwords = Database(settings.database_url), Passwords()
    credentials = Credentials(settings.platform_encryption_keys)
    purge_clock = PurgeClock()
    feed = Feed(settings.database_url, purge_clock)
    revocations = Revocations(feed, refuse_after=settings.refuse_after)
    audit = Audit(database, settings.audit_retention, purge_clock)
    sessions = Sessions(
        database,
        revocations,
        audit,
        settings.session_absolute,
        settings.session_remember_absolute,
        now,
    )
    alerts = Alerts(sessions, audit, now)
    accounts = Accounts(
        database=database,
        passwords=passwords,
        sessions=sessions,
        alerts=alerts,
        audit=audit,
        # Twice as many as threads: while one transaction is waited for, another hash is made.
        turns=Turns(2 * passwords.threads, settings.login_queue),
        throttling=Throttling(database, settings.secret_key, audit, now),
        failed_login=settings.failed_login,
        logins_per_hour=settings.logins_per_user_per_hour,
        now=now,
        permits=PasswordPermits(settings.session_keys, now),
    )
    devices = Devices(sessions, accounts, now)
    administrators = Administrators(database, audit)
    users = Users(database, passwords, sessions, alerts, audit, now)
    reset_links = ResetLinks(
        f"{settings.public_url}/reset",
        passwords,
        sessions,
        alerts,
        audit,
        devices,
        administrators,
        accounts.turns,
        now,
    )
    services = Services(
        accounts=accounts,
        one_time_passwords=OneTimePasswords(accounts),
        first_user=FirstUser(database),
        users=users,
        alerts=alerts,
        sessions=sessions,
        events=Events(feed, revocations, now),
        frames=Frames(database, now),
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
        links=Links(settings.session_keys),
        readiness=Readiness(database, revocations),
        audit=audit,
        audit_reader=AuditReader(database, administrators),
        login_days=LoginDays(audit, administrators, now),
        administrators=administrators,
        administration=Administration(sessions, devices, administrators, now),
        membership=Membership(users, reset_links, sessions, devices, administrators),
        reset_links=reset_links,
    )
    return Built(services, database, passwords)
