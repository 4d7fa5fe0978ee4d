"""Limits on a user's connections, spellings of one account, and disabled accounts."""

import asyncio
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from quart_app.composition import Built, build_services
from quart_app.errors import AccountTaken, InvalidInput, PlatformInactive, TooManyPlatforms
from quart_app.model import PlatformConnection, PlatformType, User
from quart_app.services import Services
from quart_app.services.pagination import PAGE_SIZE
from quart_app.services.platforms.platforms import Platforms
from quart_app.settings import Settings
from tests.callers import NOBODY, caller_of
from tests.conftest import PASSWORD, Member

pytestmark = pytest.mark.sqlite_unless_thorough


async def connect(
    platforms: Platforms,
    member: Member,
    name: str,
    *,
    server: str = "garden.example",
    username: str | None = None,
) -> int:
    connection, _ = await platforms.connect(
        caller_of(member.id),
        name=name,
        platform_type=PlatformType.MASTODON,
        instance_url=server,
        access_token="a-token",
        username=username,
    )
    return connection.id


async def add_rows(built: Built, member: Member, rows: list[dict[str, Any]]) -> None:
    """Insert connections as the legacy application stored them."""
    row = {
        "user_id": member.id,
        "platform_type": "mastodon",
        "instance_url": "https://legacy.example",
        "username": None,
        "access_token": "sealed" * 100,
        "is_active": True,
        "legacy_is_default": False,
    }
    async with built.database.begin() as db:
        await db.execute(insert(PlatformConnection), [row | each for each in rows])


async def add_many(built: Built, member: Member, number: int) -> None:
    await add_rows(
        built,
        member,
        [{"name": f"Legacy {n:05}", "username": f"user{n}"} for n in range(number)],
    )


# --- the limit -----------------------------------------------------------------------------------


async def test_a_user_cannot_add_more_than_the_limit(built: Built, member: Member) -> None:
    platforms = replace(built.services.platforms, most_of_a_user=5)
    for name in ("Fourth", "Fifth"):
        await connect(platforms, member, name)
    for _ in range(2):
        with pytest.raises(
            TooManyPlatforms,
            match=r"You have 5 accounts, the most that you can add\. Remove one first",
        ):
            await connect(platforms, member, "Sixth")
    await built.services.removal.remove(caller_of(member.id), member.platform_ids[1])
    await connect(platforms, member, "Sixth")


async def test_concurrent_additions_never_exceed_the_limit(
    built: Built, member: Member, settings: Settings
) -> None:
    other = build_services(replace(settings, platforms_per_user=8))  # like in a second process
    here = replace(built.services.platforms, most_of_a_user=8)
    answers = await asyncio.gather(
        *(
            connect([here, other.services.platforms][at % 2], member, f"{at}", username=f"u{at}")
            for at in range(20)
        ),
        return_exceptions=True,
    )
    await other.close()
    assert sum(isinstance(each, int) for each in answers) == 5
    assert {type(each) for each in answers if not isinstance(each, int)} == {TooManyPlatforms}
    listed = await here.list_of(caller_of(member.id))
    assert len(listed.items) == 8


async def test_a_legacy_user_above_the_limit_keeps_all_connections(
    built: Built, member: Member
) -> None:
    platforms = replace(built.services.platforms, most_of_a_user=5)
    await add_many(built, member, 10)
    with pytest.raises(TooManyPlatforms):
        await connect(platforms, member, "One more")
    listed = await platforms.list_of(caller_of(member.id))
    assert len(listed.items) == 13
    last = listed.items[-1].id
    await platforms.change(caller_of(member.id), last, name="Renamed")
    await platforms.switch(caller_of(member.id, sid="x" * 22), last)


async def test_the_pages_contain_every_connection_once(built: Built, member: Member) -> None:
    await add_many(built, member, 3 * PAGE_SIZE)
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        some = await built.services.platforms.list_of(caller_of(member.id), after=after)
        assert len(some.items) <= PAGE_SIZE
        seen += [each.name for each in some.items]
        after = some.next_cursor
    assert len(seen) == len(set(seen)) == 3 * PAGE_SIZE + 3
    exactly = await built.services.platforms.list_of(caller_of(member.id), size=len(seen))
    assert exactly.next_cursor is None
    assert [each.name for each in exactly.items] == seen


async def test_a_page_of_twenty_thousand_needs_no_more_memory_than_a_page_of_a_few(
    built: Built, member: Member
) -> None:
    await add_many(built, member, 20_000)
    await built.services.platforms.list_of(caller_of(member.id))
    tracemalloc.start()
    await built.services.platforms.list_of(caller_of(member.id), size=200)
    found = await built.services.platforms.list_of(caller_of(member.id), sought="legacy 19999")
    await built.services.platforms.list_of(caller_of(member.id), sought="nothing is called that")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [each.name for each in found.items] == ["Legacy 19999"]
    assert peak < 10_000_000


@pytest.mark.parametrize(
    ("sought", "found"),
    [
        ("CAFE", ["Café"]),
        ("café", ["Café"]),
        ("ÅNGSTRÖM", ["Ångström"]),
        ("angstrom", ["Ångström"]),
        ("Straße.Example", ["Ångström"]),
        ("xn--strae-oqa", ["Ångström"]),
        ("https://straße.example/@me", ["Ångström"]),
        ("@rosa@strasse", ["Café"]),
        ("%", []),
        ("_", []),
        ("写真", ["写真"]),
    ],
)
async def test_a_search_finds_names_servers_and_handles_in_any_spelling(
    built: Built, member: Member, sought: str, found: list[str]
) -> None:
    await add_rows(
        built,
        member,
        [
            {"name": "Café", "instance_url": "HTTPS://STRASSE.example/", "username": "@rosa"},
            {"name": "Ångström", "instance_url": "straße.example", "username": "rosa"},
            {"name": "写真", "instance_url": "no server"},
        ],
    )
    listed = await built.services.platforms.list_of(caller_of(member.id), sought=sought)
    assert [each.name for each in listed.items] == found


# --- spellings of an account ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instance_url", "username"),
    [
        ("https://Mastodon.Social/", "alice"),
        ("https://mastodon.social/@alice", "@Alice"),
        ("http://mastodon.social", "alice@mastodon.social"),
        ("mastodon.social:443", "@ALICE@Mastodon.Social"),
        ("https://mastodon.social.", "alice"),
        ("https://mastodon.social", "https://mastodon.social/@alice"),
    ],
)
@pytest.mark.parametrize(
    "typed", ["alice", "@alice", "Alice@mastodon.social", "@ALICE@MASTODON.SOCIAL"]
)
async def test_a_stored_account_cannot_be_added_in_another_spelling(
    built: Built, member: Member, instance_url: str, username: str, typed: str
) -> None:
    await add_rows(
        built, member, [{"name": "Old", "instance_url": instance_url, "username": username}]
    )
    with pytest.raises(AccountTaken) as refused:
        await connect(
            built.services.platforms, member, "New", server="mastodon.social", username=typed
        )
    assert refused.value.field == "username"
    await connect(
        built.services.platforms, member, "Other", server="mastodon.social", username=f"{typed}x"
    ) if "@" not in typed[1:] else None
    async with built.database.read() as db:  # the stored spelling is kept
        stored = await db.execute(
            select(PlatformConnection.instance_url, PlatformConnection.username).where(
                PlatformConnection.name == "Old"
            )
        )
        assert stored.one() == (instance_url, username)


async def test_only_one_of_several_concurrent_spellings_of_one_account_is_added(
    built: Built, member: Member
) -> None:
    spellings = ["alice", "@alice", "Alice@garden.example", "ALICE", "@Alice@Garden.Example"]
    answers = await asyncio.gather(
        *(
            connect(built.services.platforms, member, f"{at}", username=username)
            for at, username in enumerate(spellings * 2)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(each, int) for each in answers) == 1
    assert {type(each) for each in answers if not isinstance(each, int)} == {AccountTaken}


async def test_an_account_is_stored_without_its_server(services: Services, member: Member) -> None:
    number = await connect(services.platforms, member, "A", username="@Rosa@GARDEN.example")
    connection, _ = await services.platforms.connection(caller_of(member.id), number)
    assert (connection.username, connection.instance_url) == ("Rosa", "https://garden.example")
    other = await connect(services.platforms, member, "B", username="rosa@other.example")
    connection, _ = await services.platforms.connection(caller_of(member.id), other)
    assert connection.username == "rosa@other.example"
    for wrong in ("@", "a@", "@@a", "acct:", " a", "a\u202eb"):
        with pytest.raises(InvalidInput):
            await connect(services.platforms, member, "C", username=wrong)


# --- disabled connections ------------------------------------------------------------------------


async def test_switching_off_the_default_removes_its_default_mark(
    services: Services, member: Member
) -> None:
    first, second, third = member.platform_ids
    _, is_default = await services.platforms.change(caller_of(member.id), first, is_active=False)
    assert not is_default
    assert (await services.platforms.list_of(caller_of(member.id))).default_id is None
    session = await services.accounts.log_in(NOBODY, login_name="ada", password=PASSWORD)
    assert session.platform_connection_id == second
    for use in (
        services.platforms.make_default(caller_of(member.id), first),
        services.platforms.switch(caller_of(member.id, sid=session.sid), first),
    ):
        with pytest.raises(PlatformInactive):
            await use
    await services.platforms.change(caller_of(member.id), second, is_active=False)
    await services.platforms.change(caller_of(member.id), third, is_active=False)
    session = await services.accounts.log_in(NOBODY, login_name="ada", password=PASSWORD)
    assert session.platform_connection_id is None
    context = await services.page_contexts.load(caller_of(member.id, sid=session.sid), first)
    assert context
    assert context.current is None


@pytest.mark.parametrize("is_active", [False, None])
async def test_a_default_that_was_already_switched_off_is_skipped(
    built: Built,
    member: Member,
    is_active: bool | None,  # noqa: FBT001 a test's parameter
) -> None:
    first, second, _ = member.platform_ids
    async with built.database.begin() as db:
        await db.execute(
            update(PlatformConnection)
            .where(PlatformConnection.id == first)
            .values(is_active=is_active)
        )
    services = built.services
    listed = await services.platforms.list_of(caller_of(member.id))
    assert listed.default_id is None
    assert not (await services.platforms.connection(caller_of(member.id), first))[1]
    session = await services.accounts.log_in(NOBODY, login_name="ada", password=PASSWORD)
    assert session.platform_connection_id == second
    context = await services.page_contexts.load(caller_of(member.id, sid=session.sid), first)
    assert context
    assert context.current is None
    assert context.default_off
    assert context.default_off.id == first
    added = await connect(services.platforms, member, "New")
    async with built.database.read() as db:
        user = await db.get(User, member.id)
    assert user
    assert user.default_platform_connection_id == added
