"""The chart of logins and failed logins by day: its counts, its text and its queries."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import event, insert

from quart_app.composition import Built
from quart_app.model import AuditEntry
from quart_app.services import Services
from quart_app.services.administration.login_days import DAYS
from quart_app.settings import Settings, with_setting
from quart_app.storage.database import Database
from quart_app.web.rendering.chart import chart_of
from tests.callers import caller_of
from tests.conftest import PASSWORD, Clock, MakeApp, Member, log_in

# The statements have tests of their own on both engines.
pytestmark = pytest.mark.sqlite_unless_thorough

DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)


async def write(built: Built, *rows: tuple[datetime, str, int]) -> None:
    """Write entries with a given time, as if they had been recorded then."""
    async with built.database.begin() as db:
        for at, name, count in rows:
            values = {"at": at, "event": name, "count": count, "keep_until": at + 400 * DAY}
            await db.execute(insert(AuditEntry).values(values))


async def page(client: Client, path: str = "/admin/audit") -> str:
    response = await client.get(path)
    html: str = await response.get_data(as_text=True)
    assert response.status_code == 200, html
    return html


def table_of(html: str) -> list[tuple[str, str, str]]:
    """Return the rows below the chart: day, logins, failed logins."""
    return re.findall(
        r'<time datetime="([\d-]{10})">[^<]+</time></th><td>([^<]*)</td><td>([^<]*)</td>', html
    )


def today_by(clock: Clock) -> datetime:
    return datetime.combine(clock().date(), time(), UTC)


async def test_logins_and_failed_logins_are_counted_by_utc_day(
    root: Client, built: Built, clock: Clock
) -> None:
    today = today_by(clock)
    first = today - (DAYS - 1) * DAY
    await write(
        built,
        (first - DAY, "login", 1000),  # too long ago
        (first - TICK, "login_failed", 1000),
        (first, "login", 2),
        (first + DAY - TICK, "login", 1),
        (first + DAY, "login", 4),
        (first, "login_failed", 5),  # counted within a minute: one row
        (first + DAY - TICK, "login_throttled", 1200),
        (first, "logout", 100),
        (first, "login_incomplete", 100),
        (first, "reauthentication_failed", 100),
    )
    html = await page(root)
    rows = table_of(html)
    assert [day for day, _, _ in rows] == [
        (today - number * DAY).date().isoformat() for number in range(DAYS)
    ]
    assert rows[-1][1:] == ("3", "1,205")
    assert rows[-2][1:] == ("4", "0")
    assert rows[0][1:] == ("2", "0")  # the member's and the administrator's own
    assert {row[1:] for row in rows[1:-2]} == {("0", "0")}
    assert "9 in total, at most 4 per day" in html
    assert "1,205 in total, at most 1,205 per day" in html
    assert "unknown" not in html
    assert "The audit log begins" not in html


async def test_the_chart_is_svg_with_a_text_alternative_and_no_style(
    root: Client, built: Built, clock: Clock
) -> None:
    await write(built, (today_by(clock) - 3 * DAY, "login_failed", 7))
    html = await page(root)
    charts = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(charts) == 2
    for svg in charts:
        assert 'role="img"' in svg
        for tag, by in (("title", "labelledby"), ("desc", "describedby")):
            (its_id,) = re.findall(f'aria-{by}="([^"]+)"', svg)
            assert f'<{tag} id="{its_id}">' in svg
        assert not re.search(r"style|<script|\son[a-z]+=|href", svg)
    day = today_by(clock) - 3 * DAY
    assert f"<title>{day.day} {day.strftime('%B %Y')}: 7</title>" in charts[1]
    assert html.index("<svg") < html.index("<details>") < html.index("<table")
    assert re.search(r"<details>\s*<summary>[^<]+</summary>\s*<table[^>]*>\s*<caption", html)


async def test_days_before_the_first_audit_entry_are_shown_as_unknown(
    root: Client, built: Built, clock: Clock
) -> None:
    begins = today_by(clock) - 2 * DAY + timedelta(hours=7)
    await write(built, (begins, "logout", 1))
    html = await page(root)
    rows = table_of(html)
    assert [row[1:] for row in rows[1:3]] == [("0", "0")] * 2
    assert {row[1:] for row in rows[3:]} == {("unknown", "unknown")}
    assert html.count('class="chart-unknown"') == 2 * (DAYS - 3)
    said = f"The audit log begins on {begins.day} {begins.strftime('%B %Y')}, 07:00 UTC"
    assert said in re.sub("<[^>]+>", "", html)


async def test_purged_days_are_shown_as_unknown(
    make_app: MakeApp, settings: Settings, root: Client, built: Built, clock: Clock
) -> None:
    """An older entry may be kept for a longer time, while others of its day have been purged."""
    await write(built, (today_by(clock) - 60 * DAY, "logout", 1))
    assert "The audit log begins" not in await page(root)
    app = await make_app(with_setting(settings, audit_retention=timedelta(days=7)))
    client = app.test_client()
    await log_in(client, Member(2, "root", PASSWORD, (0, 0, 0)))
    html = await page(client)
    assert "The audit log begins" in html
    assert {row[1:] for row in table_of(html)[8:]} == {("unknown", "unknown")}


@pytest.mark.usefixtures("root")
async def test_an_empty_chart_says_that_nobody_logged_in(
    app: Quart, services: Services, clock: Clock
) -> None:
    clock.advance((DAYS + 10) * DAY)  # the database's clock advances by itself
    found = await services.login_days.last(caller_of(2))
    assert {(day.logins, day.failures) for day in found.days} == {(0, 0)}
    none = chart_of([(day.day, 0) for day in found.days])
    source = (
        '{% from "chart.html" import logins_a_day %}{{ logins_a_day(found, logins, failures) }}'
    )
    async with app.test_request_context("/"):
        template = app.jinja_env.from_string(source)
        html = template.render(found=found, logins=none, failures=none)
    assert "No logins were recorded in the last 30 days" in html
    assert "<svg" not in html
    assert {row[1:] for row in table_of(html)} == {("0", "0")}


async def test_the_chart_is_only_on_the_first_unfiltered_page_of_the_audit_log(
    root: Client,
) -> None:
    assert "<svg" in await page(root)
    for query in ("?event=login", "?user=ada", "?before=3", "?from_day=2026-01-01"):
        assert "<svg" not in await page(root, f"/admin/audit{query}")


@pytest.fixture
def asked(app: Quart) -> Iterator[list[tuple[str, Any]]]:
    """Every query that the application executes from here on, with its values."""
    seen: list[tuple[str, Any]] = []
    database: Database = app.extensions["quart_app"].accounts.database

    def see(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "WITH")):
            seen.append((statement, values))

    event.listen(database.engine.sync_engine, "before_cursor_execute", see)
    yield seen
    event.remove(database.engine.sync_engine, "before_cursor_execute", see)


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize(
    "path",
    [
        "/admin/audit",
        "/admin/audit?actor=root&event=login",
        "/admin/audit?actor=root",
        "/admin/audit?from_day=2026-01-01&to_day=2026-02-02",
        "/admin/users",
        "/admin/users?after=1",
        "/admin/users/1",
    ],
)
async def test_no_page_scans_a_whole_table(
    root: Client, built: Built, asked: list[tuple[str, Any]], path: str
) -> None:
    await page(root, path)
    assert asked
    steps: list[str] = []
    async with built.database.read() as db:
        connection = await db.connection()
        for statement, values in asked:
            explain = f"EXPLAIN QUERY PLAN {statement}"
            plan = await connection.exec_driver_sql(explain, tuple(values))
            steps += [row.detail for row in plan]
            if statement.endswith(("ORDER BY audit.id DESC\n LIMIT ? OFFSET ?",)):
                assert not any("TEMP B-TREE" in step for step in steps), steps
                steps = [step for step in steps if step != "SCAN audit"]  # from the end, by id
    assert steps
    for step in steps:
        # An index scan in order ends with the page.
        assert not re.search(r"SCAN (audit|users|logins)(?! USING (COVERING )?INDEX)", step), step
    if path == "/admin/audit":
        span = "COVERING INDEX ix_audit_event_at_count (event=? AND at>? AND at<?)"
        assert any(span in step for step in steps)
