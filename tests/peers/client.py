"""An application that connects an account, one request at a time, for tests of peers."""

import base64
import hashlib
import secrets
import ssl
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

from tests.peers.browser import authorize

CALLBACK = "https://app.example/platforms/callback"
VERIFIER = secrets.token_urlsafe(48)
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode()[:-1]
PKCE = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}


@dataclass
class Client:
    """An application that connects to one server, step by step."""

    url: str
    tls: ssl.SSLContext
    http: httpx2.Client

    def get(self, path: str, token: str | None = None) -> httpx2.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.http.get(f"{self.url}{path}", headers=headers)

    def post(self, path: str, **fields: str) -> httpx2.Response:
        return self.http.post(f"{self.url}{path}", data=fields)

    def register(self, scopes: str = "read") -> dict[str, str]:
        answer = self.post(
            "/api/v1/apps", client_name="Test", redirect_uris=CALLBACK, scopes=scopes
        )
        assert answer.status_code == 200, answer.text
        return {name: answer.json()[name] for name in ("client_id", "client_secret")}

    def address(self, app: dict[str, str], **query: str) -> str:
        fields = {"response_type": "code", "redirect_uri": CALLBACK, "state": "s1", "scope": "read"}
        query = fields | PKCE | {"client_id": app["client_id"]} | query
        return f"{self.url}/oauth/authorize?{urlencode(query)}"

    def authorize(self, app: dict[str, str], user: str = "ada", **query: str) -> dict[str, str]:
        """Return the callback's query when the user has allowed it."""
        url, password = self.address(app, **query), self.password_of(user)
        return query_of(authorize(url, user, verify=self.tls, password=password))

    def password_of(self, user: str) -> str | None:
        """Return the password where the server asks for one, as stand-ins do not."""
        return None

    def exchange(self, app: dict[str, str], code: str, **fields: str) -> httpx2.Response:
        grant = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
        return self.post("/oauth/token", **(app | grant | {"code_verifier": VERIFIER} | fields))

    def token(self, app: dict[str, str], user: str = "ada", **query: str) -> dict[str, object]:
        answer = self.exchange(app, self.authorize(app, user, **query)["code"])
        assert answer.status_code == 200, answer.text
        token: dict[str, object] = answer.json()
        return token

    def verify(self, token: object) -> httpx2.Response:
        return self.get("/api/v1/accounts/verify_credentials", str(token))


def query_of(callback: str) -> dict[str, str]:
    """Return the query that a server has added to the redirect address."""
    assert callback.startswith(f"{CALLBACK}?")
    return {name: values[0] for name, values in parse_qs(urlsplit(callback).query).items()}
