"""Every cause that ends sessions, triggered over HTTP or from the command line."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from quart_app.model import Role
from quart_app.services.sessions.steps.issuing import MOST_LIVE_LOGINS
from tests.conftest import PASSWORD
from tests.processes import Processes, cookie_of, log_in, log_out
from tests.servers import Server

NEW_PASSWORD = "incorrect donkey charger paperclip"
OWN, OTHER, SOMEBODYS = "own", "other", "somebody's"


@dataclass(frozen=True)
class Scene:
    """A user who is logged in on two devices; `own` is the older login."""

    processes: Processes
    name: str
    own: str
    other: str

    @property
    def here(self) -> Server:
        """The server on which the cause is triggered."""
        return self.processes.a


@dataclass(frozen=True)
class Cause:
    """A cause, the sessions that it ends, and the user's password afterwards, if the user can log
    in.

    `bring_about` returns when the sessions should start to be refused.
    """

    bring_about: Callable[[Scene], float]
    ends: frozenset[str]
    password: str | None = PASSWORD


def _by(method: str, path: str, *, status: int) -> Callable[[Scene], float]:
    def ask(scene: Scene) -> float:
        since = time.monotonic()
        assert scene.here.ask(method, path, scene.own).status_code == status
        return since

    return ask


def _log_in_again(scene: Scene) -> float:
    since = time.monotonic()
    _is_alive_everywhere(scene, log_in(scene.here, scene.name, cookie=scene.own))
    return since


def _log_out_everywhere(scene: Scene) -> float:
    since = time.monotonic()
    log_out(scene.here, scene.own, everywhere=True)
    return since


def _change_password(scene: Scene) -> float:
    since = time.monotonic()
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    response = scene.here.ask("POST", "/api/account/password", scene.own, json=body)
    assert response.status_code == 204
    _is_alive_everywhere(scene, cookie_of(response))
    return since


def _is_alive_everywhere(scene: Scene, cookie: str | None) -> None:
    assert cookie
    assert [server.status(cookie) for server in scene.processes] == [200, 200]


def _remove_the_other(scene: Scene) -> float:
    since = time.monotonic()
    path = f"/api/sessions/{_login_id(scene.here, scene.other)}"
    assert scene.here.ask("DELETE", path, scene.own).status_code == 204
    return since


def _login_id(server: Server, cookie: str) -> int:
    logins = server.ask("GET", "/api/sessions", cookie).json()
    return int(next(each["id"] for each in logins if each["is_current"]))


def _log_in_until_the_oldest_ends(scene: Scene) -> float:
    for _ in range(MOST_LIVE_LOGINS - 2):
        log_in(scene.here, scene.name)
    assert scene.here.status(scene.own) == 200
    since = time.monotonic()
    log_in(scene.here, scene.name)
    return since


def _by_administrator(path: str) -> Callable[[Scene], float]:
    def administer(scene: Scene) -> float:
        root = log_in(scene.here, scene.processes.new_user(Role.ADMIN))
        user_id = scene.here.ask("GET", "/api/session_state", scene.own).json()["user_id"]
        login_id = _login_id(scene.here, scene.own)
        since = time.monotonic()
        asked = path.format(user_id=user_id, login_id=login_id)
        assert scene.here.ask("POST", asked, root).status_code == 303
        return since

    return administer


def _by_command(*arguments: str, typed: str = "") -> Callable[[Scene], float]:
    def administer(scene: Scene) -> float:
        scene.processes.run(*(each.format(name=scene.name) for each in arguments), typed=typed)
        return time.monotonic()  # a command has ended the sessions when it exits

    return administer


def _use_reset_link(scene: Scene) -> float:
    link = scene.processes.run("user", "reset-link", scene.name).split()[-1]
    assert link.startswith(f"{scene.processes.settings.public_url}/reset?token=")
    token = link.partition("token=")[2]
    assert scene.here.ask("GET", f"/reset?token={token}").status_code == 200
    since = time.monotonic()
    form = {"token": token, "new_password": NEW_PASSWORD}
    assert scene.here.ask("POST", "/reset", data=form).status_code == 303
    log = scene.here.log.read_text()
    assert "GET /reset " in log
    assert token not in log
    return since


_OWN, _OTHER, _BOTH = frozenset({OWN}), frozenset({OTHER}), frozenset({OWN, OTHER})
_ALL = _BOTH | {SOMEBODYS}

CAUSES = {
    "log out": Cause(_by("POST", "/api/logout", status=204), _OWN),
    "log out by the form": Cause(_by("POST", "/logout", status=303), _OWN),
    "log in again": Cause(_log_in_again, _OWN),
    "log out everywhere": Cause(_log_out_everywhere, _BOTH),
    "change the password": Cause(_change_password, _BOTH, NEW_PASSWORD),
    "this wasn't me": Cause(_by("POST", "/account/not_me", status=303), _BOTH),
    "remove a device": Cause(_remove_the_other, _OTHER),
    "remove all others": Cause(_by("DELETE", "/api/sessions", status=204), _OTHER),
    "the fifty-first login": Cause(_log_in_until_the_oldest_ends, _OWN),
    "administrator, one": Cause(_by_administrator("/admin/sessions/{login_id}/end"), _OWN),
    "administrator, a user's": Cause(_by_administrator("/admin/users/{user_id}/end"), _BOTH),
    "administrator, everybody's": Cause(_by_administrator("/admin/sessions/all/end"), _ALL),
    "sessions end NAME": Cause(_by_command("sessions", "end", "{name}"), _BOTH),
    "sessions end --all": Cause(_by_command("sessions", "end", "--all"), _ALL),
    "user passwd": Cause(
        _by_command("user", "passwd", "{name}", "--password-stdin", typed=NEW_PASSWORD),
        _BOTH,
        NEW_PASSWORD,
    ),
    "a reset link": Cause(_use_reset_link, _BOTH, NEW_PASSWORD),
    "user deactivate": Cause(_by_command("user", "deactivate", "{name}"), _BOTH, None),
}
