"""Find an account by part of its name, its username or its server."""

import unicodedata

from quart_app.instances import account_at, server_of
from quart_app.storage.platforms import Words


def holds(connection: Words, sought: str) -> bool:
    """Tell whether a connection holds what is sought, in any case and without accents.

    The handle is found as it is shown, and the server as it was stored, too.
    """
    username = connection.username or ""
    stored = f"{connection.name} {username} {connection.instance_url}"
    if _folded(sought) in _folded(stored):
        return True
    server = server_of(connection.instance_url)
    shown = f"https://{server} @{account_at(server, username)}@{server}"
    return _folded(sought) in _folded(shown) or server_of(sought) in server


def _folded(text: str) -> str:
    """Return it in lower case and without marks: "cafe" finds "Café". As switcher.js does."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.lower())
    return "".join(each for each in decomposed if not unicodedata.category(each).startswith("M"))
