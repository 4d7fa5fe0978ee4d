"""Start processes by forking one that has already imported the application.

Importing it takes seconds of CPU time on a slow machine, and the tests start hundreds of servers
and commands. `Forked` is a subprocess.Popen that behaves like `python -m <module> <arguments>`
without the imports. The tests of how processes start don't use it: those of scripts/serve, closed
streams, encodings and interpreter options.
"""

import atexit
import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
# Interpreter variables that the fork server has, too; it cannot be used with others.
_OF_TEMPLATE = {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}
_OPTIONS = {"cwd", "stdin", "stdout", "stderr", "pass_fds", "text", "network_namespace"}
_one_at_a_time = threading.Lock()


class Forked(subprocess.Popen[Any]):
    """A process of `[sys.executable, "-m", module, *arguments]`, started by a fork.

    `env` and `cwd` are required. It accepts streams, `pass_fds` and the text options of Popen.
    `communicate`, `wait`, signals and the exit code are Popen's own.
    """

    def __init__(
        self, args: list[Any], *, network_namespace: str | None = None, **options: Any
    ) -> None:
        """Start it, in another network namespace if this names one."""
        self._network_namespace = network_namespace
        super().__init__(args, **options)

    def _execute_child(self, args: Any, *rest: Any) -> None:
        """Make the fork server fork; called by Popen, with the same signature since 3.11.

        Popen has no other way to keep its pipes and `wait` for another kind of process.
        """
        _, _, _, pass_fds, cwd, env = rest[:6]
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = rest[9:15]
        targets = {
            0: max(p2cread, 0),
            1: c2pwrite if c2pwrite >= 0 else 1,
            2: errwrite if errwrite >= 0 else 2,
            **{fd: fd for fd in pass_fds},
        }
        request = {
            "module": args[2],
            "arguments": [os.fsdecode(each) for each in args[3:]],
            "environ": dict(env),
            "cwd": os.fspath(cwd),
            "network_namespace": self._network_namespace,
            "targets": list(targets),
        }
        with _one_at_a_time:
            template = _fork_server(os.getpid())
            socket.send_fds(template, [json.dumps(request).encode()], list(targets.values()))
            self.pid = int(template.recv(32))
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined] # Popen's own


def popen(args: list[Any], *, env: dict[str, str], **options: Any) -> subprocess.Popen[Any]:
    """Start `[sys.executable, "-m", module, *arguments]`, by a fork if that makes no difference."""
    of_interpreter = {name for name in env if name.startswith("PYTHON")} - _OF_TEMPLATE
    can_be_forked = not of_interpreter and options.keys() <= _OPTIONS
    return (Forked if can_be_forked else subprocess.Popen)(args, env=env, **options)


def run(
    args: list[Any], *, env: dict[str, str], timeout: float, typed: Any = None, **options: Any
) -> subprocess.CompletedProcess[Any]:
    """Run a process to its end and capture its output. Raises TimeoutExpired."""
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with popen(args, env=env, **streams, **options) as process:
        try:
            stdout, stderr = process.communicate(typed, timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(args, process.returncode, stdout, stderr)


@cache
def _fork_server(_process_id: int) -> socket.socket:
    """Return this process's socket to its fork server, which ends with the socket."""
    # Its grandchildren become our children, which we can wait for, when the process between has
    # ended.
    if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError("prctl")
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("fork_server.py")), str(its.fileno())],
        pass_fds=[its.fileno()],
        cwd=_ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(_ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    its.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours
