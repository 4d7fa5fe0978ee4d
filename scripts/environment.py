"""Run a script in an interpreter that has the dependencies, and create .venv if necessary.

This module imports only the standard library, because it runs on the interpreter of a fresh clone.
"""

import fcntl
import hashlib
import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
OLDEST_PYTHON = (3, 11)
# PYTHONHOME makes .venv's interpreter leave .venv; PYTHONPATH puts other packages before ours.
_PYTHON_VARIABLES = ("PYTHONHOME", "PYTHONPATH")
# Each of these makes pip install elsewhere, or nothing.
_PIP_VARIABLES = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON", "PIP_DRY_RUN")
if str(ROOT) not in sys.path:  # the package, which scripts/ is not a part of
    sys.path.insert(0, str(ROOT))
_SHEBANG_BYTES = 127  # https://man7.org/linux/man-pages/man2/execve.2.html, the shortest limit


def run_in_environment(lock_name: str, *, stay: bool = False) -> None:
    """Return if this interpreter has all packages of the lock file, else rerun the script in .venv.

    Changes the working directory to the root of the clone. With `stay` it does not, for scripts
    that take file names. Exits with one sentence if Python is too old, or if .venv can't be created
    or started.
    """
    if sys.version_info < OLDEST_PYTHON:
        sys.exit("quart_app needs Python 3.11 or newer; this is " + sys.version.split()[0] + ".")
    script = str(Path(sys.argv[0]).resolve())  # before the working directory changes
    if not stay:
        os.chdir(ROOT)
    lock = ROOT / lock_name
    is_ours = Path(sys.prefix).resolve() == VENV.resolve()
    if _has_all(lock) and (_is_stamped(lock) or not is_ours):
        return
    for name in _PYTHON_VARIABLES:
        os.environ.pop(name, None)
    arguments = [str(PYTHON), script, *sys.argv[1:]]
    if sys.stdout is not None:  # None if the caller closed it
        sys.stdout.flush()
    try:
        if not _is_complete(lock):  # a complete .venv works in a read-only folder, too
            _make_venv(lock)
        _repair_commands()
        os.execv(PYTHON, arguments)  # noqa: S606 our own interpreter, no shell
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        sys.exit(f"{VENV} can't be created or used: {error.strerror or error}{where}.")
    except KeyboardInterrupt:
        sys.exit("Interrupted while creating .venv. Start again to continue.")


def _has_all(lock: Path) -> bool:
    """Return whether this interpreter has every release in the lock file."""
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


def _is_stamped(lock: Path) -> bool:
    """Return whether exactly this lock file was installed completely."""
    stamp = _stamp(lock)
    return PYTHON.exists() and stamp.exists() and stamp.read_text() == _digest(lock)


def _is_complete(lock: Path) -> bool:
    """Return whether .venv has an interpreter that starts and finds every release in the lock file.

    It has not if the Python that created .venv was removed or replaced by another version.
    """
    if not _is_stamped(lock):
        return False
    check = [str(PYTHON), __file__, str(lock)]
    return subprocess.run(check, capture_output=True, check=False).returncode == 0


def _make_venv(lock: Path) -> None:
    """Install the lock file into .venv. Scripts that start at the same time take turns."""
    with (ROOT / ".venv.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if _is_complete(lock):
            return
        if not _venv_runs():
            _create_venv()
        print(f"Installing the packages in {lock.name} (once) …", file=sys.stderr)
        pip = [
            *(str(PYTHON), "-m", "pip", "install", "--require-hashes", "--requirement", str(lock)),
            *("--disable-pip-version-check", "--quiet", "--no-input", "--no-user"),
        ]
        environ = {key: value for key, value in os.environ.items() if key not in _PIP_VARIABLES}
        if subprocess.run(pip, env=environ, stdout=sys.stderr, check=False).returncode != 0:
            sys.exit(f"pip could not install the packages in {lock.name}; see its error above.")
        _stamp(lock).write_text(_digest(lock))
        if not _is_complete(lock):
            _stamp(lock).unlink()
            sys.exit(
                f"pip installed the packages in {lock.name}, but not in {VENV}."
                " Check `python -m pip config list`."
            )


def _create_venv() -> None:
    """Create .venv, replacing a broken one. Exits with one sentence on failure."""
    if VENV.is_symlink() and not VENV.exists():
        VENV.unlink()
    elif VENV.exists() and not VENV.is_dir():
        sys.exit(f"{VENV} is not a folder. Move it away, so that a virtual environment fits there.")
    if re.search(f"[{os.pathsep}\\n]", str(VENV)):
        sys.exit(
            f"A virtual environment can't have {os.pathsep} or a line end in its path:"
            f" rename {str(ROOT)!r}."
        )
    print("Creating .venv …", file=sys.stderr)
    shutil.rmtree(VENV, ignore_errors=True)
    try:
        venv.create(VENV, with_pip=True, symlinks=True)
    except (subprocess.CalledProcessError, OSError, ValueError) as error:
        shutil.rmtree(VENV, ignore_errors=True)
        sys.exit(
            f"A virtual environment can't be created in {VENV}: {error}"
            " On Debian and Ubuntu, run `apt-get install python3-venv` first."
        )


def _venv_runs() -> bool:
    """Return whether .venv has a working interpreter with pip."""
    try:
        return (
            subprocess.run(
                [PYTHON, "-m", "pip", "--version"], capture_output=True, check=False
            ).returncode
            == 0
        )
    except OSError:
        return False


def _repair_commands() -> None:
    """Make the commands in .venv/bin start its interpreter, even after the clone was moved.

    pip writes the absolute path into each command, and does not escape quotes in it. A read-only
    folder is left unchanged.
    """
    with suppress(OSError):
        for command in (VENV / "bin").iterdir():
            with command.open("rb") as file:
                if file.read(2) != b"#!":  # a binary, possibly of many megabytes
                    continue
            text = command.read_bytes()
            pip_wrote = re.match(
                rb"#!(/bin/sh\n'''exec' (?s:.*?)\n' '''|[^\n]*/bin/python[\d.]*)\n", text
            )
            if pip_wrote is None or pip_wrote[0] == _shebang():
                continue
            new = command.with_name(f".{command.name}.new")
            new.write_bytes(_shebang() + text[pip_wrote.end() :])
            shutil.copymode(command, new)
            new.replace(command)


def _shebang() -> bytes:
    python = os.fsencode(PYTHON)
    if len(python) < _SHEBANG_BYTES - len("#!") and not re.search(rb"\s", python):
        return b"#!" + python + b"\n"
    # A command for the shell, which Python reads as a string.
    return (
        b"#!/bin/sh\n'''exec' " + os.fsencode(shlex.quote(str(PYTHON))) + b" \"$0\" \"$@\"\n' '''\n"
    )


if __name__ == "__main__":
    sys.exit(0 if _has_all(Path(sys.argv[1])) else 1)
