"""Packaging: the lock files, the wheel, and how Hypercorn serves it."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from hypercorn.config import Config

from tests.servers import ROOT

LOCKS = ["requirements.lock", "requirements-dev.lock"]
REQUIREMENT = re.compile(
    r"(?P<name>[\w.-]+)==(?P<version>[\w.+!]+)(?: ; (?P<marker>[^\\]+?))?"
    r"(?P<hashes>(?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n"
)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_has_hashes_for_every_release_and_names_no_registry(lock: str) -> None:
    text = (ROOT / lock).read_text()
    requirements = re.sub(r"(?m)^ *#.*\n", "", text)
    assert REQUIREMENT.sub("", requirements) == ""  # nothing else: no option, no address
    assert len(REQUIREMENT.findall(requirements)) > 20
    assert "://" not in text


def test_tests_and_production_use_the_same_versions() -> None:
    served, tested = (
        {(match["name"], match["version"]) for match in REQUIREMENT.finditer(text)}
        for text in ((ROOT / lock).read_text() for lock in LOCKS)
    )
    assert served < tested


def test_the_lock_file_contains_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = {match["name"] for match in REQUIREMENT.finditer((ROOT / LOCKS[0]).read_text())}
    assert {re.split(r"[\[>=<]", wanted)[0] for wanted in project["dependencies"]} <= locked


@pytest.mark.parametrize(
    ("name", "private_parts"),
    [
        ("aiosqlite", ["_conn", "_execute", "_thread"]),
        ("python-dotenv", ["dotenv.parser"]),
    ],
)
def test_a_dependency_whose_private_api_is_used_has_an_upper_bound(
    name: str, private_parts: list[str]
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (wanted,) = [each for each in project["dependencies"] if each.startswith(name)]
    assert re.search(r",<\d+\.\d+$", wanted)
    reasons = (ROOT / "docs/decisions/0002-dependencies.md").read_text()
    sources = "".join(path.read_text() for path in (ROOT / "quart_app").rglob("*.py"))
    for part in private_parts:
        assert f"`{part}`" in reasons
        assert part in sources


def test_private_apis_are_used_only_where_the_decision_says() -> None:
    marked = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "quart_app").rglob("*.py")
        if "SLF001" in path.read_text()
    }
    assert marked == {
        "quart_app/storage/sqlite.py",
        "quart_app/storage/audit.py",  # SQLAlchemy documents _mapping
        # Werkzeug documents _get_current_object
        "quart_app/session/session.py",
        "quart_app/web/pipeline/gate.py",
    }


@pytest.fixture(scope="module")
def unpacked_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory"]
    subprocess.run([*build, folder], cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_the_wheel_contains_every_file_of_the_package(unpacked_wheel: Path) -> None:
    def files(root: Path) -> set[str]:
        paths = (root / "quart_app").rglob("*")
        found = {str(path.relative_to(root)) for path in paths if path.is_file()}
        return {path for path in found if "__pycache__" not in path}

    shipped = files(unpacked_wheel)
    assert shipped == files(ROOT)
    assert "quart_app/py.typed" in shipped
    for kind in (
        "web/templates/*.html",
        "web/static/style.css/*.css",
        "storage/schema/revisions/0001_*.py",
    ):
        assert list((unpacked_wheel / "quart_app").glob(kind))
    assert list(unpacked_wheel.glob("*.dist-info/licenses/LICENSE"))


def test_the_wheel_alone_can_create_a_database(unpacked_wheel: Path, tmp_path: Path) -> None:
    run = [sys.executable, "-m", "quart_app"]
    environ = {"PYTHONPATH": str(unpacked_wheel)}
    made = subprocess.run(
        [*run, "keys", "new"], env=environ, cwd=tmp_path, capture_output=True, check=True
    )
    (tmp_path / ".env").write_bytes(made.stdout)
    upgraded = subprocess.run([*run, "db", "upgrade"], env=environ, cwd=tmp_path, check=False)
    assert upgraded.returncode == 0
    assert (tmp_path / "instance/quart_app.db").exists()


def test_hypercorn_accepts_every_option_of_ours() -> None:
    path = ROOT / "hypercorn.toml"
    options = tomllib.loads(path.read_text())
    config, default = Config.from_toml(path), Config()
    # Hypercorn silently accepts a misspelt option.
    assert [name for name in options if not hasattr(Config, name)] == []
    assert {name: getattr(config, name) for name in options} == options
    assert config.workers == 0
    assert config.bind == ["127.0.0.1:8000"]
    assert config.graceful_timeout > default.graceful_timeout
    assert "server" not in {name.decode() for name, _ in config.response_headers("h11")}
