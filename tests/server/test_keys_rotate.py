"""`python -m quart_app keys rotate` in real processes: its output and its exit codes."""

import json
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import URL

from quart_app.settings import Settings
from tests.conftest import ENCRYPTION_KEY, Member
from tests.forking import run
from tests.legacy.legacy_database import connected
from tests.servers import environ_of

NEW = Fernet.generate_key().decode()
KEYS = "QUART_APP_PLATFORM_ENCRYPTION_KEY"
pytestmark = pytest.mark.sqlite_unless_thorough


def rotate(settings: Settings, folder: Path, *keys: str) -> tuple[int, str, str]:
    """Return the exit code, and what the command wrote to its output and its error stream."""
    ended = run(
        [sys.executable, "-m", "quart_app", "keys", "rotate"],
        cwd=folder,
        env=environ_of(settings) | {KEYS: json.dumps(keys)},
        timeout=60,
    )
    return ended.returncode, str(ended.stdout, "utf-8"), str(ended.stderr, "utf-8")


@pytest.mark.usefixtures("member")
def test_it_says_what_it_did_and_that_the_old_key_can_go(
    settings: Settings, tmp_path: Path
) -> None:
    free = "Only the first key of QUART_APP_PLATFORM_ENCRYPTION_KEY is needed now.\n"
    done = "Encrypted 3 credentials with the newest key.\n"
    assert rotate(settings, tmp_path, NEW, ENCRYPTION_KEY) == (0, done + free, "")
    nothing = (
        "Encrypted 0 credentials with the newest key.\nThe newest key had encrypted 3 already.\n"
    )
    assert rotate(settings, tmp_path, NEW) == (0, nothing + free, "")


def test_it_names_connections_whose_credentials_are_lost(
    settings: Settings, database_url: URL, member: Member, tmp_path: Path
) -> None:
    lost = Fernet(Fernet.generate_key()).encrypt(b"a token").decode()
    with connected(database_url) as execute:
        execute(
            f"UPDATE platform_connections SET access_token = '{lost}'"  # noqa: S608 ours
            f" WHERE id = {member.platform_ids[1]}"
        )
    code, said, warned = rotate(settings, tmp_path, NEW, ENCRYPTION_KEY)
    assert (code, said) == (3, "Encrypted 2 credentials with the newest key.\n")
    assert warned == (
        "Warning: credentials that no key decrypts: 1.\n"
        f"Reconnect the accounts of these connections: {member.platform_ids[1]}\n"
    )


def test_a_database_that_does_not_answer_is_one_sentence(
    settings: Settings, tmp_path: Path, database_url: URL
) -> None:
    with connected(database_url) as execute:
        execute("DROP TABLE platform_accounts")
    code, said, warned = rotate(settings, tmp_path, NEW)
    assert (code, said) == (1, "")
    assert warned.startswith("Error: The database does not answer: ")
