"""Administration by `python -m quart_app …` in real processes."""

import asyncio
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from quart.typing import TestClientProtocol as Client
from sqlalchemy import URL

from quart_app.services import Services
from quart_app.settings import Settings, with_setting
from tests.callers import NOBODY
from tests.conftest import ENCRYPTION_KEY, PASSWORD, SECRET_KEY, Member
from tests.forking import run
from tests.servers import environ_of

ADA = ("user", "create", "ada", "ada@example.com")
NEW_PASSWORD = "incorrect donkey charger paperclip"
# It reads no further than our answers.
ONE_ENGINE = pytest.mark.parametrize("engine_name", ["sqlite"])
TIMEOUT_SECONDS = 60
pytestmark = pytest.mark.sqlite_unless_thorough


@dataclass(frozen=True)
class CommandLine:
    """`python -m quart_app` for one database, in an empty working directory."""

    environ: dict[str, str]
    folder: Path

    def command(self, *arguments: str | bytes) -> list[str | bytes]:
        return [sys.executable, "-m", "quart_app", *arguments]

    def run(
        self, *arguments: str | bytes, typed: bytes = b"", exit_code: int = 0, warning: str = ""
    ) -> str:
        """Return the output; a refusal is one sentence on stderr and nothing else."""
        ended = run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environ,
            typed=typed,
            timeout=TIMEOUT_SECONDS,
        )
        said, refused = str(ended.stdout, "utf-8"), str(ended.stderr, "utf-8")
        assert ended.returncode == exit_code, refused
        if exit_code == 0:
            assert refused == warning
            return said
        assert said == ""
        *_usage, line = refused.splitlines()
        assert exit_code == 2 or not _usage
        return line.removeprefix("Error: ")

    async def run_beside(self, *arguments: str, typed: bytes = b"") -> str:
        """Run the command while an application in this process follows the revocations."""
        return await asyncio.to_thread(self.run, *arguments, typed=typed)

    def run_in_terminal(self, *arguments: str, typed: list[str]) -> str:
        """Answer its questions by keyboard and return everything that the screen showed."""
        keyboard, terminal = os.openpty()
        process = subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environ,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        screen, answers = b"", iter(typed)
        try:
            while True:
                screen += os.read(keyboard, 4096)
                if screen.endswith(b": "):
                    os.write(keyboard, f"{next(answers)}\n".encode())
        except OSError:  # EIO: the terminal was closed with the process
            pass
        finally:
            os.close(keyboard)
            process.kill()
            process.wait()
        return screen.decode()


@pytest.fixture
def command_line(settings: Settings, tmp_path: Path) -> CommandLine:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return CommandLine(environ_of(settings), folder)


async def login_status(client: Client, password: str, **more: str) -> tuple[int, str | None]:
    """Log in as ada over HTTP; return the status, and the error code of a refusal."""
    response = await client.post(
        "/api/login", json={"username": "ada", "password": password, **more}
    )
    return response.status_code, (await response.get_json()).get("code")


def test_upgrading_twice_creates_the_schema_once(empty_database_url: URL, tmp_path: Path) -> None:
    settings = Settings(
        secret_key=SECRET_KEY,
        platform_encryption_keys=(ENCRYPTION_KEY,),
        database_url=empty_database_url,
    )
    command_line = CommandLine(environ_of(settings), tmp_path)
    assert "`db upgrade`" in command_line.run("user", "list", exit_code=1)
    made = command_line.run("db", "upgrade")
    assert "(before: none)" in made
    is_sqlite = empty_database_url.get_backend_name() == "sqlite"
    assert (f"Created the database file {empty_database_url.database}." in made) is is_sqlite
    assert "already" in command_line.run("db", "upgrade")
    assert command_line.run("user", "list") == "There are no users yet.\n"


async def test_a_user_with_a_piped_password_can_log_in(
    command_line: CommandLine, visitor: Client
) -> None:
    said = await command_line.run_beside(
        *ADA, "--role", "admin", "--password-stdin", typed=PASSWORD.encode()
    )
    assert said == "Created user ada, role admin.\n"
    assert await login_status(visitor, PASSWORD) == (200, None)


@ONE_ENGINE
@pytest.mark.parametrize(
    ("typed", "password"),
    [
        (b"8 signs!\n", "8 signs!"),
        (b"8 signs!\r\n", "8 signs!"),
        (b" 8 signs!\n\n", " 8 signs!\n"),
        (b"8 signs!\r", "8 signs!\r"),
        ("пароль 🔑\n".encode(), "пароль 🔑"),
    ],
)
async def test_one_final_newline_is_dropped_from_a_piped_password(
    command_line: CommandLine, visitor: Client, typed: bytes, password: str
) -> None:
    await command_line.run_beside(*ADA, "--password-stdin", typed=typed)
    assert await login_status(visitor, password) == (200, None)


@ONE_ENGINE
@pytest.mark.parametrize(
    "typed",
    [
        *(b"", b"\n", b"short\n", b"8 signs!\xff\n", b"8 signs!\x00", b"x" * 1025, b"ADA"),
        *(b"Passw0rd\n", b"ada-2026"),
    ],
)
async def test_an_unusable_piped_password_creates_no_user(
    command_line: CommandLine, services: Services, typed: bytes
) -> None:
    assert "password" in command_line.run(*ADA, "--password-stdin", typed=typed, exit_code=1)
    assert await services.users.everybody(NOBODY) == []


async def test_a_password_prompt_asks_twice_and_hides_the_input(
    command_line: CommandLine, visitor: Client
) -> None:
    screen = await asyncio.to_thread(
        command_line.run_in_terminal, *ADA, typed=["a slip", PASSWORD, PASSWORD, PASSWORD]
    )
    assert "do not match" in screen
    assert "Created user ada, role viewer." in screen
    assert PASSWORD not in screen
    assert await login_status(visitor, PASSWORD) == (200, None)


@pytest.mark.parametrize("in_terminal", [False, True], ids=["from a script", "by return"])
async def test_a_generated_password_is_shown_once_and_works_once(
    command_line: CommandLine,
    visitor: Client,
    in_terminal: bool,  # noqa: FBT001 a parameter of pytest's
) -> None:
    said = (
        await asyncio.to_thread(command_line.run_in_terminal, *ADA, typed=["", ""])
        if in_terminal
        else await command_line.run_beside(*ADA)
    )
    (password,) = re.findall(r"changed at the first login: (\S{20})\s", said)
    assert said.count(password) == 1
    assert password not in await command_line.run_beside("user", "list")
    assert await login_status(visitor, password) == (403, "password_change_needed")
    assert await login_status(visitor, password, new_password=NEW_PASSWORD) == (200, None)
    assert await login_status(visitor, password) == (401, "bad_credentials")
    assert await login_status(visitor, NEW_PASSWORD) == (200, None)


async def test_a_user_can_be_listed_given_a_new_password_and_deactivated(
    command_line: CommandLine, visitor: Client, member: Member
) -> None:
    listed = f"{member.id}\tada\tada@example.com\tviewer\tactive\tno login yet\n"
    assert await command_line.run_beside("user", "list") == listed
    given = await command_line.run_beside(
        "user", "passwd", "ada", "--password-stdin", typed=b"another one\n"
    )
    assert given == "Changed the password of ada and ended their sessions.\n"
    assert await login_status(visitor, PASSWORD) == (401, "bad_credentials")
    assert await login_status(visitor, "another one") == (200, None)
    generated = (await command_line.run_beside("user", "passwd", "ada")).split()[-1]
    assert await login_status(visitor, generated) == (403, "password_change_needed")
    assert "last login: 20" in await command_line.run_beside("user", "list")
    await command_line.run_beside("user", "deactivate", "ada")
    assert await login_status(visitor, generated) == (401, "bad_credentials")
    assert "\tinactive\t" in await command_line.run_beside("user", "list")
    await command_line.run_beside("user", "activate", "ada")
    assert await login_status(visitor, generated) == (403, "password_change_needed")


async def test_a_reset_link_is_printed_and_opens_the_page(
    command_line: CommandLine, visitor: Client, member: Member
) -> None:
    said = command_line.run("user", "reset-link", member.username)
    first_line, url = said.splitlines()
    assert re.fullmatch(
        r"Link for ada to set a password, valid until 20\S+ \d\d:\d\d UTC:", first_line
    )
    path = url.removeprefix("http://127.0.0.1:8000")
    assert re.fullmatch(r"/reset\?token=[\w-]{43}", path)
    assert (await visitor.get(path)).status_code == 200
    form = {"token": path.partition("=")[2], "new_password": NEW_PASSWORD}
    assert (await visitor.post("/reset", form=form)).status_code == 303
    assert await login_status(visitor, NEW_PASSWORD) == (200, None)
    command_line.run("user", "deactivate", member.username)
    refused = command_line.run("user", "reset-link", member.username, exit_code=1)
    assert refused == "This user is deactivated and can't log in. Activate them first."


async def test_a_user_can_be_created_with_a_link_instead_of_a_password(
    command_line: CommandLine, visitor: Client
) -> None:
    created, until, url = command_line.run(*ADA, "--role", "admin", "--link").splitlines()
    assert created == "Created user ada, role admin."
    assert until.startswith("Link for ada to set a password, valid until 20")
    form = {"token": url.partition("?token=")[2], "new_password": NEW_PASSWORD}
    assert (await visitor.post("/reset", form=form)).status_code == 303
    assert await login_status(visitor, NEW_PASSWORD) == (200, None)
    assert "taken" in command_line.run(*ADA, "--link", exit_code=1)
    command_line.run(*ADA, "--link", "--password-stdin", exit_code=2)


@pytest.mark.usefixtures("member")
def test_changing_the_role_of_the_last_administrator_prints_a_warning(
    command_line: CommandLine,
) -> None:
    assert command_line.run("user", "role", "ada", "admin") == "Changed the role of ada to admin.\n"
    assert "\tadmin\t" in command_line.run("user", "list")
    warning = "Warning: no active user is an administrator now.\n"
    command_line.run("user", "role", "ada", "reviewer", warning=warning)
    command_line.run("user", "role", "ada", "viewer")


@pytest.mark.usefixtures("member")
def test_deactivating_the_last_administrator_prints_a_warning(command_line: CommandLine) -> None:
    for name in ("grace", "hedy"):
        command_line.run("user", "create", name, f"{name}@example.com", "--role", "admin")
    command_line.run("user", "deactivate", "grace")
    command_line.run(
        "user",
        "deactivate",
        "hedy",
        warning="Warning: no active user is an administrator now.\n",
    )
    command_line.run("user", "deactivate", "hedy")  # the second time it changes nothing
    command_line.run("user", "deactivate", "ada")


@ONE_ENGINE
@pytest.mark.usefixtures("member")
@pytest.mark.parametrize("arguments", [("user", "list"), ("keys", "new"), ("--help",)])
def test_a_failed_write_is_reported_in_one_sentence(
    command_line: CommandLine, arguments: tuple[str, ...]
) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            command_line.command(*arguments),
            cwd=command_line.folder,
            env=command_line.environ,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr == b"Error: The output can't be written: No space left on device.\n"


def test_the_help_says_where_passwords_come_from(tmp_path: Path) -> None:
    said = CommandLine(
        {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}, tmp_path
    ).run("user", "create", "--help")
    said = " ".join(said.split())
    assert "you are asked for the password" in said
    assert "--password-stdin reads it from a pipe" in said
    assert "generated" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("user", "create", "ada", "a@example.com"), "That name is taken. Choose another."),
        (
            ("user", "create", "a", "ADA@example.com"),
            "That e-mail address is taken. Choose another.",
        ),
        (
            ("user", "create", "a\tb", "a@example.com"),
            "A name can't contain control characters, line breaks or direction marks.",
        ),
        (("user", "passwd", "nobody"), "There is no user named nobody."),
        (("user", "deactivate", "nobody"), "There is no user named nobody."),
        (("user", "activate", "nobody"), "There is no user named nobody."),
        (("user", "role", "nobody", "admin"), "There is no user named nobody."),
        (("user", "reset-link", "nobody"), "There is no user named nobody."),
    ],
)
@pytest.mark.usefixtures("member")
def test_an_impossible_command_is_refused_in_one_sentence(
    command_line: CommandLine, arguments: tuple[str | bytes, ...], sentence: str
) -> None:
    assert command_line.run(*arguments, exit_code=1) == sentence


@ONE_ENGINE
@pytest.mark.parametrize(
    "arguments",
    [
        *((*ADA, PASSWORD), (*ADA[:3],), (*ADA, "--role", "king"), ("oops",)),
        *(("user", "create", b"\xff", "a@example.com"), ("user", "deactivate", b"\xff")),
    ],
)
def test_a_password_argument_and_other_wrong_usage_exit_with_2(
    command_line: CommandLine, arguments: tuple[str | bytes, ...]
) -> None:
    command_line.run(*arguments, exit_code=2)


@pytest.mark.parametrize(
    "database_url",
    [
        "sqlite:///absent.db",
        "sqlite:///absent/absent.db",
        "postgresql://ada:hunter2@127.0.0.1:1/app",
        "postgresql://ada:p@ss:hunter2@127.0.0.1:1/app",
    ],
)
@pytest.mark.parametrize("arguments", [("user", "list"), ADA])
def test_a_missing_database_is_reported_in_one_sentence(
    tmp_path: Path, database_url: str, arguments: tuple[str, ...]
) -> None:
    environ = environ_of(
        Settings(secret_key=SECRET_KEY, platform_encryption_keys=(ENCRYPTION_KEY,))
    )
    command_line = CommandLine(environ | {"QUART_APP_DATABASE_URL": database_url}, tmp_path)
    sentence = command_line.run(*arguments, exit_code=1)
    assert "QUART_APP_DATABASE_URL" in sentence
    assert "hunter2" not in sentence
    assert list(tmp_path.iterdir()) == []  # a misspelt path does not create a database


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("a.db?mode=rw", "There is no database file a.db"),
        ("a.db?mode=ro", "There is no database file a.db"),
        ("a.db?immutable=1", "There is no database file a.db"),
        ("file:absent/a.db", "There is no folder absent"),
        ("~/a.db", "There is no folder ~"),
        ("folder", "folder is not a file"),
        ("text/a.db", "can't be created: Not a directory"),
        ("fifo", "fifo is not a file"),
        ("/dev/null", "/dev/null is not a file"),
        ("/dev/full", "/dev/full is not a file"),
        ("x" * 300, "can't be created: File name too long"),
        ("/proc/a.db", "can't be created: No such file or directory"),
        ("text", "file is not a database"),
    ],
)
def test_a_path_that_cannot_be_a_database_is_refused_and_no_file_is_left(
    tmp_path: Path, path: str, said: str
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "text").write_text("no database " * 100)
    before = sorted(tmp_path.rglob("*"))
    environ = environ_of(
        Settings(secret_key=SECRET_KEY, platform_encryption_keys=(ENCRYPTION_KEY,))
    )
    url = {"QUART_APP_DATABASE_URL": f"sqlite:///{path}"}
    sentence = CommandLine(environ | url, tmp_path).run("db", "upgrade", exit_code=1)
    assert said in sentence
    assert "QUART_APP_DATABASE_URL" in sentence
    assert sorted(tmp_path.rglob("*")) == before


def test_a_new_file_is_removed_if_the_upgrade_fails(tmp_path: Path) -> None:
    environ = environ_of(
        Settings(secret_key=SECRET_KEY, platform_encryption_keys=(ENCRYPTION_KEY,))
    )
    url = {"QUART_APP_DATABASE_URL": "sqlite:///a.db"}
    command_line = CommandLine(environ | url, tmp_path)
    too_small = f"ulimit -f 4; exec {shlex.join(map(str, command_line.command('db', 'upgrade')))}"
    ended = subprocess.run(
        ["sh", "-c", too_small], cwd=tmp_path, env=command_line.environ, check=False
    )
    assert ended.returncode != 0
    assert list(tmp_path.iterdir()) == []
    assert "Created the database file" in command_line.run("db", "upgrade")


@pytest.mark.parametrize(
    "name", ["a?b.db", "a#b.db", "a%20b.db", "100%.db", "a b.db", "ünï 李.db", "file:x.db"]
)
def test_a_percent_encoded_path_finds_a_file_of_any_name(tmp_path: Path, name: str) -> None:
    environ = environ_of(
        Settings(secret_key=SECRET_KEY, platform_encryption_keys=(ENCRYPTION_KEY,))
    )
    for path in (f"./{name}", f"//{tmp_path}/{name}"):
        url = {"QUART_APP_DATABASE_URL": f"sqlite:///{quote(path)}"}
        command_line = CommandLine(environ | url, tmp_path)
        command_line.run("db", "upgrade")
        assert "no user" in command_line.run("user", "list")
        assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_database_is_created_only_in_an_existing_folder(tmp_path: Path) -> None:
    environ = environ_of(
        Settings(secret_key=SECRET_KEY, platform_encryption_keys=(ENCRYPTION_KEY,))
    )
    mistyped = {"QUART_APP_DATABASE_URL": "sqlite:///instanse/quart_app.db"}
    sentence = CommandLine(environ | mistyped, tmp_path).run("db", "upgrade", exit_code=1)
    assert "There is no folder instanse for the database file" in sentence
    assert "QUART_APP_DATABASE_URL" in sentence
    assert list(tmp_path.iterdir()) == []
    CommandLine(environ, tmp_path).run("db", "upgrade")  # the default's own folder is created
    assert (tmp_path / "instance/quart_app.db").exists()


def test_new_keys_are_valid_settings_and_differ_every_time(tmp_path: Path) -> None:
    command_line = CommandLine(
        {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}, tmp_path
    )
    first, second = (
        dict(line.split("=", 1) for line in command_line.run("keys", "new").splitlines())
        for _ in range(2)
    )
    assert not set(first.values()) & set(second.values())
    assert list(tmp_path.iterdir()) == []
    settings = Settings.from_environ(first, directory=tmp_path)
    assert with_setting(settings, secret_key_fallbacks=(SECRET_KEY,)).secret_key
