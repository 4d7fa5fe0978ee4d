"""snac, a real server with Mastodon's API (https://comam.es/what-is-snac), behind TLS on loopback.

Measured with snac 2.75 (tests/peers/test_snac.py):

- NodeInfo names it "snac". RFC 8414's metadata and /api/v2/instance are missing: 404, in HTML.
- An app may be registered by a form or by JSON, with any scopes. Without a redirect URI: 404.
- An app remembers only the user who logged in with it last. **A code is never compared**: any code,
  used or made up, is exchanged for a token of that user. So if two users authorize with the same
  app before the first exchange, both get the account of the second. With one app, 50 of 100 got
  the wrong account; with an app for each attempt, 0 of 100, and 0 of 200 with ten at a time.
- A code that nobody has logged in for gives a token, too, which is nobody's.
- The authorization page takes any redirect URI, and ignores PKCE, `scope`, `force_login`, `lang`.
- There is no way to deny. A wrong password shows the form again, with 200. An unknown app is
  answered with 400 and an empty page: the user is stranded.
- The state comes back unescaped, so that one with `&` is cut. Without a state there is none.
- The token's JSON has no `expires_in`, and `scope` only if the exchange names one. There are no
  refresh tokens.
- The secret must be in the form: HTTP Basic is answered with 400. A wrong secret or an unknown app
  is answered with 401, without the parameter redirect_uri with 400; the bodies are empty.
- An unknown, revoked or missing token is answered with **422** and an empty body.
- Revoking one token **deletes the app**. Its other tokens still work and can be revoked.
- It closes each connection after one answer and does not announce it (see TlsFront).
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from standins.certificates import CertificateAuthority
from standins.listener import LOOPBACK, ReservedPort
from standins.loop_thread import LoopThread
from standins.tls_front import TlsFront

from tests.conftest import lacking
from tests.listening import STARTUP_SECONDS, wait_until_listening

_COMMAND_SECONDS = 60  # it makes an RSA key for each user


@dataclass
class Snac:
    """A running server, and its users."""

    front: TlsFront
    passwords: dict[str, str] = field(default_factory=dict, repr=False)
    folder: Path = Path()

    @property
    def host(self) -> str:
        """The name that a user types."""
        return self.front.host

    @property
    def url(self) -> str:
        """Its origin."""
        return self.front.url

    def add_user(self, name: str) -> None:
        """Make a user; the password is in `passwords`."""
        said = _command("adduser", str(self.folder), name)
        self.passwords[name] = said.partition("User password is ")[2].split()[0]

    def delete_apps(self) -> None:
        """Delete every app, as its administrator may."""
        for file in (self.folder / "app").glob("*.json"):
            file.unlink()


@contextmanager
def running_snac(
    config: pytest.Config, folder: Path, thread: LoopThread, authority: CertificateAuthority
) -> Iterator[Snac]:
    """Start snac with the users alice and bob; it ends with the block."""
    if shutil.which("snac") is None:
        lacking(config, "snac (Debian's package snac2, for bookworm in its backports)")
    reserved = ReservedPort()
    port = reserved.number
    front = TlsFront(port, thread, authority.certificate("localhost"), closes=True)
    data = folder / "data"
    # Address, port, host, prefix, and the administrator's e-mail address, which it has not.
    _command("init", str(data), typed=f"{LOOPBACK}\n{port}\n{front.host}\n\n\n")
    server_file = data / "server.json"
    server_file.write_text(json.dumps(json.loads(server_file.read_text()) | {"protocol": "https"}))
    snac = Snac(front, folder=data)
    for name in ("alice", "bob"):
        snac.add_user(name)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["snac", "httpd", str(data)], stdout=log, stderr=log)
    try:
        wait_until_listening(process, port, folder / "log")
        front.start()
        yield snac
        front.close()
    finally:
        process.kill()  # when asked to end, it takes two seconds
        process.wait(STARTUP_SECONDS)
        reserved.release()


def _command(*arguments: str, typed: str = "") -> str:
    ended = subprocess.run(
        ["snac", *arguments],
        input=typed,
        capture_output=True,
        text=True,
        timeout=_COMMAND_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
