"""Two processes that tests share if they do not harm the processes."""

from collections.abc import Iterator

import pytest

from tests.conftest import migrated_database, settings_for
from tests.processes import Processes, two_processes


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def processes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Processes]:
    """Two processes over one database, on either engine."""
    folder = tmp_path_factory.mktemp("processes")
    with (
        migrated_database(request.param, request, folder) as database_url,
        two_processes(settings_for(database_url), folder) as both,
    ):
        yield both


@pytest.fixture
def name(processes: Processes) -> str:
    """The name of a new user without a session."""
    return processes.new_user()
