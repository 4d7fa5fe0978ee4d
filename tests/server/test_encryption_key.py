"""With a key that decrypts no stored credential, no process starts and no key is generated."""

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import URL

from quart_app.settings import Settings, with_setting
from tests.conftest import ENCRYPTION_KEY, SECRET_KEY
from tests.legacy.legacy_database import build_legacy_database, connected
from tests.server.test_serve import clone, refusal
from tests.servers import APP, ROOT, STARTUP_SECONDS, environ_of, hypercorn

__all__ = ["clone"]  # a fixture

OTHER = Fernet.generate_key().decode()
WITH_CONNECTIONS = pytest.mark.usefixtures("member")


@WITH_CONNECTIONS
def test_a_key_that_opens_no_credentials_ends_the_server_with_one_line(settings: Settings) -> None:
    environ = environ_of(with_setting(settings, platform_encryption_keys=(OTHER,)))
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "hypercorn", "--config", str(ROOT / "hypercorn.toml")),
            *("--bind", "127.0.0.1:0", APP),
        ],
        env=environ,
        capture_output=True,
        text=True,
        timeout=STARTUP_SECONDS,
        check=False,
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("quart_app: QUART_APP_PLATFORM_ENCRYPTION_KEY decrypts none")


@WITH_CONNECTIONS
def test_a_key_that_opens_some_credentials_is_served_with_a_warning(
    settings: Settings, database_url: URL, tmp_path: Path
) -> None:
    sealed = Fernet(OTHER).encrypt(b"a token").decode()
    with connected(database_url) as execute:
        execute(f"UPDATE platform_connections SET access_token = '{sealed}' WHERE id = 2")  # noqa: S608
    with hypercorn(settings, tmp_path) as server:
        assert "does not decrypt 1 of 3 stored credentials" in server.log.read_text()


@pytest.mark.parametrize("given", [{}, {"QUART_APP_PLATFORM_ENCRYPTION_KEY": OTHER}])
def test_serve_generates_no_key_beside_encrypted_credentials(
    empty_database_url: URL, clone: Path, given: dict[str, str]
) -> None:
    build_legacy_database(empty_database_url, encryption_key=ENCRYPTION_KEY)
    environ = {
        "QUART_APP_DATABASE_URL": empty_database_url.render_as_string(hide_password=False),
        "QUART_APP_SECRET_KEY": SECRET_KEY,
        **given,
    }
    line = refusal(clone, environ=environ)
    assert "QUART_APP_PLATFORM_ENCRYPTION_KEY" in line
    assert "the older application's PLATFORM_ENCRYPTION_KEY" in line
    assert not (clone / "instance/.env").exists()
