"""The application factory, which connects all packages."""

import asyncio
import gc
import logging
import sys
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import cast

from flask.logging import default_handler  # Quart's logger has Flask's handler
from hypercorn.typing import ASGIFramework
from jinja2 import StrictUndefined
from quart import Quart

from quart_app import gc_pause, log_formats, log_records
from quart_app.composition import Built, build_services
from quart_app.errors import Unavailable
from quart_app.services.audit.entries import log as audit_log
from quart_app.services.background.periodic import running
from quart_app.services.platforms.credentials import Credentials
from quart_app.services.platforms.sealed_credentials import SealedCredentials, WrongEncryptionKey
from quart_app.session import RevocableSessionInterface, RevocableSessions, SessionLimits
from quart_app.settings import PREFIX, Settings, SettingsError
from quart_app.storage.database import Database
from quart_app.text.printable import printable
from quart_app.web.blueprints import BLUEPRINTS
from quart_app.web.connections.descriptors import connections_within, raise_descriptor_limit
from quart_app.web.connections.hypercorn import bound_hypercorn
from quart_app.web.connections.listener import accepting_within_bounds
from quart_app.web.connections.register import Bounds, Register
from quart_app.web.operations import auth_verify, metrics
from quart_app.web.operations.observing import ObserveRequests
from quart_app.web.operations.request_counts import RequestCounts
from quart_app.web.pipeline import (
    access_log,
    cookies,
    deployment_notes,
    gate,
    limits,
    root_path,
    trusted_proxies,
    wire,
)
from quart_app.web.pipeline.claims import EXTRA_CLAIMS, is_id
from quart_app.web.pipeline.device_cookie import DeviceCookie
from quart_app.web.pipeline.headers import (
    HeadersOfEveryAnswer,
    headers_of_every_answer,
    headers_of_refusal,
)
from quart_app.web.pipeline.last_resort import Application
from quart_app.web.rendering import (
    account_states,
    addresses,
    assets,
    display,
    error_responses,
    notices,
    template_filters,
)

gc_pause.end()

BODY_TIMEOUT_SECONDS = 30


def create_app(
    settings: Settings | None = None, *, clock: Callable[[], float] = time.time
) -> Quart:
    """Return the ASGI application. Without `settings`, read them from the environment.

    In that case a wrong setting ends the process with one line that names it; else SettingsError is
    raised. `clock` returns POSIX seconds.
    """
    if settings is not None:
        return _app_with(settings, clock)
    try:
        settings = Settings.from_environ()
        _refuse_wrong_encryption_keys(settings)
        return _app_with(settings, clock)
    except SettingsError as error:
        sys.exit(printable(f"quart_app: {error}"))
    except WrongEncryptionKey as error:
        sys.exit(printable(f"quart_app: {error.sentence}"))


def _app_with(settings: Settings, clock: Callable[[], float]) -> Quart:
    """Return the application with these settings. Raises SettingsError."""
    log_records.install()
    log_formats.install(settings.log_format, default_handler)
    built = build_services(settings, clock=clock)
    app = _new_app(settings)
    app.extensions["quart_app"] = built.services
    app.extensions["quart_app.clock"] = clock
    _install_sessions(app, settings, built, clock)
    counts = RequestCounts()
    registry = metrics.new_registry(built.measurements, counts)
    metrics.install(
        app, registry, readable=settings.metrics, trusted_proxies=settings.trusted_proxies
    )
    _install_web(app, settings)
    _serve_with(app, settings, built)
    make_headers = partial(headers_of_refusal, is_https=settings.is_https)
    bound_hypercorn(make_headers)
    access_log.install(as_json=settings.log_format == "json")
    _configure_audit_log(app)
    _wrap_asgi(app, settings, make_headers, counts)
    return app


def _new_app(settings: Settings) -> Application:
    """Return an application without views, with its limits on bodies."""
    app = Application("quart_app", template_folder="web/templates", static_folder=None)
    app.headers_of_every_answer = HeadersOfEveryAnswer(
        headers_of_every_answer(is_https=settings.is_https)
    )
    app.config.update(
        MAX_CONTENT_LENGTH=gate.LARGEST_BODY_BYTES,
        MAX_FORM_MEMORY_SIZE=gate.LARGEST_BODY_BYTES,
        BODY_TIMEOUT=BODY_TIMEOUT_SECONDS,
        GUARDED_PATHS=settings.guarded_paths,
    )
    app.jinja_env.undefined = StrictUndefined
    return app


def _install_web(app: Quart, settings: Settings) -> None:
    """Install what every request passes, what pages need, and the views."""
    app.extensions["quart_app.device_cookie"] = DeviceCookie(settings.session_keys)
    assets.install(app)
    gate.install(app, is_https=settings.is_https, public_url=settings.public_url)
    error_responses.install(app)
    cookies.install(
        app,
        session_cookie_name=settings.cookie_name,
        path=settings.cookie_path,
        secure=settings.cookie_secure,
    )
    notices.install(app, settings.session_keys)
    addresses.install(app)
    template_filters.install(app)
    account_states.install(app)
    limits.install(
        app,
        remembered=SessionLimits(
            settings.session_remember_idle, settings.session_remember_absolute
        ),
    )
    display.install(app)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    if settings.root_path and root_path.is_ambiguous(settings.root_path, app):
        raise SettingsError(
            f"{PREFIX}PUBLIC_URL can't have the path {settings.root_path}, because this application"
            " has a page that begins so. Choose another, such as /app"
        )


def _serve_with(app: Quart, settings: Settings, built: Built) -> None:
    """Run the periodic tasks while the application serves, and close what it uses afterwards."""

    @app.while_serving
    async def serving() -> AsyncGenerator[None]:
        events, readiness = built.services.events, built.services.readiness
        register = Register(_bounds(settings))
        # Event streams must end first: Hypercorn reports its stop only after the open requests
        # have finished.
        register.drain.subscribe(events.stop)
        register.drain.subscribe(readiness.stop)
        async with accepting_within_bounds(register), running(built.periodic_tasks):
            _freeze_gc()
            yield
            register.drain.begin()  # for a server that has no socket of ours

    app.after_serving(built.close)


def _install_sessions(
    app: Quart, settings: Settings, built: Built, clock: Callable[[], float]
) -> None:
    """Install the session library, which opens and saves sessions and polls revocations."""
    app.config.update(
        SECRET_KEY=settings.secret_key,
        SECRET_KEY_FALLBACKS=list(settings.secret_key_fallbacks),
        SESSION_COOKIE_NAME=settings.cookie_name,
        SESSION_COOKIE_PATH=settings.cookie_path,
        SESSION_COOKIE_SECURE=settings.cookie_secure,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=settings.session_remember_absolute,
        REVOCABLE_SESSIONS_IDLE=settings.session_idle,
        REVOCABLE_SESSIONS_ABSOLUTE=settings.session_absolute,
        REVOCABLE_SESSIONS_REMEMBER_IDLE=settings.session_remember_idle,
        REVOCABLE_SESSIONS_REMEMBER_ABSOLUTE=settings.session_remember_absolute,
        REVOCABLE_SESSIONS_RENEWAL=settings.session_renewal,
        REVOCABLE_SESSIONS_DIGEST=settings.session_digest,
        REVOCABLE_SESSIONS_AUTOMATIC=False,  # pipeline/gate.py validates and renews sessions
    )
    RevocableSessions(
        app,
        store=built.revocation_store,
        extra_claims=EXTRA_CLAIMS,
        is_user_id=is_id,
        revocations=built.services.revocations,
        after_poll=built.services.events.catch_up,
        clock=clock,
    )


def _refuse_wrong_encryption_keys(settings: Settings) -> None:
    """Check the encryption keys against the stored credentials. Raises WrongEncryptionKey.

    It raises if no key decrypts them, and logs a warning if some keys are missing. If the database
    is unreachable or not set up, the start continues without the check. The check does not run in
    the server's start-up event, because Hypercorn logs a traceback for every failure there.
    """

    async def check() -> str | None:
        database = Database(settings.database_url)
        try:
            credentials = Credentials(settings.platform_encryption_keys)
            return await SealedCredentials(database, credentials).check()
        finally:
            await database.close()

    # In a thread: the program that creates the application may already run an event loop.
    with ThreadPoolExecutor(1) as thread:
        try:
            warning = thread.submit(lambda: asyncio.run(check())).result()
        except Unavailable:
            return
    if warning is not None:
        logging.getLogger("quart_app").warning(warning)


def _bounds(settings: Settings) -> Bounds:
    """Return the limits of open connections.

    Behind a proxy there is no limit per address: all connections come from the proxy's.
    """
    total = connections_within(raise_descriptor_limit())
    return Bounds(total, per_address=None if settings.trusted_proxies else total // 4)


def _configure_audit_log(app: Quart) -> None:
    """Log audit entries, although their level (INFO) is below the default (WARNING)."""
    if audit_log.level == logging.NOTSET:
        audit_log.setLevel(logging.INFO)
    # The parent logger. Reading it adds a handler to stderr if logging is not configured.
    assert app.logger.name == "quart_app"  # noqa: S101


def _wrap_asgi(
    app: Quart, settings: Settings, make_headers: wire.MakeHeaders, counts: RequestCounts
) -> None:
    """Wrap Quart in the middleware that checks target and Host header and reads proxy headers.

    The outermost observes every request. The next answers /auth/verify, which must not refuse what
    a proxy's client sent.
    """
    noting = deployment_notes.DeploymentNotes(
        app.asgi_app, public_url=settings.public_url, trusted_proxies=settings.trusted_proxies
    )
    app.extensions[deployment_notes.EXTENSION] = noting
    readable = wire.RejectInvalidHost(noting, make_headers)
    sessions = cast(RevocableSessionInterface, app.session_interface)
    outermost: ASGIFramework = auth_verify.AuthVerify(
        wire.RejectInvalidTarget(readable, make_headers),
        partial(sessions.session_in, app=app),
        headers_of_every_answer(is_https=settings.is_https),
        root_path=settings.root_path,
    )
    if settings.root_path:
        outermost = root_path.UnderRootPath(outermost, settings.root_path)
    if settings.trusted_proxies:
        outermost = trusted_proxies.TrustProxies(outermost, settings.trusted_proxies)
    app.asgi_app = ObserveRequests(  # type: ignore[method-assign]
        outermost, counts, is_proxied=settings.trusted_proxies > 0
    )


def _freeze_gc() -> None:
    """Freeze startup objects (modules, mappings, routes), so that garbage collections skip them.

    A full collection over some 200,000 of them pauses requests for 50 ms or more. Only the first
    application of a process does this: if more were created, frozen garbage would accumulate.
    """
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()
