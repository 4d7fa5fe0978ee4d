"""The composition root of the web: all views. A new page or resource adds its lines here only."""

from typing import Final

from quart import Blueprint

from quart_app.web.api import account as api_account
from quart_app.web.api import authorizations as api_authorizations
from quart_app.web.api import openapi as api_openapi
from quart_app.web.api import platforms as api_platforms
from quart_app.web.api import session as api_session
from quart_app.web.api import session_events as api_session_events
from quart_app.web.api import sessions as api_sessions
from quart_app.web.operations import csp_reports, metrics, operations
from quart_app.web.pages import (
    accounts,
    admin,
    admin_reset_links,
    alerts,
    audit,
    authorizations,
    devices,
    membership,
    one_time_passwords,
    platforms,
    reset_links,
)

BLUEPRINTS: Final[tuple[Blueprint, ...]] = (
    accounts.blueprint,
    admin.blueprint,
    admin_reset_links.blueprint,
    alerts.blueprint,
    api_account.blueprint,
    api_openapi.blueprint,
    api_platforms.blueprint,
    api_session.blueprint,
    api_session_events.blueprint,
    api_sessions.blueprint,
    api_authorizations.blueprint,
    audit.blueprint,
    authorizations.blueprint,
    csp_reports.blueprint,
    devices.blueprint,
    membership.blueprint,
    metrics.blueprint,
    one_time_passwords.blueprint,
    operations.blueprint,
    platforms.blueprint,
    reset_links.blueprint,
)
