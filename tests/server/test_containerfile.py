"""The Containerfile of deploy/: linted, and with --thorough built and run from a local base."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import URL

from tests.conftest import lacking, settings_for
from tests.deployment import DEPLOY
from tests.listening import free_port, program_of, running
from tests.servers import ROOT, environ_of

FILE = DEPLOY / "Containerfile"
_BUILD_SECONDS = 900
_USER = 10001
_SOURCE = re.compile(r"(?m)^(?P<release>[a-z]+) main (?P<mirror>\S+) Packages Debian$")


def run(*command: str | Path) -> str:
    """Run a command to its end, and return its output."""
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=_BUILD_SECONDS
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_hadolint_has_nothing_to_say_about_the_containerfile() -> None:
    assert run(Path(sys.executable).parent / "hadolint", "--failure-threshold=style", FILE) == ""


@pytest.fixture
def buildah(pytestconfig: pytest.Config, tmp_path: Path) -> Iterator[list[str]]:
    """A command that builds in a folder of its own. It needs no daemon and no user namespace."""
    if os.geteuid() != 0:
        lacking(pytestconfig, "the user root, who alone builds containers without a namespace")
    program = program_of(pytestconfig, "buildah", "buildah (Debian's package buildah)")
    command = [
        *("env", "BUILDAH_ISOLATION=chroot", program, "--storage-driver=vfs"),
        *(f"--root={tmp_path / 'images'}", f"--runroot={tmp_path / 'run'}"),
    ]
    yield command
    shutil.rmtree(tmp_path, ignore_errors=True)  # gigabytes


def make_base(config: pytest.Config, buildah: list[str], folder: Path) -> str:
    """Make an image of Debian from the machine's mirror, and return its name."""
    mmdebstrap = program_of(config, "mmdebstrap", "mmdebstrap (Debian's package mmdebstrap)")
    targets = run(
        *("apt-get", "indextargets", "--format"),
        "$(CODENAME) $(COMPONENT) $(REPO_URI) $(CREATED_BY) $(ORIGIN)",
    )
    release, mirror = next(match.groups() for match in _SOURCE.finditer(targets))
    archive = folder / "base.tar"
    run(mmdebstrap, "--variant=minbase", "--include=ca-certificates", release, archive, mirror)
    container = run(*buildah, "from", "scratch").strip()
    run(*buildah, "add", container, archive, "/")
    run(*buildah, "commit", container, "localhost/base")
    return "localhost/base"


@pytest.mark.thorough
@pytest.mark.timeout(2 * _BUILD_SECONDS)
def test_the_container_is_built_and_serves_as_a_user_without_rights(
    buildah: list[str], migrated_sqlite: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    base = make_base(pytestconfig, buildah, tmp_path)
    # The network may have an authority of its own, which only this machine trusts.
    trusted = "/etc/ssl/certs/ca-certificates.crt"
    run(
        *(*buildah, "build", f"--build-arg=BASE={base}", f"--volume={trusted}:{trusted}:ro"),
        *("--file", FILE, "--tag", "quart-app", "."),
    )
    container = run(*buildah, "from", "quart-app").strip()
    config = json.loads(run(*buildah, "inspect", container))["OCIv1"]["config"]
    assert config["User"] == str(_USER)

    instance = tmp_path / "instance"
    instance.mkdir()
    shutil.copy(migrated_sqlite, instance / "quart_app.db")
    for path in (instance, instance / "quart_app.db"):
        os.chown(path, _USER, _USER)
    url = URL.create("sqlite+aiosqlite", database="/opt/quart-app/instance/quart_app.db")
    given = environ_of(settings_for(url))
    port = free_port()
    command = [word.replace("0.0.0.0:8000", f"127.0.0.1:{port}") for word in config["Cmd"]]
    start = [
        *(*buildah, "run", f"--volume={instance}:/opt/quart-app/instance"),
        *(f"--env={name}={value}" for name, value in given.items() if "QUART_APP_" in name),
        *(container, "--", *command),
    ]
    log = tmp_path / "log"
    with running(start, [port], log):
        answer = httpx2.get(f"http://127.0.0.1:{port}/readyz")
        assert answer.status_code == 200, answer.text + log.read_text()
        written = run(*buildah, "run", container, "--", "find", ".", "-user", str(_USER))
        assert written.split() == []
