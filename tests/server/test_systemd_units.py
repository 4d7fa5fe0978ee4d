"""The units of deploy/systemd: checked by systemd, and their command run on an inherited socket."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import URL

from tests.conftest import settings_for
from tests.deployment import DEPLOY, with_replaced
from tests.listening import free_port, program_of, running
from tests.servers import ROOT, environ_of

SERVICE, SOCKET = "quart-app@.service", "quart-app.socket"
PROGRAMS = Path(sys.executable).parent
PART = "systemd (Debian's package systemd)"


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """Both units, for this clone."""
    folder = tmp_path / "units"
    folder.mkdir()
    service = with_replaced(
        f"systemd/{SERVICE}",
        {"/opt/quart-app/.venv/bin": str(PROGRAMS), "/opt/quart-app": str(ROOT)},
    )
    (folder / SERVICE).write_text(service)
    (folder / SOCKET).write_text((DEPLOY / "systemd" / SOCKET).read_text())
    return [folder / SERVICE, folder / SOCKET]


def analyze(config: pytest.Config, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    program = program_of(config, "systemd-analyze", PART)
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def test_systemd_understands_every_line_of_the_units(
    units: Sequence[Path], pytestconfig: pytest.Config
) -> None:
    # No manual pages: a machine with containers may have none.
    verified = analyze(pytestconfig, "verify", "--man=no", *units)
    assert (verified.returncode, verified.stderr) == (0, "")


def test_the_service_is_exposed_to_little(
    units: Sequence[Path], pytestconfig: pytest.Config
) -> None:
    # In tenths: 1.5 of 10. It needs the network, and taskset and setrlimit (@resources).
    options = ("--offline=true", "--no-pager", "--threshold=15")
    rated = analyze(pytestconfig, "security", *options, units[0])
    assert rated.returncode == 0, rated.stdout


def test_the_command_of_the_service_serves_an_inherited_socket_on_one_core(
    units: Sequence[Path], migrated_sqlite: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    activate = program_of(pytestconfig, "systemd-socket-activate", PART)
    core = max(os.sched_getaffinity(0))
    command = re.findall(r"(?m)^ExecStart=(.*)$", units[0].read_text())
    assert len(command) == 1
    settings = settings_for(URL.create("sqlite+aiosqlite", database=str(migrated_sqlite)))
    (tmp_path / "hypercorn.toml").symlink_to(ROOT / "hypercorn.toml")
    port, own_port = free_port(), free_port()
    given = [f"--setenv={name}={value}" for name, value in environ_of(settings).items()]
    words = shlex.split(command[0].replace("%i", str(core)).replace(":8000", f":{own_port}"))
    log = tmp_path / "log"
    # Like systemd, it starts the command when the first connection comes.
    start = ["env", f"--chdir={tmp_path}", activate, f"--listen=127.0.0.1:{port}", *given, *words]
    with running(start, [port], log):
        answer = httpx2.get(f"http://127.0.0.1:{port}/readyz", timeout=30)
        assert answer.status_code == 200, log.read_text()
        assert cores_of_process_in(tmp_path) == {core}
        # For Prometheus, each process has an address of its own.
        own = httpx2.get(f"http://127.0.1.{core}:{own_port}/metrics")
        assert own.status_code == 200


def cores_of_process_in(folder: Path) -> set[int]:
    """Return the cores of the process that works in this folder."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if (process / "cwd").readlink() == folder:
                return os.sched_getaffinity(int(process.name))
    raise AssertionError("The process has ended.")
