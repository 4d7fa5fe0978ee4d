"""Find an account by part of its name, its username or its server."""

import unicodedata

from quart_app.instances import account_at, server_of
from quart_app.storage.platforms import SearchFields


def holds(connection: SearchFields, sought: str) -> bool:
    """Return whether a connection contains the search text, ignoring case and accents.

    The text may match the handle and server as they are shown, or as they are stored.
    """
    username = connection.username or ""
    stored = f"{connection.name} {username} {connection.instance_url}"
    if _folded(sought) in _folded(stored):
        return True
    server = server_of(connection.instance_url)
    shown = f"https://{server} @{account_at(server, username)}@{server}"
    return _folded(sought) in _folded(shown) or server_of(sought) in server


def _folded(text: str) -> str:
    """Return the text in lower case without marks, like switcher.js: "cafe" finds "Café"."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.lower())
    return "".join(each for each in decomposed if not unicodedata.category(each).startswith("M"))
