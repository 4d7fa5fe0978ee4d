"""Run a script of this folder where the package's dependencies are, making .venv if need be.

Only the standard library is imported here: this runs on the bare interpreter of a fresh clone.
"""

import fcntl
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
OLDEST_PYTHON = (3, 11)


def run_in_environment(lock_name: str, *, stay: bool = False) -> None:
    """Return only in an interpreter that has what `lock_name` names; else start over in .venv.

    The working directory becomes the clone's root, unless it is to `stay`, for a script that takes
    names of files. Exits with one sentence where Python is too old or .venv can't be made or
    started.
    """
    if sys.version_info < OLDEST_PYTHON:
        sys.exit("quart_app needs Python 3.11 or newer; this is " + sys.version.split()[0] + ".")
    script = str(Path(sys.argv[0]).resolve())  # as it is called from here
    if not stay:
        os.chdir(ROOT)
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    lock = ROOT / lock_name
    if Path(sys.prefix).resolve() == VENV.resolve():
        if _is_current(lock):
            return
    elif _has_all(lock):
        return
    arguments = [str(PYTHON), script, *sys.argv[1:]]
    sys.stdout.flush()
    try:
        if not _is_current(lock):  # whoever may only read this folder can start what is complete
            _make_venv(lock)
        os.execv(PYTHON, arguments)  # noqa: S606 our own interpreter, no shell
    except OSError as error:
        sys.exit(f"{VENV} can't be made or used: {error.strerror} ({error.filename}).")
    except KeyboardInterrupt:
        sys.exit("Interrupted while .venv was being made; the next start goes on with it.")


def _has_all(lock: Path) -> bool:
    """Tell whether the running interpreter holds every release that the lock names."""
    for name, version in re.findall(r"(?m)^([\w.-]+)==(\S+)(?: \\)?$", lock.read_text()):
        try:
            if importlib.metadata.version(name) != version:
                return False
        except importlib.metadata.PackageNotFoundError:
            return False
    return True


def _digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def _stamp(lock: Path) -> Path:
    return VENV / f"{lock.name}.installed"


def _is_current(lock: Path) -> bool:
    stamp = _stamp(lock)
    return PYTHON.exists() and stamp.exists() and stamp.read_text() == _digest(lock)


def _make_venv(lock: Path) -> None:
    """Install what the lock names into .venv; two scripts that start at once take turns."""
    with (ROOT / ".venv.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if _is_current(lock):
            return
        if not _venv_runs():
            print("Making .venv …", file=sys.stderr)
            shutil.rmtree(VENV, ignore_errors=True)
            try:
                venv.create(VENV, with_pip=True)
            except (subprocess.CalledProcessError, OSError) as error:
                shutil.rmtree(VENV, ignore_errors=True)
                sys.exit(
                    f"A virtual environment could not be made: {error}\n"
                    "On Debian and Ubuntu its parts come with `apt-get install python3-venv`."
                )
        print(f"Installing what {lock.name} names (once) …", file=sys.stderr)
        pip = [
            *(str(PYTHON), "-m", "pip", "install", "--require-hashes", "--requirement", str(lock)),
            *("--disable-pip-version-check", "--quiet", "--no-input"),
        ]
        if subprocess.run(pip, stdout=sys.stderr, check=False).returncode != 0:
            sys.exit(f"pip could not install what {lock.name} names; its reason stands above.")
        _stamp(lock).write_text(_digest(lock))


def _venv_runs() -> bool:
    """Tell whether .venv holds an interpreter that starts; in a clone that was moved it doesn't."""
    try:
        return (
            subprocess.run(
                [PYTHON, "-m", "pip", "--version"], capture_output=True, check=False
            ).returncode
            == 0
        )
    except OSError:
        return False
