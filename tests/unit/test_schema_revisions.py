"""The schema's revisions are known without Alembic, which only an upgrade imports."""

import subprocess
import sys

from alembic.config import Config
from alembic.script import ScriptDirectory

from quart_app.storage.schema import known_revisions, newest_revision
from tests.servers import ROOT

LOADED = "import sys, quart_app.app; print(sorted(sys.modules.keys() & {'alembic', 'mako'}))"


def test_the_names_of_the_files_are_the_revisions_that_alembic_finds() -> None:
    scripts = ScriptDirectory.from_config(Config(toml_file=str(ROOT / "pyproject.toml")))
    assert known_revisions() == {each.revision for each in scripts.walk_revisions()}
    assert newest_revision() == scripts.get_current_head()


def test_a_process_that_serves_does_not_import_alembic() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert loaded.stdout == "[]\n"
