"""PostgreSQL connections that work through any pooler, and on databases of any encoding.

The start-up parameter `options` is not sent, because PgBouncer refuses it by default. Settings are
set by SET LOCAL, in the same message as BEGIN: a pooler may give each transaction another server
connection, and must not pass our settings to another client.
"""

import codecs
import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL

SUBSTITUTE = "\x1a"
_CLIENT_ENCODING = "UTF8"
_SAFE_ENCODINGS = {"UTF8", "SQL_ASCII"}  # SQL_ASCII keeps any bytes
_LISTS_OF_NAMES = {"search_path", "temp_tablespaces"}
_UNKNOWN_TYPE = 0  # in psycopg: any that it does not know, such as an enumeration
_TEXT_TYPES = ("text", "varchar", "bpchar", '"char"', "name", _UNKNOWN_TYPE)
# -c name=value, -cname=value or --name=value; a backslash escapes the character behind it.
# https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-CONNECT-OPTIONS
_OPTION = re.compile(r"\s*(?:-c\s*|--)([A-Za-z_][\w.-]*)=((?:\\.|[^\\\s])*)(?=\s|$)", re.DOTALL)


def settings_in(options: str) -> dict[str, str]:
    """Return the settings in a URL's `options`. Raises ValueError for other options."""
    found, end = {}, 0
    while match := _OPTION.match(options, end):
        name, value = match.groups()
        found[name.replace("-", "_")] = re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
        end = match.end()
    if options[end:].strip():
        raise ValueError("has options other than -c name=value")
    return found


def settings_of(url: URL, settings: Mapping[str, str]) -> dict[str, str]:
    """Return our settings, overridden by those in the URL's `options`."""
    given = url.query.get("options", "")
    return {**settings, **settings_in(given if isinstance(given, str) else " ".join(given))}


def without_options(url: URL) -> URL:
    """Return the URL without `options`, which is not sent."""
    return url.difference_update_query(["options"])


def connect_args(url: URL, *, name: str, timeout_seconds: int, **more: Any) -> dict[str, Any]:
    """Return the driver's arguments for each connection, with `name` as the application name.

    Options that the URL sets are left out, because SQLAlchemy would override them with these.
    """
    ours = {"fallback_application_name": name, "connect_timeout": timeout_seconds, **more}
    return {
        **{option: value for option, value in ours.items() if option not in url.query},
        "client_encoding": _CLIENT_ENCODING,
        # No prepared statements: a pooler may give each transaction another server connection.
        "prepare_threshold": None,
    }


def set_local(settings: Mapping[str, str]) -> str:
    """Return SET LOCAL statements for these settings.

    They take no snapshot, so they may precede the first query of a repeatable-read transaction.
    """
    return "; ".join(
        f"SET LOCAL {'.'.join(map(_identifier, name.split('.')))} TO {_value(name, value)}"
        for name, value in settings.items()
    )


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _value(name: str, value: str) -> str:
    if name.lower() in _LISTS_OF_NAMES:  # a single literal would be a single name
        return ", ".join(map(_identifier, schemas_in(value))) or "''"
    return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def schemas_in(search_path: str) -> list[str]:
    """Return the schemas in a search path, parsed like PostgreSQL."""
    parts = re.findall(r'\s*("(?:[^"]|"")*"|[^,"]+)\s*(?:,|$)', search_path)
    return [
        part[1:-1].replace('""', '"') if part.startswith('"') else part.strip().lower()
        for part in parts
    ]


def prepare(connection: Any) -> None:
    """Make a psycopg connection work with a database of any encoding.

    Characters that the database can't store are sent as U+001A, which no name may contain: log
    records can still be written, and a name with such a character finds no user. Invalid UTF-8
    in a SQL_ASCII database is read as U+FFFD.
    """
    encoding = connection.info.parameter_status("server_encoding") or _CLIENT_ENCODING
    if encoding == "SQL_ASCII":
        # With UTF8, the server would refuse to send invalid UTF-8. Poolers keep this setting
        # separate for each client.
        cursor = connection.cursor()
        cursor.execute("SET client_encoding TO SQL_ASCII")
        cursor.close()
        for name in _TEXT_TYPES:
            connection.adapters.register_loader(name, _tolerant_loader())
    elif encoding not in _SAFE_ENCODINGS and (codec := _codec(encoding)):
        connection.adapters.register_dumper(str, _substituting_dumper(codec))


def _codec(encoding: str) -> str | None:
    """Return Python's name for a PostgreSQL encoding; None if Python lacks it."""
    name = re.sub("^WIN", "cp", encoding)
    try:
        return codecs.lookup({"KOI8R": "koi8-r", "KOI8U": "koi8-u"}.get(name, name)).name
    except LookupError:
        return None


def _substituting_dumper(codec: str) -> Any:
    from psycopg.types.string import StrDumperUnknown  # noqa: PLC0415 comes with an extra

    class Dumper(StrDumperUnknown):
        def dump(self, obj: str) -> Any:
            return super().dump(storable(obj, codec))

    return Dumper


def storable(text: str, codec: str) -> str:
    """Return the text with U+001A for each character that the encoding lacks."""
    try:
        text.encode(codec)
    except UnicodeEncodeError:
        return "".join(each if _can_hold(codec, each) else SUBSTITUTE for each in text)
    return text


def _can_hold(codec: str, character: str) -> bool:
    try:
        character.encode(codec)
    except UnicodeEncodeError:
        return False
    return True


def _tolerant_loader() -> Any:
    from psycopg.adapt import Loader  # noqa: PLC0415 comes with an extra

    class TolerantLoader(Loader):
        def load(self, data: Any) -> str:
            return bytes(data).decode(errors="replace")

    return TolerantLoader
