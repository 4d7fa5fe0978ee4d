"""The audit log: access, entries about requests, export, and secrets that it never contains."""

import csv
import io
import json
import logging
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import URL, MetaData, event, select, text

from quart_app.composition import Built
from quart_app.model import AuditEntry, AuditEvent, Role
from quart_app.services import Services
from quart_app.services.administration.user_ref import UserRef
from quart_app.services.audit.entries import hash_of_session
from quart_app.storage.audit import add_entries
from quart_app.storage.database import Database
from tests.callers import NOBODY
from tests.conftest import PASSWORD, STATIC, Member, log_in, set_cookies

PAGES = ("/admin/audit", "/admin/audit.csv")


@pytest.fixture
def served(app: Quart) -> Services:
    """The application's own use cases, because counts are in its memory."""
    services: Services = app.extensions["quart_app"]
    return services


@pytest.fixture
async def admin(app: Quart, services: Services) -> Client:
    """A browser with a session of an administrator."""
    user, _ = await services.users.create(
        NOBODY, username="root", email="root@example.com", role=Role.ADMIN, password=PASSWORD
    )
    client = app.test_client()
    await log_in(client, Member(user.id, user.username, PASSWORD, (0, 0, 0)))
    return client


async def text_of(client: Client, path: str) -> str:
    response = await client.get(path)
    assert response.status_code == 200, path
    body: str = await response.get_data(as_text=True)
    return body


async def entries(built: Built, *events: AuditEvent) -> list[AuditEntry]:
    async with built.database.read() as db:
        query = select(AuditEntry).order_by(AuditEntry.id)
        return list(await db.scalars(query.where(AuditEntry.event.in_(events))))


async def write(built: Built, *rows: dict[str, Any]) -> None:
    async with built.database.begin() as db:
        given = [{"event": "login", "count": 1} | row for row in rows]
        await add_entries(db, given, kept_for=timedelta(days=365))


async def rows_of(client: Client, path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(await text_of(client, path), newline="")))


# --- permission ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
async def test_only_administrators_see_the_audit_log(
    served: Services, built: Built, browser: Client, member: Member, path: str
) -> None:
    response = await browser.get(path)
    assert response.status_code == 403
    assert "Only administrators can do this." in await response.get_data(as_text=True)
    problem = await browser.get(path, headers={"Accept": "application/json"})
    assert (await problem.get_json(force=True))["code"] == "forbidden"
    assert (await browser.get(f"{path}?from_day=x")).status_code in {403, 422}
    await served.audit.flush()
    (entry,) = await entries(built, AuditEvent.REFUSED_RIGHTS)
    assert (entry.user_id, entry.actor_user_id) == (member.id, member.id)
    assert entry.count in {2, 3}
    assert entry.request_id


async def test_an_administrator_who_loses_the_role_cannot_read_from_the_next_request_on(
    built: Built, admin: Client
) -> None:
    assert (await admin.get("/admin/audit")).status_code == 200
    async with built.database.begin() as db:
        await db.execute(text("UPDATE users SET role = 'VIEWER' WHERE username = 'root'"))
    for path in PAGES:
        assert (await admin.get(path)).status_code == 403


async def test_only_administrators_see_the_link_to_the_audit_log(
    admin: Client, browser: Client
) -> None:
    for path in ("/", "/platforms", "/account"):
        assert 'href="/admin/audit"' in await text_of(admin, path)
        assert "/admin/audit" not in await text_of(browser, path)
    assert re.search(
        r'href="/admin/audit" aria-current="page"', await text_of(admin, "/admin/audit")
    )


# --- entries about requests ----------------------------------------------------------------------


async def test_every_response_has_a_server_generated_request_id(
    visitor: Client, browser: Client
) -> None:
    seen = set()
    for client, path in (
        (visitor, "/login"),
        (visitor, "/nothing"),
        (visitor, f"{STATIC}/style.css"),
        (visitor, "/api/platforms"),
        (browser, "/"),
        (browser, "/"),
    ):
        response = await client.get(path, headers={"X-Request-Id": "chosen"})
        (request_id,) = response.headers.getlist("X-Request-Id")
        assert re.fullmatch("[0-9a-f]{24}", request_id)
        seen.add(request_id)
    assert len(seen) == 6
    unreadable = await visitor.get("/login", headers={"Host": "a..b"})
    assert unreadable.status_code == 400
    assert unreadable.headers["X-Request-Id"]
    refused = await visitor.post("/login", headers={"Origin": "null"})
    assert refused.headers["X-Request-Id"]


async def test_a_login_and_a_logout_are_recorded_with_request_address_and_session(
    app: Quart, built: Built, member: Member
) -> None:
    client = app.test_client()
    json_body = {"username": member.username, "password": PASSWORD}
    response = await client.post(
        "/api/login", json=json_body, scope_base={"client": ("192.0.2.7", 5000)}
    )
    (login,) = await entries(built, AuditEvent.LOGIN)
    assert (login.user_id, login.actor_user_id, login.address) == (
        member.id,
        member.id,
        "192.0.2.7",
    )
    assert login.request_id == response.headers["X-Request-Id"]
    response = await client.post("/api/logout")
    (logout,) = await entries(built, AuditEvent.LOGOUT)
    assert (logout.user_id, logout.actor_user_id) == (member.id, member.id)
    assert (logout.session, logout.request_id) == (
        login.session,
        response.headers["X-Request-Id"],
    )


async def test_a_users_actions_are_recorded_with_the_user_and_the_session(
    built: Built, browser: Client, member: Member
) -> None:
    await browser.post(f"/platforms/{member.platform_ids[1]}/switch")
    await browser.post(f"/api/platforms/{member.platform_ids[2]}/default")
    login, *done = await entries(
        built,
        AuditEvent.LOGIN,
        AuditEvent.PLATFORM_SWITCHED,
        AuditEvent.PLATFORM_DEFAULT_CHANGED,
    )
    assert [each.event for each in done] == ["platform_switched", "platform_default_changed"]
    for entry in done:
        assert (entry.user_id, entry.actor_user_id) == (member.id, member.id)
        assert entry.session == login.session


async def test_cross_site_requests_and_requests_for_others_connections_are_counted(
    served: Services, built: Built, visitor: Client, browser: Client, member: Member
) -> None:
    for client, headers in (
        (visitor, {"Sec-Fetch-Site": "cross-site"}),
        (visitor, {"Origin": "http://evil.example"}),
        (browser, {"Sec-Fetch-Site": "same-site"}),
    ):
        assert (await client.post("/logout_all", headers=headers)).status_code == 403
    assert (await browser.post("/api/platforms/999/switch")).status_code == 404
    assert (await browser.get("/api/platforms/999")).status_code == 404
    await served.audit.flush()
    found = await entries(built, AuditEvent.REFUSED_CROSS_SITE, AuditEvent.REFUSED_RIGHTS)
    counted = {(each.event, each.user_id, each.actor_user_id): each.count for each in found}
    assert counted == {
        ("refused_cross_site", None, None): 2,
        ("refused_cross_site", member.id, None): 1,
        ("refused_rights", member.id, member.id): 2,
    }


async def test_a_failed_login_in_a_users_browser_is_not_counted_as_the_users(
    served: Services, built: Built, browser: Client
) -> None:
    wrong = {"username": "nobody is called that", "password": "wrong"}
    assert (await browser.post("/api/login", json=wrong)).status_code == 401
    await served.audit.flush()
    (entry,) = await entries(built, AuditEvent.LOGIN_FAILED)
    assert (entry.user_id, entry.actor_user_id) == (None, None)


async def test_a_refusal_writes_nothing_immediately(visitor: Client, statements: list[str]) -> None:
    await visitor.post("/login", headers={"Sec-Fetch-Site": "cross-site"})
    assert not statements


async def test_reading_a_page_is_not_recorded(browser: Client, statements: list[str]) -> None:
    await browser.get("/")
    assert statements
    assert not [each for each in statements if each.startswith("INSERT")]


# --- the page ------------------------------------------------------------------------------------


async def test_paging_leads_to_older_entries(built: Built, admin: Client) -> None:
    await write(built, *({"user_id": 1, "address": f"10.0.0.{each}"} for each in range(120)))
    seen: list[str] = []
    path: str | None = "/admin/audit?event=login&address="
    while path:
        html = await text_of(admin, path)
        seen += re.findall(r"<bdi>(10\.0\.0\.\d+)</bdi>", html)
        link = re.search(r'rel="next" href="([^"]+)"', html)
        path = link[1].replace("&amp;", "&") if link else None
        assert path is None or "event=login" in path
    assert seen == [f"10.0.0.{each}" for each in reversed(range(120))]


async def test_filters_are_kept_in_the_form_and_in_the_links(
    built: Built, admin: Client, member: Member
) -> None:
    await write(built, *({"user_id": member.id, "address": "192.0.2.7"} for _ in range(60)))
    await write(built, {"user_id": member.id, "address": "192.0.2.8", "event": "logout"})
    day = datetime.now(UTC).date()
    query = f"user=ada&address=192.0.2.7&event=login&from_day={day}&to_day={day}"
    html = await text_of(admin, f"/admin/audit?{query}")
    assert "192.0.2.8" not in html
    assert html.count("<bdi>192.0.2.7</bdi>") == 50
    assert 'value="ada"' in html
    assert f'value="{day}"' in html
    assert '<option value="login" selected>' in html
    for link in re.findall(r'href="(/admin/audit[.?][^"]+)"', html):
        for part in query.split("&"):
            assert part in link
    assert "No results." in await text_of(admin, "/admin/audit?user=nobody")
    assert "192.0.2.8" in await text_of(admin, "/admin/audit?user=%20ada%20&event=logout&notice=x")


async def test_the_users_page_links_to_the_audit_log_filtered_by_that_user(
    built: Built, admin: Client, member: Member
) -> None:
    (root,) = {1, 2} - {member.id}
    await write(built, *({"user_id": member.id, "actor_user_id": root} for _ in range(60)))
    await write(built, {"user_id": root, "actor_user_id": member.id, "address": "192.0.2.9"})
    by_root = {"user_id": member.id, "actor_user_id": root, "address": "192.0.2.8"}
    await write(built, by_root | {"event": "logout"})
    html = await text_of(admin, f"/admin/users/{member.id}")
    of_user, by_user = re.findall(r'href="(/admin/audit\?[^"]+)"', html)
    assert "192.0.2.9" not in await text_of(admin, of_user)
    html = await text_of(admin, by_user)
    assert html.count("<bdi>192.0.2.9</bdi>") == 1
    assert "192.0.2.8" not in html
    html = await text_of(admin, "/admin/audit?actor=root&event=login")
    assert 'id="actor" name="actor" value="root"' in html
    for link in re.findall(r'href="(/admin/audit[.?][^"]+)"', html):
        assert "actor=root" in link or link == "/admin/audit"
    rows = await rows_of(admin, "/admin/audit.csv?actor=root&user=ada&event=logout")
    assert [(row["actor"], row["user"], row["address"]) for row in rows] == [
        ("root", "ada", "192.0.2.8")
    ]
    for nobody in ("actor=nobody", "actor=%20", "user=ada&actor=nobody"):
        assert "No results." in await text_of(admin, f"/admin/audit?{nobody}")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from_day=yesterday", "From"),
        ("to_day=2026-13-01", "To"),
        ("from_day=2026-02-02&to_day=2026-02-01", "To"),
        ("actor=a%00b", "Done by"),
        ("user=a%00b", "User"),
        (f"address={'1' * 46}", "IP address"),
        ("before=0", "before"),
        ("before=x", "before"),
        (f"before={2**63}", "before"),
        (f"event={'e' * 33}", "Event"),
    ],
)
async def test_an_invalid_filter_is_named(admin: Client, query: str, field: str) -> None:
    response = await admin.get(f"/admin/audit?{query}")
    html = await response.get_data(as_text=True)
    assert response.status_code == 422
    assert f">{field}</" in html
    if field in {"From", "To"}:
        is_order = "&" in query
        assert ("This day is before the first day." in html) is is_order
        assert ("Enter a day such as" in html) is not is_order
    assert "<tbody" not in html
    assert (await admin.get(f"/admin/audit.csv?{query}")).status_code == 422


async def test_values_in_the_table_are_escaped(built: Built, admin: Client) -> None:
    await write(built, {"address": "<script>alert(1)</script>", "event": "<b>new</b>"})
    await write(built, {"detail": json.dumps({"<i>": "<u>"}), "user_id": 999})
    html = await text_of(admin, "/admin/audit")
    for tag in ("<script>", "<b>", "<i>", "<u>"):
        assert tag not in html
    assert "user 999" in html
    assert not re.search(r"<style|<script(?![^>]* src=)|\sstyle=|\son[a-z]+=|javascript:", html)


async def test_the_table_is_accessible_to_screen_readers(admin: Client) -> None:
    html = await text_of(admin, "/admin/audit")
    assert re.search(r"<table[^>]*>\s*<caption", html)
    assert html.count('scope="col"') == 6 + 3  # and of the table of daily logins
    assert 'scope="row"' in html
    for name in ("event", "user", "actor", "address", "from_day", "to_day"):
        assert f'<label for="{name}">' in html


# --- the export ----------------------------------------------------------------------------------


async def test_head_describes_the_export_without_making_one(admin: Client) -> None:
    told = await admin.head("/admin/audit.csv")
    export = await admin.get("/admin/audit.csv")
    assert (told.status_code, await told.get_data()) == (200, b"")
    for name in ("Content-Type", "Content-Disposition", "Cache-Control"):
        assert told.headers[name] == export.headers[name]


async def test_the_export_contains_the_filtered_entries_from_several_transactions(
    built: Built, admin: Client, member: Member, served: Services
) -> None:
    await write(built, *({"user_id": member.id, "event": "logout"} for _ in range(1101)))
    open_at_once, most_open, opened = 0, 0, 0
    engine = served.audit.database.engine.sync_engine

    def began(_connection: Any) -> None:
        nonlocal open_at_once, most_open, opened
        open_at_once, opened = open_at_once + 1, opened + 1
        most_open = max(most_open, open_at_once)

    def ended(_connection: Any) -> None:
        nonlocal open_at_once
        open_at_once -= 1

    for name, hear in (("begin", began), ("commit", ended), ("rollback", ended)):
        event.listen(engine, name, hear)
    try:
        response = await admin.get("/admin/audit.csv?event=logout")
    finally:
        for name, hear in (("begin", began), ("commit", ended), ("rollback", ended)):
            event.remove(engine, name, hear)
    assert (most_open, open_at_once) == (1, 0)
    assert opened >= 3
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    assert "audit.csv" in response.headers["Content-Disposition"]
    text = await response.get_data(as_text=True)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    ids = [int(row["id"]) for row in rows]
    assert len(ids) == 1101
    assert ids == sorted(ids, reverse=True)
    assert {(row["event"], row["user"], row["count"]) for row in rows} == {("logout", "ada", "1")}


@pytest.mark.parametrize(
    ("begin", "shown"),
    [
        *(("=", "'="), ("+", "'+"), ("-", "'-"), ("@", "'@"), ("＝", "'＝"), ("a;=", "a;'=")),  # noqa: RUF001
        *(("\t=", "\\t="), ("\r", "\\r"), ("\u200b=", "\\u200b=")),
    ],
)
@pytest.mark.parametrize("column", ["address", "detail", "request_id", "session"])
async def test_no_exported_cell_is_a_formula(
    built: Built, admin: Client, column: str, begin: str, shown: str
) -> None:
    await write(built, {column: f'{begin}LINK("x")', "event": "x"})
    (row,) = await rows_of(admin, "/admin/audit.csv?event=x")
    assert row[column] == f'{shown}LINK("x")'


# --- no secrets ----------------------------------------------------------------------------------

CANARIES = {
    "password": "canary-password-of-a-user",
    "generated": "canary-password-for-one-use",
    "new password": "canary-password-that-is-new",
    "third password": "canary-password-that-is-third",
    "wrong password": "canary-password-that-is-wrong",
    "typed name": "canary-name-that-was-typed",
    "password by link": "canary-password-by-a-link",
    "access token": "canary-access-token",
    "other token": "canary-token-as-a-name",
}


async def everything_stored(url: URL) -> dict[str, list[dict[str, Any]]]:
    database = Database(url)
    try:
        async with database.read() as db:
            connection = await db.connection()
            metadata = MetaData()
            await connection.run_sync(metadata.reflect)
            return {
                name: [dict(row._mapping) for row in await connection.execute(table.select())]
                for name, table in metadata.tables.items()
            }
    finally:
        await database.close()


class _Journey:
    """Requests, and every cookie and token that they created."""

    def __init__(self, app: Quart) -> None:
        self.client = app.test_client()
        self.cookies: set[str] = set()
        self.tokens: set[str] = set()

    async def ask(self, method: str, path: str, status: int, **options: Any) -> Any:
        client: Any = self.client
        response = await client.open(path, method=method, **options)
        assert response.status_code == status, (path, await response.get_data(as_text=True))
        for line in set_cookies(response).values():
            value = line.split("=", 1)[1].split(";")[0]
            if value:
                self.cookies.add(value)
        return response


@pytest.fixture
def journey(app: Quart) -> _Journey:
    return _Journey(app)


async def perform_every_action(  # noqa: PLR0915 every action
    journey: _Journey, services: Services
) -> None:
    """Perform every action over HTTP, with a canary in place of every secret."""
    name, address = "wren", "wren@example.com"
    user, _ = await services.users.create(
        NOBODY, username=name, email=address, role=Role.ADMIN, password=CANARIES["password"]
    )
    ask = journey.ask
    good = {"username": name, "password": CANARIES["password"]}
    for path, kind in (("/api/login", "json"), ("/login", "form")):
        await ask("POST", path, 401, **{kind: good | {"password": CANARIES["wrong password"]}})
        await ask("POST", path, 401, **{kind: good | {"username": CANARIES["typed name"]}})
        await ask("POST", path, 422, **{kind: good | {"new_password": CANARIES["new password"]}})
        headers = {"Sec-Fetch-Site": "cross-site"}
        await ask("POST", path, 403, **{kind: good}, headers=headers)
    await ask("POST", "/login", 303, form=good)
    await ask("POST", "/api/login", 200, json=good)
    connection = {"name": "One", "platform_type": "mastodon", "instance_url": "localhost"}
    secret: dict[str, Any] = {"access_token": CANARIES["access token"]}
    await ask("POST", "/platforms", 502, form=connection | secret)  # no server is asked
    secret |= {"name": CANARIES["other token"], "verify": False}
    made = await ask("POST", "/api/platforms", 201, json=connection | secret)
    await ask("POST", "/api/platforms", 409, json=connection | secret)
    number = (await made.get_json())["id"]
    for action in ("switch", "default"):
        await ask("POST", f"/platforms/{number}/{action}", 303)
        await ask("POST", f"/api/platforms/{number}/{action}", 200)
    await ask("PATCH", f"/api/platforms/{number}", 200, json={"is_active": False})
    await ask("POST", f"/platforms/{number}/activate", 303)
    await ask("POST", f"/platforms/{number}/rename", 303, form={"name": "Two"})
    await ask("POST", f"/platforms/{number}/remove", 303)
    await ask("DELETE", f"/api/platforms/{number}", 404)
    change = {"current_password": CANARIES["wrong password"]}
    new = {"new_password": CANARIES["new password"]}
    await ask("POST", "/account/password", 401, form=change | new)
    await ask("POST", "/api/account/password", 401, json=change | new)
    change = {"current_password": CANARIES["password"]}
    await ask("POST", "/account/password", 303, form=change | new)
    await ask("GET", "/admin/audit?user=wren", 200)
    await ask("GET", "/admin/audit.csv", 200)
    await ask("POST", "/api/logout_all", 204)
    good["password"] = CANARIES["new password"]
    await ask("POST", "/login", 303, form=good)
    await ask("POST", "/logout", 303)
    await services.user_passwords.set(NOBODY, UserRef.by_name(name), CANARIES["generated"])
    async with services.accounts.database.begin() as db:
        await db.execute(text("UPDATE users SET must_change_password = true"))
    good["password"] = CANARIES["generated"]
    await ask("POST", "/api/login", 403, json=good)
    await ask("POST", "/login", 303, form=good)
    await ask("GET", "/login/new_password", 200)
    again = {"new_password": CANARIES["third password"], "user_id": str(user.id)}
    await ask("POST", "/login/new_password", 422, form=again | {"new_password": "short"})
    await ask("POST", "/login/new_password", 303, form=again)
    await use_a_reset_link(journey, user.id)
    await services.users.deactivate(NOBODY, UserRef.by_name(name))
    await services.users.activate(NOBODY, UserRef.by_name(name))


async def use_a_reset_link(journey: _Journey, user_id: int) -> None:
    shown = await journey.ask("POST", f"/admin/users/{user_id}/reset_link", 200)
    (token,) = re.findall(r"/reset\?token=([\w-]{43})", await shown.get_data(as_text=True))
    journey.tokens.add(token)
    await journey.ask("GET", f"/reset?token={token}", 200)
    form = {"token": token, "new_password": CANARIES["password by link"]}
    await journey.ask("POST", "/reset", 422, form=form | {"new_password": "short"})
    await journey.ask("POST", "/reset", 303, form=form)
    await journey.ask("GET", f"/reset?token={token}", 410)


async def test_no_secret_is_recorded_or_logged(
    served: Services,
    services: Services,
    journey: _Journey,
    database_url: URL,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    for noisy in ("aiosqlite", "asyncio"):
        caplog.set_level(logging.INFO, noisy)
    await perform_every_action(journey, services)
    await served.audit.flush()
    stored = await everything_stored(database_url)
    sids = {row["sid"] for row in stored["logins"]}
    assert len(sids) >= 5
    written = {row["event"] for row in stored["audit"]}
    assert written >= {
        *("login", "login_failed", "reauthentication_failed", "logout", "sessions_ended"),
        *("password_changed", "password_reset", "user_created", "user_deactivated"),
        "password_reset_link_made",
        *("platform_switched", "platform_connected", "platform_changed", "platform_removed"),
        *("user_activated", "platform_default_changed", "refused_rights", "refused_cross_site"),
    }
    assert {row["session"] for row in stored["audit"]} - {None} <= {
        hash_of_session(sid) for sid in sids
    }
    # The beginning of a session id would be enough to identify the session.
    secrets = {*CANARIES.values(), *journey.cookies, *journey.tokens, *(sid[:10] for sid in sids)}
    told = "\n".join(
        f"{record.getMessage()} {record.exc_text or ''} {vars(record)}" for record in caplog.records
    )
    assert '"event": "login"' in told
    for table, rows in stored.items():
        for row in rows:
            # Fields that must contain the value, because it identifies the ended session.
            kept = {name: value for name, value in row.items() if name != "sid"}
            line = f"{kept}"
            for secret in secrets:
                assert secret not in line, (table, secret)
    for secret in secrets:
        assert secret not in told


pytestmark = pytest.mark.sqlite_unless_thorough
