"""A cookie that was copied before its session was logged out is refused on every process."""

import secrets
import string
import time
from collections.abc import Callable
from statistics import quantiles

from itsdangerous import BadData

from tests.processes import (
    ENDED_WITHIN_SECONDS,
    Processes,
    log_in,
    log_out,
    seconds_until_refused,
    session_of,
)

JUNK = "!#$%&'*:<>@^`|~()[]{}?"  # a character that base64 ignores and a cookie may contain


def is_verified(value: str) -> bool:
    """Return whether itsdangerous accepts the signature, computed as the format documents it."""
    try:
        session_of(value)
    except BadData:
        return False
    return True


def spellings(value: str) -> list[str]:
    """Return every text of the same cookie whose signature verifies, beginning with the original.

    The last character contains two unused bits, characters outside base64 are ignored, nothing
    after the padding is read, and both base64 alphabets are accepted.
    """
    signed, _, signature = value.rpartition(".")
    alphabet = string.ascii_letters + string.digits + "-_+/"
    texts = {signature[:-1] + last for last in alphabet}
    texts |= {signature.replace("-", "+").replace("_", "/")}
    texts |= {text + "=" * count for text in texts for count in range(1, 6)}
    texts |= {f"{signature}={rest}" for rest in ("A", "A=", "=A", JUNK)}
    texts |= {signature[:at] + junk + signature[at:] for junk in JUNK for at in (0, 7, 27)}
    texts |= {signature[:at] + "!!!!" + signature[at:] for at in (0, 7, 27)}
    texts |= {signature[:5] + "****" + signature[5:] + "="}
    verified = [f"{signed}.{text}" for text in sorted(texts) if is_verified(f"{signed}.{text}")]
    quoted = [
        f'"{value}"',
        '"' + "".join(f"\\{ord(each):03o}" for each in value[:4]) + value[4:] + '"',
    ]
    return [value, *(text for text in verified if text != value), *quoted]


def test_a_logged_out_cookie_is_refused_elsewhere_in_every_base64_spelling(
    processes: Processes,
    name: str,
    thorough: bool,  # noqa: FBT001 a fixture
    measured: Callable[[str], None],
) -> None:
    runs, seconds = 200 if thorough else 5, []
    for run in range(runs):
        cookie = log_in(processes.a, name)
        copies = spellings(cookie)
        assert len(copies) >= 20
        if run == 0:  # they are spellings of the same session
            assert {processes.b.status(copy) for copy in copies} == {200}
        assert processes.b.status(cookie) == 200
        time.sleep(secrets.randbelow(500) / 1000)  # at any moment between two polls
        since = time.monotonic()
        log_out(processes.a, cookie)
        assert processes.a.status(cookie) == 401
        seconds.append(seconds_until_refused(processes.b, cookie, since=since))
        for server in processes if run == 0 or thorough else [processes.b]:
            assert {server.status(copy) for copy in copies} == {401}
    engine = processes.settings.database_url.get_backend_name()
    percentiles = quantiles(seconds, n=100, method="inclusive")
    measured(
        f"{engine}: a cookie logged out on one process is refused on the other,"
        f" in each of {len(copies)} spellings, {runs} runs:"
        f" p50 {percentiles[49]:.3f} s, p99 {percentiles[98]:.3f} s, max {max(seconds):.3f} s"
    )
    assert max(seconds) <= ENDED_WITHIN_SECONDS
