"""Browsers' reports about our Content-Security-Policy are counted, and summarized in the log."""

import asyncio
import json
from typing import Any

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client

from quart_app.web.operations.csp_reports import _EXTENSION, MOST_COUNTED
from tests.conftest import set_cookies

PATH = "/api/csp_reports"
# Reports as Chromium sends them, without unused fields; the second over https.
REPORT_URI_BODY = {
    "csp-report": {
        "document-uri": "http://localhost/reset?token=a-secret-token",
        "effective-directive": "style-src-attr",
        "blocked-uri": "inline",
        "source-file": "http://localhost/static/0123456789abcdef/js/x.js",
        "script-sample": "a-secret-sample",
        "line-number": 1,
    }
}
REPORTING_API_BODY = [
    {
        "type": "csp-violation",
        "age": 1,
        "url": "http://localhost/reset?token=a-secret-token",
        "body": {
            "documentURL": "http://localhost/reset?token=a-secret-token",
            "effectiveDirective": "img-src",
            "blockedURL": "https://user:a-secret@evil.example/a-secret.png",
            "sourceFile": None,
            "sample": "a-secret-sample",
        },
    },
    {"type": "deprecation", "body": {"id": "x"}},
]


@pytest.fixture
def engine_name() -> str:
    """One engine is enough, because no test here reaches the database."""
    return "sqlite"


async def report(client: Client, said: Any, kind: str = "application/csp-report") -> int:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    headers = {"Content-Type": kind, "Sec-Fetch-Site": "same-origin"}
    response = await client.post(PATH, data=body, headers=headers)
    assert set_cookies(response) == {}
    return response.status_code


def told(app: Quart, caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return the log messages after a minute."""
    caplog.clear()
    app.extensions[_EXTENSION].flush()
    return [json.loads(line.getMessage()) for line in caplog.records]


async def test_both_report_formats_are_counted_and_logged_without_secrets(
    app: Quart, visitor: Client, caplog: pytest.LogCaptureFixture
) -> None:
    assert await report(visitor, REPORTING_API_BODY, "application/reports+json") == 204
    for _ in range(3):
        assert (
            await report(visitor, REPORT_URI_BODY, "application/csp-report; charset=utf-8") == 204
        )
    said = {"event": "csp_violation", "page": "/reset"}
    assert told(app, caplog) == [
        {
            "directive": "img-src",
            "blocked": "https://evil.example",
            "source": "",
            "count": 1,
            **said,
        },
        {
            "directive": "style-src-attr",
            "blocked": "inline",
            "source": "/static/0123456789abcdef/js/x.js",
            "count": 3,
            **said,
        },
    ]
    assert told(app, caplog) == []
    assert "secret" not in caplog.text


async def test_anonymous_clients_cannot_fill_the_log(
    app: Quart, visitor: Client, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(MOST_COUNTED + 20):
        said = {"csp-report": {"effective-directive": f"{number}\n\x1b\x7f" + "x" * 1000}}
        assert await report(visitor, said) == 204
    assert len(caplog.records) == 0  # until the minute has ended
    lines = told(app, caplog)
    assert len(lines) == MOST_COUNTED + 1
    assert lines[-1]["directive"] == "others"
    assert lines[-1]["count"] == 20
    for record in caplog.records:
        assert record.getMessage().isprintable()
        assert len(record.getMessage()) < 1000


async def test_counts_are_logged_a_minute_after_the_first_report_and_at_shutdown(
    app: Quart, visitor: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quart_app.web.operations.csp_reports._FLUSH_AFTER_SECONDS", 0.01)
    await report(visitor, REPORT_URI_BODY)
    await asyncio.sleep(0.1)  # the events are due in order of time
    assert len(caplog.records) == 1
    monkeypatch.undo()
    await report(visitor, REPORT_URI_BODY)
    assert len(caplog.records) == 1
    await app.shutdown()
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    ("said", "kind", "status"),
    [
        (REPORT_URI_BODY, "application/json", 415),
        (REPORT_URI_BODY, "text/plain", 415),
        (b"{", "application/csp-report", 400),
        (b"[" * 60_000, "application/reports+json", 400),
        ([], "application/csp-report", 400),
        (REPORT_URI_BODY, "application/reports+json", 400),
        ({"csp-report": {"blocked-uri": 1}}, "application/csp-report", 400),
        ({"csp-report": {"blocked-uri": "http://["}}, "application/csp-report", 204),
        ({"csp-report": {}}, "application/csp-report", 204),
        ([{"type": "csp-violation"}], "application/reports+json", 204),
        (b" " * 65_537, "application/csp-report", 413),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_only_the_formats_that_browsers_send_are_accepted(
    visitor: Client, said: Any, kind: str, status: int
) -> None:
    assert await report(visitor, said, kind) == status


async def test_reports_from_other_sites_are_refused(visitor: Client) -> None:
    headers = {"Content-Type": "application/csp-report", "Origin": "https://evil.example"}
    assert (await visitor.post(PATH, data=b"{}", headers=headers)).status_code == 403


pytestmark = pytest.mark.sqlite_unless_thorough
