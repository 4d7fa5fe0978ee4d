"""Use cases of platform connections: ownership, and valid instance addresses."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import text

from quart_app.composition import Built
from quart_app.errors import (
    AccountTaken,
    InUse,
    InvalidInput,
    NameTaken,
    NotFound,
    PlatformInactive,
)
from quart_app.model import INSTANCE_URL_LENGTH, PlatformConnection, PlatformType
from quart_app.services import Services
from quart_app.services.administration.user_ref import UserRef
from quart_app.services.platforms.platform_fields import checked_url
from tests.callers import NOBODY, caller_of
from tests.conftest import Clock, Member, make_member


async def connect(
    services: Services,
    member: Member,
    *,
    name: str = "Garden",
    instance_url: str = "https://garden.example",
    username: str | None = None,
) -> PlatformConnection:
    connection, _ = await services.platforms.connect(
        caller_of(member.id),
        name=name,
        platform_type=PlatformType.PIXELFED,
        instance_url=instance_url,
        access_token="a-token",
        username=username,
    )
    return connection


async def names_of(services: Services, member: Member) -> list[str]:
    platforms = await services.platforms.list_of(caller_of(member.id))
    return [connection.name for connection in platforms.items]


# --- addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "origin"),
    [
        ("garden.example", "https://garden.example"),
        (" https://Garden.Example/ ", "https://garden.example"),
        ("HTTPS://garden.example:443", "https://garden.example"),
        ("garden.example:8443", "https://garden.example:8443"),
        ("bücher.example", "https://xn--bcher-kva.example"),
        ("garden.example.", "https://garden.example"),
        ("garden。example。", "https://garden.example"),
        ("https://127.0.0.1:8000", "https://127.0.0.1:8000"),
    ],
)
def test_an_address_is_stored_as_its_origin(typed: str, origin: str) -> None:
    assert checked_url(typed) == origin


@pytest.mark.parametrize(
    "typed",
    [
        *("", "https://", "http://garden.example", "javascript://garden.example", "//x"),
        *("https://garden.example/@rosa", "garden.example/web", "garden.example?a", "a.example#a"),
        *("https://rosa@garden.example", "https://@garden.example", "garden.example:0"),
        *("garden.example:65536", "garden.example:x", "gar den.example", "-garden.example"),
        *("garden..example", "https://[::1]", "gar_den.example", "x" * 64 + ".example"),
        *("a." * 127 + "example", "garden.example\x00", "https://garden.example\\@evil.example"),
    ],
)
def test_an_invalid_origin_is_refused(typed: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        checked_url(typed)
    assert refused.value.field == "instance_url"


SCRAPS = st.sampled_from(
    [
        *("https:", "HTTP:", "//", "/", "@", ":", ":443", ":0", "?", "#", "[", "]", "::1", "%"),
        *("\\", ".", "..", "-", "_", "xn--", "a", "ß", "。", "℀", "\ud800", "\x00", "\n", " "),
    ]
)


@given(st.text() | st.lists(SCRAPS | st.text(max_size=3), max_size=12).map("".join))
@example("a..")
@example("xn--\x80")
def test_any_input_becomes_an_https_origin_or_is_refused(typed: str) -> None:
    try:
        origin = checked_url(typed)
    except InvalidInput:
        return
    url = urlsplit(origin)
    assert url.scheme == "https"
    assert url.hostname
    assert url.port not in {0, 443}
    assert origin == f"https://{url.netloc}" == checked_url(origin)
    assert origin.isascii()
    assert origin.isprintable()
    assert not set(origin.removeprefix("https://")) & set("/@?#%\\[] ")
    assert not url.hostname.endswith(".")
    assert len(origin) <= INSTANCE_URL_LENGTH


# --- ownership -----------------------------------------------------------------------------------

USES: dict[str, Callable[[Services, int, int], Awaitable[Any]]] = {
    "look at": lambda services, user, connection: services.platforms.connection(
        caller_of(user), connection
    ),
    "switch to": lambda services, user, connection: services.platforms.switch(
        caller_of(user), connection
    ),
    "prefer": lambda services, user, connection: services.platforms.make_default(
        caller_of(user), connection
    ),
    "rename": lambda services, user, connection: services.platforms.change(
        caller_of(user), connection, name="Mine"
    ),
    "turn off": lambda services, user, connection: services.platforms.change(
        caller_of(user), connection, is_active=False
    ),
    "remove": lambda services, user, connection: services.removal.remove(
        caller_of(user), connection
    ),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
async def test_another_users_connection_is_not_found(
    services: Services, member: Member, use: Callable[[Services, int, int], Awaitable[Any]]
) -> None:
    other = await make_member(services, "grace")
    for theirs in (other.platform_ids[1], 10**9, 0, -1):
        with pytest.raises(NotFound):
            await use(services, member.id, theirs)
    await use(services, other.id, other.platform_ids[1])  # the owner can
    platforms = await services.platforms.list_of(caller_of(member.id))
    assert [connection.id for connection in platforms.items] == [*member.platform_ids]
    assert platforms.default_id == member.platform_ids[0]


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
async def test_a_deactivated_user_has_no_connections(
    services: Services, member: Member, use: Callable[[Services, int, int], Awaitable[Any]]
) -> None:
    await services.users.deactivate(NOBODY, UserRef.by_name(member.username))
    with pytest.raises(NotFound):
        await use(services, member.id, member.platform_ids[0])
    with pytest.raises(NotFound):
        await services.platforms.list_of(caller_of(member.id))
    with pytest.raises(NotFound):
        await connect(services, member)


async def test_two_users_may_have_the_same_names_and_accounts(
    services: Services, member: Member
) -> None:
    other = await make_member(services, "grace")
    for each in (member, other):
        await connect(services, each, username="shared")
    assert await names_of(services, member) == await names_of(services, other)


# --- adding, changing, removing ------------------------------------------------------------------


async def test_only_one_of_several_concurrent_connections_with_one_name_is_created(
    services: Services, member: Member
) -> None:
    results = await asyncio.gather(
        *(connect(services, member, instance_url=f"garden{number}.example") for number in range(6)),
        return_exceptions=True,
    )
    assert [type(result) for result in results].count(NameTaken) == 5
    assert (await names_of(services, member)).count("Garden") == 1


async def test_only_one_of_several_concurrent_connections_to_one_account_is_created(
    services: Services, member: Member
) -> None:
    results = await asyncio.gather(
        *(connect(services, member, name=f"N{number}", username="rosa") for number in range(6)),
        return_exceptions=True,
    )
    assert [type(result) for result in results].count(AccountTaken) == 5


async def test_an_access_token_is_encrypted_in_the_database(
    services: Services, built: Built, member: Member
) -> None:
    connection = await connect(services, member)
    async with built.database.read() as db:
        kept: str = await db.scalar(
            text("SELECT access_token FROM platform_connections WHERE id = :id"),
            {"id": connection.id},
        )
    assert "a-token" not in kept
    assert services.platforms.credentials.unseal(kept) == "a-token"


@pytest.mark.parametrize(
    "name", ["", "   ", "x" * 101, "a\nb", "a\x00b", "a\udcffb", "\u200d", "a\u202eb", "a\u2028b"]
)
async def test_a_name_that_cannot_be_displayed_is_refused(
    services: Services, member: Member, name: str
) -> None:
    with pytest.raises(InvalidInput):
        await connect(services, member, name=name)
    with pytest.raises(InvalidInput):
        await services.platforms.change(caller_of(member.id), member.platform_ids[0], name=name)
    assert len(await names_of(services, member)) == 3


@pytest.mark.parametrize("name", ["می\u200cروم", "👩\u200d🌾", "Jardin\u00a0: photos", "ක්\u200dෂ"])
async def test_a_name_may_contain_characters_that_some_scripts_need(
    services: Services, member: Member, name: str
) -> None:
    connection = await connect(services, member, name=name, username=f"@{name}")
    assert (connection.name, connection.username) == (name, name)


async def test_an_account_matches_in_any_case_and_with_a_legacy_at_sign(
    services: Services, member: Member, built: Built
) -> None:
    connection = await connect(services, member, username="Rosa")
    async with built.database.begin() as db:
        await db.execute(
            text("UPDATE platform_connections SET username = '@Rosa' WHERE id = :id"),
            {"id": connection.id},
        )
    for username in ("rosa", "@ROSA", "@Rosa"):
        with pytest.raises(AccountTaken):
            await connect(services, member, name="Another", username=username)


async def test_a_connection_cannot_be_renamed_to_an_existing_name(
    services: Services, member: Member
) -> None:
    first, second, _ = member.platform_ids
    with pytest.raises(NameTaken):
        await services.platforms.change(
            caller_of(member.id), first, name=" Platform 2 ", is_active=False
        )
    unchanged, _ = await services.platforms.connection(caller_of(member.id), first)
    assert (unchanged.name, unchanged.is_active) == ("Platform 1", True)
    # Keeping its own name is no conflict.
    await services.platforms.change(caller_of(member.id), second, name="Platform 2")
    renamed, is_default = await services.platforms.change(caller_of(member.id), first, name=" Сад ")
    assert (renamed.name, is_default) == ("Сад", True)


async def test_a_connection_that_is_switched_off_cannot_be_current(
    services: Services, member: Member, clock: Clock
) -> None:
    second = member.platform_ids[1]
    await services.platforms.change(caller_of(member.id), second, is_active=False)
    with pytest.raises(PlatformInactive):
        await services.platforms.switch(caller_of(member.id), second)
    with pytest.raises(PlatformInactive):
        await services.platforms.make_default(caller_of(member.id), second)
    await services.platforms.change(caller_of(member.id), second, is_active=True)
    assert (await services.platforms.switch(caller_of(member.id), second)).last_used == clock()


async def test_a_login_starts_with_the_default_or_the_oldest_active_connection(
    services: Services, member: Member
) -> None:
    async def begins_with() -> int | None:
        session = await services.accounts.log_in(
            NOBODY, login_name=member.username, password=member.password
        )
        return session.platform_connection_id

    first, second, third = member.platform_ids
    await services.platforms.make_default(caller_of(member.id), third)
    assert await begins_with() == third
    await services.platforms.change(caller_of(member.id), third, is_active=False)
    assert await begins_with() == first
    await services.removal.remove(caller_of(member.id), third)
    await services.platforms.change(caller_of(member.id), first, is_active=False)
    assert await begins_with() == second
    await services.removal.remove(caller_of(member.id), second)
    assert await begins_with() is None


async def test_the_id_of_a_removed_connection_is_never_reused(
    services: Services, member: Member
) -> None:
    given_ids = set(member.platform_ids)
    for _ in range(3):
        connection = await connect(services, member)
        assert connection.id not in given_ids
        given_ids.add(connection.id)
        await services.removal.remove(caller_of(member.id), connection.id)


async def test_removing_the_default_leaves_no_default_until_the_next_is_added(
    services: Services, member: Member
) -> None:
    await services.removal.remove(caller_of(member.id), member.platform_ids[0])
    platforms = await services.platforms.list_of(caller_of(member.id))
    assert platforms.default_id is None
    connection = await connect(services, member)
    platforms = await services.platforms.list_of(caller_of(member.id))
    assert platforms.default_id == connection.id


async def test_a_connection_that_other_records_reference_is_kept(
    services: Services, built: Built, member: Member
) -> None:
    first = member.platform_ids[0]
    async with built.database.begin() as db:
        await db.execute(
            text(
                "CREATE TABLE posts (id INTEGER PRIMARY KEY, platform_connection_id INTEGER"
                " REFERENCES platform_connections (id))"
            )
        )
        await db.execute(text("INSERT INTO posts VALUES (1, :id)"), {"id": first})
    with pytest.raises(InUse):
        await services.removal.remove(caller_of(member.id), first)
    _, is_default = await services.platforms.connection(caller_of(member.id), first)
    assert is_default
