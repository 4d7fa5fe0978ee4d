"""Clients that log in, switch, add accounts, read and end sessions, and note what they saw.

Each browser keeps one session at a time and sends one request after the other. Some requests carry
a copy of a cookie whose session was ended, as a thief would send it.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.cookiejar import CookieJar, DefaultCookiePolicy
from random import Random
from typing import Any, Final

import httpx2
from itsdangerous import URLSafeTimedSerializer

from tests.conftest import PASSWORD
from tests.hosts.cluster import SITE
from tests.hosts.history import PROXY, Action, Call, History

_PATIENCE_SECONDS: Final = 6.0  # longer than the proxy takes to find another host
_PAUSE_SECONDS: Final = 0.03
_COOKIE: Final = "__Host-session"  # by its name over https
_COPIES: Final = 12  # the newest ended sessions of a user that are tried again
_PATHS: Final = {
    Action.LOGIN: ("POST", "/api/login"),
    Action.READ: ("GET", "/api/session_state"),
    Action.ACCOUNTS: ("GET", "/api/platforms"),
    Action.DEVICES: ("GET", "/api/sessions"),
    Action.SWITCH: ("POST", "/api/platforms/{}/switch"),
    Action.ADD: ("POST", "/api/platforms"),
    Action.LOG_OUT: ("POST", "/api/logout"),
    Action.LOG_OUT_EVERYWHERE: ("POST", "/api/logout_all"),
    Action.END_DEVICE: ("DELETE", "/api/sessions/{}"),
}


@dataclass(frozen=True)
class Session:
    """A session's cookie, and its id in the list of devices if that is known."""

    sid: str
    cookie: str
    device: int | None = None


@dataclass(eq=False)
class User:
    """A user, the accounts to switch to, and what browsers know of each other."""

    name: str
    platform_ids: tuple[int, ...]
    live: dict["Browser", Session] = field(default_factory=dict)
    ended: list[Session] = field(default_factory=list)
    added: int = 0


class Web:
    """Sends requests to the proxy or to an application host, and adds them to the history."""

    def __init__(self, urls: dict[str, str], authority: ssl.SSLContext, history: History) -> None:
        self._urls, self._history = urls, history
        jar = CookieJar(
            DefaultCookiePolicy(allowed_domains=[])
        )  # browsers have cookies of their own
        self._client = httpx2.AsyncClient(verify=authority, timeout=None, cookies=jar)

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(self._urls)

    async def is_ready(self, target: str) -> bool:
        """Return whether a target answers that it is ready."""
        try:
            response = await self._request("GET", target, "/readyz", {}, None)
        except (httpx2.TransportError, TimeoutError):
            return False
        return response.status_code == 200

    async def close(self) -> None:
        await self._client.aclose()

    async def send(
        self,
        action: Action,
        target: str,
        user: str,
        session: Session | None = None,
        *,
        path_id: int | None = None,
        body: Any = None,
        cookies: dict[str, str] | None = None,
        **noted: Any,
    ) -> tuple[Call, httpx2.Response | None]:
        """Send a request and note what became of it; the response is None if it was lost."""
        method, path = _PATHS[action]
        sent = (cookies or {}) | ({_COOKIE: session.cookie} if session is not None else {})
        header = {"Cookie": "; ".join(f"{name}={value}" for name, value in sent.items())}
        response, began = None, time.monotonic()
        with suppress(httpx2.TransportError, TimeoutError):
            response = await self._request(method, target, path.format(path_id), header, body)
        call = Call(
            action=action,
            target=target,
            user=user,
            session=_sid_of(response) if session is None else session.sid,
            began=began,
            ended=time.monotonic(),
            **_noted_of(action, response),
            **noted,
        )
        self._history.calls.append(call)
        return call, response

    async def _request(
        self, method: str, target: str, path: str, headers: dict[str, str], body: Any
    ) -> httpx2.Response:
        own = {"Host": SITE}
        if target != PROXY:  # as the proxy does
            own |= {"X-Forwarded-For": "10.77.0.10", "X-Forwarded-Proto": "https"}
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await self._client.request(
                method,
                self._urls[target] + path,
                headers=own | headers,
                json=body,
                extensions={"sni_hostname": SITE},
            )


def _cookies_of(response: httpx2.Response | None) -> dict[str, str]:
    """Return the cookies that a response sets, by name; the value is empty if it deletes one."""
    lines = response.headers.get_list("Set-Cookie") if response is not None else []
    pairs = (line.partition(";")[0].partition("=") for line in lines)
    return {name: value for name, _, value in pairs}


def _cookie_of(response: httpx2.Response | None) -> str | None:
    """Return the session cookie's value that a response sets, if it sets one."""
    return _cookies_of(response).get(_COOKIE) or None


def _sid_of(response: httpx2.Response | None) -> str | None:
    cookie = _cookie_of(response)
    if cookie is None:
        return None
    _, contents = URLSafeTimedSerializer("").loads_unsafe(cookie)
    return str(contents["sid"])


def _noted_of(action: Action, response: httpx2.Response | None) -> dict[str, Any]:
    """Return the fields of a Call that come from the answer."""
    if response is None:
        return {"status": None}
    noted: dict[str, Any] = {
        "status": response.status_code,
        "request_id": response.headers.get("X-Request-Id"),
    }
    if not response.is_success:
        return noted
    if action in {Action.LOGIN, Action.READ, Action.SWITCH}:
        state = response.json()
        noted |= {"user_id": state["user_id"], "current": state["platform_connection_id"]}
    elif action is Action.ACCOUNTS:
        noted["accounts"] = tuple(each["name"] for each in response.json())
    return noted


class Browser:
    """One browser of a user. Its choices depend on the seed and its name alone."""

    def __init__(self, web: Web, user: User, name: str, seed: int) -> None:
        self._web, self.user, self.name = web, user, name
        self._random = Random(f"{seed} {name}")  # noqa: S311 repeatable, not secret
        self._others: dict[str, str] = {}  # cookies; one makes this a known device of the user
        self._actions: dict[Callable[[Session], Awaitable[None]], int] = {
            self._read: 30,
            self._try_copy: 30,
            self._list_accounts: 10,
            self._switch: 14,
            self._add: 5,
            self._log_out: 10,
            self._end_device: 6,
            self._log_out_everywhere: 1,
        }

    @property
    def session(self) -> Session | None:
        return self.user.live.get(self)

    async def step(self) -> None:
        """Send a request at random; a login if there is no session."""
        if self.session is None:
            await self.log_in()
        else:
            (action,) = self._random.choices(
                list(self._actions), weights=list(self._actions.values())
            )
            await action(self.session)
        await asyncio.sleep(self._random.uniform(0, 2 * _PAUSE_SECONDS))

    async def log_in(self) -> None:
        body = {"username": self.user.name, "password": PASSWORD}
        call, response = await self._send(
            Action.LOGIN, None, body=body, cookies=self._others, has_newest_cookie=True
        )
        cookie = _cookie_of(response)
        if call.session is not None and cookie is not None:
            self.user.live[self] = Session(call.session, cookie)
            await self._find_device(self.user.live[self])

    async def _find_device(self, session: Session) -> None:
        _, response = await self._send(Action.DEVICES, session)
        if response is not None and response.is_success and self.session is not None:
            device = next((each["id"] for each in response.json() if each["is_current"]), None)
            self.user.live[self] = replace(self.session, device=device)

    async def _send(
        self, action: Action, session: Session | None, **more: Any
    ) -> tuple[Call, httpx2.Response | None]:
        """Send a request; forget a session that is refused."""
        target = self._random.choice((*self._web.targets, PROXY))
        call, response = await self._web.send(action, target, self.user.name, session, **more)
        if more.get("cookies") is not None:
            self._others |= _cookies_of(response)
            self._others.pop(_COOKIE, None)
        if call.is_refused and session is not None and session == self.session:
            self._leave(session)
        return call, response

    def _leave(self, session: Session) -> None:
        self.user.ended.append(session)
        self.user.live.pop(self, None)

    async def _read(self, session: Session) -> None:
        await self._send(Action.READ, session, has_newest_cookie=True)

    async def _try_copy(self, _session: Session) -> None:
        copies = self.user.ended[-_COPIES:]
        if copies:
            await self._send(Action.READ, self._random.choice(copies))

    async def _list_accounts(self, session: Session) -> None:
        await self._send(Action.ACCOUNTS, session)

    async def _switch(self, session: Session) -> None:
        to = self._random.choice(self.user.platform_ids)
        _, response = await self._send(
            Action.SWITCH, session, path_id=to, subject=to, has_newest_cookie=True
        )
        cookie = _cookie_of(response)
        if cookie and self.session == session:
            self.user.live[self] = replace(session, cookie=cookie)

    async def _add(self, session: Session) -> None:
        self.user.added += 1
        name = f"{self.user.name} {self.user.added}"
        body = {
            "name": name,
            "platform_type": "mastodon",
            "instance_url": "https://mastodon.example",
            "username": f"account{self.user.added}",
            "access_token": "a-token",
            "verify": False,
        }
        await self._send(Action.ADD, session, body=body, subject=name)

    async def _log_out(self, session: Session) -> None:
        call, _ = await self._send(Action.LOG_OUT, session)
        if call.is_acknowledged:
            self._leave(session)

    async def _log_out_everywhere(self, session: Session) -> None:
        call, _ = await self._send(Action.LOG_OUT_EVERYWHERE, session)
        if call.is_acknowledged:
            self._leave(session)

    async def _end_device(self, session: Session) -> None:
        """End the session of another browser, which learns of it at its next request."""
        others = [live for browser, live in self.user.live.items() if browser is not self]
        if not others:
            return
        other = self._random.choice(others)
        if other.device is not None:
            await self._send(
                Action.END_DEVICE, session, path_id=other.device, subject=other.sid, body={}
            )
            self.user.ended.append(other)
