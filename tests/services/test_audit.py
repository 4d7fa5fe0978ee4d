"""The audit log: events are recorded with their cause or not at all, immutable and purged."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import URL, event, func, insert, select, text
from sqlalchemy.exc import DBAPIError

from quart_app.composition import Built, build_services
from quart_app.errors import BadCredentials, Forbidden, InUse, NotFound, Unavailable
from quart_app.model import AuditEntry, AuditEvent, EndReason, Role
from quart_app.services import Services
from quart_app.services.administration.audit_reader import AuditFilter
from quart_app.services.administration.user_ref import UserRef
from quart_app.services.audit.addresses import counted_address, shown_address
from quart_app.services.audit.bounded_counter import MOST_COUNTED
from quart_app.services.audit.entries import hash_of_session, line_of
from quart_app.services.background.periodic import running
from quart_app.services.caller import Caller
from quart_app.services.sessions.new_session import NewSession
from quart_app.session.claims import SessionRef
from quart_app.settings import Settings
from quart_app.storage.audit import add_entries, delete_entries_past_their_time
from quart_app.storage.changes import add_change
from quart_app.storage.schema import SchemaRefused, upgrade_schema
from tests.callers import NOBODY, caller_from, caller_of
from tests.conftest import PASSWORD, Member, make_member

YEAR = timedelta(days=365)
REQUEST = caller_from(address="192.0.2.7", request_id="0123456789ab")


async def log_in(services: Services, member: Member, caller: Caller = NOBODY) -> NewSession:
    return await services.accounts.log_in(caller, login_name=member.username, password=PASSWORD)


async def entries(built: Built, *events: AuditEvent) -> list[AuditEntry]:
    """Return the audit entries, oldest first; only of these events, if given."""
    async with built.database.read() as db:
        query = select(AuditEntry).order_by(AuditEntry.id)
        if events:
            query = query.where(AuditEntry.event.in_(events))
        return list(await db.scalars(query))


async def write(built: Built, *rows: dict[str, Any], kept_for: timedelta = YEAR) -> None:
    async with built.database.begin() as db:
        given = [{"event": "login", "count": 1} | row for row in rows]
        await add_entries(db, given, kept_for=kept_for)


async def write_expired(built: Built, number: int) -> None:
    """Write entries that have expired."""
    past = datetime.now(UTC) - timedelta(days=2)
    row = {"event": "login", "count": 1, "at": past, "keep_until": past + timedelta(days=1)}
    async with built.database.begin() as db:
        await db.execute(insert(AuditEntry), [row] * number)


async def an_admin(services: Services) -> int:
    user, _ = await services.users.create(
        NOBODY, username="root", email="root@example.com", role=Role.ADMIN, password=PASSWORD
    )
    return user.id


# --- recording -----------------------------------------------------------------------------------


async def test_a_login_is_recorded_with_its_user_time_and_address(
    built: Built,
    services: Services,
    member: Member,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "quart_app.audit")
    before = datetime.now(UTC)
    session = await log_in(services, member, REQUEST)
    (entry,) = await entries(built, AuditEvent.LOGIN)
    assert (entry.user_id, entry.actor_user_id, entry.count) == (member.id, member.id, 1)
    assert (entry.address, entry.request_id) == (REQUEST.address, REQUEST.request_id)
    assert entry.session == hash_of_session(session.sid)
    assert session.sid not in str(vars(entry))
    second = timedelta(seconds=1)  # SQLite's clock has milliseconds
    assert before - second <= entry.at <= datetime.now(UTC) + second
    assert timedelta() <= abs(entry.keep_until - entry.at - YEAR) < second
    (line,) = [each.getMessage() for each in caplog.records if each.name == "quart_app.audit"]
    assert line == line_of(entry)
    said = json.loads(line)
    assert (said["event"], said["user_id"], said["address"]) == ("login", member.id, "192.0.2.7")
    assert said["request_id"] == REQUEST.request_id
    assert said["at"].endswith("+00:00")


async def test_a_rolled_back_event_is_neither_stored_nor_logged(
    built: Built, services: Services, member: Member, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "quart_app.audit")

    async def fail_after_recording() -> None:
        async with built.database.begin() as db:
            await services.audit.writer.record(db, AuditEvent.LOGIN, NOBODY, user_id=member.id)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail_after_recording()
    assert await entries(built, AuditEvent.LOGIN) == []
    assert caplog.records == []


async def test_an_action_that_cannot_be_recorded_is_rolled_back(
    built: Built, services: Services, member: Member
) -> None:
    async with built.database.begin() as db:
        await db.execute(text("DROP TABLE audit"))
    with pytest.raises((Unavailable, DBAPIError)):
        await log_in(services, member)
    with pytest.raises((Unavailable, DBAPIError)):
        await services.user_passwords.set(
            NOBODY, UserRef.by_name(member.username), "another password"
        )
    user = await services.accounts.user(caller_of(member.id))
    assert (user.last_login, user.session_epoch) == (None, 0)


async def by_a_refused_change(services: Services, member: Member) -> None:
    with pytest.raises(BadCredentials):
        await services.own_password.change(
            caller_of(member.id),
            current_password="wrong",
            new_password="another password",
        )


CAUSES: dict[str, tuple[Callable[[Services, Member, NewSession], Any], list[tuple[str, str]]]] = {
    "logout": (
        lambda services, _, session: services.sessions.end(
            NOBODY, SessionRef(sid=session.sid, expires_at=session.expires_at)
        ),
        [("logout", "logged_out")],
    ),
    "logout everywhere": (
        lambda services, member, _: services.sessions.end_all(
            caller_of(member.id), EndReason.LOGGED_OUT_EVERYWHERE
        ),
        [("sessions_ended", "logged_out_everywhere")],
    ),
    "an administrator ends them": (
        lambda services, member, _: services.session_administration.end_all_of(
            NOBODY, UserRef.by_name(member.username)
        ),
        [("sessions_ended", "administrator")],
    ),
    "an administrator ends everybody's": (
        lambda services, *_: services.session_administration.end_everybodys(NOBODY),
        [("sessions_ended", "administrator")],
    ),
    "password changed": (
        lambda services, member, _: services.own_password.change(
            caller_of(member.id),
            current_password=PASSWORD,
            new_password="another password",
        ),
        [("sessions_ended", "password_changed"), ("password_changed", "")],
    ),
    "password reset": (
        lambda services, member, _: services.user_passwords.set(
            NOBODY, UserRef.by_name(member.username), None
        ),
        [("password_reset", ""), ("sessions_ended", "password_reset")],
    ),
    "reset link": (
        lambda services, member, _: services.user_passwords.make_reset_link(
            NOBODY, UserRef.by_name(member.username)
        ),
        [("password_reset_link_made", "")],
    ),
    "deactivated": (
        lambda services, member, _: services.users.deactivate(
            NOBODY, UserRef.by_name(member.username)
        ),
        [("user_deactivated", ""), ("sessions_ended", "deactivated")],
    ),
    "activated": (
        lambda services, member, _: services.users.activate(
            NOBODY, UserRef.by_name(member.username)
        ),
        [("user_activated", "")],
    ),
    "switched": (
        lambda services, member, _: services.platforms.switch(
            caller_of(member.id), member.platform_ids[1]
        ),
        [("platform_switched", "")],
    ),
    "default": (
        lambda services, member, _: services.platforms.make_default(
            caller_of(member.id), member.platform_ids[1]
        ),
        [("platform_default_changed", "")],
    ),
    "changed": (
        lambda services, member, _: services.platforms.change(
            caller_of(member.id), member.platform_ids[1], name="Else"
        ),
        [("platform_changed", "")],
    ),
    "removed": (
        lambda services, member, _: services.removal.remove(
            caller_of(member.id), member.platform_ids[1]
        ),
        [("platform_removed", "")],
    ),
}


@pytest.mark.parametrize("cause", CAUSES)
async def test_every_action_is_recorded(
    built: Built, services: Services, member: Member, cause: str
) -> None:
    session = await log_in(services, member)
    known = len(await entries(built))
    act, expected = CAUSES[cause]
    await act(services, member, session)
    written = (await entries(built))[known:]
    found = [(entry.event, json.loads(entry.detail or "{}").get("reason", "")) for entry in written]
    assert found == expected
    for entry in written:
        everybodys = "everybody's" in (entry.detail or "")
        assert entry.user_id == (None if everybodys else member.id)
        if entry.event.startswith("platform_"):
            detail = json.loads(entry.detail or "{}")
            assert detail["platform_connection_id"] == member.platform_ids[1]


async def test_created_users_and_added_connections_are_recorded(
    built: Built, member: Member
) -> None:
    made, *connected = await entries(built)
    assert (made.event, made.user_id, made.actor_user_id) == ("user_created", member.id, None)
    assert json.loads(made.detail or "") == {"role": "viewer"}
    assert [entry.event for entry in connected] == ["platform_connected"] * 3


async def test_the_first_user_is_recorded_as_their_own_creator(
    built: Built, services: Services
) -> None:
    session = await services.first_user.set_up(
        NOBODY, username="ada", email="ada@example.com", password=PASSWORD
    )
    assert [
        (entry.event, entry.user_id, entry.actor_user_id) for entry in await entries(built)
    ] == [(each, session.user_id, session.user_id) for each in ("user_created", "login")]


async def test_a_session_replaced_by_a_login_is_recorded_as_its_own_users(
    built: Built, services: Services, member: Member
) -> None:
    old = await log_in(services, member)
    other = await make_member(services, "bert")
    await services.accounts.log_in(
        NOBODY,
        login_name=other.username,
        password=PASSWORD,
        replaced=[SessionRef(sid=old.sid, expires_at=old.expires_at)],
    )
    ended, login = (await entries(built, AuditEvent.SESSIONS_ENDED, AuditEvent.LOGIN))[-2:]
    assert (ended.user_id, ended.actor_user_id) == (member.id, member.id)
    assert ended.session == hash_of_session(old.sid)
    assert (login.user_id, login.actor_user_id) == (other.id, other.id)


async def test_replacing_a_one_time_password_is_recorded_as_a_password_change(
    built: Built, services: Services, member: Member
) -> None:
    given = await services.user_passwords.set(NOBODY, UserRef.by_name(member.username), None)
    assert given is not None
    await services.accounts.log_in(
        NOBODY, login_name=member.username, password=given, new_password="another password"
    )
    changed, login = (await entries(built))[-2:]
    assert (changed.event, login.event) == ("password_changed", "login")
    assert changed.actor_user_id == member.id


async def test_every_use_of_another_users_connection_is_counted(
    built: Built, services: Services, member: Member
) -> None:
    other = caller_of((await make_member(services, "grace")).id)
    theirs = member.platform_ids[0]
    for use in (
        services.platforms.switch(other, theirs),
        services.removal.remove(other, theirs),
        services.account_checks.check(other, theirs),
        services.authorizations.begin(other, "localhost", platform_connection_id=theirs),
    ):
        with pytest.raises(NotFound):
            await use
    await services.audit.flush()
    (refused,) = await entries(built, AuditEvent.REFUSED_RIGHTS)
    assert (refused.actor_user_id, refused.count) == (other.user_id, 4)


async def test_a_refused_action_changes_nothing_and_is_not_recorded_as_done(
    built: Built, services: Services, member: Member
) -> None:
    known = len(await entries(built))
    with pytest.raises(NotFound):
        await services.removal.remove(caller_of(member.id), 999)
    async with built.database.begin() as db:
        await db.execute(
            text("CREATE TABLE albums (id INTEGER, c INTEGER REFERENCES platform_connections (id))")
        )
        await db.execute(text("INSERT INTO albums VALUES (1, :id)"), {"id": member.platform_ids[0]})
    with pytest.raises(InUse):
        await services.removal.remove(caller_of(member.id), member.platform_ids[0])
    assert len(await entries(built)) == known


# --- counting failures ---------------------------------------------------------------------------


async def test_failures_within_a_minute_share_one_row_per_address_and_user(
    built: Built,
    services: Services,
    member: Member,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "quart_app.audit")
    for address in ("192.0.2.7", "192.0.2.8", "2001:db8::1", "2001:db8::2", "::ffff:192.0.2.8"):
        caller = caller_from(address=address, request_id=f"r{address}"[:32])
        for name in (member.username, "a name that nobody has", "another"):
            with pytest.raises(BadCredentials):
                await services.accounts.log_in(caller, login_name=name, password="wrong")
    assert await entries(built, AuditEvent.LOGIN_FAILED) == []
    await services.audit.flush()
    found = await entries(built, AuditEvent.LOGIN_FAILED)
    assert {(entry.address, entry.user_id): entry.count for entry in found} == {
        ("192.0.2.7", member.id): 1,
        ("192.0.2.7", None): 2,
        ("192.0.2.8", member.id): 2,
        ("192.0.2.8", None): 4,
        ("2001:db8::/64", member.id): 2,
        ("2001:db8::/64", None): 4,
    }
    assert len(found) == 6
    told = [json.loads(each.getMessage()) for each in caplog.records]
    assert sorted(each["count"] for each in told) == [1, 2, 2, 2, 4, 4]
    await services.audit.flush()
    assert len(await entries(built, AuditEvent.LOGIN_FAILED)) == 6


async def test_a_wrong_current_password_is_counted(
    built: Built, services: Services, member: Member
) -> None:
    await by_a_refused_change(services, member)
    await by_a_refused_change(services, member)
    await services.audit.flush()
    (entry,) = await entries(built, AuditEvent.REAUTHENTICATION_FAILED)
    assert (entry.user_id, entry.count) == (member.id, 2)


async def test_anonymous_clients_cannot_fill_the_table(built: Built, services: Services) -> None:
    number = MOST_COUNTED + 200
    for each in range(number):
        caller = caller_from(address=f"10.0.{each // 250}.{each % 250}")
        services.audit.count(AuditEvent.LOGIN_FAILED, caller)
        services.audit.count(AuditEvent.REFUSED_CROSS_SITE, caller)
    await services.audit.flush()
    found = await entries(built)
    assert len(found) == MOST_COUNTED + 2
    assert sum(entry.count for entry in found) == 2 * number
    overflow = [entry for entry in found if entry.detail]
    assert {(entry.event, entry.address) for entry in overflow} == {
        ("login_failed", None),
        ("refused_cross_site", None),
    }


async def test_counts_that_cannot_be_written_are_kept(
    built: Built, services: Services, member: Member
) -> None:
    services.audit.count(AuditEvent.LOGIN_FAILED, NOBODY, user_id=member.id)
    async with built.database.begin() as db:
        await db.execute(text("ALTER TABLE audit RENAME TO away"))
    with pytest.raises((Unavailable, DBAPIError)):
        await services.audit.flush()
    services.audit.count(AuditEvent.LOGIN_FAILED, NOBODY, user_id=member.id)
    async with built.database.begin() as db:
        await db.execute(text("ALTER TABLE away RENAME TO audit"))
    await services.audit.flush()
    (entry,) = await entries(built, AuditEvent.LOGIN_FAILED)
    assert entry.count == 2


async def test_counts_are_written_when_the_process_stops(
    settings: Settings, built: Built, member: Member
) -> None:
    ending = build_services(settings)
    async with running(ending.periodic_tasks):
        ending.services.audit.count(AuditEvent.LOGIN_FAILED, NOBODY, user_id=member.id)
    await ending.close()
    (entry,) = await entries(built, AuditEvent.LOGIN_FAILED)
    assert entry.user_id == member.id


async def test_counts_are_written_periodically(built: Built, services: Services) -> None:
    often = timedelta(seconds=0.05)
    async with running([replace(task, every=often) for task in services.audit.periodic_tasks()]):
        services.audit.count(AuditEvent.LOGIN_FAILED, NOBODY)
        for _ in range(100):
            await asyncio.sleep(0.05)
            if await entries(built, AuditEvent.LOGIN_FAILED):
                return
    pytest.fail("nothing was written")


@pytest.mark.parametrize(
    ("address", "shown", "counted"),
    [
        (None, None, None),
        ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("2001:DB8:1:2:3::4", "2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::1", "fe80::/64"),
        ("192.0.2.7:50412", "192.0.2.7", "192.0.2.7"),
        ("[2001:db8:1:2:3::4]:50412", "2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("[::ffff:192.0.2.7]", "192.0.2.7", "192.0.2.7"),
        ("192.0.2.700:1", "192.0.2.700:1", "192.0.2.700:1"),
        ("<local>", "<local>", "<local>"),
        ("x" * 60, "x" * 45, "x" * 45),
    ],
)
def test_an_address_is_shown_in_full_and_counted_by_network(
    address: str | None, shown: str | None, counted: str | None
) -> None:
    assert (shown_address(address), counted_address(address)) == (shown, counted)


async def test_a_log_entry_is_one_line(built: Built, services: Services, member: Member) -> None:
    await log_in(services, member, caller_from(address="a\r\nb\x1b[31m\x7f\u2028\u202e"))
    (entry,) = await entries(built, AuditEvent.LOGIN)
    line = line_of(entry)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["address"] == entry.address


# --- append-only ---------------------------------------------------------------------------------


async def refused(built: Built, *statements: str) -> str:
    """Return the database's error for the last of the statements."""

    async def carry_out() -> None:
        async with built.database.begin() as db:
            for statement in statements:
                await db.execute(text(statement))

    with pytest.raises(DBAPIError) as error:
        await carry_out()
    return str(error.value.orig)


REWRITING = [
    "UPDATE audit SET user_id = 2",
    "UPDATE audit SET keep_until = '2000-01-01 00:00:00'",
    "DELETE FROM audit",
]
REWRITING_BY_ENGINE = {
    "sqlite": [
        "UPDATE OR REPLACE audit SET id = id",
        "INSERT OR REPLACE INTO audit SELECT * FROM audit",
        "REPLACE INTO audit (id, at, event, count, keep_until) VALUES (1, '', '', 1, '')",
    ],
    "postgresql": [
        "TRUNCATE audit",
        (
            "INSERT INTO audit SELECT * FROM audit"
            " ON CONFLICT (id) DO UPDATE SET keep_until = '2000-01-01'"
        ),
    ],
}


async def test_the_database_refuses_changes_to_audit_entries(
    built: Built, engine_name: str
) -> None:
    await write(built, {"user_id": 1})
    before = [vars(entry) | {"_sa_instance_state": None} for entry in await entries(built)]
    for statement in REWRITING + REWRITING_BY_ENGINE[engine_name]:
        assert "the audit is " in await refused(built, statement), statement
    after = [vars(entry) | {"_sa_instance_state": None} for entry in await entries(built)]
    assert after == before


async def test_the_database_refuses_changes_to_expired_entries_too(built: Built) -> None:
    await write_expired(built, 1)
    assert "not rewritten" in await refused(built, "UPDATE audit SET count = 2")


async def test_purging_deletes_exactly_the_expired_entries(
    built: Built, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quart_app.services.audit.audit.BATCH_ROWS", 10)
    monkeypatch.setattr("quart_app.services.audit.audit.PAUSE_SECONDS", 0)
    await write_expired(built, 25)
    await write(built, {"user_id": 1}, {"user_id": 2})
    await services.audit.purge()
    assert [entry.user_id for entry in await entries(built)] == [1, 2]


async def test_a_short_retention_is_respected(built: Built, services: Services) -> None:
    await write(built, {"user_id": 1}, kept_for=timedelta(seconds=1))
    await services.audit.purge()
    assert len(await entries(built)) == 1
    await asyncio.sleep(1.1)
    await services.audit.purge()
    assert await entries(built) == []


@pytest.mark.parametrize("engine_name", ["postgresql"])
async def test_only_one_process_purges_at_a_time(
    built: Built,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("quart_app.services.audit.audit.PAUSE_SECONDS", 0.01)
    await write_expired(built, 3)
    async with built.database.begin() as db:
        assert await delete_entries_past_their_time(db, most=1) == 1
        await services.audit.purge()  # waits for no lock, and says that it could not have it
        assert len(await entries(built)) == 3  # not committed yet
    assert "The audit log was not purged" in caplog.text
    await services.audit.purge()
    assert await entries(built) == []


@pytest.mark.parametrize("engine_name", ["postgresql"])
async def test_a_purge_is_retried_while_another_process_purges(
    built: Built, services: Services
) -> None:
    await write_expired(built, 3)
    async with built.database.begin() as db:
        assert await delete_entries_past_their_time(db, most=1) == 1
        purging = asyncio.create_task(services.audit.purge())
        await asyncio.sleep(0.3)
    await purging
    assert await entries(built) == []


@pytest.mark.parametrize("engine_name", ["postgresql"])
async def test_a_switch_and_a_purge_do_not_block_each_other(
    built: Built, services: Services, member: Member
) -> None:
    await write_expired(built, 3)
    async with built.database.begin() as db:
        assert await delete_entries_past_their_time(db, most=1) == 1
        async with asyncio.timeout(2):
            await services.platforms.switch(caller_of(member.id), member.platform_ids[1])
    async with built.database.begin() as db:
        await add_change(db, member.id, at=datetime.now(UTC))
        await services.audit.purge()
    async with built.database.read() as db:
        over = AuditEntry.keep_until < datetime.now(UTC)
        assert await db.scalar(select(func.count()).where(over)) == 0


async def test_another_programs_table_of_the_same_name_is_refused(empty_database_url: URL) -> None:
    await upgrade_schema(empty_database_url)
    built = build_services(
        Settings(
            secret_key="0123456789abcdef" * 4,
            platform_encryption_keys=("A" * 43 + "=",),
            database_url=empty_database_url,
        )
    )
    try:
        async with built.database.begin() as db:
            await db.execute(text("DROP TABLE audit"))
            await db.execute(text("CREATE TABLE audit (id INTEGER, story TEXT)"))
            await db.execute(text("UPDATE quart_app_version SET version_num = '0003'"))
        with pytest.raises(SchemaRefused, match="There is already a table audit"):
            await upgrade_schema(empty_database_url)
    finally:
        await built.close()


# --- reading -------------------------------------------------------------------------------------


async def test_paging_reaches_the_first_entry_and_skips_nothing(
    built: Built, services: Services
) -> None:
    reader = await an_admin(services)
    await write(built, *({"user_id": each} for each in range(1000, 1123)))
    seen, before, pages = [], None, 0
    while True:
        page = await services.audit_reader.page(caller_of(reader), AuditFilter(), before=before)
        assert len(page.items) <= 50
        seen += [listed.entry.id for listed in page.items]
        pages += 1
        await write(built, {"user_id": 1})  # new entries do not shift the pages
        if page.next_cursor is None:
            break
        before = page.next_cursor
    everything = [entry.id for entry in await entries(built)]
    assert pages == 3
    assert seen == sorted(everything, reverse=True)[pages:]


async def test_a_full_last_page_has_no_older_page(built: Built, services: Services) -> None:
    reader = await an_admin(services)
    await write(built, *({"user_id": each} for each in range(49)))
    page = await services.audit_reader.page(caller_of(reader), AuditFilter())
    assert (len(page.items), page.next_cursor) == (50, None)


async def test_filters_narrow_the_results_and_combine(
    built: Built, services: Services, member: Member
) -> None:
    reader = await an_admin(services)
    await write(
        built,
        {"user_id": member.id, "address": "192.0.2.7", "event": "login"},
        {"user_id": member.id, "address": "192.0.2.8", "event": "login"},
        {"user_id": reader, "address": "192.0.2.7", "event": "login"},
        {"user_id": reader, "address": "192.0.2.7", "event": "logout"},
    )

    async def found(**wanted: Any) -> list[tuple[str | None, str, str | None]]:
        page = await services.audit_reader.page(caller_of(reader), AuditFilter(**wanted))
        return [
            (listed.username, listed.entry.event, listed.entry.address)
            for listed in page.items
            if listed.entry.event.startswith("log")
        ]

    ada7, ada8 = ("ada", "login", "192.0.2.7"), ("ada", "login", "192.0.2.8")
    root7, out7 = ("root", "login", "192.0.2.7"), ("root", "logout", "192.0.2.7")
    assert await found() == [out7, root7, ada8, ada7]
    assert await found(event="login") == [root7, ada8, ada7]
    assert await found(username="ada") == [ada8, ada7]
    assert await found(address="192.0.2.7") == [out7, root7, ada7]
    assert await found(event="login", username="ada", address="192.0.2.7") == [ada7]
    assert await found(username="nobody") == []
    today = (await entries(built))[-1].at.date()
    assert len(await found(from_day=today, to_day=today)) == 4
    day = timedelta(days=1)
    assert await found(from_day=today + day) == []
    assert await found(to_day=today - day) == []
    assert len(await found(from_day=today - day, to_day=today + day)) == 4
    earliest, latest = date.min, date.max
    assert len(await found(from_day=earliest, to_day=latest)) == 4


async def test_days_are_utc_days_from_beginning_to_end(built: Built, services: Services) -> None:
    reader = await an_admin(services)
    noon = datetime(2026, 3, 15, 12, tzinfo=UTC)
    day = datetime(2026, 3, 15, tzinfo=UTC)
    tick = timedelta(microseconds=1)
    times = [day - tick, day, noon, day + timedelta(days=1) - tick, day + timedelta(days=1)]
    async with built.database.begin() as db:
        await db.execute(
            insert(AuditEntry),
            [
                {"event": "login", "count": number, "at": at, "keep_until": at + YEAR}
                for number, at in enumerate(times)
            ],
        )
    wanted = AuditFilter(from_day=day.date(), to_day=day.date())
    page = await services.audit_reader.page(caller_of(reader), wanted)
    assert [listed.entry.count for listed in page.items] == [3, 2, 1]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MODERATOR, Role.REVIEWER])
async def test_only_administrators_can_read_and_other_attempts_are_counted(
    built: Built, services: Services, role: Role
) -> None:
    user, _ = await services.users.create(
        NOBODY, username="mo", email="mo@example.com", role=role, password=PASSWORD
    )
    for read in (
        services.audit_reader.page(caller_of(user.id), AuditFilter()),
        services.authorization.check(caller_of(user.id)),
    ):
        with pytest.raises(Forbidden):
            await read
    await services.audit.flush()
    (entry,) = await entries(built, AuditEvent.REFUSED_RIGHTS)
    assert (entry.user_id, entry.count) == (user.id, 2)


async def test_a_deactivated_administrator_can_no_longer_read(services: Services) -> None:
    reader = await an_admin(services)
    await services.users.deactivate(NOBODY, UserRef.by_name("root"))
    with pytest.raises(NotFound):
        await services.audit_reader.page(caller_of(reader), AuditFilter())


@pytest.fixture
async def plans(built: Built) -> AsyncIterator[list[tuple[str, Any]]]:
    """Every query for audit entries, with its values."""
    seen: list[tuple[str, Any]] = []

    def see(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if "FROM audit" in statement:
            seen.append((statement, values))

    engine = built.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", see)
    yield seen
    event.remove(engine, "before_cursor_execute", see)


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (AuditFilter(), None),
        (AuditFilter(event="login"), "ix_audit_event_id"),
        (AuditFilter(username="root"), "ix_audit_user_id_id"),
        (AuditFilter(address="192.0.2.7"), "ix_audit_address_id"),
    ],
)
@pytest.mark.parametrize("engine_name", ["sqlite"])
async def test_a_page_is_an_index_seek(
    built: Built,
    services: Services,
    plans: list[tuple[str, Any]],
    wanted: AuditFilter,
    index: str | None,
) -> None:
    reader = await an_admin(services)
    await services.audit_reader.page(caller_of(reader), replace(wanted), before=1000)
    ((statement, values),) = plans
    async with built.database.read() as db:
        rows = await (await db.connection()).exec_driver_sql(
            f"EXPLAIN QUERY PLAN {statement}", values
        )
        plan = " ".join(map(str, rows))
    assert "SEARCH audit USING" in plan
    assert "TEMP B-TREE" not in plan  # no sorting step
    assert (index or "INTEGER PRIMARY KEY") in plan
