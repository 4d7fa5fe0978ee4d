"""Finding the user from a typed login name, and comparing passwords typed on other keyboards."""

import asyncio
import unicodedata
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update
from werkzeug.security import generate_password_hash

from quart_app.composition import Built, build_services
from quart_app.errors import BadCredentials, InvalidInput, NameTaken, TooManyAttempts
from quart_app.model import Role, User
from quart_app.services import Services
from quart_app.services.identity.passwords import Passwords
from quart_app.services.identity.steps.throttle import OF_A_NAME
from quart_app.settings import Settings
from quart_app.storage import users as stored_users
from quart_app.text.login_names import email_key, name_key
from tests.callers import NOBODY, caller_of
from tests.conftest import PASSWORD

pytestmark = pytest.mark.sqlite_unless_thorough

NFC_PASSWORD = "pässwörd mit Ümläuten"
NFD_PASSWORD = unicodedata.normalize("NFD", NFC_PASSWORD)


async def add_legacy_users(built: Built, *names: str, email: str = "{}@old.example") -> None:
    """Insert users as the legacy application, or a process of an older version, stored them."""
    passwords = built.passwords
    for name in names:
        row: dict[str, Any] = {
            "username": name,
            "email": email.format(name),
            "password_hash": await passwords.hash(f"password of {name}"),
            "role": Role.VIEWER,
            "active_flag": True,
            "username_key": None,
            "email_key": None,
        }
        async with built.database.begin() as db:
            await db.execute(insert(User).values(row))


async def fill_in_keys(built: Built) -> None:
    """Do the same as the migration, which is tested with this."""
    async with built.database.begin() as db:
        for user in await db.scalars(select(User)):
            user.username_key, user.email_key = name_key(user.username), email_key(user.email)


async def user_who_logs_in(services: Services, login_name: str, password: str) -> str | None:
    try:
        session = await services.accounts.log_in(NOBODY, login_name=login_name, password=password)
    except BadCredentials:
        return None
    return (await services.accounts.user(caller_of(session.user_id))).username


async def create(services: Services, username: str, email: str | None = None) -> None:
    await services.users.create(
        NOBODY,
        username=username,
        email=email or f"{len(username)}-{username.encode().hex()}@example.com",
        role=Role.VIEWER,
        password=PASSWORD,
    )


@pytest.mark.parametrize("typed", ["José", "José ", " josé\n", "JOSÉ", "Jose\u0301", "\u200bJosé"])
async def test_a_name_is_found_in_every_keyboard_spelling(services: Services, typed: str) -> None:
    await create(services, "José")
    assert await user_who_logs_in(services, typed, PASSWORD) == "José"


@pytest.mark.parametrize(
    "typed",
    [
        "ada@straße.example",
        "Ada@STRAẞE.example ",
        "ada\uff20straße.example",
        "ADA@xn--strae-oqa.example",
    ],
)
async def test_an_email_address_is_matched_by_its_normalized_host(
    services: Services, typed: str
) -> None:
    await create(services, "ada", "Ada@straße.example")
    assert await user_who_logs_in(services, typed, PASSWORD) == "ada"
    assert await user_who_logs_in(services, "ada@strasse.example", PASSWORD) is None


async def test_names_that_differ_only_in_spelling_are_matched_exactly(built: Built) -> None:
    services = built.services
    names = ["bob", "Bob", "BOB", "bob ", "Zoe\u0301", "Zo\u00e9", "Eve"]
    await add_legacy_users(built, *names)
    for with_keys in (False, True):
        if with_keys:
            await fill_in_keys(built)
        for name in names:
            assert await user_who_logs_in(services, name, f"password of {name}") == name
    for typed, meant in [("bOB", None), ("ZOÉ", None), ("eve ", "Eve"), ("Bob\u00a0", "Bob")]:
        found = set()
        for name in names:
            found.add(await user_who_logs_in(services, typed, f"password of {name}"))
            async with built.database.begin() as db:
                await db.execute(text("DELETE FROM throttles"))
        assert found == {None, meant}


async def test_many_names_of_one_spelling_all_remain_reachable(built: Built) -> None:
    names = ["aaaaa"[:n] + "AAAAA"[n:] for n in range(6)] + [f"aaaaa{' ' * n}" for n in range(1, 9)]
    await add_legacy_users(built, *names)
    await fill_in_keys(built)
    for name in names:
        assert await user_who_logs_in(built.services, name, f"password of {name}") == name
    assert await user_who_logs_in(built.services, "aAaAa", "password of aaaaa") is None


async def test_a_name_takes_precedence_over_an_email_address(built: Built) -> None:
    await add_legacy_users(built, "eve@old.example", email="x{}")
    await add_legacy_users(built, "eve")
    await fill_in_keys(built)
    for typed in ("eve@old.example", "EVE@old.example "):
        found = await user_who_logs_in(built.services, typed, "password of eve@old.example")
        assert found == "eve@old.example"


async def test_a_user_created_without_keys_gets_them_at_login(built: Built) -> None:
    await add_legacy_users(built, "Bob")
    assert await user_who_logs_in(built.services, "bob", "password of Bob") is None
    assert await user_who_logs_in(built.services, "Bob", "password of Bob") == "Bob"
    assert await user_who_logs_in(built.services, "bob", "password of Bob") == "Bob"
    assert await user_who_logs_in(built.services, "bob@OLD.example", "password of Bob") == "Bob"


@pytest.mark.parametrize(
    ("username", "email", "field"),
    [
        ("Bob", "new@example.com", "username"),
        ("BOB", "new@example.com", "username"),
        ("\uff42\uff4f\uff42", "new@example.com", "username"),
        ("b\u200bob", "new@example.com", "username"),
        ("Jose\u0301", "new@example.com", "username"),
        ("BOB@Example.com", "new@example.com", "username"),
        ("new", "Bob@EXAMPLE.com", "email"),
        ("new", "bob@example.com.", "email"),
        ("new", "JOSÉ@BÜCHER.example", "email"),
        ("new", "josé@xn--bcher-kva.example", "email"),
    ],
)
async def test_no_user_is_created_beside_another_of_the_same_name(
    built: Built, username: str, email: str, field: str
) -> None:
    for known in (("bob", "bob@example.com"), ("josé", "josé@bücher.example")):
        await create(built.services, *known)
    with pytest.raises(NameTaken) as refused:
        await create(built.services, username, email)
    assert refused.value.field == field
    assert len(await built.services.users.everybody(NOBODY)) == 2


async def test_no_user_is_created_beside_one_of_an_older_version(built: Built) -> None:
    await add_legacy_users(built, "Bob")
    for username, email in (("bob", "a@example.com"), ("new", "BOB@old.example")):
        with pytest.raises(NameTaken):
            await create(built.services, username, email)


@pytest.mark.parametrize("username", ["\u200b", "\u3164", "\u115f\u1160", "\ufe0f"])
async def test_an_invisible_name_is_refused(services: Services, username: str) -> None:
    with pytest.raises(InvalidInput):
        await create(services, username)


async def test_only_one_of_several_concurrent_users_with_one_name_is_created(
    built: Built, settings: Settings
) -> None:
    other = build_services(settings)  # like in a second process
    names = ["Bob", "bob", "BOB", "bOb", "\uff42\uff4f\uff42", "b\u200bob", "BoB", "boB"]
    answers = await asyncio.gather(
        *(
            create([built.services, other.services][at % 2], name)
            for at, name in enumerate(names * 2)
        ),
        return_exceptions=True,
    )
    await other.close()
    assert [type(each) for each in answers if each is not None] == [NameTaken] * (len(answers) - 1)
    assert len(await built.services.users.everybody(NOBODY)) == 1


async def test_only_one_of_several_concurrent_users_with_one_address_is_created(
    built: Built,
) -> None:
    answers = await asyncio.gather(
        *(
            create(built.services, f"user{at}", email)
            for at, email in enumerate(["a@x.example", "A@x.example", "a@X.EXAMPLE."] * 3)
        ),
        return_exceptions=True,
    )
    assert [type(each) for each in answers if each is not None] == [NameTaken] * (len(answers) - 1)
    assert len(await built.services.users.everybody(NOBODY)) == 1


async def test_a_login_reads_only_the_matching_users(built: Built) -> None:
    """With an index: the time for a login does not grow with the number of users."""
    rows = [
        {
            "username": f"user{n}",
            "email": f"user{n}@example.com",
            "password_hash": "x",
            "username_key": f"user{n}",
            "email_key": f"user{n}@example.com",
            "active_flag": True,
            "session_epoch": 0,
        }
        for n in range(5000)
    ]
    is_postgres = built.database.url.get_backend_name() == "postgresql"
    async with built.database.begin() as db:
        await db.execute(insert(User), rows)
        await db.execute(text("ANALYZE"))
    explain = "EXPLAIN" if is_postgres else "EXPLAIN QUERY PLAN"
    wanted = {"typed": "User7", "trimmed": "User7", "name_key": "user7", "email_key": "user7"}
    async with built.database.read() as db:
        statement = stored_users._USERS_CALLED.params(wanted).compile(
            (await db.connection()).engine, compile_kwargs={"literal_binds": True}
        )
        seen = str(list(await db.execute(text(f"{explain} {statement}"))))
    for index in ("username", "email", "username_key", "email_key"):
        assert f"ix_users_{index}" in seen
    assert "Seq Scan" not in seen
    assert "SCAN" not in seen
    assert await user_who_logs_in(built.services, "USER7", "wrong") is None


async def test_every_spelling_of_a_name_counts_as_the_same_guess(services: Services) -> None:
    await create(services, "bob")
    spellings = ["bob", "Bob", "bob ", " BOB", "\uff42\uff4f\uff42", "b\u200bob", "boB"]
    refused = []
    for typed in spellings[: OF_A_NAME.free + 2]:
        try:
            await services.accounts.log_in(NOBODY, login_name=typed, password="wrong")
        except (BadCredentials, TooManyAttempts) as error:
            refused.append(type(error))
    assert refused == [BadCredentials] * (OF_A_NAME.free + 1) + [TooManyAttempts]


@pytest.mark.parametrize("method", ["argon2", "scrypt:32768:8:1", "pbkdf2:sha256:1000"])
@pytest.mark.parametrize("stored", [NFC_PASSWORD, NFD_PASSWORD])
@pytest.mark.parametrize("typed", [NFC_PASSWORD, NFD_PASSWORD])
async def test_a_password_matches_in_either_unicode_composition(
    built: Built, method: str, stored: str, typed: str
) -> None:
    await create(built.services, "bob")
    password_hash = (
        await built.passwords.hash(stored)
        if method == "argon2"
        else generate_password_hash(stored, method)
    )
    async with built.database.begin() as db:
        await db.execute(update(User).values(password_hash=password_hash))
    assert await user_who_logs_in(built.services, "bob", typed) == "bob"
    assert await user_who_logs_in(built.services, "bob", stored) == "bob"
    wrong = typed.replace("ß", "ss") + "x"
    assert await user_who_logs_in(built.services, "bob", wrong) is None


async def test_a_password_is_otherwise_compared_exactly(built: Built) -> None:
    passwords = built.passwords
    made = await passwords.hash("\u212bngström ﬁt")
    for other in ("ångström ﬁt", "\u212bngström fit", "\u212bNGSTRÖM ﬁt", "\u212bngström ﬁt "):
        assert not await passwords.matches(made, other)
    assert await passwords.matches(made, "\u212bngström ﬁt")


class CountingPasswords(Passwords):
    """Counts the hashes that are computed in threads."""

    hashed = 0

    async def _in_thread(self, work: Any) -> Any:
        self.hashed += 1
        return await super()._in_thread(work)


async def test_an_unknown_user_costs_as_many_hashes_as_a_known_one() -> None:
    passwords = CountingPasswords()
    known = await passwords.hash("something else")
    for typed, hashes in [("plain", 1), (NFC_PASSWORD, 2), (NFD_PASSWORD, 2), ("e\u0301\u00e9", 3)]:
        for password_hash in (known, None):
            passwords.hashed = 0
            assert not await passwords.matches(password_hash, typed)
            assert passwords.hashed == hashes
    passwords.close()
