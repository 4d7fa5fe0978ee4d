"""Untrusted text and text of legacy databases never breaks a page that shows it."""

import asyncio

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import text

from quart_app.composition import Built
from quart_app.web.rendering.display import displayed
from quart_app.web.rendering.user_agents import described

# The statements have tests of their own on both engines.
pytestmark = pytest.mark.sqlite_unless_thorough

BREAKS_UA_PARSER = "SAMSUNG-ANDROID-MMS/ ;x"
PAGES = ("/", "/platforms", "/devices", "/account", "/nowhere")
ADMIN_PAGES = (
    *("/admin/users", "/admin/users/1", "/admin/sessions"),
    *("/admin/audit", "/admin/audit?event=login", "/admin/audit.csv"),
)
_ENTRY = (
    "INSERT INTO audit (at, event, detail, count, keep_until)"
    " VALUES (CURRENT_TIMESTAMP, {}, {}, 1, '2999-01-01 00:00:00')"
)
DETAIL = _ENTRY.format("'login'", ":value")
# The columns that pages show.
COLUMNS = (
    "UPDATE logins SET user_agent = {}",
    "UPDATE logins SET address = {}",
    "UPDATE alerts SET user_agent = {}",
    "UPDATE alerts SET address = {}",
    "UPDATE alerts SET kind = {}",
    "UPDATE platform_connections SET name = {} WHERE id = 1",
    "UPDATE platform_connections SET username = {} WHERE id = 1",
    "UPDATE platform_connections SET instance_url = {} WHERE id = 1",
    "UPDATE platform_connections SET platform_type = {} WHERE id = 1",
    "UPDATE users SET username = {} WHERE id = 1",
    "UPDATE users SET email = {} WHERE id = 1",
    _ENTRY.format("'login'", "{}"),
    _ENTRY.format("{}", "NULL"),
)
NOT_NULL = {
    *("alerts.kind", "platform_connections.name", "platform_connections.instance_url"),
    *("platform_connections.platform_type", "users.username", "users.email"),
}
TEXTS = [
    *("", " ", BREAKS_UA_PARSER, "\x1b[2J\u202e\x85\u2028", "<b>&", "' OR 1", "Zoë\u0301☕"),
    *("[1]", "null", "5", '"a"', "{", '{"a": {"b": [1]}}', '{"a": null}', "NaN"),
    *("[" * 9000, "1" * 5000, '{"a": ' * 9000),
]


async def _add_alert(built: Built) -> None:
    statement = text(
        "INSERT INTO alerts (user_id, kind, created_at, expires_at)"
        " VALUES (1, 'new_device', CURRENT_TIMESTAMP, '2999-01-01 00:00:00')"
    )
    async with built.database.begin() as db:
        await db.execute(statement)


async def _assert_all_pages_are_shown(browser: Client, root: Client) -> None:
    for client, paths in ((browser, PAGES), (root, ADMIN_PAGES)):
        for path in paths:
            response = await client.get(path)
            await response.get_data()
            assert response.status_code == (404 if path == "/nowhere" else 200), path


async def _write_everywhere(built: Built, value: str, parameters: dict[str, object]) -> None:
    """Write one value into every column; `value` is SQL."""
    for statement in COLUMNS:
        async with built.database.begin() as db:
            await db.execute(text(statement.format(value)), parameters)


@pytest.mark.parametrize("value", TEXTS, ids=lambda value: ascii(value)[:20])
async def test_pages_show_any_text_a_column_can_hold(
    browser: Client, root: Client, built: Built, value: str
) -> None:
    await _add_alert(built)
    await _write_everywhere(built, ":value", {"value": value[:32]})
    async with built.database.begin() as db:
        await db.execute(text(DETAIL), {"value": value})
    await _assert_all_pages_are_shown(browser, root)


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize("value", ["x'fffe00'", "x''", "5", "1.5", "CAST(x'61ff41' AS TEXT)"])
async def test_pages_show_non_text_values_that_only_sqlite_stores(
    browser: Client, root: Client, built: Built, value: str
) -> None:
    await _add_alert(built)
    await _write_everywhere(built, value, {})
    await _assert_all_pages_are_shown(browser, root)


@pytest.mark.parametrize("engine_name", ["postgresql"])
async def test_pages_show_nulls_where_a_legacy_table_allows_them(
    browser: Client, root: Client, built: Built
) -> None:
    await _add_alert(built)
    for column in NOT_NULL:
        table, name = column.split(".")
        async with built.database.begin() as db:
            await db.execute(text(f"ALTER TABLE {table} ALTER COLUMN {name} DROP NOT NULL"))
            await db.execute(text(f"UPDATE {table} SET {name} = NULL WHERE id = 1"))  # noqa: S608
    await _assert_all_pages_are_shown(browser, root)


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        (BREAKS_UA_PARSER, "An unknown program"),
        ("", "An unknown program"),
        (None, "An unknown program"),
        ("\x00\ud800\udc80", "An unknown program"),
        ("Firefox/140.0 \x1b[31m", "Firefox 140"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0", "Firefox 140 on Linux"),
    ],
)
async def test_a_user_agent_is_shown_as_browser_and_system(
    user_agent: str | None, words: str
) -> None:
    assert (await described([user_agent]))[user_agent] == words


_PIECES = st.sampled_from(
    ["SAMSUNG", "-ANDROID-MMS", "/", " ", ";", "(", ")", "x", "1.", ".2", "Android", "Build/", "\n"]
)


@given(st.one_of(st.text(max_size=300), st.lists(_PIECES, max_size=12).map("".join)))
def test_every_user_agent_is_shown_as_one_printable_line(user_agent: str) -> None:
    words = asyncio.run(described([user_agent]))[user_agent]
    assert words.isprintable()
    assert words


def test_a_display_failure_causes_one_log_line_with_its_cause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @displayed(otherwise="unknown")
    def spoilt(value: str) -> str:
        raise ValueError(f"what is {value}?")

    assert spoilt("this") == "unknown"
    (line,) = (record.getMessage() for record in caplog.records)
    assert line == "spoilt can't be displayed: ValueError: what is this?"


async def test_a_part_that_fails_is_left_out(app: Quart) -> None:
    async with app.test_request_context("/"):
        template = app.jinja_env.from_string(
            "{% macro spoilt(x) %}{{ x.y.z }}{% endmacro %}{% macro good(x) %}<i>{{ x }}</i>"
            "{% endmacro %}a{{ safely(spoilt, 1) }}b{{ safely(good, '<') }}"
        )
        assert template.render() == "ab<i>&lt;</i>"


_HEADER_TEXT = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=80
)
_HEADERS = st.dictionaries(
    st.sampled_from(
        [
            *("User-Agent", "Accept", "Accept-Language", "Accept-Encoding", "Referer", "Origin"),
            *("Sec-Fetch-Site", "Content-Type", "Range", "If-None-Match", "If-Modified-Since"),
            *("If-Range", "Authorization", "Cookie", "X-Forwarded-For", "Forwarded", "Expect"),
            *("X-Platform-Connection-Id", "X-Unattended", "Cache-Control", "Priority"),
        ]
    ),
    st.one_of(
        _HEADER_TEXT,
        st.sampled_from(
            [
                *(BREAKS_UA_PARSER, "gzip;q=x", "*/*;q=1e400", "text/html;q=nan", ";q=", "[::1"),
                *("http://[/", "http://a:99999999999/", "bytes=-1-", "bytes=9" * 30, "x" * 8192),
                *("Sun, 99 Xxx 0000 00:00:00 +9999", "multipart/form-data; boundary=", '"'),
                *("application/json; charset=x", "a=b; charset*=x''%ff", "*;q=-1", "en-" * 500),
            ]
        ),
    ),
    max_size=4,
)
_PATHS = st.sampled_from([*PAGES, "/login", "/reset?token=%00", "/setup?token=[", "/api/platforms"])


@pytest.mark.parametrize("engine_name", ["sqlite"])
@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(_HEADERS, _PATHS, st.none() | st.binary(max_size=60))
@example({"User-Agent": BREAKS_UA_PARSER}, "/devices", None)
@example({"Accept-Encoding": "gzip;q=x", "Sec-Fetch-Site": "same-origin"}, "/devices", None)
async def test_no_header_and_no_body_causes_a_server_error(
    browser: Client, headers: dict[str, str], path: str, body: bytes | None
) -> None:
    if body is None:
        response = await browser.get(path, headers=headers)
    else:
        response = await browser.post(path, headers=headers, data=body)
    assert response.status_code < 500
