"""Use cases: each public method is one transaction, and raises an AppError to refuse.

Nothing here knows HTTP, and no other package opens a transaction. A `steps` package holds what
several use cases do within one transaction; only use cases import it.
"""

from dataclasses import dataclass

from quart_app.services.administration.audit_reader import AuditReader
from quart_app.services.administration.first_user import FirstUser
from quart_app.services.administration.login_days import LoginDays
from quart_app.services.administration.passwords import UserPasswords
from quart_app.services.administration.sessions import SessionAdministration
from quart_app.services.administration.users import Users
from quart_app.services.audit.audit import Audit
from quart_app.services.identity.accounts import Accounts
from quart_app.services.identity.alerts import Alerts
from quart_app.services.identity.authorization import Authorization
from quart_app.services.identity.devices import Devices
from quart_app.services.identity.one_time_passwords import OneTimePasswords
from quart_app.services.identity.own_password import OwnPassword
from quart_app.services.identity.page_context import PageContexts
from quart_app.services.identity.reauthentication import Reauthentication
from quart_app.services.identity.reset_links import ResetLinks
from quart_app.services.identity.setup_tokens import SetupTokens
from quart_app.services.operations.readiness import Readiness
from quart_app.services.platforms.attempt_purges import AttemptPurges
from quart_app.services.platforms.authorization_results import AuthorizationResults
from quart_app.services.platforms.authorizations import Authorizations
from quart_app.services.platforms.authorized_accounts import AuthorizedAccounts
from quart_app.services.platforms.background_checks import BackgroundChecks
from quart_app.services.platforms.checks import AccountChecks
from quart_app.services.platforms.key_rotation import KeyRotation
from quart_app.services.platforms.pasted_tokens import PastedTokens
from quart_app.services.platforms.platforms import Platforms
from quart_app.services.platforms.removal import Removal
from quart_app.services.platforms.sealed_credentials import SealedCredentials
from quart_app.services.sessions.changes import Changes
from quart_app.services.sessions.events import Events
from quart_app.services.sessions.login_records import LoginRecords
from quart_app.services.sessions.sessions import Sessions
from quart_app.session.revocations import RevocationList


@dataclass(frozen=True, kw_only=True)
class Services:
    """All use cases, built once when the application is assembled."""

    accounts: Accounts
    own_password: OwnPassword
    one_time_passwords: OneTimePasswords
    reset_links: ResetLinks
    reauthentication: Reauthentication
    devices: Devices
    alerts: Alerts
    page_contexts: PageContexts
    setup_tokens: SetupTokens
    authorization: Authorization
    sessions: Sessions
    login_records: LoginRecords
    changes: Changes
    events: Events
    revocations: RevocationList
    platforms: Platforms
    account_checks: AccountChecks
    background_checks: BackgroundChecks
    attempt_purges: AttemptPurges
    pasted_tokens: PastedTokens
    removal: Removal
    authorizations: Authorizations
    authorization_results: AuthorizationResults
    authorized_accounts: AuthorizedAccounts
    sealed_credentials: SealedCredentials
    key_rotation: KeyRotation
    audit: Audit
    first_user: FirstUser
    users: Users
    user_passwords: UserPasswords
    session_administration: SessionAdministration
    audit_reader: AuditReader
    login_days: LoginDays
    readiness: Readiness
