"""Secrets of connected accounts are in no log line, no column in clear, no page and no header."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from sqlalchemy import URL

from quart_app.services.platforms.credentials import Credentials
from tests.conftest import ENCRYPTION_KEY, Member, settings_for
from tests.peers.browser import authorize
from tests.peers.fixtures import Peers
from tests.peers.snac import Snac
from tests.servers import ANSWER_SECONDS, hypercorns
from tests.web.test_audit import everything_stored

pytestmark = pytest.mark.sqlite_unless_thorough


@dataclass
class Witness:
    """Everything that a process answered and stored, and the secrets that were under way."""

    client: httpx2.Client
    database_url: URL
    peers: Peers
    snac: Snac
    secrets: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    answers: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, *, keep: bool = True, **more: Any) -> httpx2.Response:
        """Send a request, and keep its answer unless it has to hold a secret."""
        response = self.client.request(method, path, **more)
        headers = dict(response.headers)
        if path.endswith("/new"):
            headers.pop("set-cookie", None)  # the state is in this cookie
        if keep:
            self.answers.append(f"{method} {urlsplit(path).path}: {headers}\n{response.text}")
        return response

    async def look(self) -> None:
        """Keep every row, and learn the secrets of the moment."""
        stored = await everything_stored(self.database_url)
        self.rows += [f"{table}: {row}" for table, rows in stored.items() for row in rows]
        unseal = Credentials((ENCRYPTION_KEY,)).unseal
        for row in stored["platform_authorizations"]:
            self.secrets["verifier"].add(unseal(row["code_verifier"]) or "")
        for peer in self.peers.by_name.values():
            apps, tokens = peer.records.apps, peer.records.tokens
            self.secrets["client secret"] |= {app.client_secret for app in apps.values()}
            self.secrets["token"] |= set(tokens)
            self.secrets["refresh token"] |= {
                token.refresh_token for token in tokens.values() if token.refresh_token
            }
        for name, key in (("app", "client_secret"), ("token", "token")):
            for file in (self.snac.folder / name).glob("*.json"):
                self.secrets[f"snac {name}"].add(json.loads(file.read_text())[key])

    async def way_back(self, host: str, user: str = "ada", *, allow: bool = True) -> str:
        """Walk to a server's page and back; return the path of the callback with its query."""
        begun = self.ask("POST", "/platforms/new", data={"server": host})
        assert begun.status_code == 303, begun.text
        page = begun.headers["Location"]
        self.ask("GET", page)
        # The address of the server's page holds the state, and so does the answer that leads there.
        url = self.ask("GET", f"{page}/continue", keep=False).headers["Location"]
        self.secrets["state"] |= set(parse_qs(urlsplit(url).query)["state"])
        password = self.snac.passwords.get(user)
        answer = urlsplit(
            authorize(url, user, verify=self.peers.tls, allow=allow, password=password)
        )
        self.secrets["code"] |= set(parse_qs(answer.query).get("code", []))
        await self.look()
        return f"{answer.path}?{answer.query}"

    async def connect_check_and_remove(self, host: str, user: str) -> None:
        page = self.ask("GET", await self.way_back(host, user)).headers["Location"]
        self.ask("GET", page)
        self.ask("GET", f"{page}/avatar")
        await self.look()
        self.ask("GET", self.ask("POST", f"{page}/add").headers["Location"])
        await self.look()
        (connection,) = self.connections_at(host)
        assert self.ask("POST", f"/api/platforms/{connection}/test").json()["ok"]
        await self.look()
        self.ask("POST", f"/platforms/{connection}/remove")
        assert self.connections_at(host) == []

    def connections_at(self, host: str) -> list[int]:
        return [
            each["id"]
            for each in self.ask("GET", "/api/platforms").json()
            if host in each["instance_url"]
        ]


async def fail_in_every_way(witness: Witness) -> None:
    """Be denied, and come back to servers that repeat the secrets that they were given."""
    host = witness.peers["mastodon-4-6"].host
    callback = await witness.way_back(host, allow=False)
    assert witness.ask("GET", callback).status_code == 409
    peer = witness.peers["mastodon-4-2"]
    for status, kind in ((500, "text/html"), (400, "application/json"), (200, "text/plain")):
        callback = await witness.way_back(peer.host)
        said = json.dumps({"error": callback, "error_description": [*witness.secrets["verifier"]]})
        peer.records.answer("/oauth/token", status, said, content_type=kind)
        assert witness.ask("GET", callback).status_code >= 400
        assert witness.ask("GET", callback).status_code == 410
        peer.records.recover()


async def paste(witness: Witness) -> None:
    """Paste a token that works, and tokens that don't."""
    peer = witness.peers["mastodon-4-2"]
    fields = {"name": "Pasted", "platform_type": "mastodon", "instance_url": peer.host}
    good, bad = peer.records.personal_token(), "a-pasted-token-that-is-no-good"
    witness.secrets["pasted"] |= {good, bad}
    for token, status in ((bad, 422), (good, 201)):
        body = fields | {"access_token": token}
        answer = witness.ask("POST", "/api/platforms", json=body)
        assert answer.status_code == status, answer.text
    form = fields | {"name": "Another", "instance_url": "a b", "access_token": bad}
    page = witness.ask("POST", "/platforms/new/token", data=form, keep=False)
    assert bad in page.text  # the page keeps what was typed
    await witness.look()


async def test_no_secret_of_an_account_is_logged_stored_in_clear_or_shown(
    database_url: URL, member: Member, peers: Peers, snac: Snac, tmp_path: Path
) -> None:
    environ = {
        "QUART_APP_ALLOWED_PRIVATE_NETWORKS": '["127.0.0.0/8", "::1/128"]',
        "QUART_APP_ALLOWED_PRIVATE_PORTS": '["1-65535"]',
        "QUART_APP_EXTRA_CA_FILE": str(peers.ca_file),
    }
    app = "tests.debug_application:create_debug_app()"
    with (
        hypercorns(1, settings_for(database_url), tmp_path, environ=environ, app=app) as (server,),
        httpx2.Client(base_url=server.url, timeout=ANSWER_SECONDS) as client,
    ):
        witness = Witness(client, database_url, peers, snac)
        login = {"username": member.username, "password": member.password}
        assert witness.ask("POST", "/api/login", json=login, keep=False).status_code == 200
        await witness.connect_check_and_remove(peers["akkoma"].host, "ada")
        await witness.connect_check_and_remove(snac.host, "alice")
        await fail_in_every_way(witness)
        await paste(witness)
    kinds = {"state", "code", "verifier", "client secret", "token", "refresh token", "pasted"}
    assert set(witness.secrets) == kinds | {"snac app", "snac token"}
    log = server.log.read_text()
    assert f"GET /platforms/callback/{snac.host} 1.1" in log
    assert "DEBUG:httpcore2" in log  # libraries, too, say all they have to say
    assert '"event": "platform_connected"' in log
    for kind, secrets in witness.secrets.items():
        for secret in secrets:
            assert len(secret) > 16
            assert secret not in log, kind
            for row in witness.rows:
                assert secret not in row, (kind, row)
            for answer in witness.answers:
                assert secret not in answer, (kind, answer)
