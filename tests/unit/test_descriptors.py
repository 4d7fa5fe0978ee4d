"""The limit of file descriptors. A lowered hard limit stays low, so each test uses a process."""

import subprocess
import sys

import pytest

RAISE = """
import resource, sys
soft, hard = map(int, sys.argv[1:3])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
if len(sys.argv) > 3:  # a system that refuses the value that it reports
    def refuse(*_):
        raise ValueError
    resource.setrlimit = refuse
from quart_app.web.connections.descriptors import connections_within, raise_descriptor_limit
print(raise_descriptor_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def raised(*arguments: str) -> list[int]:
    """Return what raise_descriptor_limit returned, and the limits that hold then."""
    command = [sys.executable, "-c", RAISE, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(number) for number in ended.stdout.split()]


@pytest.mark.parametrize("soft", ["128", "512"])
def test_the_soft_limit_is_raised_to_the_hard_limit(soft: str) -> None:
    assert raised(soft, "512") == [512, 512, 512]


def test_a_soft_limit_that_cannot_be_raised_stays() -> None:
    assert raised("128", "512", "refused") == [128, 128, 512]
