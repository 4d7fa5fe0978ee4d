"""Use cases: one public method is one transaction, and an AppError says what it refused.

Nothing here knows HTTP, and nobody else opens a transaction.
"""

from dataclasses import dataclass

from quart_app.services.accounts import Accounts
from quart_app.services.administration import Administration
from quart_app.services.administrators import Administrators
from quart_app.services.alerts import Alerts
from quart_app.services.audit import Audit
from quart_app.services.audit_reader import AuditReader
from quart_app.services.devices import Devices
from quart_app.services.events import Events
from quart_app.services.first_user import FirstUser
from quart_app.services.frames import Frames
from quart_app.services.links import Links
from quart_app.services.login_days import LoginDays
from quart_app.services.membership import Membership
from quart_app.services.one_time_passwords import OneTimePasswords
from quart_app.services.platforms import Platforms
from quart_app.services.readiness import Readiness
from quart_app.services.reset_links import ResetLinks
from quart_app.services.revocations import Revocations
from quart_app.services.sealed_credentials import SealedCredentials
from quart_app.services.sessions import Sessions
from quart_app.services.users import Users


@dataclass(frozen=True)
class Services:
    """All use cases, built once where the application is put together."""

    accounts: Accounts
    one_time_passwords: OneTimePasswords
    users: Users
    alerts: Alerts
    first_user: FirstUser
    frames: Frames
    sessions: Sessions
    events: Events
    devices: Devices
    revocations: Revocations
    platforms: Platforms
    sealed_credentials: SealedCredentials
    links: Links
    readiness: Readiness
    audit: Audit
    audit_reader: AuditReader
    login_days: LoginDays
    administrators: Administrators
    administration: Administration
    membership: Membership
    reset_links: ResetLinks
