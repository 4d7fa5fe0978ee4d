"""The composition of the use cases: for the application, and for commands without HTTP.

`build_services` has one line for each service, where a feature adds its own.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quart_app.composition.measuring import measurements_of
from quart_app.composition.parts import Parts
from quart_app.fediverse.fediverse import Fediverse
from quart_app.services import Services
from quart_app.services.administration.audit_reader import AuditReader
from quart_app.services.administration.first_user import FirstUser
from quart_app.services.administration.login_days import LoginDays
from quart_app.services.administration.passwords import UserPasswords
from quart_app.services.administration.sessions import SessionAdministration
from quart_app.services.administration.users import Users
from quart_app.services.audit.audit import Audit
from quart_app.services.background.periodic import PeriodicTask, periodic_tasks_of
from quart_app.services.background.shielding import drain
from quart_app.services.identity.accounts import Accounts
from quart_app.services.identity.alerts import Alerts
from quart_app.services.identity.devices import Devices
from quart_app.services.identity.one_time_passwords import OneTimePasswords
from quart_app.services.identity.own_password import OwnPassword
from quart_app.services.identity.page_context import PageContexts
from quart_app.services.identity.passwords import Passwords
from quart_app.services.identity.reset_links import ResetLinks
from quart_app.services.identity.setup_tokens import SetupTokens
from quart_app.services.operations.measurements import Measurements
from quart_app.services.operations.readiness import Readiness
from quart_app.services.platforms.attempt_purges import AttemptPurges
from quart_app.services.platforms.authorization_results import AuthorizationResults
from quart_app.services.platforms.authorizations import Authorizations
from quart_app.services.platforms.authorized_accounts import AuthorizedAccounts
from quart_app.services.platforms.background_checks import BackgroundChecks
from quart_app.services.platforms.key_rotation import KeyRotation
from quart_app.services.platforms.pasted_tokens import PastedTokens
from quart_app.services.platforms.platforms import Platforms
from quart_app.services.platforms.removal import Removal
from quart_app.services.platforms.sealed_credentials import SealedCredentials
from quart_app.services.sessions.changes import Changes
from quart_app.services.sessions.events import Events
from quart_app.services.sessions.login_records import LoginRecords
from quart_app.services.sessions.sessions import Sessions
from quart_app.settings import Settings
from quart_app.storage.changes import ChangeFeed
from quart_app.storage.database import Database
from quart_app.storage.revocations import DatabaseRevocationStore


@dataclass(frozen=True, kw_only=True)
class Built:
    """The use cases, and the resources that they keep open."""

    services: Services
    database: Database
    passwords: Passwords
    periodic_tasks: Sequence[PeriodicTask]
    measurements: Measurements
    revocation_store: DatabaseRevocationStore
    fediverse: Fediverse

    async def close(self) -> None:
        """Finish the work in progress, then close the database's connections and the threads."""
        await drain()
        await self.revocation_store.close()
        await self.services.audit.close()
        await self.fediverse.close()
        await self.database.close()
        self.passwords.close()


def build_services(settings: Settings, *, clock: Callable[[], float] = time.time) -> Built:
    """Return the use cases for these settings, without opening a connection."""
    parts = Parts(settings, clock)
    database, now = parts.database, parts.now
    services = Services(
        accounts=_accounts(parts),
        own_password=_own_password(parts),
        one_time_passwords=_one_time_passwords(parts),
        reset_links=_reset_links(parts),
        reauthentication=parts.reauthentication,
        devices=Devices(database, parts.revoking, parts.reauthentication, now),
        alerts=_alerts(parts),
        page_contexts=PageContexts(database, now),
        setup_tokens=SetupTokens(settings.session_keys),
        authorization=parts.authorization,
        sessions=Sessions(parts.revoking),
        login_records=LoginRecords(parts.purging),
        changes=Changes(parts.purging),
        events=Events(ChangeFeed(parts.follower_database), parts.revocations, now),
        revocations=parts.revocations,
        platforms=_platforms(parts),
        account_checks=parts.account_checks,
        background_checks=BackgroundChecks(database, parts.account_checks, now),
        attempt_purges=AttemptPurges(parts.purging, parts.credentials, parts.access_revoking),
        pasted_tokens=_pasted_tokens(parts),
        removal=_removal(parts),
        authorizations=_authorizations(parts),
        authorization_results=_authorization_results(parts),
        authorized_accounts=_authorized_accounts(parts),
        sealed_credentials=SealedCredentials(database, parts.credentials),
        key_rotation=KeyRotation(database, parts.credentials),
        audit=Audit(database, parts.audit, parts.purge_clock),
        first_user=_first_user(parts),
        users=_users(parts),
        user_passwords=_user_passwords(parts),
        session_administration=_session_administration(parts),
        audit_reader=AuditReader(database, parts.audit),
        login_days=LoginDays(database, parts.audit, now),
        readiness=Readiness(database, parts.revocations),
    )
    tasks = periodic_tasks_of(vars(services).values())
    return Built(
        services=services,
        database=database,
        passwords=parts.passwords,
        periodic_tasks=tasks,
        measurements=measurements_of(parts, services, tasks),
        revocation_store=DatabaseRevocationStore(
            parts.follower_database, parts.purge_clock, listen_database=parts.listen_database
        ),
        fediverse=parts.fediverse,
    )


def _accounts(parts: Parts) -> Accounts:
    return Accounts(
        database=parts.database,
        comparison=parts.comparison,
        session_start=parts.session_start,
        permits=parts.permits,
        audit=parts.audit,
        results=parts.login_results,
        failed_login=parts.settings.failed_login,
    )


def _own_password(parts: Parts) -> OwnPassword:
    return OwnPassword(
        reauthentication=parts.reauthentication,
        passwords=parts.passwords,
        revoking=parts.revoking,
        issuer=parts.issuer,
        alerts=parts.alert_records,
        audit=parts.audit,
    )


def _one_time_passwords(parts: Parts) -> OneTimePasswords:
    return OneTimePasswords(
        database=parts.database,
        comparison=parts.comparison,
        session_start=parts.session_start,
        permits=parts.permits,
        results=parts.login_results,
    )


def _reset_links(parts: Parts) -> ResetLinks:
    return ResetLinks(
        database=parts.database,
        passwords=parts.passwords,
        hashing_queue=parts.hashing_queue,
        revoking=parts.revoking,
        alerts=parts.alert_records,
        audit=parts.audit,
        now=parts.now,
    )


def _alerts(parts: Parts) -> Alerts:
    return Alerts(
        database=parts.database,
        revoking=parts.revoking,
        records=parts.alert_records,
        audit=parts.audit,
        purging=parts.purging,
    )


def _platforms(parts: Parts) -> Platforms:
    return Platforms(
        database=parts.database,
        credentials=parts.credentials,
        audit=parts.audit,
        most_of_a_user=parts.settings.platforms_per_user,
        now=parts.now,
    )


def _pasted_tokens(parts: Parts) -> PastedTokens:
    return PastedTokens(
        database=parts.database,
        fediverse=parts.fediverse,
        directory=parts.directory,
        credentials=parts.credentials,
        audit=parts.audit,
        limit=parts.outbound_limit,
        most_of_a_user=parts.settings.platforms_per_user,
        now=parts.now,
    )


def _removal(parts: Parts) -> Removal:
    return Removal(
        database=parts.database,
        credentials=parts.credentials,
        revoking=parts.access_revoking,
        audit=parts.audit,
        now=parts.now,
    )


def _authorizations(parts: Parts) -> Authorizations:
    return Authorizations(
        database=parts.database,
        fediverse=parts.fediverse,
        directory=parts.directory,
        apps=parts.apps,
        credentials=parts.credentials,
        limit=parts.outbound_limit,
        audit=parts.audit,
        now=parts.now,
    )


def _authorization_results(parts: Parts) -> AuthorizationResults:
    return AuthorizationResults(
        database=parts.database,
        fediverse=parts.fediverse,
        directory=parts.directory,
        credentials=parts.credentials,
        redirect_uri_at=parts.apps.redirect_uri_at,
        now=parts.now,
    )


def _authorized_accounts(parts: Parts) -> AuthorizedAccounts:
    return AuthorizedAccounts(
        database=parts.database,
        credentials=parts.credentials,
        audit=parts.audit,
        most_of_a_user=parts.settings.platforms_per_user,
        now=parts.now,
    )


def _first_user(parts: Parts) -> FirstUser:
    return FirstUser(
        database=parts.database,
        revoking=parts.revoking,
        issuer=parts.issuer,
        new_users=parts.new_users,
        audit=parts.audit,
        now=parts.now,
    )


def _users(parts: Parts) -> Users:
    return Users(
        database=parts.database,
        revoking=parts.revoking,
        authorization=parts.authorization,
        reauthentication=parts.reauthentication,
        new_users=parts.new_users,
        reset_links=parts.reset_link_issuer,
        audit=parts.audit,
        now=parts.now,
    )


def _user_passwords(parts: Parts) -> UserPasswords:
    return UserPasswords(
        database=parts.database,
        revoking=parts.revoking,
        authorization=parts.authorization,
        reauthentication=parts.reauthentication,
        passwords=parts.passwords,
        reset_links=parts.reset_link_issuer,
        alerts=parts.alert_records,
        audit=parts.audit,
    )


def _session_administration(parts: Parts) -> SessionAdministration:
    return SessionAdministration(
        database=parts.database,
        revoking=parts.revoking,
        reauthentication=parts.reauthentication,
        audit=parts.audit,
        now=parts.now,
    )
