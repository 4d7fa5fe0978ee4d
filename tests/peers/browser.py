"""What a browser does at a server, by HTTP: opens its page, logs in, allows or denies."""

import ssl
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx2

_SECONDS = 20


class _Form(HTMLParser):
    """The first form of a page: its action, and its fields with their values."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.buttons: set[tuple[str, str]] = set()
        self.is_found = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        name = attributes.get("name", "")
        if tag == "form" and not self.is_found:
            self.is_found, self.action = True, attributes.get("action", "")
        elif tag == "button" or attributes.get("type") == "submit":
            self.buttons.add((name, attributes.get("value", "")))
        elif tag == "input" and name:
            self.fields[name] = attributes.get("value", "")


class Stranded(Exception):  # noqa: N818 what happened to the user
    """The server showed a page of its own instead of going back to the application."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(f"{response.status_code} at {response.url}: {response.text[:500]}")
        self.response = response


def authorize(
    url: str,
    as_user: str,
    *,
    verify: ssl.SSLContext,
    allow: bool = True,
    password: str | None = None,
) -> str:
    """Return the callback's address, with its query, after this user has allowed or denied.

    `verify` trusts the server's certificate. Raises Stranded where the server leads nowhere.
    """
    with httpx2.Client(verify=verify, timeout=_SECONDS, follow_redirects=False) as client:
        page = client.get(url)
        if page.has_redirect_location:
            return page.headers["Location"]
        form = _Form()
        form.feed(page.text)
        if page.status_code != 200 or not form.is_found:
            raise Stranded(page)
        fields = form.fields | _answers(form, as_user, password, allow=allow)
        answer = client.post(urljoin(url, form.action or url), data=fields)
        if not answer.has_redirect_location:
            raise Stranded(answer)
        return answer.headers["Location"]


def _answers(form: _Form, user: str, password: str | None, *, allow: bool) -> dict[str, str]:
    """Return what the user fills in: a stand-in's field for the name, or snac's two."""
    if password is not None:
        assert allow, "snac has no button to deny"
        return {"login": user, "passwd": password}
    decision = ("decision", "allow" if allow else "deny")
    assert decision in form.buttons, f"the page has no such button: {decision[1]}"
    return {"username": user, "decision": decision[1]}
