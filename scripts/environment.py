"""Run a script of this folder where the package's dependencies are, making .venv if need be.

Only the standard library is imported here: this runs on the bare interpreter of a fresh clone.
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
# With PYTHONHOME, .venv's interpreter is not .venv's; PYTHONPATH puts other packages before ours.
_PYTHON_VARIABLES = ("PYTHONHOME", "PYTHONPATH")
# Each lets pip install somewhere else, or nothing.
_PIP_VARIABLES = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON", "PIP_DRY_RUN")
if str(ROOT) not in sys.path:  # the package, which scripts/ is not a part of
    sys.path.insert(0, str(ROOT))
_SHEBANG_BYTES = 127  # https://man7.org/linux/man-pages/man2/execve.2.html, the shortest limit


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
    lock = ROOT / lock_name
    is_ours = Path(sys.prefix).resolve() == VENV.resolve()
    if _has_all(lock) and (_is_stamped(lock) or not is_ours):
        return
    for name in _PYTHON_VARIABLES:
        os.environ.pop(name, None)
    arguments = [str(PYTHON), script, *sys.argv[1:]]
    if sys.stdout is not None:  # as where it was closed by whoever called us
        sys.stdout.flush()
    try:
        if not _is_complete(lock):  # whoever may only read this folder can start what is complete
            _make_venv(lock)
        _repair_commands()
        os.execv(PYTHON, arguments)  # noqa: S606 our own interpreter, no shell
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        sys.exit(f"{VENV} can't be made or used: {error.strerror or error}{where}.")
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


def _is_stamped(lock: Path) -> bool:
    """Tell whether an installation of exactly this lock came to its end."""
    stamp = _stamp(lock)
    return PYTHON.exists() and stamp.exists() and stamp.read_text() == _digest(lock)


def _is_complete(lock: Path) -> bool:
    """Tell whether .venv has an interpreter that starts and finds every release of the lock.

    It does not where the Python that made .venv is gone or was replaced by another version.
    """
    if not _is_stamped(lock):
        return False
    check = [str(PYTHON), __file__, str(lock)]
    return subprocess.run(check, capture_output=True, check=False).returncode == 0


def _make_venv(lock: Path) -> None:
    """Install what the lock names into .venv; two scripts that start at once take turns."""
    with (ROOT / ".venv.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if _is_complete(lock):
            return
        if not _venv_runs():
            _create_venv()
        print(f"Installing what {lock.name} names (once) …", file=sys.stderr)
        pip = [
            *(str(PYTHON), "-m", "pip", "install", "--require-hashes", "--requirement", str(lock)),
            *("--disable-pip-version-check", "--quiet", "--no-input", "--no-user"),
        ]
        environ = {key: value for key, value in os.environ.items() if key not in _PIP_VARIABLES}
        if subprocess.run(pip, env=environ, stdout=sys.stderr, check=False).returncode != 0:
            sys.exit(f"pip could not install what {lock.name} names; its reason stands above.")
        _stamp(lock).write_text(_digest(lock))
        if not _is_complete(lock):
            _stamp(lock).unlink()
            sys.exit(
                f"pip installed what {lock.name} names, and it is not in {VENV}:"
                " see `python -m pip config list`."
            )


def _create_venv() -> None:
    """Make .venv anew; exits with one sentence where that can't be."""
    if VENV.is_symlink() and not VENV.exists():
        VENV.unlink()
    elif VENV.exists() and not VENV.is_dir():
        sys.exit(f"{VENV} is not a folder: move it out of the way of the virtual environment.")
    if re.search(f"[{os.pathsep}\\n]", str(VENV)):
        sys.exit(
            f"A virtual environment can't have {os.pathsep} or a line end in its path:"
            f" rename {str(ROOT)!r}."
        )
    print("Making .venv …", file=sys.stderr)
    shutil.rmtree(VENV, ignore_errors=True)
    try:
        venv.create(VENV, with_pip=True, symlinks=True)
    except (subprocess.CalledProcessError, OSError, ValueError) as error:
        shutil.rmtree(VENV, ignore_errors=True)
        sys.exit(
            f"A virtual environment can't be made in {VENV}: {error}"
            " On Debian and Ubuntu its parts come with `apt-get install python3-venv`."
        )


def _venv_runs() -> bool:
    """Tell whether .venv holds an interpreter that starts, with pip."""
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
    """Let .venv/bin's commands start .venv's interpreter, also where the clone was moved.

    pip writes its absolute path into each, and fails to quote one that has a quote in it. Who may
    only read the folder has to do without.
    """
    with suppress(OSError):
        for command in (VENV / "bin").iterdir():
            with command.open("rb") as file:
                if file.read(2) != b"#!":  # some are programs of many megabytes
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
    # A line for the shell that Python reads as a string.
    return (
        b"#!/bin/sh\n'''exec' " + os.fsencode(shlex.quote(str(PYTHON))) + b" \"$0\" \"$@\"\n' '''\n"
    )


if __name__ == "__main__":
    sys.exit(0 if _has_all(Path(sys.argv[1])) else 1)
