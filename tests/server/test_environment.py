"""scripts/* create .venv with a bare interpreter, or say in one line why they cannot."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cases import first_unless_thorough
from tests.servers import ROOT

USAGE = "usage: scripts/check [--fix]\n"  # printed when the environment exists


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone whose .venv cannot be locked, because the lock file cannot be written."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copy(ROOT / "requirements-dev.lock", tmp_path)
    (tmp_path / ".venv.lock").mkdir()
    return tmp_path


def make_venv(clone: Path, python: str, *, complete: bool) -> None:
    """Replace .venv's interpreter with a shell script."""
    script = clone / ".venv/bin/python"
    script.parent.mkdir(parents=True)
    script.write_text(f"#!/bin/sh\n{python}\n")
    script.chmod(0o755)
    if complete:
        digest = hashlib.sha256((clone / "requirements-dev.lock").read_bytes()).hexdigest()
        (clone / ".venv/requirements-dev.lock.installed").write_text(digest)


def run(clone: Path) -> str:
    """Run a script on an interpreter without packages; it must fail; return its message."""
    ended = subprocess.run(
        [sys.executable, "-S", "scripts/check", "--wrong"],
        cwd=clone,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    return ended.stderr


def test_a_complete_environment_starts_for_a_user_with_read_access_only(clone: Path) -> None:
    make_venv(clone, f'exec {sys.executable} "$@"', complete=True)
    assert run(clone) == USAGE


def test_an_environment_that_cannot_be_created_is_reported_in_one_line(clone: Path) -> None:
    (line,) = run(clone).splitlines()
    assert "can't be created or used: Is a directory" in line


def test_an_interpreter_that_does_not_start_is_reported_in_one_line(clone: Path) -> None:
    make_venv(clone, "", complete=True)
    (clone / ".venv/bin/python").chmod(0o644)
    (line,) = run(clone).splitlines()
    assert "can't be created or used: Permission denied" in line


def test_an_interrupted_creation_is_reported_in_one_line(clone: Path) -> None:
    (clone / ".venv.lock").rmdir()
    make_venv(clone, '[ "$3" = install ] || exit 0; kill -INT $PPID; exit 1', complete=False)
    said = run(clone).splitlines()
    assert said == [
        "Installing the packages in requirements-dev.lock (once) …",
        "Interrupted while creating .venv. Start again to continue.",
    ]


# --- a real .venv, from a lock file with one package ---------------------------------------------

BARE_PYTHON = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
WHEEL = {
    "tiny.py": "import sys\n\ndef main():\n    print(sys.prefix)\n",
    "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
    "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "tiny-1.0.dist-info/entry_points.txt": "[console_scripts]\ntiny = tiny:main\n",
    "tiny-1.0.dist-info/RECORD": "",
}


def fresh_clone(folder: Path) -> Path:
    """Make a clone without .venv, whose lock file names a package in a local folder."""
    folder.mkdir()
    shutil.copytree(
        ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__")
    )
    wheel = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in WHEEL.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock = f"tiny==1.0 \\\n    --hash=sha256:{digest}\n"
    (folder / "requirements-dev.lock").write_text(lock)
    return folder


def start(clone: Path, **environ: str) -> str:
    """Run a script on a bare interpreter, and return its output before its usage message."""
    ended = subprocess.run(
        [BARE_PYTHON, "scripts/check", "--wrong"],
        cwd=clone,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(clone),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": clone.as_uri(),
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    return ended.stderr


def installs(clone: Path, **environ: str) -> None:
    """Check that a script prints its usage, and that the package's command runs in .venv."""
    said = start(clone, **environ)
    assert said.endswith(USAGE), said
    assert start(clone) == USAGE
    ran = subprocess.run([clone / ".venv/bin/tiny"], capture_output=True, text=True, check=False)
    assert ran.stdout == f"{clone / '.venv'}\n", ran.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clone = fresh_clone(tmp_path_factory.mktemp("installed") / "clone")
    installs(clone)
    return clone


@pytest.fixture
def copy(installed: Path, tmp_path: Path) -> Path:
    """The clone with its .venv in another folder, as if it had been moved there."""
    shutil.copytree(installed, tmp_path / "moved", symlinks=True)
    return tmp_path / "moved"


@pytest.mark.thorough
@pytest.mark.parametrize("name", first_unless_thorough(1, ['it\'s "quoted" ünï 李', "x" * 150]))
def test_a_clone_may_have_any_folder_name(name: str, tmp_path: Path) -> None:
    installs(fresh_clone(tmp_path / name))


def test_a_clone_still_starts_after_being_moved(copy: Path) -> None:
    assert start(copy) == USAGE  # nothing is created again
    installs(copy)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "environ",
    first_unless_thorough(
        1,
        [
            {"PIP_USER": "1", "PIP_CONFIG_FILE": "pip.conf", "PYTHONHOME": sys.base_prefix},
            {"PIP_TARGET": "t", "PIP_REQUIRE_VIRTUALENV": "1", "PYTHONPATH": "shadow"},
            {"PIP_PREFIX": "p", "PIP_ROOT": "r", "PIP_PYTHON": sys.executable, "PIP_DRY_RUN": "1"},
        ],
    ),
    ids=lambda environ: next(iter(environ)),
)
def test_settings_of_pip_and_python_do_not_redirect_the_installation(
    environ: dict[str, str], copy: Path
) -> None:
    (copy / ".venv/requirements-dev.lock.installed").unlink()
    for found in (copy / ".venv/lib").rglob("tiny*"):
        shutil.rmtree(found) if found.is_dir() else found.unlink()
    (copy / "pip.conf").write_text("[install]\nuser = true\n")
    (copy / "shadow").mkdir()
    (copy / "shadow/tiny.py").write_text("raise SystemExit('shadowed')\n")
    installs(copy, **environ)


def test_a_pip_that_installs_elsewhere_is_reported_in_one_line(copy: Path) -> None:
    lose_package(copy)
    (copy / "pip.conf").write_text("[install]\ntarget = elsewhere\n")
    *_, line = start(copy, PIP_CONFIG_FILE="pip.conf").splitlines()
    assert line.startswith("pip installed the packages in requirements-dev.lock, but not in ")
    installs(copy)


def break_interpreter(clone: Path) -> None:
    (clone / ".venv/bin/python").unlink()
    make_venv_python(clone, "echo Fatal Python error >&2; exit 1")


def make_venv_python(clone: Path, line: str) -> None:
    (clone / ".venv/bin/python").write_text(f"#!/bin/sh\n{line}\n")
    (clone / ".venv/bin/python").chmod(0o755)


def leave_link(clone: Path) -> None:
    shutil.rmtree(clone / ".venv")
    (clone / ".venv").symlink_to("absent")


def leave_folder(clone: Path) -> None:
    shutil.rmtree(clone / ".venv")
    (clone / ".venv/bin").mkdir(parents=True)


def change_version(clone: Path) -> None:
    (folder,) = (clone / ".venv/lib").iterdir()
    folder.rename(folder.with_name("python3.10"))


def lose_package(clone: Path) -> None:
    (found,) = (clone / ".venv/lib").rglob("tiny-1.0.dist-info")
    shutil.rmtree(found)


@pytest.mark.parametrize(
    "damage",
    first_unless_thorough(
        1, [break_interpreter, lose_package, change_version, leave_link, leave_folder]
    ),
)
def test_a_damaged_environment_is_recreated(damage: Callable[[Path], None], copy: Path) -> None:
    damage(copy)
    installs(copy)


@pytest.mark.parametrize("name", ["a:b", "a\nb"])
def test_an_impossible_environment_path_is_reported_in_one_line(name: str, tmp_path: Path) -> None:
    (line,) = start(fresh_clone(tmp_path / name)).splitlines()
    assert "can't have : or a line end in its path: rename" in line


def test_a_file_in_place_of_the_environment_is_reported_in_one_line(tmp_path: Path) -> None:
    clone = fresh_clone(tmp_path / "clone")
    (clone / ".venv").write_text("mine")
    (line,) = start(clone).splitlines()
    assert "is not a folder" in line
    assert (clone / ".venv").read_text() == "mine"
