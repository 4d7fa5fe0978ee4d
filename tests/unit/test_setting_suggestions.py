"""A misspelt setting's name leads to the intended setting, and to no other."""

import re
from collections.abc import Iterator

import pytest

from quart_app.settings.readers import READERS
from quart_app.settings.sources import SECRET_FILES
from quart_app.settings.suggestions import settings_like

KNOWN = {
    *READERS,
    *SECRET_FILES,
    *("LOG_FORMAT", "METRICS"),
}
UNITS = ["SECS", "SECOND", "MINUTES", "HOURS", "TIMEOUT", "LIMIT", "TTL"]


def slips(name: str) -> Iterator[str]:
    """Yield the name with a letter of each word missing, doubled, or swapped with the next."""
    for letters in re.finditer("[A-Z]+", name):
        at = (letters.start() + letters.end()) // 2
        yield name[:at] + name[at + 1 :]
        yield name[:at] + name[at] + name[at:]
        yield name[:at] + name[at : at + 2][::-1] + name[at + 2 :]


def words_changed(name: str) -> Iterator[str]:
    """Yield the name with a word missing, added or changed, joined words, or another order."""
    words = name.split("_")
    yield "".join(words)
    yield f"{name}S"
    yield name.rstrip("S")
    yield f"MAX_{name}"
    for at in range(1, len(words)):
        yield "_".join([*words[: at - 1], words[at - 1] + words[at], *words[at + 1 :]])
    if len(words) > 1:
        yield "_".join(words[::-1])
        yield "_".join([words[1], words[0], *words[2:]])
    if len(words) > 2:  # one word of two may belong to several settings
        for at in range(len(words)):
            yield "_".join(words[:at] + words[at + 1 :])
    if words[-1] in {"SECONDS", "DAYS"}:
        for unit in UNITS:
            yield "_".join([*words[:-1], unit])


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_plausible_typo_suggests_the_setting(name: str) -> None:
    tried = {*slips(name), *words_changed(name)} - KNOWN
    assert len(tried) > 4
    led = {slip: settings_like(slip, KNOWN) for slip in tried}
    # A shorter setting's name is suggested for a prefix of it: SECRET_KEY for SECRET.
    strayed = {
        slip: found
        for slip, found in led.items()
        if name not in found and not any(name.startswith(f"{each}_") for each in found)
    }
    assert strayed == {}


@pytest.mark.parametrize(
    ("name", "likely"),
    [
        ("SESSION_IDLE", ["SESSION_IDLE_SECONDS"]),
        ("SESSION_ABSOLUTE", ["SESSION_ABSOLUTE_SECONDS"]),
        ("SESSION_REMEMBER_IDLE", ["SESSION_REMEMBER_IDLE_SECONDS"]),
        ("SESSION_RENEWAL", ["SESSION_RENEWAL_SECONDS"]),
        ("IDLE_SECONDS", ["SESSION_IDLE_SECONDS"]),
        ("COOKIE_NAME", ["SESSION_COOKIE_NAME"]),
        ("COOKIE", ["SESSION_COOKIE_NAME", "SESSION_COOKIE_SECURE"]),
        ("SECRET", ["SECRET_KEY"]),
        ("ENCRYPTION_KEY", ["PLATFORM_ENCRYPTION_KEY"]),
        ("DATABASE", ["DATABASE_URL", "DATABASE_LISTEN_URL"]),
        ("DATABASE_URI", ["DATABASE_URL"]),
        ("LISTEN_URL", ["DATABASE_LISTEN_URL"]),
        ("PUBLIC", ["PUBLIC_URL"]),
        ("TRUSTED_PROXY", ["TRUSTED_PROXIES"]),
        ("ALLOWED_NETWORKS", ["ALLOWED_PRIVATE_NETWORKS"]),
        ("AUDIT_DAYS", ["AUDIT_RETENTION_DAYS"]),
        ("FAILED_LOGIN", ["FAILED_LOGIN_SECONDS"]),
        ("LOGIN_QUEUE", ["LOGIN_QUEUE_SECONDS"]),
        ("LOGFORMAT", ["LOG_FORMAT"]),
        ("METRIC", ["METRICS"]),
        ("PLATFORM_PER_USER", ["PLATFORMS_PER_USER"]),
        ("PLATFORMS", ["PLATFORMS_PER_USER"]),
        ("MAX_PLATFORMS_PER_USER", ["PLATFORMS_PER_USER"]),
        ("SESSION", []),  # of eight, none is more likely
        ("SESSION_LIFETIME", []),
        ("LOG_LEVEL", []),
        ("PORT", []),
        ("DEBUG", []),
        ("", []),
    ],
)
def test_part_of_a_name_suggests_settings_that_begin_with_it_or_contain_it(
    name: str, likely: list[str]
) -> None:
    assert settings_like(name, KNOWN) == likely
