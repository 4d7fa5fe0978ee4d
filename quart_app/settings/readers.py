"""Parsers for the text of each setting."""

import json
import re
import ssl
from collections.abc import Callable
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

from quart_app.settings.database_url import read_database_url

_LONGEST_RETENTION_DAYS = 36_500
_LARGEST_PORT = 65_535


def _text(text: str) -> str:
    return text


def _url(text: str) -> str:
    return text.rstrip("/")


def _boolean(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError("must be true or false")
    return text == "true"


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be {', '.join(words[:-1])} or {words[-1]}")
        return text

    return read


def _whole_number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError("must be a whole number, 0 or more")
    return int(text)


def _some(text: str) -> int:
    number = _whole_number(text)
    if not number:
        raise ValueError("must be a whole number, 1 or more")
    return number


def _seconds(text: str) -> timedelta:
    return timedelta(seconds=_whole_number(text))


def _some_seconds(text: str) -> timedelta:
    duration = _seconds(text)
    if not duration:
        raise ValueError("must be more than 0 seconds")
    return duration


def _days_of_retention(text: str) -> timedelta:
    days = _whole_number(text)
    if not 0 < days <= _LONGEST_RETENTION_DAYS:
        raise ValueError(f"must be 1 to {_LONGEST_RETENTION_DAYS} days")
    return timedelta(days=days)


def _json_list(text: str) -> tuple[str, ...]:
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):  # ValueError of a number with thousands of digits, too
        items = None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError('must be a JSON list of strings, such as ["a", "b"]')
    return tuple(items)


def _encryption_keys(text: str) -> tuple[str, ...]:
    return _json_list(text) if text.lstrip().startswith("[") else (text,)


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(item) for item in _json_list(text))


def _ports(text: str) -> tuple[range, ...]:
    ports = []
    for item in _json_list(text):
        if not (match := re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", item)):
            raise ValueError(
                'must be a JSON list of ports and ranges, such as ["443", "8000-8010"]'
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if not 0 < first <= last <= _LARGEST_PORT:
            raise ValueError(f"must name ports from 1 to {_LARGEST_PORT}, the smaller one first")
        ports.append(range(first, last + 1))
    return tuple(ports)


def _ca_file(text: str) -> Path:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(text)
    except (OSError, ValueError):  # ValueError of a NUL character
        raise ValueError("must name a file of certificates in PEM form") from None
    return Path(text)


# The setting's name without its prefix -> our attribute, and the parser of its text. The parser
# raises ValueError with the rest of a sentence that begins with the name.
READERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "SECRET_KEY": ("secret_key", _text),
    "SECRET_KEY_FALLBACKS": ("secret_key_fallbacks", _json_list),
    "DATABASE_URL": ("database_url", read_database_url),
    "DATABASE_LISTEN_URL": ("database_listen_url", read_database_url),
    "PLATFORM_ENCRYPTION_KEY": ("platform_encryption_keys", _encryption_keys),
    "PUBLIC_URL": ("public_url", _url),
    "SESSION_COOKIE_NAME": ("session_cookie_name", _text),
    "SESSION_COOKIE_SECURE": ("session_cookie_secure", _boolean),
    "SESSION_DIGEST": ("session_digest", _one_of("sha1", "sha256")),
    "SESSION_IDLE_SECONDS": ("session_idle", _some_seconds),
    "SESSION_ABSOLUTE_SECONDS": ("session_absolute", _some_seconds),
    "SESSION_REMEMBER_IDLE_SECONDS": ("session_remember_idle", _some_seconds),
    "SESSION_REMEMBER_ABSOLUTE_SECONDS": ("session_remember_absolute", _some_seconds),
    "SESSION_RENEWAL_SECONDS": ("session_renewal", _seconds),
    "REFUSE_AFTER_SECONDS": ("refuse_after", _some_seconds),
    "LOGIN_QUEUE_SECONDS": ("login_queue", _some_seconds),
    "FAILED_LOGIN_SECONDS": ("failed_login", _seconds),
    "LOGINS_PER_USER_PER_HOUR": ("logins_per_user_per_hour", _some),
    "AUDIT_RETENTION_DAYS": ("audit_retention", _days_of_retention),
    "PLATFORMS_PER_USER": ("platforms_per_user", _some),
    "TRUSTED_PROXIES": ("trusted_proxies", _whole_number),
    "GUARDED_PATHS": ("guarded_paths", _json_list),
    "LOG_FORMAT": ("log_format", _one_of("text", "json")),
    "METRICS": ("metrics", _one_of("off", "loopback", "on")),
    "ALLOWED_PRIVATE_NETWORKS": ("allowed_private_networks", _networks),
    "ALLOWED_PRIVATE_PORTS": ("allowed_private_ports", _ports),
    "EXTRA_CA_FILE": ("extra_ca_file", _ca_file),
}
