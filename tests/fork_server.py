"""The fork server, which forks others with the application imported: see tests/forking.py.

Each request is one message: JSON with the module, arguments, environment, working directory and
network namespace, and the numbers for the attached file descriptors. The response is the process
id.
"""

import fcntl
import gc
import json
import os
import runpy
import socket
import sys
import time
from pathlib import Path
from typing import Any

import quart_app.app
import quart_app.cli.command_line
import quart_app.cli.migrate  # noqa: F401 imported here so that no fork has to
from tests.network_namespaces import enter_network_namespace

_ABOVE_TARGETS = 1000
_MOST_FDS = 32


def main() -> None:
    """Fork a process for each message, until the other end is closed."""
    template = socket.socket(fileno=int(sys.argv[1]))
    gc.freeze()  # a fork then shares the memory of everything imported
    while True:
        message, fds, _, _ = socket.recv_fds(template, 1 << 20, _MOST_FDS)
        if not message:
            return
        process_id = fork_grandchild()
        if process_id == 0:
            template.close()
            run(json.loads(message), fds)
            return
        for fd in fds:
            os.close(fd)
        template.send(str(process_id).encode())


def fork_grandchild() -> int:
    """Fork twice, so that the tests adopt the process; return its id, and 0 in the process."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        process_id = os.fork()
        if process_id:
            os.write(writer, str(process_id).encode())
            os._exit(0)
        os.close(reader)
        os.close(writer)
        return 0
    os.close(writer)
    process_id = int(os.read(reader, 32))
    os.close(reader)
    os.waitpid(child, 0)
    return process_id


def run(request: dict[str, Any], fds: list[int]) -> None:
    """Become the requested process."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE_TARGETS) for fd in fds]
    for fd in fds:
        os.close(fd)
    for fd, target in zip(high, request["targets"], strict=True):
        os.dup2(fd, target)
        os.close(fd)
    # The interpreter opens them like this in the C locale: PEP 538.
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(fd, mode, buffering, "utf-8", errors, closefd=False)
        for fd, mode, buffering, errors in (
            (0, "r", -1, "surrogateescape"),
            (1, "w", -1, "surrogateescape"),
            (2, "w", 1, "backslashreplace"),
        )
    )
    if request["network_namespace"] is not None:
        enter_network_namespace(request["network_namespace"])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environ"])
    time.tzset()
    sys.path[0] = str(Path.cwd())  # like `python -m`
    sys.argv = [request["module"], *request["arguments"]]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
