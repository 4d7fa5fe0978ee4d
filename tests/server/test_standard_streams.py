"""Commands whose standard streams are closed, full, or unable to encode some characters."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from quart_app.composition import Built
from quart_app.model import Role
from quart_app.settings import Settings
from tests.callers import NOBODY
from tests.cases import first_unless_thorough
from tests.conftest import PASSWORD
from tests.forking import run
from tests.servers import environ_of

pytestmark = pytest.mark.parametrize("engine_name", ["sqlite"])

NAME = "Ζωή☕\x1b[2J\u202e\x9b"
COMMANDS = [
    *("user create bob# bob#@example.com", "user list", "nonsense", "user passwd ada"),
    *("user reset-link ada", "keys new", "--help"),
]
MAKE_A_SECRET = ("user create", "user passwd", "user reset-link")
STREAMS = [">&-", "> /dev/full", "<&- >&- 2>&-", "<&-", "2>&-", "2> /dev/full", "| head -1"]


@dataclass
class Shell:
    """A shell that runs `python -m quart_app` for one database as `quart-app`."""

    settings: Settings
    folder: Path

    def run(
        self, line: str, typed: bytes = b"", **environ: str
    ) -> subprocess.CompletedProcess[bytes]:
        script = f'set -o pipefail; quart-app() {{ "{sys.executable}" -m quart_app "$@"; }}; {line}'
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=environ_of(self.settings) | environ,
            input=typed,
            capture_output=True,
            timeout=60,
            check=False,
        )

    def run_forked(self, *arguments: str, typed: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command whose streams are ordinary pipes, without waiting for its imports."""
        return run(
            [sys.executable, "-m", "quart_app", *arguments],
            cwd=self.folder,
            env=environ_of(self.settings),
            typed=typed,
            timeout=60,
        )


@pytest.fixture
async def shell(settings: Settings, built: Built, tmp_path: Path) -> Shell:
    for name in ("ada", "zoe"):
        await built.services.users.create(
            NOBODY, username=name, email=f"{name}@example.com", role=Role.ADMIN, password=PASSWORD
        )
    async with built.database.begin() as db:  # names that an old application may have allowed
        statement = "UPDATE users SET username = :name, email = :name WHERE username = 'zoe'"
        await db.execute(text(statement), {"name": NAME})
    return Shell(settings, tmp_path)


async def _users(built: Built) -> dict[str, tuple[str, str | None]]:
    """Return the secrets that could let a user in, by name."""
    return {
        each.username: (each.password_hash, each.reset_token_hash)
        for each in await built.services.users.everybody(NOBODY)
    }


@pytest.mark.parametrize("command", first_unless_thorough(3, COMMANDS))
async def test_no_broken_standard_stream_causes_a_traceback_or_hides_a_secret(
    shell: Shell,
    built: Built,
    command: str,
    thorough: bool,  # noqa: FBT001 a fixture
) -> None:
    some = 3 if command.startswith(MAKE_A_SECRET) else 2
    for number, streams in enumerate(STREAMS if thorough else STREAMS[:some]):
        before = await _users(built)
        ended = shell.run(f"quart-app {command.replace('#', str(number))} {streams}")
        assert b"Traceback" not in ended.stderr, streams
        assert b"Exception ignored" not in ended.stderr, streams
        assert ended.returncode in {0, 1, 2}, streams
        if command.startswith(MAKE_A_SECRET):
            if streams in {">&-", "<&- >&- 2>&-"}:
                assert ended.returncode == 1
                assert await _users(built) == before
            elif streams == "> /dev/full":
                assert ended.returncode == 1
                assert b"could not be shown: " in ended.stderr
            elif "reset-link" not in command:
                assert b"at the first login: " in ended.stdout, streams
        elif streams == "> /dev/full":
            assert ended.returncode != 0
            assert ended.stderr


@pytest.mark.parametrize(
    "encoding", first_unless_thorough(2, ["ascii", "utf-16", "latin-1", "utf-8"])
)
def test_no_encoding_and_no_name_breaks_the_terminal(shell: Shell, encoding: str) -> None:
    for command in ("user list", f"sessions list '{NAME}'", f"user activate '{NAME}'"):
        ended = shell.run(f"quart-app {command}", PYTHONIOENCODING=encoding)
        assert ended.stderr == b""
        assert ended.returncode == 0
        said = ended.stdout.decode(encoding)
        assert all(line.replace("\t", "").isprintable() for line in said.split("\n"))
        assert "\\x1b[2J\\u202e\\x9b" in said


@pytest.mark.parametrize(
    "command",
    [("user", "passwd", "\x1b[2J\x9b"), ("user", "\x1b[2J"), ("user", "role", "ada", "\x1b")],
)
def test_an_error_message_does_not_repeat_control_characters(
    shell: Shell, command: tuple[str, ...]
) -> None:
    ended = shell.run_forked(*command)
    assert ended.returncode in {1, 2}
    said = ended.stderr.decode()
    assert all(line.isprintable() for line in said.split("\n")), said


@pytest.mark.parametrize(
    ("typed", "refusal"),
    first_unless_thorough(
        3,
        [
            (f"\ufeff{PASSWORD} two\r\n".encode(), ""),
            (f"{PASSWORD} two\n".encode(), ""),
            (
                f"{PASSWORD} two".encode("utf-16"),
                "Error: The password on standard input is not UTF-8.",
            ),
            (f"{PASSWORD} two".encode("utf-16-le"), "Error: The password on standard input is not"),
            (b"\xff\xfe", "Error: The password on standard input is not UTF-8."),
            (b"", "Error: There is no password on standard input."),
            (b"\xef\xbb\xbf\r\n", "Error: There is no password on standard input."),
        ],
    ),
    ids=ascii,
)
async def test_a_byte_order_mark_is_dropped_from_a_piped_password(
    shell: Shell, built: Built, typed: bytes, refusal: str
) -> None:
    ended = shell.run_forked("user", "passwd", "ada", "--password-stdin", typed=typed)
    assert ended.stderr.decode().startswith(refusal)
    password = PASSWORD if refusal else f"{PASSWORD} two"
    password_hash, _ = (await _users(built))["ada"]
    assert await built.passwords.matches(password_hash, password)
