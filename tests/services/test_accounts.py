"""Use cases of an account, and races between them."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from werkzeug.security import generate_password_hash

from quart_app.composition import Built
from quart_app.errors import (
    BadCredentials,
    InvalidInput,
    NameTaken,
    NotFound,
    PasswordChangeNeeded,
    SetUpLinkInvalid,
    TooManyAttempts,
)
from quart_app.model import AuditEntry, AuditEvent, Role, Throttle, User
from quart_app.services import Services
from quart_app.services.administration.user_ref import UserRef
from quart_app.services.background.shielding import drain
from quart_app.services.identity.accounts import Accounts
from quart_app.services.identity.own_password import OwnPassword
from quart_app.services.identity.passwords import Passwords
from quart_app.services.identity.steps.comparing import PasswordComparison
from quart_app.services.identity.steps.throttle import (
    OF_A_NAME,
    RESERVED_FOR,
    Attempt,
    ComparisonsUnderWay,
)
from quart_app.services.sessions.new_session import NewSession
from tests.callers import NOBODY, caller_of
from tests.conftest import PASSWORD, Clock, Member

NEW_PASSWORD = "incorrect donkey charger paperclip"


class PausingPasswords(Passwords):
    """Compares as usual, but returns only after `let_go` was set, so others can run first."""

    def __init__(self) -> None:
        super().__init__()
        self.compared, self.let_go = asyncio.Event(), asyncio.Event()

    async def matches(self, password_hash: str | None, password: str) -> bool:
        result = await super().matches(password_hash, password)
        self.compared.set()
        await self.let_go.wait()
        return result


@pytest.fixture
def pausing() -> Iterator[PausingPasswords]:
    passwords = PausingPasswords()
    yield passwords
    passwords.close()


@pytest.fixture
def slow_accounts(services: Services, pausing: PausingPasswords) -> Accounts:
    """The same use cases, except that a login pauses after the password was compared."""
    return replace(services.accounts, comparison=slow(services, pausing))


def slow(services: Services, pausing: PausingPasswords) -> PasswordComparison:
    return replace(services.accounts.comparison, passwords=pausing)


async def set_columns(built: Built, user_id: int, **values: object) -> None:
    async with built.database.begin() as db:
        users = User.table()  # a flag's attribute says more than its column
        await db.execute(update(users).where(users.c.id == user_id).values(values))


async def log_in(accounts: Accounts, member: Member, password: str = PASSWORD) -> NewSession:
    return await accounts.log_in(NOBODY, login_name=member.username, password=password)


async def test_a_login_begins_a_session_and_is_recorded(
    services: Services, member: Member, clock: Clock
) -> None:
    session = await log_in(services.accounts, member)
    assert (session.user_id, session.epoch) == (member.id, 0)
    assert session.platform_connection_id == member.platform_ids[0]
    assert session.sid != (await log_in(services.accounts, member)).sid
    assert (await services.accounts.user(caller_of(member.id))).last_login == clock()


@pytest.mark.parametrize("method", ["scrypt:32768:8:1", "pbkdf2:sha256:1000"])
async def test_a_legacy_hash_is_replaced_at_login(
    services: Services, built: Built, member: Member, method: str
) -> None:
    await set_columns(built, member.id, password_hash=generate_password_hash(PASSWORD, method))
    with pytest.raises(BadCredentials):
        await log_in(services.accounts, member, NEW_PASSWORD)
    assert (await services.accounts.user(caller_of(member.id))).password_hash.startswith(method)
    await log_in(services.accounts, member)
    replaced = (await services.accounts.user(caller_of(member.id))).password_hash
    assert replaced.startswith("$argon2id$")
    session = await log_in(services.accounts, member)
    assert session.epoch == 0  # nobody was logged out by it
    assert (await services.accounts.user(caller_of(member.id))).password_hash == replaced


@pytest.mark.parametrize("legacy", [False, True], ids=["argon2id", "scrypt, so to be replaced"])
async def test_a_login_during_a_password_change_gets_no_session(
    built: Built,
    member: Member,
    slow_accounts: Accounts,
    pausing: PausingPasswords,
    legacy: bool,  # noqa: FBT001 a parameter of pytest's
) -> None:
    if legacy:
        await set_columns(built, member.id, password_hash=generate_password_hash(PASSWORD))
    login = asyncio.create_task(log_in(slow_accounts, member))
    await pausing.compared.wait()
    await built.services.user_passwords.set(NOBODY, UserRef.by_name(member.username), NEW_PASSWORD)
    pausing.let_go.set()
    with pytest.raises(BadCredentials):
        await login
    assert (await log_in(built.services.accounts, member, NEW_PASSWORD)).epoch > 0


async def test_a_login_that_waits_for_an_uncommitted_password_change_gets_no_session(
    services: Services,
    built: Built,
    member: Member,
    slow_accounts: Accounts,
    pausing: PausingPasswords,
) -> None:
    new_hash = await pausing.hash(NEW_PASSWORD)
    login = asyncio.create_task(log_in(slow_accounts, member))
    await pausing.compared.wait()
    async with built.database.begin() as db:
        await db.execute(
            update(User).where(User.id == member.id).values(password_hash=new_hash, session_epoch=1)
        )
        pausing.let_go.set()
        await asyncio.sleep(0.3)
        assert not login.done()  # it waits for our transaction
    with pytest.raises(BadCredentials):
        await login
    assert (await services.accounts.user(caller_of(member.id))).password_hash == new_hash
    assert (await services.accounts.user(caller_of(member.id))).last_login is None


async def test_a_login_during_a_change_to_the_same_password_has_the_new_epoch(
    services: Services, member: Member, slow_accounts: Accounts, pausing: PausingPasswords
) -> None:
    login = asyncio.create_task(log_in(slow_accounts, member))
    await pausing.compared.wait()
    await services.user_passwords.set(NOBODY, UserRef.by_name(member.username), PASSWORD)
    pausing.let_go.set()
    assert (await login).epoch > 0


async def test_a_login_during_a_deactivation_gets_no_session(
    services: Services, member: Member, slow_accounts: Accounts, pausing: PausingPasswords
) -> None:
    login = asyncio.create_task(log_in(slow_accounts, member))
    await pausing.compared.wait()
    await services.users.deactivate(NOBODY, UserRef.by_name(member.username))
    pausing.let_go.set()
    with pytest.raises(BadCredentials):
        await login


async def test_rate_limited_attempts_take_as_long_as_a_wrong_password(
    services: Services, member: Member
) -> None:
    """Reading a user takes longer than finding none, and this request has no other limit."""
    held = timedelta(seconds=1)
    accounts = replace(services.accounts, failed_login=held)
    attempt = accounts.comparison.throttling.login(NOBODY, member.username, None)
    for error in (BadCredentials, TooManyAttempts):
        since = time.monotonic()
        refused = asyncio.create_task(log_in(accounts, member, NEW_PASSWORD))
        await asyncio.sleep(0)  # it takes its slot
        async with AsyncExitStack() as all_turns:
            for _ in range(accounts.comparison.hashing_queue.slots):
                await all_turns.enter_async_context(accounts.comparison.hashing_queue.slot(None))
            # It releases its slot before the response, so nobody waits for that.
            assert not refused.done()
        with pytest.raises(error):
            await refused
        assert time.monotonic() - since >= held.total_seconds()
        for _ in range(OF_A_NAME.free):
            await accounts.comparison.throttling.fail(attempt)


async def test_a_guess_is_counted_if_the_client_disconnects_before_it_is_recorded(
    built: Built, member: Member, slow_accounts: Accounts, pausing: PausingPasswords
) -> None:
    """Otherwise a client that always disconnects before the response could guess for free."""
    key = slow_accounts.comparison.throttling.login(NOBODY, member.username, None).keys[0]
    guess = asyncio.create_task(log_in(slow_accounts, member, NEW_PASSWORD))
    await pausing.compared.wait()
    async with built.database.begin() as db:
        (await db.get_one(Throttle, key)).failures = 1
        await db.flush()
        pausing.let_go.set()
        await asyncio.sleep(0.3)
        assert not guess.done()  # it waits for us
        guess.cancel()
        await asyncio.gather(guess, return_exceptions=True)
    await drain()
    async with built.database.read() as db:
        assert (await db.get_one(Throttle, key)).failures == 2
    await built.services.audit.flush()
    async with built.database.read() as db:
        events = list(await db.scalars(select(AuditEntry.event)))
    assert events.count(AuditEvent.LOGIN_FAILED) == 1


async def test_a_guess_counts_if_the_client_disconnects_during_the_comparison(
    built: Built, member: Member, slow_accounts: Accounts, pausing: PausingPasswords
) -> None:
    key = slow_accounts.comparison.throttling.login(NOBODY, member.username, None).keys[0]
    guess = asyncio.create_task(log_in(slow_accounts, member, NEW_PASSWORD))
    await pausing.compared.wait()
    guess.cancel()
    await asyncio.gather(guess, return_exceptions=True)
    await drain()
    async with built.database.read() as db:
        row = await db.get_one(Throttle, key)
    assert (row.failures, row.reserved) == (1, 0)


@pytest.mark.parametrize("failures", [OF_A_NAME.free, OF_A_NAME.free + 3])
async def test_a_reservation_left_by_a_crash_expires(
    built: Built, services: Services, member: Member, clock: Clock, failures: int
) -> None:
    """Until then the reservation uses the last free guess, or the one of a window."""
    accounts = services.accounts
    attempt = accounts.comparison.throttling.login(NOBODY, member.username, None)
    for _ in range(failures):
        await accounts.comparison.throttling.fail(attempt)
    clock.advance(timedelta(minutes=1))

    async def find(_: AsyncSession) -> Attempt:
        return attempt

    await accounts.comparison.throttling.reserve(NOBODY, find)  # by a process that is killed now
    with pytest.raises(ComparisonsUnderWay):
        await accounts.comparison.throttling.reserve(NOBODY, find)
    clock.advance(RESERVED_FOR + timedelta(seconds=1))
    assert (await log_in(accounts, member)).user_id == member.id
    async with built.database.read() as db:
        assert await db.get(Throttle, attempt.keys[0]) is None


async def test_the_second_of_two_concurrent_password_changes_must_know_the_first(
    services: Services, member: Member, pausing: PausingPasswords
) -> None:
    def change(own_password: OwnPassword, new_password: str) -> asyncio.Task[NewSession]:
        return asyncio.create_task(
            own_password.change(
                caller_of(member.id),
                current_password=PASSWORD,
                new_password=new_password,
            )
        )

    asking = replace(services.own_password.reauthentication, comparison=slow(services, pausing))
    late = change(
        replace(services.own_password, reauthentication=asking), "the late one's password"
    )
    await pausing.compared.wait()
    assert (await change(services.own_password, NEW_PASSWORD)).epoch > 0
    pausing.let_go.set()
    with pytest.raises(BadCredentials):
        await late
    assert (await log_in(services.accounts, member, NEW_PASSWORD)).epoch > 0


async def test_only_one_of_several_concurrent_first_users_is_created(services: Services) -> None:
    results = await asyncio.gather(
        *(
            services.first_user.set_up(
                NOBODY, username=f"ada{number}", email=f"ada{number}@example.com", password=PASSWORD
            )
            for number in range(6)
        ),
        return_exceptions=True,
    )
    (session,) = (result for result in results if isinstance(result, NewSession))
    assert [type(result) for result in results].count(SetUpLinkInvalid) == 5
    (user,) = await services.users.everybody(NOBODY)
    assert (user.id, user.role, user.is_active) == (session.user_id, Role.ADMIN, True)
    assert not await services.first_user.is_set_up_needed()


async def test_only_one_of_several_concurrent_users_with_one_name_is_created(
    services: Services,
) -> None:
    results = await asyncio.gather(
        *(
            services.users.create(
                NOBODY,
                username="ada",
                email=f"ada{number}@example.com",
                role=Role.VIEWER,
                password=PASSWORD,
            )
            for number in range(6)
        ),
        return_exceptions=True,
    )
    assert [type(result) for result in results].count(NameTaken) == 5
    assert len(await services.users.everybody(NOBODY)) == 1


@pytest.mark.usefixtures("member")
@pytest.mark.parametrize(
    ("username", "email"),
    [
        ("ada", "other@example.com"),
        ("other", "ada@example.com"),
        ("other", "ADA@Example.com"),
        ("ada@example.com", "other@example.com"),
        ("Ada@example.com", "other@example.com"),
    ],
)
async def test_a_name_or_address_that_another_user_logs_in_with_is_taken(
    services: Services, username: str, email: str
) -> None:
    with pytest.raises(NameTaken):
        await services.users.create(
            NOBODY, username=username, email=email, role=Role.VIEWER, password=PASSWORD
        )


@pytest.mark.parametrize(
    ("username", "email", "password", "field"),
    [
        ("", "a@example.com", PASSWORD, "username"),
        (" ada", "a@example.com", PASSWORD, "username"),
        ("a" * 65, "a@example.com", PASSWORD, "username"),
        ("a\x00b", "a@example.com", PASSWORD, "username"),
        ("a\tb", "a@example.com", PASSWORD, "username"),
        ("a\u202eb", "a@example.com", PASSWORD, "username"),
        ("\u200c", "a@example.com", PASSWORD, "username"),
        ("a\udcffb", "a@example.com", PASSWORD, "username"),
        ("ada", "example.com", PASSWORD, "email"),
        ("ada", "@example.com", PASSWORD, "email"),
        ("ada", "ada@", PASSWORD, "email"),
        ("ada", "a b@example.com", PASSWORD, "email"),
        ("ada", "a\udcff@example.com", PASSWORD, "email"),
        ("ada", f"{'a' * 109}@example.com", PASSWORD, "email"),
        ("ada", "a@example.com", "", "new_password"),
        ("ada", "a@example.com", "seven 7", "new_password"),
        ("ada", "a@example.com", "x" * 1025, "new_password"),
        ("ada", "a@example.com", f"{PASSWORD}\x00", "new_password"),
        ("ada", "a@example.com", f"{PASSWORD}\udcff", "new_password"),
        ("ada", "A@example.com", "a@EXAMPLE.com", "new_password"),
        ("ada lovelace", "a@example.com", "Ada Lovelace", "new_password"),
        ("ada", "a@example.com", "Passw0rd", "new_password"),
        ("ada", "a@example.com", "ada.1815", "new_password"),
    ],
)
async def test_an_invalid_user_or_an_easily_guessed_password_is_refused(
    services: Services, username: str, email: str, password: str, field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await services.users.create(
            NOBODY, username=username, email=email, role=Role.VIEWER, password=password
        )
    assert refused.value.field == field
    assert await services.users.everybody(NOBODY) == []


@pytest.mark.parametrize(
    "username", ["a", "ж" * 64, "Ἀριάδνη", "می\u200cروم", "a'; DROP TABLE users; --"]
)
async def test_a_name_in_any_script_can_log_in(services: Services, username: str) -> None:
    user, generated = await services.users.create(
        NOBODY, username=username, email="a@example.com", role=Role.VIEWER, password="8 signs!"
    )
    assert generated is None
    session = await services.accounts.log_in(NOBODY, login_name=username, password="8 signs!")
    assert session.user_id == user.id


async def test_a_generated_password_works_once(services: Services) -> None:
    user, generated = await services.users.create(
        NOBODY, username="ada", email="ada@example.com", role=Role.VIEWER, password=None
    )
    assert generated is not None
    assert len(generated) == 20
    for new_password, refusal in (
        (None, PasswordChangeNeeded),
        (generated, InvalidInput),
        ("short", InvalidInput),
    ):
        with pytest.raises(refusal):
            await services.accounts.log_in(
                NOBODY, login_name="ada", password=generated, new_password=new_password
            )
    with pytest.raises(BadCredentials):
        await services.accounts.log_in(
            NOBODY, login_name="ada", password="a guess", new_password=NEW_PASSWORD
        )
    session = await services.accounts.log_in(
        NOBODY, login_name="ada", password=generated, new_password=NEW_PASSWORD
    )
    assert session.user_id == user.id
    with pytest.raises(BadCredentials):
        await services.accounts.log_in(NOBODY, login_name="ada", password=generated)
    await services.accounts.log_in(NOBODY, login_name="ada", password=NEW_PASSWORD)


@pytest.mark.parametrize("password", [NEW_PASSWORD, None])
async def test_resetting_a_password_ends_every_session(
    services: Services, member: Member, password: str | None
) -> None:
    generated = await services.user_passwords.set(
        NOBODY, UserRef.by_name(member.username), password
    )
    assert (generated is None) == (password is not None)
    user = await services.accounts.user(caller_of(member.id))
    assert (user.session_epoch > 0, user.must_change_password) == (True, password is None)
    with pytest.raises(BadCredentials):
        await log_in(services.accounts, member)


async def test_a_refused_password_changes_nothing(services: Services, member: Member) -> None:
    for password in ("", "short", "ADA@example.com", "Passw0rd", "x" * 1025):
        with pytest.raises(InvalidInput):
            await services.user_passwords.set(NOBODY, UserRef.by_name(member.username), password)
    assert (await log_in(services.accounts, member)).epoch == 0


async def test_deactivating_a_user_ends_every_session_and_prevents_logins(
    services: Services, member: Member
) -> None:
    await services.users.deactivate(NOBODY, UserRef.by_name(member.username))
    (user,) = await services.users.everybody(NOBODY)
    assert (user.is_active, user.session_epoch > 0) == (False, True)
    with pytest.raises(BadCredentials):
        await log_in(services.accounts, member)
    with pytest.raises(NotFound):
        await services.accounts.user(caller_of(member.id))


async def test_email_addresses_match_in_any_case_of_any_script_on_both_engines(
    services: Services,
) -> None:
    user, _ = await services.users.create(
        NOBODY, username="a", email="ä@example.com", role=Role.VIEWER, password=PASSWORD
    )
    for username, email in (("b", "Ä@example.com"), ("c", "Ä@EXAMPLE.com")):
        with pytest.raises(NameTaken):
            await services.users.create(
                NOBODY, username=username, email=email, role=Role.VIEWER, password=PASSWORD
            )
    session = await services.accounts.log_in(NOBODY, login_name="Ä@EXAMPLE.COM", password=PASSWORD)
    assert session.user_id == user.id


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize("value", [2, "t", "yes"])
async def test_an_invalid_boolean_reads_the_same_as_in_queries(
    services: Services, built: Built, member: Member, value: object
) -> None:
    async with built.database.begin() as db:
        await db.execute(text("UPDATE users SET is_active = :value"), {"value": value})
    with pytest.raises(BadCredentials):
        await log_in(services.accounts, member)
    assert not (await services.users.everybody(NOBODY))[0].is_active


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize("value", ["", "0000-00-00 00:00:00", 1234567890, b"x", "tomorrow"])
async def test_an_invalid_time_reads_as_none(
    services: Services, built: Built, member: Member, value: object
) -> None:
    async with built.database.begin() as db:
        await db.execute(text("UPDATE users SET last_login = :value"), {"value": value})
    assert (await services.users.everybody(NOBODY))[0].last_login is None
    assert (await log_in(services.accounts, member)).user_id == member.id
    assert (await services.users.everybody(NOBODY))[0].last_login is not None


async def test_null_in_is_active_counts_as_inactive(
    services: Services, built: Built, member: Member
) -> None:
    await set_columns(built, member.id, is_active=None)
    with pytest.raises(BadCredentials):
        await log_in(services.accounts, member)


@pytest.mark.usefixtures("member")
@pytest.mark.parametrize("username", ["nobody", "", "ADA"])
async def test_an_unknown_name_is_not_found(services: Services, username: str) -> None:
    with pytest.raises(NotFound):
        await services.user_passwords.set(NOBODY, UserRef.by_name(username), NEW_PASSWORD)
    with pytest.raises(NotFound):
        await services.users.deactivate(NOBODY, UserRef.by_name(username))


async def test_a_session_ends_at_the_limits_in_the_settings(
    services: Services, member: Member, clock: Clock
) -> None:
    for remember, duration in ((False, timedelta(hours=24)), (True, timedelta(days=30))):
        session = await services.accounts.log_in(
            NOBODY, login_name=member.username, password=PASSWORD, remember=remember
        )
        assert (session.created_at, session.expires_at) == (clock(), clock() + duration)
