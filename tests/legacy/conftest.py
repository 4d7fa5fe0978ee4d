"""A database of the legacy application, and the migration command."""

import pytest
from sqlalchemy import URL

from quart_app.cli.migrate import main
from tests.conftest import ENCRYPTION_KEY
from tests.legacy.legacy_database import build_legacy_database
from tests.legacy.migration_runs import Ended, Migrate, as_text


@pytest.fixture
def legacy_url(empty_database_url: URL) -> URL:
    """A database of the legacy application."""
    build_legacy_database(empty_database_url, encryption_key=ENCRYPTION_KEY)
    return empty_database_url


@pytest.fixture
def migrate(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Migrate:
    """Run the command in this process, in an empty working directory."""
    monkeypatch.chdir(tmp_path_factory.mktemp("state"))

    def run(url: URL, *arguments: object) -> Ended:
        capsys.readouterr()
        code = main(["--database-url", as_text(url), *map(str, arguments)])
        said, complained = capsys.readouterr()
        return Ended(code, said, complained)

    return run
