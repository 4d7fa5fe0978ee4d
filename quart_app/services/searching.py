"""Find an account by part of its name, its username or its server."""

import unicodedata

from quart_app.instances import account_at, server_of
from quart_app.model import PlatformConnection


def holds(connection: PlatformConnection, sought: str) -> bool:
    """Tell whether a connection holds what is sought, in any case and without accents.

    The handle is found as it is shown, and the server as it was stored, too.
    """
    server = server_of(connection.instance_url)
    username = connection.username or ""
    handle = f"@{account_at(server, username)}@{server}"
    words = f"{connection.name} {username} {connection.instance_url} https://{server} {handle}"
    return _folded(sought) in _folded(words) or server_of(sought) in server


def _folded(text: str) -> str:
    """Return it in lower case and without marks: "cafe" finds "Café". As switcher.js does."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.lower())
    return "".join(each for each in decomposed if not unicodedata.category(each).startswith("M"))
