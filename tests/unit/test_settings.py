"""Every setting, read and checked at startup; one line names an invalid setting."""

import base64
import subprocess
import sys
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from standins.certificates import CertificateAuthority

from quart_app.settings import (
    PREFIX,
    Settings,
    SettingsError,
    missing_secrets,
    read_database_url,
)
from tests.conftest import ENCRYPTION_KEY, SECRET_KEY
from tests.servers import ROOT

OTHER_KEY = base64.urlsafe_b64encode(b"another key of nobody, 32 bytes.").decode()
NEEDED = {"SECRET_KEY": SECRET_KEY, "PLATFORM_ENCRYPTION_KEY": ENCRYPTION_KEY}


def prefixed(given: dict[str, str]) -> dict[str, str]:
    return {f"{PREFIX}{name}": text for name, text in given.items()}


def read(folder: Path, **given: str) -> Settings:
    return Settings.from_environ(prefixed(NEEDED | given), directory=folder)


def refusal(folder: Path, **given: str) -> str:
    with pytest.raises(SettingsError) as refused:
        read(folder, **given)
    message = str(refused.value)
    assert message.isprintable()  # so it is one line, too
    return message


def test_two_secrets_are_enough_and_the_defaults_are_documented(tmp_path: Path) -> None:
    settings = read(tmp_path)
    assert settings.secret_key == SECRET_KEY
    assert settings.platform_encryption_keys == (ENCRYPTION_KEY,)
    assert str(settings.database_url) == "sqlite+aiosqlite:///instance/quart_app.db"
    assert settings.public_url == "http://127.0.0.1:8000"
    assert (settings.cookie_name, settings.cookie_secure) == ("session", False)
    assert (settings.session_digest, settings.session_keys) == ("sha1", (SECRET_KEY,))
    assert (settings.session_idle, settings.session_absolute) == (
        timedelta(hours=8),
        timedelta(hours=24),
    )
    assert settings.session_remember_idle == settings.session_remember_absolute
    assert settings.session_remember_absolute == timedelta(days=30)
    assert settings.session_renewal == timedelta(seconds=60)
    assert settings.refuse_after == timedelta(seconds=10)
    assert settings.login_queue == timedelta(seconds=30)
    assert settings.audit_retention == timedelta(days=365)
    assert (settings.trusted_proxies, settings.allowed_private_networks) == (0, ())


@pytest.mark.parametrize(
    ("name", "text", "attribute", "value"),
    [
        ("SECRET_KEY", "0123456789" * 4, "secret_key", "0123456789" * 4),  # not a number
        ("SECRET_KEY_FALLBACKS", f'["{OTHER_KEY}"]', "session_keys", (SECRET_KEY, OTHER_KEY)),
        (
            "PLATFORM_ENCRYPTION_KEY",
            f'["{OTHER_KEY}", "{ENCRYPTION_KEY}"]',
            "platform_encryption_keys",
            (OTHER_KEY, ENCRYPTION_KEY),
        ),
        ("PUBLIC_URL", "https://site.example:8443/", "public_url", "https://site.example:8443"),
        ("PUBLIC_URL", "http://[::1]:8000", "public_url", "http://[::1]:8000"),
        ("PUBLIC_URL", "https://site.example/a/b-1/", "root_path", "/a/b-1"),
        ("PUBLIC_URL", "https://site.example/", "root_path", ""),
        ("PUBLIC_URL", "http://my_host:8000", "public_url", "http://my_host:8000"),
        ("METRICS", "on", "metrics", "on"),
        ("LOG_FORMAT", "json", "log_format", "json"),
        ("GUARDED_PATHS", '["/old/", "/a/b-1.x/"]', "guarded_paths", ("/old/", "/a/b-1.x/")),
        ("PUBLIC_URL", "https://bücher.example", "public_url", "https://bücher.example"),
        ("SESSION_COOKIE_NAME", "my.session", "cookie_name", "my.session"),
        ("SESSION_COOKIE_SECURE", "true", "cookie_secure", True),
        ("SESSION_COOKIE_SECURE", "false", "cookie_secure", False),
        ("SESSION_DIGEST", "sha256", "session_digest", "sha256"),
        ("SESSION_IDLE_SECONDS", "600", "session_idle", timedelta(minutes=10)),
        ("SESSION_ABSOLUTE_SECONDS", "90000", "session_absolute", timedelta(hours=25)),
        ("SESSION_REMEMBER_IDLE_SECONDS", "600", "session_remember_idle", timedelta(minutes=10)),
        (
            "SESSION_REMEMBER_ABSOLUTE_SECONDS",
            "2678400",
            "session_remember_absolute",
            timedelta(days=31),
        ),
        ("SESSION_RENEWAL_SECONDS", "0", "session_renewal", timedelta(0)),
        ("REFUSE_AFTER_SECONDS", "5", "refuse_after", timedelta(seconds=5)),
        ("LOGIN_QUEUE_SECONDS", "7", "login_queue", timedelta(seconds=7)),
        ("TRUSTED_PROXIES", "2", "trusted_proxies", 2),
        (
            "ALLOWED_PRIVATE_NETWORKS",
            '["10.0.0.0/8", "fd00::/8"]',
            "allowed_private_networks",
            (ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
        ),
        (
            "ALLOWED_PRIVATE_PORTS",
            '["8443", "30000-30001"]',
            "allowed_private_ports",
            (range(8443, 8444), range(30000, 30002)),
        ),
    ],
)
def test_every_setting_is_read(
    tmp_path: Path, name: str, text: str, attribute: str, value: Any
) -> None:
    assert getattr(read(tmp_path, **{name: text}), attribute) == value


def test_certificates_to_trust_are_named_by_their_file(tmp_path: Path) -> None:
    file = CertificateAuthority(tmp_path).file
    assert read(tmp_path, EXTRA_CA_FILE=str(file)).extra_ca_file == file


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        ("sqlite:///a.db", "sqlite+aiosqlite:///a.db"),
        ("sqlite:////srv/a.db", "sqlite+aiosqlite:////srv/a.db"),
        ("sqlite+aiosqlite:///a.db?mode=ro", "sqlite+aiosqlite:///a.db?mode=ro"),
        ("sqlite://///srv/a.db", "sqlite+aiosqlite:////srv/a.db"),
        ("sqlite:///../a b.db", "sqlite+aiosqlite:///../a b.db"),
        ("sqlite:///a%3Fb.db", "sqlite+aiosqlite:///a%3Fb.db"),
        ("sqlite:///a#b.db", "sqlite+aiosqlite:///a%23b.db"),
        ("sqlite:///100%.db", "sqlite+aiosqlite:///100%25.db"),
        ("sqlite:///ada@home/a:b.db", "sqlite+aiosqlite:///ada%40home/a%3Ab.db"),
        ("sqlite:///file:a.db?timeout=0.5", "sqlite+aiosqlite:///a.db?timeout=0.5"),
        ("sqlite:///file:a%2523b.db?uri=true", "sqlite+aiosqlite:///a%23b.db"),
        ("sqlite:///file:///srv/a.db?mode=ro", "sqlite+aiosqlite:////srv/a.db?mode=ro"),
        ("sqlite:///file://localhost/a.db", "sqlite+aiosqlite:////a.db"),
        (
            "postgresql://db/app?host=a,b&port=1,2",
            "postgresql+psycopg://db/app?host=a%2Cb&port=1%2C2",
        ),
        ("postgres://ada:pw@db:5432/app", "postgresql+psycopg://ada:pw@db:5432/app"),
        ("postgresql://db/app?sslmode=require", "postgresql+psycopg://db/app?sslmode=require"),
        ("postgresql+psycopg:///app?host=/run/pg", "postgresql+psycopg:///app?host=/run/pg"),
        ("postgresql://%2Frun%2Fpg/app", "postgresql+psycopg:///app?host=/run/pg"),
        (
            "postgresql://ada:pw@%2frun%2fpg:5433/app",
            "postgresql+psycopg://ada:pw@/app?host=/run/pg&port=5433",
        ),
        ("postgresql://a:1,b:2/app", "postgresql+psycopg:///app?host=a%2Cb&port=1%2C2"),
        ("postgresql://a,[::1]:2/app", "postgresql+psycopg:///app?host=a%2C%3A%3A1&port=%2C2"),
        (
            "postgresql://db/app?host=a:1&host=b:2",
            "postgresql+psycopg://db/app?host=a%2Cb&port=1%2C2",
        ),
        ("postgresql://[::1]:5432/app", "postgresql+psycopg://[::1]:5432/app"),
        ("postgresql://:5433/app", "postgresql+psycopg://:5433/app"),
        ("postgresql://db:/app", "postgresql+psycopg://db/app"),
        ("postgresql://straße.example/app", "postgresql+psycopg://xn--strae-oqa.example/app"),
        (
            "postgresql:///app?host=a,straße.example",
            "postgresql+psycopg:///app?host=a%2Cxn--strae-oqa.example",
        ),
        ("postgresql:///", "postgresql+psycopg://"),
        ("postgresql://ada:p/w?x@db/app", "postgresql+psycopg://ada:p/w%3Fx@db/app"),
        (
            "postgresql://ada:%40%3A%2F%25@db/app",
            "postgresql+psycopg://ada:%40%3A/%25@db/app",
        ),
        (
            "postgresql://db/app?sslmode=verify-full&sslrootcert=/a.pem",
            "postgresql+psycopg://db/app?sslmode=verify-full&sslrootcert=/a.pem",
        ),
    ],
)
def test_plain_database_urls_are_understood(tmp_path: Path, given: str, understood: str) -> None:
    url = read(tmp_path, DATABASE_URL=given).database_url
    rendered = url.render_as_string(hide_password=False)
    assert rendered.replace("%2F", "/") == understood
    assert read_database_url(rendered) == url


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SECRET_KEY", ""),
        ("SECRET_KEY", "short but not repeated"),
        ("SECRET_KEY", "ab" * 32),
        ("SECRET_KEY", SECRET_KEY + "\udcff"),
        ("SECRET_KEY_FALLBACKS", OTHER_KEY),  # a bare string: each character would become a key
        ("SECRET_KEY_FALLBACKS", f'"{OTHER_KEY}"'),
        ("SECRET_KEY_FALLBACKS", f"['{OTHER_KEY}']"),
        ("SECRET_KEY_FALLBACKS", f'["{OTHER_KEY}", 5]'),
        ("SECRET_KEY_FALLBACKS", f'["{OTHER_KEY}", "weak"]'),
        ("SECRET_KEY_FALLBACKS", '["\\ud800' + OTHER_KEY + '"]'),
        ("SECRET_KEY_FALLBACKS", "[" * 100_000),
        ("SECRET_KEY_FALLBACKS", "[" * 100_000 + "]" * 100_000),
        ("SECRET_KEY_FALLBACKS", "[" + "1" * 5_000 + "]"),
        ("PLATFORM_ENCRYPTION_KEY", ""),
        ("PLATFORM_ENCRYPTION_KEY", "[]"),
        ("PLATFORM_ENCRYPTION_KEY", ENCRYPTION_KEY[:-2]),
        ("PLATFORM_ENCRYPTION_KEY", "ключ" * 11),
        ("PLATFORM_ENCRYPTION_KEY", f'["{ENCRYPTION_KEY}", "no key"]'),
        ("DATABASE_URL", ""),
        ("DATABASE_URL", "quart_app.db"),
        ("DATABASE_URL", "mysql://ada:hunter2@db/app"),
        ("DATABASE_URL", "postgresql+asyncpg://ada:hunter2@db/app"),
        ("DATABASE_URL", "postgresql://ada:p@ss:hunter2@db/app"),
        ("DATABASE_URL", "postgresql://ada:hunter2@db:port/app"),
        ("DATABASE_URL", "postgresql://ada:hunter2@db/app?charset=utf8"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("DATABASE_URL", "sqlite:///a.db?timeout=hunter2"),
        ("DATABASE_URL", "sqlite:///a.db?mode=memory"),
        ("DATABASE_URL", "sqlite:///a.db?mode=hunter2"),
        ("DATABASE_URL", "sqlite:///a.db?mode=rw&mode=ro"),
        ("DATABASE_URL", "sqlite:///a.db?vfs=memdb"),
        ("DATABASE_URL", "sqlite:///a.db?isolation_level=IMMEDIATE"),
        ("DATABASE_URL", "sqlite:///a.db?immutable=perhaps"),
        ("DATABASE_URL", "sqlite:///file::memory:"),
        ("DATABASE_URL", "sqlite:///file:%3Amemory%3A?cache=shared"),
        ("DATABASE_URL", "sqlite:///file:a.db?mode=memory&cache=shared"),
        ("DATABASE_URL", "sqlite:///file:"),
        ("DATABASE_URL", "sqlite:///file:a#b.db"),
        ("DATABASE_URL", "sqlite:///file:a%3Fb.db"),
        ("DATABASE_URL", "sqlite:///file://host/a.db"),
        ("DATABASE_URL", "sqlite:///a?b.db"),
        ("DATABASE_URL", "sqlite:///a.db?"),
        ("DATABASE_URL", "sqlite:///a.db?mode"),
        ("DATABASE_URL", "sqlite:///a.db?mode="),
        ("DATABASE_URL", "sqlite:///a.db?mode=ro&"),
        ("DATABASE_URL", "sqlite:///a.db?=ro"),
        ("DATABASE_URL", "sqlite:///a?b=c.db"),
        ("DATABASE_URL", "sqlite:///a/"),
        ("DATABASE_URL", "sqlite:///a/.."),
        ("DATABASE_URL", "sqlite:///."),
        ("DATABASE_URL", "sqlite:////"),
        ("DATABASE_URL", "sqlite:///C:\\data\\a.db"),
        ("DATABASE_URL", "sqlite:///a%00.db"),
        ("DATABASE_URL", "sqlite:///a%0A.db"),
        ("DATABASE_URL", "sqlite:///a%FF.db"),
        ("DATABASE_URL", "sqlite:///a\udcff.db"),
        ("DATABASE_URL", "sqlite:///a.db\n"),
        ("DATABASE_URL", " sqlite:///a.db"),
        ("DATABASE_URL", "sqlite:/a.db"),
        ("DATABASE_URL", "sqlite://host/x.db"),
        ("DATABASE_URL", "sqlite://ada:hunter2@/x.db"),
        ("DATABASE_URL", "postgresql://ada:hunter2@db:0/app"),
        ("DATABASE_URL", "postgresql://ada:hunter2@db:65536/app"),
        ("DATABASE_URL", "postgresql://db/app?sslmode="),
        ("DATABASE_URL", "postgresql://db/app?sslmode"),
        ("DATABASE_URL", "postgresql://db/app?sslmode=require&sslmode=disable"),
        ("DATABASE_URL", "postgresql://db/app?conninfo=host%3Dother"),
        ("DATABASE_URL", "postgresql://db/app?prepare_threshold=5"),
        ("DATABASE_URL", "postgresql://db/app?host=a&port=1,2"),
        ("DATABASE_URL", "postgresql://db/app?host=a,b,c&port=1,2"),
        ("DATABASE_URL", "postgresql://db/app?hostaddr=127.0.0.1&port=1,2"),
        ("DATABASE_URL", "postgresql://db/app?connect_timeout=hunter2"),
        ("DATABASE_URL", "postgresql://a,b/app?host=c"),
        ("DATABASE_URL", "postgresql://db/app?host=a:1&host=b&port=2"),
        ("DATABASE_URL", "postgresql://db/app?host=a..b"),
        ("DATABASE_URL", "postgresql://a..b/app"),
        ("DATABASE_URL", "postgresql://a%20b/app"),
        ("DATABASE_URL", f"postgresql://{'a' * 64}/app"),
        ("DATABASE_URL", "postgresql://::1/app"),
        ("DATABASE_URL", "postgresql://[::1/app"),
        ("DATABASE_URL", "postgresql://[hunter2]/app"),
        ("DATABASE_URL", "postgresql://db:٣/app"),
        ("DATABASE_URL", "postgresql://a:1,b:x/app"),
        ("DATABASE_URL", "postgresql://ada:hunter2@x@db/app"),
        ("DATABASE_URL", "postgresql://ada:x@hunter2?y@db/app"),
        ("DATABASE_URL", "postgresql://ada:1/hunter2@db/app"),
        ("DATABASE_URL", "postgresql://ada:hunter2%FF@db/app"),
        ("DATABASE_URL", "postgresql://ada:hunter2%00@db/app"),
        ("DATABASE_URL", "postgresql://db:5432/app?user=ada@example"),
        ("DATABASE_URL", "postgresql+psycopg_async://ada:hunter2@db/app"),
        ("DATABASE_URL", "postgresql://db/app?port=65536"),
        ("DATABASE_URL", "postgresql://db/app?host=a,b&port=5432,x"),
        ("DATABASE_LISTEN_URL", "postgresql://db/app"),  # the database is SQLite
        ("DATABASE_LISTEN_URL", "sqlite:///a.db"),
        ("DATABASE_LISTEN_URL", "postgresql://ada:hunter2@db:port/app"),
        *(
            ("GUARDED_PATHS", f'["{path}"]')
            for path in (
                *("", "/", "//", "old/", "/old", "//old/", "/old//", "/a/../", "/./", "/old/*"),
                *("https://a.example/", "/a%2Fb/", "/é/", "/a b/", "/a?/", f"/{'a' * 100}/"),
            )
        ),
        ("GUARDED_PATHS", "/old/"),
        ("METRICS", "yes"),
        ("LOG_FORMAT", "JSON"),
        ("METRICS", ""),
        ("PUBLIC_URL", ""),
        ("PUBLIC_URL", "site.example"),
        ("PUBLIC_URL", "ftp://site.example"),
        ("PUBLIC_URL", "https://"),
        ("PUBLIC_URL", "https://site.example//app"),
        ("PUBLIC_URL", "https://site.example/a//b"),
        ("PUBLIC_URL", "https://site.example/../app"),
        ("PUBLIC_URL", "https://site.example/a%2Fb"),
        ("PUBLIC_URL", "https://site.example/café"),
        ("PUBLIC_URL", "https://site.example/a;b"),
        ("PUBLIC_URL", f"https://site.example/{'a' * 100}"),
        ("PUBLIC_URL", "https://site.example/app?a"),
        ("PUBLIC_URL", "https://site.example?"),
        ("PUBLIC_URL", "https://:hunter2@site.example"),
        ("PUBLIC_URL", "https://site.example:0"),
        ("PUBLIC_URL", "https://site.example:99999"),
        ("PUBLIC_URL", "https://[::1"),
        ("PUBLIC_URL", "https://[::1::]"),
        ("PUBLIC_URL", "http://.."),
        ("PUBLIC_URL", "http://a..example"),
        ("PUBLIC_URL", "http://a<script>"),
        ("PUBLIC_URL", "http://a%00"),
        ("PUBLIC_URL", "http://-a.example"),
        ("PUBLIC_URL", f"http://{'a' * 64}.example"),
        ("PUBLIC_URL", f"http://{'a.' * 127}example"),
        ("PUBLIC_URL", " https://site.example"),
        ("PUBLIC_URL", "https://site.example\nSet-Cookie: a=b"),
        ("SESSION_COOKIE_NAME", ""),
        ("SESSION_COOKIE_NAME", "my session"),
        ("SESSION_COOKIE_NAME", "a;b"),
        ("SESSION_COOKIE_NAME", "session\n"),
        ("SESSION_COOKIE_NAME", "a" * 65),
        ("SESSION_COOKIE_NAME", "__Secure-session"),
        ("SESSION_COOKIE_SECURE", "True"),
        ("SESSION_COOKIE_SECURE", "1"),
        ("SESSION_COOKIE_SECURE", ""),
        ("SESSION_DIGEST", "md5"),
        ("SESSION_IDLE_SECONDS", "0"),
        ("SESSION_IDLE_SECONDS", "8h"),
        ("SESSION_IDLE_SECONDS", "90000"),  # longer than the absolute limit
        ("SESSION_ABSOLUTE_SECONDS", "-1"),
        ("SESSION_REMEMBER_IDLE_SECONDS", "2678400"),
        ("SESSION_REMEMBER_ABSOLUTE_SECONDS", "1e9"),
        ("SESSION_RENEWAL_SECONDS", "28800"),  # not shorter than the idle limit
        ("SESSION_RENEWAL_SECONDS", "٣"),
        ("REFUSE_AFTER_SECONDS", "0"),
        ("LOGIN_QUEUE_SECONDS", "9999999999"),
        ("AUDIT_RETENTION_DAYS", "0"),
        ("AUDIT_RETENTION_DAYS", "36501"),
        ("AUDIT_RETENTION_DAYS", "1y"),
        ("TRUSTED_PROXIES", "-1"),
        ("TRUSTED_PROXIES", "1.5"),
        ("ALLOWED_PRIVATE_NETWORKS", "10.0.0.0/8"),
        ("ALLOWED_PRIVATE_NETWORKS", '["10.0.0.1/8"]'),
        ("ALLOWED_PRIVATE_NETWORKS", '["a\\nb"]'),
        ("ALLOWED_PRIVATE_PORTS", "8443"),
        ("ALLOWED_PRIVATE_PORTS", "[8443]"),
        ("ALLOWED_PRIVATE_PORTS", '["0"]'),
        ("ALLOWED_PRIVATE_PORTS", '["65536"]'),
        ("ALLOWED_PRIVATE_PORTS", '["9000-8000"]'),
        ("ALLOWED_PRIVATE_PORTS", '["٣"]'),
        ("EXTRA_CA_FILE", "missing.pem"),
        ("EXTRA_CA_FILE", "."),
        ("EXTRA_CA_FILE", __file__),
    ],
)
def test_an_invalid_value_is_one_line_that_names_the_setting(
    tmp_path: Path, name: str, text: str
) -> None:
    message = refusal(tmp_path, **{name: text})
    assert f"{PREFIX}{name} " in f"{message} "
    assert "hunter2" not in message
    assert OTHER_KEY not in message


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_key_is_named(tmp_path: Path, name: str) -> None:
    given = prefixed({key: text for key, text in NEEDED.items() if key != name})
    assert missing_secrets(given, directory=tmp_path) == [f"{PREFIX}{name}"]
    with pytest.raises(SettingsError, match=f"^{PREFIX}{name} is missing"):
        Settings.from_environ(given, directory=tmp_path)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("SESION_DIGEST", "; did you mean QUART_APP_SESSION_DIGEST?"),
        ("SECRET_KEY_FALLBACK", "; did you mean QUART_APP_SECRET_KEY_FALLBACKS?"),
        ("SECRET_KEY_FIEL", "; did you mean QUART_APP_SECRET_KEY_FILE?"),
        ("SESSION_IDLE", "; did you mean QUART_APP_SESSION_IDLE_SECONDS?"),
        (
            "SESSION_COOKIE",
            "; did you mean QUART_APP_SESSION_COOKIE_SECURE or QUART_APP_SESSION_COOKIE_NAME?",
        ),
        ("SESSION_IDLE_SECONDS_FILE", "; did you mean QUART_APP_SESSION_IDLE_SECONDS?"),
        ("secret_key", ""),
        ("XYZ", ""),
        ("", ""),
    ],
)
def test_a_misspelt_setting_is_named_with_suggestions(
    tmp_path: Path, name: str, suggestion: str
) -> None:
    assert refusal(tmp_path, **{name: "x"}) == f"{PREFIX}{name} is not a setting{suggestion}"


def test_a_multi_line_name_is_shown_in_one_line(tmp_path: Path) -> None:
    message = refusal(tmp_path, **{"A\nB\x1b": "x"})
    assert message == f"{PREFIX}A\\nB\\x1b is not a setting"


def test_other_environment_variables_are_ignored(tmp_path: Path) -> None:
    others = {"SECRET_KEY": "x", "QUART_SECRET_KEY": "x", "DATABASE_URL": "x"}
    assert Settings.from_environ(prefixed(NEEDED) | others, directory=tmp_path) == read(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "attribute", "value"),
    [
        ("SECRET_KEY", f"{OTHER_KEY}\n", "secret_key", OTHER_KEY),
        ("SECRET_KEY_FALLBACKS", f'["{OTHER_KEY}"]\r\n', "secret_key_fallbacks", (OTHER_KEY,)),
        ("PLATFORM_ENCRYPTION_KEY", OTHER_KEY, "platform_encryption_keys", (OTHER_KEY,)),
    ],
)
def test_a_secret_can_be_read_from_a_file(
    tmp_path: Path, name: str, text: str, attribute: str, value: Any
) -> None:
    (tmp_path / "secret").write_bytes(text.encode())
    given = prefixed({**NEEDED, f"{name}_FILE": "secret"})
    given.pop(f"{PREFIX}{name}", None)
    assert missing_secrets(given, directory=tmp_path) == []
    assert getattr(Settings.from_environ(given, directory=tmp_path), attribute) == value


def test_an_unreadable_secret_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for file in ("absent", ".", "binary"):
        message = refusal(tmp_path, DATABASE_URL_FILE=file)
        assert message.startswith(f"{PREFIX}DATABASE_URL_FILE can't be read: ")
    both = refusal(tmp_path, SECRET_KEY_FILE="binary")
    assert (
        both == f"{PREFIX}SECRET_KEY and {PREFIX}SECRET_KEY_FILE are both set. Remove one of them"
    )


def test_the_environment_overrides_env_which_overrides_instance_env(tmp_path: Path) -> None:
    (tmp_path / "instance").mkdir()
    lines = "".join(f"{name}={text}\n" for name, text in prefixed(NEEDED).items())
    (tmp_path / "instance/.env").write_text(
        f"{lines}{PREFIX}TRUSTED_PROXIES=1\n{PREFIX}REFUSE_AFTER_SECONDS=1\n"
        f"{PREFIX}LOGIN_QUEUE_SECONDS=1\nOTHER=x\n"
    )
    (tmp_path / ".env").write_text(
        f"export {PREFIX}REFUSE_AFTER_SECONDS='2'\n# a remark\n{PREFIX}LOGIN_QUEUE_SECONDS=2\n"
    )
    environ = prefixed({"LOGIN_QUEUE_SECONDS": "3"})
    settings = Settings.from_environ(environ, directory=tmp_path)
    assert settings.secret_key == SECRET_KEY
    assert settings.trusted_proxies == 1
    assert settings.refuse_after == timedelta(seconds=2)
    assert settings.login_queue == timedelta(seconds=3)


def test_a_dollar_sign_in_a_file_is_literal(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"{PREFIX}SECRET_KEY={SECRET_KEY}${{HOME}}$x\n")
    given = prefixed({"PLATFORM_ENCRYPTION_KEY": ENCRYPTION_KEY})
    settings = Settings.from_environ(given, directory=tmp_path)
    assert settings.secret_key == f"{SECRET_KEY}${{HOME}}$x"


@pytest.mark.parametrize("path", [".env", "instance/.env"])
def test_a_settings_file_that_is_not_text_is_named(tmp_path: Path, path: str) -> None:
    (tmp_path / "instance").mkdir()
    (tmp_path / path).write_bytes(b"QUART_APP_SECRET_KEY=\xff")
    assert refusal(tmp_path) == f"The file {path} can't be read: it is not UTF-8 text"


BOM = "\ufeff"


def test_a_byte_order_mark_is_not_part_of_a_setting(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{BOM}{SECRET_KEY}\r\n", encoding="utf-8")
    (tmp_path / "url").write_text(f"{BOM}sqlite:///a.db\n", encoding="utf-8")
    (tmp_path / "fallbacks").write_text(f'{BOM}["{OTHER_KEY}"]', encoding="utf-8")
    (tmp_path / "instance").mkdir()
    for path, number in (("instance/.env", 1), (".env", 2)):
        line = f"{BOM}{PREFIX}TRUSTED_PROXIES={number}\n{BOM}{PREFIX}REFUSE_AFTER_SECONDS=7\n"
        (tmp_path / path).write_text(line, encoding="utf-8")
    settings = Settings.from_environ(
        prefixed(
            {
                "SECRET_KEY_FILE": "key",
                "SECRET_KEY_FALLBACKS_FILE": "fallbacks",
                "DATABASE_URL_FILE": "url",
                "PLATFORM_ENCRYPTION_KEY": f"{BOM}{ENCRYPTION_KEY}",
            }
        ),
        directory=tmp_path,
    )
    assert settings.secret_key == SECRET_KEY
    assert settings.secret_key_fallbacks == (OTHER_KEY,)
    assert settings.database_url.database == "a.db"
    assert settings.platform_encryption_keys == (ENCRYPTION_KEY,)
    assert settings.trusted_proxies == 2
    assert settings.refuse_after == timedelta(seconds=7)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_a_file_in_another_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "key").write_bytes(f"{SECRET_KEY}\xe9".encode(encoding))
    given = prefixed({"SECRET_KEY_FILE": "key", "PLATFORM_ENCRYPTION_KEY": ENCRYPTION_KEY})
    with pytest.raises(SettingsError, match="SECRET_KEY_FILE can't be read: it is not UTF-8 text"):
        Settings.from_environ(given, directory=tmp_path)
    (tmp_path / ".env").write_bytes(f"{PREFIX}SECRET_KEY={SECRET_KEY}\xe9".encode(encoding))
    assert refusal(tmp_path) == "The file .env can't be read: it is not UTF-8 text"


@pytest.mark.parametrize(
    "wrong",
    [
        "QUART_APP_SESSION_DIGEST sha256",
        "QUART_APP_SESSION_DIGEST: sha256",
        "QUART_APP_SESSION_DIGEST",
        "export QUART_APP_SESSION_DIGEST",
        "QUART_APP_SESSION_DIGEST='sha256",
        '\n\n  QUART_APP_SESSION_DIGEST="sha256',
    ],
)
@pytest.mark.parametrize("path", [".env", "instance/.env"])
def test_a_line_of_ours_that_sets_nothing_is_named(tmp_path: Path, path: str, wrong: str) -> None:
    (tmp_path / "instance").mkdir()
    (tmp_path / path).write_text(f"# a remark\n\nOTHER=x\n{wrong}\nANOTHER=y\n")
    line = 4 + wrong.count("\n")
    assert refusal(tmp_path) == f"The file {path} has no NAME=VALUE in line {line}"


def test_other_programs_lines_are_ignored(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OTHER\nsource it\nX='y\n# QUART_APP_SESSION_DIGEST\n\n")
    assert read(tmp_path) == read(tmp_path / "absent")


def test_no_secret_is_shown(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        SECRET_KEY_FALLBACKS=f'["{OTHER_KEY}"]',
        DATABASE_URL="postgresql://ada:hunter2@db/app",
    )
    in_query = read(tmp_path, DATABASE_URL="postgresql://db/app?password=hunter2")
    for secret in (SECRET_KEY, ENCRYPTION_KEY, OTHER_KEY, "hunter2"):
        assert secret not in f"{settings!r} {settings} {in_query}"


@pytest.mark.parametrize("public_url", ["https://site.example", "HTTPS://site.example"])
def test_https_binds_the_cookie_to_the_host(tmp_path: Path, public_url: str) -> None:
    settings = read(tmp_path, PUBLIC_URL=public_url, SESSION_COOKIE_NAME="chocolate")
    assert (settings.cookie_name, settings.cookie_secure) == ("__Host-chocolate", True)
    message = refusal(tmp_path, PUBLIC_URL=public_url, SESSION_COOKIE_SECURE="false")
    assert message.startswith(f"{PREFIX}SESSION_COOKIE_SECURE ")


@pytest.mark.parametrize(
    "wrong",
    [
        {"SESION_DIGEST": "sha256"},
        {"SECRET_KEY": "weak"},
        {"SECRET_KEY_FALLBACKS": OTHER_KEY},
        {"DATABASE_URL": "postgresql://ada:p@ss:hunter2@db/app"},
        {"SESSION_COOKIE_SECURE": "yes"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_server_with_an_invalid_setting_prints_one_line_and_does_not_start(
    tmp_path: Path, wrong: dict[str, str]
) -> None:
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "hypercorn", "--config", str(ROOT / "hypercorn.toml")),
            *("--bind", "127.0.0.1:0", "quart_app.app:create_app()"),
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"} | prefixed(NEEDED | wrong),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"quart_app: {PREFIX}{next(iter(wrong))}")
    assert ended.stdout == ""
    assert not {"weak", OTHER_KEY, "hunter2"} & set(line.split())


@pytest.mark.parametrize(
    ("path", "is_below"), [("/app/old/", True), ("/old/", False), ("/application/", False)]
)
def test_a_guarded_path_must_be_where_browsers_send_the_session_cookie(
    tmp_path: Path, path: str, *, is_below: bool
) -> None:
    given = {"PUBLIC_URL": "https://site.example/app", "GUARDED_PATHS": f'["{path}"]'}
    if is_below:
        assert read(tmp_path, **given).guarded_paths == (path,)
    else:
        message = refusal(tmp_path, **given)
        assert "GUARDED_PATHS must be below /app/" in message
