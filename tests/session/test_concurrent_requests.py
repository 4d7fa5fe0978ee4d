"""Concurrent requests in every order, against a browser's cookie jar.

A request carries the cookies that the browser has when it is sent; its handler runs, and its
response arrives, at other moments. Hypothesis permutes all of these. In every order nothing logs a
browser in again once its session was ended, and nothing but a switch changes an extra claim. The
same schedules break a stock Quart application; a test shows that, too.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from quart import Quart, Response, session
from werkzeug.datastructures import Headers

from quart_app.session import (
    RevocationList,
    RevocationRow,
    clear_session,
    create_session,
    presented_sessions,
    renew_session,
    update_session,
)
from tests.conftest import SECRET_KEY, Clock
from tests.session.applications import interface, issued

HOUR = timedelta(hours=1)
SENT = ["read", "read_stream", "switch/2", "switch/3", "logout", "logout_all", "log_in"]


@dataclass
class Gates:
    """The point at which each handler waits, by the number of its request."""

    waiting: dict[int, asyncio.Event] = field(default_factory=dict)

    async def passed(self, number: int) -> None:
        await self.waiting[number].wait()


MakePeer = Callable[[Gates], Quart]


def ours(gates: Gates) -> Quart:
    """An application with our session, and the real revocation list."""
    app, clock = Quart("ours"), Clock()
    revocations = RevocationList(refuse_after=HOUR)
    revocations.confirm(revocations.read_clocks())
    app.secret_key = SECRET_KEY
    app.session_interface = interface(clock, is_alive=revocations.is_alive, renewal=timedelta(0))
    epochs, begun = [0], [0]

    def end(**what: Any) -> None:
        blank = {"seq": 1, "sid": None, "user_id": None, "epoch": None, "not_before": None}
        revocations.apply([RevocationRow(**blank | what, expires_at=clock() + 24 * HOUR)])

    async def log_in() -> None:
        for old in presented_sessions():
            end(sid=old.sid)
        begun[0] += 1
        create_session(issued(clock, sid=f"{begun[0]:022}", epoch=epochs[0]))

    async def log_out() -> None:
        for old in presented_sessions():
            end(sid=old.sid)
        clear_session()

    async def log_out_everywhere() -> None:
        epochs[0] += 1
        end(user_id=7, epoch=epochs[0])
        clear_session()

    async def switch(number: int) -> None:
        if "user_id" in session:
            update_session(tenant=number)

    async def read() -> None:
        clock.advance(timedelta(seconds=1))
        renew_session()

    install(
        app,
        gates,
        read=read,
        switch=switch,
        log_in=log_in,
        logout=log_out,
        logout_all=log_out_everywhere,
    )
    return app


def stock(gates: Gates) -> Quart:
    """The same with Quart's own session, as documented: permanent, so refreshed."""
    app = Quart("stock")
    app.secret_key = SECRET_KEY
    logins = [0]

    async def log_in() -> None:
        logins[0] += 1
        session.clear()
        session.permanent = True
        session.update(user_id=7, sid=f"{logins[0]:022}", tenant=1)

    async def log_out() -> None:
        session.clear()

    async def switch(number: int) -> None:
        if "user_id" in session:
            session["tenant"] = number

    async def read() -> None:
        session.get("user_id")

    install(app, gates, read=read, switch=switch, log_in=log_in, logout=log_out, logout_all=log_out)
    return app


def install(
    app: Quart,
    gates: Gates,
    *,
    read: Callable[[], Awaitable[None]],
    switch: Callable[[int], Awaitable[None]],
    **acts: Callable[[], Awaitable[None]],
) -> None:
    """Give both the same routes; each handler waits at its gate, readers after they have read."""

    @app.get("/read/<int:number>")
    async def _read(number: int) -> str:
        await read()
        await gates.passed(number)
        return "read"

    @app.get("/read_stream/<int:number>")
    async def _read_stream(number: int) -> Response:
        await read()
        await gates.passed(number)

        async def lines() -> Any:
            yield b"one"
            yield b"two"

        return Response(lines())

    @app.post("/switch/<int:platform>/<int:number>")
    async def _switch(platform: int, number: int) -> str:
        await gates.passed(number)
        await switch(platform)
        return "switched"

    for name, act in acts.items():

        async def _act(number: int, act: Callable[[], Awaitable[None]] = act) -> str:
            await gates.passed(number)
            await act()
            return "done"

        app.add_url_rule(f"/{name}/<int:number>", name, _act, methods=["POST"])

    @app.get("/state")
    async def _state() -> dict[str, Any]:
        return {key: session.get(key) for key in ("sid", "tenant")}


class Broken(AssertionError):  # noqa: N818 named for the fact
    """A rule that must hold in every order was violated."""


@dataclass
class Request:
    """A request in flight: the session that it was sent with, and later its response's headers."""

    what: str
    asked_as: str | None
    task: asyncio.Task[Response]
    headers: Headers = field(default_factory=Headers)


@dataclass
class Browser:
    """A cookie jar, its requests in flight, and the rules that must hold."""

    app: Quart
    gates: Gates
    jar: dict[str, str] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    sent: dict[int, Request] = field(default_factory=dict)
    answered: dict[int, Request] = field(default_factory=dict)
    number: int = 0

    async def ask(self, path: str) -> Response:
        client: Any = self.app.test_client(use_cookies=False)
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.jar.items())} if self.jar else {}
        method = "GET" if path.startswith(("/read", "/state")) else "POST"
        response: Response = await client.open(path, method=method, headers=headers)
        assert response.status_code == 200
        return response

    async def state(self) -> dict[str, Any]:
        state: dict[str, Any] = await (await self.ask("/state")).get_json()
        return state

    async def send(self, what: str) -> None:
        self.number += 1
        asked_as = (await self.state())["sid"]
        self.gates.waiting[self.number] = asyncio.Event()
        task = asyncio.create_task(self.ask(f"/{what}/{self.number}"))
        self.sent[self.number] = Request(what, asked_as, task)
        await asyncio.sleep(0)

    async def finish(self, number: int) -> None:
        request = self.sent.pop(number)
        self.gates.waiting[number].set()
        request.headers = (await request.task).headers
        self.answered[number] = request
        if request.what in {"logout", "logout_all", "log_in"} and request.asked_as is not None:
            self.ended.add(request.asked_as)

    async def arrive(self, number: int) -> None:
        answer, before = self.answered.pop(number), await self.state()
        self.take(answer.headers)
        after = await self.state()
        if after["sid"] in self.ended:
            raise Broken(f"{answer.what} logged the browser in again")
        if before["sid"] != after["sid"] or before == after:
            return
        if not answer.what.startswith("switch"):
            raise Broken(f"{answer.what} undid a switch")
        if after["tenant"] != int(answer.what[-1]):
            raise Broken(f"{answer.what} was mixed with another")

    def take(self, headers: Headers) -> None:
        for line in headers.getlist("Set-Cookie"):
            for name, morsel in SimpleCookie(line).items():
                if morsel.value and morsel["max-age"] != "0":
                    self.jar[name] = morsel.value
                else:
                    self.jar.pop(name, None)


async def run(make: MakePeer, schedule: list[tuple[str, int]]) -> None:
    gates = Gates()
    browser = Browser(make(gates), gates)
    for step, argument in [("send", SENT.index("log_in")), ("finish", 0), ("arrive", 0), *schedule]:
        if step == "send":
            await browser.send(SENT[argument % len(SENT)])
        elif step == "finish" and browser.sent:
            await browser.finish(sorted(browser.sent)[argument % len(browser.sent)])
        elif step == "arrive" and browser.answered:
            await browser.arrive(sorted(browser.answered)[argument % len(browser.answered)])
    for number in sorted(browser.sent):
        await browser.finish(number)
    for number in sorted(browser.answered):
        await browser.arrive(number)


SCHEDULES = st.lists(
    st.tuples(st.sampled_from(["send", "send", "finish", "arrive"]), st.integers(0, 20)),
    max_size=24,
)
LONG = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors]
)


def test_no_order_of_responses_logs_in_again_or_undoes_a_switch(*, thorough: bool) -> None:
    @settings(LONG, max_examples=3000 if thorough else 150)
    @given(SCHEDULES)
    def holds(schedule: list[tuple[str, int]]) -> None:
        asyncio.run(run(ours, schedule))

    holds()


@pytest.mark.parametrize("complaint", ["logged the browser in again", "undid a switch"])
def test_a_stock_session_fails_the_same_checks(complaint: str) -> None:
    """Hypothesis must find it: a test that cannot fail would show nothing."""

    @settings(LONG, max_examples=3000, derandomize=True, database=None, phases=[Phase.generate])
    @given(SCHEDULES)
    def holds(schedule: list[tuple[str, int]]) -> None:
        try:
            asyncio.run(run(stock, schedule))
        except Broken as broken:
            if complaint in str(broken):
                raise

    with pytest.raises(Broken, match=complaint):
        holds()
