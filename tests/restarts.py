"""Processes on one inherited socket, replaced one after the other while clients use them."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from quart_app.settings import Settings
from tests.forking import popen
from tests.servers import APP, ROOT, STARTUP_SECONDS, environ_of

_PATIENCE_SECONDS = 40  # longer than `graceful_timeout` in hypercorn.toml


@dataclass
class Service:
    """A listening socket, and the processes that have served it."""

    listener: socket.socket
    settings: Settings
    folder: Path
    app: str
    worker_class: str
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def start(self) -> None:
        """Start another process, and wait until it accepts connections."""
        log = self.log(len(self.processes))
        with log.open("wb") as stream:
            process = popen(
                [
                    *(sys.executable, "-m", "hypercorn", "--config", str(ROOT / "hypercorn.toml")),
                    *("--worker-class", self.worker_class),
                    *("--bind", f"fd://{self.listener.fileno()}", self.app),
                ],
                cwd=self.folder,
                env=environ_of(self.settings),
                stdout=stream,
                stderr=subprocess.STDOUT,
                pass_fds=[self.listener.fileno()],
            )
        self.processes.append(process)
        deadline = time.monotonic() + STARTUP_SECONDS
        while "Running on" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)

    def stop_oldest(self) -> float:
        """Stop the process that was started first; return how many seconds it took."""
        process = next(each for each in self.processes if each.returncode is None)
        since = time.monotonic()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:  # as a supervisor does; its exit code tells
            process.kill()
            process.wait()
        return time.monotonic() - since

    def restart(self) -> float:
        """Start a process in place of the oldest; return how many seconds that took to stop."""
        self.start()
        return self.stop_oldest()

    def log(self, number: int) -> Path:
        """Return the log of the process with this number, from 0."""
        return self.folder / f"process-{number}.log"


@contextmanager
def service(
    settings: Settings, folder: Path, *, app: str = APP, worker_class: str = "asyncio"
) -> Iterator[Service]:
    """Serve with one process, which can be replaced, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Service(listener, settings, folder, app, worker_class)
        try:
            made.start()
            yield made
        finally:
            for process in made.processes:
                if process.poll() is None:
                    process.kill()
                    process.wait()
