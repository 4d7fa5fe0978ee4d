"""scripts/bench/peers.py: its client, its comparisons and its picture."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from xml.etree import ElementTree as ET

import pytest
from bench.peers_client import Browser, Round, UnexpectedAnswerError, measure
from bench.peers_picture import picture
from bench.peers_report import DASHBOARD, QUART_AUTH, STOCK, Peer, goals, rate, ratio, table

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"


def peer(name: str, *rates: int, is_ours: bool = False, is_final: bool = False) -> Peer:
    """A peer whose rounds took a second each, with a processor time of a millisecond a request."""
    rounds = [Round(1.0, each / 1000, 0.1, [0.001] * each) for each in rates]
    return Peer(name=name, path="/", is_ours=is_ours, is_final=is_final, rounds=rounds)


def compared() -> list[Peer]:
    return [
        peer("/auth/verify", 300, 250, 200, is_ours=True, is_final=True),
        peer(DASHBOARD, 9, 9, 9, is_ours=True, is_final=True),
        peer(STOCK, 100, 250, 400),
        peer(QUART_AUTH, 10, 10, 10),
        peer("Flask <Login>", 999, 999, 999),
        peer("session table", 260, 260, 260, is_final=True),
    ]


def test_a_ratio_compares_rates_of_the_same_round() -> None:
    ours, _, stock, *_ = compared()
    assert ratio(ours, stock, rate) == (1.0, 0.5, 3.0)


def test_goals_are_those_that_end_sessions_and_stock_quart_and_quart_auth() -> None:
    found = {goal.words.partition(", each")[0]: goal.is_met for goal in goals(compared())}
    assert found == {
        "/auth/verify: a logout ends a copied cookie": True,
        f"{DASHBOARD}: a logout ends a copied cookie": True,
        f"/auth/verify: 1.00 times as many requests a second as {STOCK}": False,
        f"/auth/verify: 25.00 times as many requests a second as {QUART_AUTH}": True,
        "/auth/verify: 0.96 times as many requests a second as session table": False,
    }


def test_the_picture_is_well_formed_and_has_every_peer_with_the_fate_of_its_cookie() -> None:
    drawn = ET.fromstring(picture(compared()))  # noqa: S314 our own
    texts = [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text in {"Flask <Login>", "session table"}] == [
        "Flask <Login>",
        "session table",
    ]
    assert texts.count("copied cookie stays valid") == 3
    assert texts.count("copied cookie ends") == 3


def test_the_table_has_a_row_for_each_peer_with_all_columns() -> None:
    lines = table(compared()).splitlines()
    assert len(lines) == len(compared()) + 2
    assert {line.count("|") for line in lines} == {10}


# --- the client -----------------------------------------------------------------------------------


@asynccontextmanager
async def server(*answers: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server of one connection, which gives these answers in parts, and the last one repeatedly.

    Yields its port and the heads of the requests.
    """
    heads: list[bytes] = []
    is_closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                heads.append(await reader.readuntil(b"\r\n\r\n"))
                answer = answers[min(len(heads), len(answers)) - 1]
                for part in (answer[:12], answer[12:-1], answer[-1:]):
                    writer.write(part)
                    await asyncio.sleep(0.001)
        writer.close()
        is_closed.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1], heads
        await is_closed.wait()


async def ask(port: int, processor_seconds: Callable[[], float] = lambda: 0.0) -> Round:
    return await measure(
        Browser(port, {"session": "old"}),
        "/me",
        connections=1,
        seconds=0.05,
        processor_seconds=processor_seconds,
    )


async def test_the_client_sends_the_newest_cookie_and_counts_no_answer_before_it_measures() -> None:
    with_cookie = ANSWER + b"Set-Cookie: session=new; Path=/\r\n\r\n{}"
    async with server(with_cookie, ANSWER + b"\r\n{}") as (port, heads):
        result = await ask(port, lambda: float(len(heads)))
    # One request more may have been open when the measurement began.
    assert 0 < len(result.waits) <= result.processor_seconds + 1
    cookies = [b"Cookie: session=old\r\n" in head for head in heads]
    assert cookies == [True] + [False] * (len(heads) - 1)
    assert b"Cookie: session=new\r\n" in heads[-1]


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 302 F\r\n\r\n"]
)
async def test_an_unexpected_answer_ends_the_measurement(answer: bytes) -> None:
    async with server(ANSWER + b"\r\n{}", answer) as (port, _):
        with pytest.raises(UnexpectedAnswerError, match=r"/me: unexpected answer (500|302)"):
            await ask(port)
