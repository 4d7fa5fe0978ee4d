"""The schema's revisions are known without Alembic, which only an upgrade imports."""

from alembic.config import Config
from alembic.script import ScriptDirectory

from quart_app.storage.schema import known_revisions, newest_revision
from tests.servers import ROOT


def test_the_names_of_the_files_are_the_revisions_that_alembic_finds() -> None:
    scripts = ScriptDirectory.from_config(Config(toml_file=str(ROOT / "pyproject.toml")))
    assert known_revisions() == {each.revision for each in scripts.walk_revisions()}
    assert newest_revision() == scripts.get_current_head()
