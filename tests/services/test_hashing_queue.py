"""The hashing queue: limited slots, fair between addresses, with a limit on the wait."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta

import pytest

from quart_app.errors import Busy
from quart_app.services.identity.hashing_queue import FairQueue

A_MOMENT = 0.02
MINUTE = timedelta(minutes=1)


@pytest.fixture
def order() -> list[str]:
    """The visitors in the order that they got a slot."""
    return []


Visit = Callable[[FairQueue, str], Coroutine[None, None, None]]


@pytest.fixture
def visit(order: list[str]) -> Visit:
    async def visit(queue: FairQueue, whose: str) -> None:
        async with queue.slot(whose):
            order.append(whose)
            await asyncio.sleep(A_MOMENT)

    return visit


async def test_no_more_visitors_than_slots_run_at_once() -> None:
    queue, now, most = FairQueue(3, MINUTE), 0, 0

    async def visit() -> None:
        nonlocal now, most
        async with queue.slot("a"):
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1

    await asyncio.gather(*(visit() for _ in range(50)))
    assert (now, most) == (0, 3)


async def test_a_busy_address_does_not_delay_other_addresses(
    order: list[str], visit: Visit
) -> None:
    queue = FairQueue(1, MINUTE)
    crowd = [asyncio.create_task(visit(queue, "crowd")) for _ in range(40)]
    await asyncio.sleep(A_MOMENT / 2)
    before = len(order)
    others = [asyncio.create_task(visit(queue, whose)) for whose in ("a", "b", "a")]
    await asyncio.gather(*others)
    assert order.index("a") <= before + 2
    assert order.index("b") <= before + 3
    assert len(order) <= before + 8  # most of the crowd still waits
    for each in crowd:
        each.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)


async def test_a_visitor_whose_wait_would_be_too_long_is_refused_at_once(visit: Visit) -> None:
    queue = FairQueue(1, timedelta(seconds=A_MOMENT * 5))
    for _ in range(30):  # so that the queue knows how long a slot is used
        await visit(queue, "a")
    tasks = [asyncio.create_task(visit(queue, "a")) for _ in range(30)]
    refused = [
        each
        for each in await asyncio.gather(*tasks, return_exceptions=True)
        if isinstance(each, Busy)
    ]
    assert 20 < len(refused) < 30
    assert {each.retry_after_seconds for each in refused} == {1}


async def test_a_full_queue_of_one_address_gives_way_to_other_addresses(visit: Visit) -> None:
    queue = FairQueue(1, timedelta(seconds=A_MOMENT * 5))
    for _ in range(30):
        await visit(queue, "a")
    crowd = [asyncio.create_task(visit(queue, "crowd")) for _ in range(30)]
    await asyncio.sleep(0)
    await visit(queue, "a")
    ends = await asyncio.gather(*crowd, return_exceptions=True)
    assert sum(isinstance(each, Busy) for each in ends) > 20


async def test_a_later_visitor_from_an_equally_short_queue_does_not_displace_an_earlier_one(
    order: list[str], visit: Visit
) -> None:
    queue = FairQueue(1, timedelta(seconds=A_MOMENT * 5))
    for _ in range(30):
        await visit(queue, "a")
    order.clear()
    addresses = [f"192.0.2.{number}" for number in range(30)]
    visits = [asyncio.create_task(visit(queue, address)) for address in addresses]
    ends = await asyncio.gather(*visits, return_exceptions=True)
    assert 0 < len(order) < 10
    assert order == addresses[: len(order)]
    assert all(isinstance(end, Busy) for end in ends[len(order) :])


async def test_a_visitor_is_refused_after_the_longest_wait(visit: Visit) -> None:
    queue = FairQueue(1, timedelta(seconds=A_MOMENT * 3))
    async with queue.slot("slow"):  # longer than any before
        with pytest.raises(Busy):
            await visit(queue, "a")
    await visit(queue, "a")


async def test_a_cancelled_visitor_leaves_no_slot_occupied(visit: Visit) -> None:
    queue = FairQueue(2, MINUTE)
    for _ in range(20):
        tasks = [asyncio.create_task(visit(queue, str(number % 5))) for number in range(20)]
        await asyncio.sleep(A_MOMENT)
        for each in tasks[::2]:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    async with queue.slot("a"), queue.slot("b"):
        pass
    assert (queue._free, queue._waiting, queue._lines) == (2, 0, {})


async def test_an_error_in_a_slot_releases_it() -> None:
    queue = FairQueue(1, MINUTE)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with queue.slot("a"):
                raise ZeroDivisionError
    async with queue.slot("a"):
        pass
