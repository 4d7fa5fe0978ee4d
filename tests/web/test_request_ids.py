"""One id leads from the proxy to the answer, the log and the audit log; and W3C Trace Context."""

import logging
from typing import Any

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import select

from quart_app import log_records
from quart_app.composition import Built
from quart_app.model import AuditEntry
from quart_app.settings import Settings, with_setting
from quart_app.web.pipeline.request_ids import observe
from tests.conftest import PASSWORD, MakeApp, Member

OF_NGINX = "0123456789abcdef0123456789abcdef"
A_UUID = "01234567-89ab-cdef-0123-456789abcdef"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
MADE_HERE = 24  # characters


def observed(*headers: tuple[str, str], is_proxied: bool = True) -> Any:
    encoded = [(name.encode(), value.encode()) for name, value in headers]
    return observe(encoded, is_proxied=is_proxied)


async def log_in_with(client: Client, member: Member, **headers: str) -> Any:
    body = {"username": member.username, "password": PASSWORD}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await client.post("/api/login", json=body, headers=given)
    assert answer.status_code == 200
    return answer


@pytest.fixture
async def proxied(settings: Settings, make_app: MakeApp) -> Quart:
    return await make_app(with_setting(settings, trusted_proxies=1))


async def test_a_trusted_proxys_id_is_in_the_answer_the_log_and_the_audit_log(
    proxied: Quart, member: Member, built: Built, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"X_Request_Id": OF_NGINX, "traceparent": TRACEPARENT}
    with caplog.at_level(logging.INFO, "quart_app.audit"):
        answer = await log_in_with(proxied.test_client(), member, **headers)
    assert answer.headers.getlist("X-Request-Id") == [OF_NGINX]
    async with built.database.read() as db:
        entries = await db.scalars(select(AuditEntry.event).filter_by(request_id=OF_NGINX))
        assert entries.all() == ["login"]
    (record,) = [each for each in caplog.records if '"login"' in each.getMessage()]
    assert isinstance(record, log_records.PrintableRecord)
    assert (record.request_id, record.trace_id) == (OF_NGINX, TRACE)


async def test_refusals_before_the_application_have_the_proxys_id(proxied: Quart) -> None:
    client: Any = proxied.test_client()
    for path, host in (("/", "a..b"), ("/nothing", "a")):
        answer = await client.get(path, headers={"Host": host, "X-Request-Id": OF_NGINX})
        assert answer.status_code in {400, 404}
        assert answer.headers.getlist("X-Request-Id") == [OF_NGINX]


async def test_a_client_cannot_choose_its_id(app: Quart, member: Member, built: Built) -> None:
    answer = await log_in_with(app.test_client(), member, X_Request_Id=OF_NGINX)
    assert answer.headers["X-Request-Id"] != OF_NGINX
    async with built.database.read() as db:
        assert not (await db.scalars(select(AuditEntry).filter_by(request_id=OF_NGINX))).all()


@pytest.mark.parametrize("value", [OF_NGINX, "f" * 8, "a-B_9" * 6, A_UUID, A_UUID.upper()])
def test_ids_that_the_audit_log_has_room_for_are_taken(value: str) -> None:
    taken = observed(("x-request-id", value)).request_id
    assert taken == (value.replace("-", "") if len(value) == len(A_UUID) else value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "f" * 7,
        "f" * 33,
        f"{A_UUID}0",
        "a b c d e f",
        'a"b"c"d"e',
        "a\nb\nc\nd\n",
        "é" * 8,
        "a" * 9999,
    ],
)
def test_other_ids_are_replaced(value: str) -> None:
    made = observed(("x-request-id", value)).request_id
    assert len(made) == MADE_HERE
    assert made.isalnum()


def test_of_several_ids_none_is_taken() -> None:
    two = [("x-request-id", OF_NGINX), ("x-request-id", OF_NGINX)]
    assert len(observed(*two).request_id) == MADE_HERE


@pytest.mark.parametrize(
    "value",
    [TRACEPARENT, f"{TRACEPARENT[:-2]}00", f"cc{TRACEPARENT[2:]}", f"cc{TRACEPARENT[2:]}-x"],
)
@pytest.mark.parametrize("is_proxied", [True, False])
def test_the_trace_of_a_valid_traceparent_is_known(value: str, *, is_proxied: bool) -> None:
    assert observed(("traceparent", value), is_proxied=is_proxied).trace_id == TRACE


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            "00",
            f" {TRACEPARENT}x",
            f"{TRACEPARENT}-x",
            f"{TRACEPARENT}\n",
            TRACEPARENT.upper(),
        ),
        *(f"ff{TRACEPARENT[2:]}", f"cc{TRACEPARENT[2:]}x", f"0{TRACEPARENT}", TRACEPARENT[:-1]),
        *(f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE}-01"),
    ],
)
def test_an_invalid_traceparent_is_ignored(value: str) -> None:
    assert observed(("traceparent", value)).trace_id is None


def test_of_several_traceparents_none_is_valid() -> None:
    assert observed(*[("traceparent", TRACEPARENT)] * 2).trace_id is None
