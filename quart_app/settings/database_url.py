"""The database URL: its plain forms, and each engine's options after the `?`."""

import re
from ipaddress import IPv6Address
from urllib.parse import parse_qsl, unquote

from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from quart_app.hosts import ascii_host
from quart_app.storage.postgresql import settings_in

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
# The grammar of SQLAlchemy's make_url, which takes / and ? in a password. The hosts are libpq's:
# https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-CONNSTRING-URIS
_URL = re.compile(
    r"""
    (?P<scheme>[A-Za-z0-9+_]+)://
    (?:(?P<username>[^:/?@\[\]]*)(?::(?P<password>[^@]*))?@)?
    (?P<hosts>[^/?@]*)
    (?:/(?P<database>[^?]*))?
    (?:\?(?P<query>.*))?
    """,
    re.VERBOSE | re.DOTALL,
)
_HOST = re.compile(r"(?:\[(?P<ipv6>[^\[\]]+)\]|(?P<name>[^:\[\]]*))(?::(?P<port>.*))?")
# A socket's folder, an abstract socket, or a name or address.
_DECODED_HOST = re.compile(r"[/@].+|[^\s/@?#\\\[\]]*")
# A password that could also be a port, with a path or an option that holds the @.
_PORT_OR_PASSWORD = re.compile(r"[0-9]*(,[^/?]*)?[/?]")
_LINE_END = re.compile("[\x00\n\r]")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_SURROGATE = re.compile("[\ud800-\udfff]")  # how Python reads bytes that are not UTF-8
_LARGEST_PORT = 65535
# The options after a SQLite path: https://www.sqlite.org/uri.html, and sqlite3.connect's timeout.
# `vfs` and others are left out: with them the URL could mean something else than a file on disk.
_SQLITE_OPTIONS = {
    "mode": ("ro, rw or rwc", "ro|rw|rwc"),
    "cache": ("private or shared", "private|shared"),
    "immutable": ("0 or 1", "[01]"),
    "nolock": ("0 or 1", "[01]"),
    "timeout": ("a number of seconds", r"[0-9]{1,4}(\.[0-9]{1,3})?"),
    "uri": ("true", "true|1"),
}


def read_database_url(text: str) -> URL:
    """Parse a database URL, plain forms included, and return it with our driver.

    A SQLite URL names its file by a plain path, even if `text` has a `file:` URI. PostgreSQL's
    hosts are in the query (`host`, `port`) if there are several, or if any is a socket's folder.

    Raises ValueError. It says what is wrong without the text, which may hold a password.
    """
    if _SURROGATE.search(text):
        raise ValueError("is not UTF-8 text")
    if text != text.strip():
        raise ValueError("begins or ends with a space or a line end")
    url = _URL.fullmatch(text)
    if url is None:
        if "@" in text:
            raise ValueError("is not a database URL; write %40 for an @ in a name or a password")
        raise ValueError("is not a database URL such as sqlite:///instance/quart_app.db")
    driver = _DRIVERS.get(url["scheme"])
    if driver is None:
        raise ValueError(f"must start with sqlite:/// or postgresql://, not {url['scheme']}:")
    read = _read_sqlite if driver.startswith("sqlite") else _read_postgresql
    return read(driver, url, _read_query(url["query"]))


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("has %-encoded bytes that are not UTF-8") from None


def _read_query(text: str | None) -> list[tuple[str, str]]:
    """Return the options in order; ValueError if an option has no value."""
    if text is None:
        return []
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        pairs = []
    if not pairs:
        raise ValueError(
            "must have NAME=VALUE after its ?; write %3F for a ? in a path, a name or a password"
        )
    return pairs


# --- SQLite --------------------------------------------------------------------------------------


def _read_sqlite(driver: str, url: re.Match[str], pairs: list[tuple[str, str]]) -> URL:
    if url["hosts"] or url["username"] is not None:
        raise ValueError(
            "must have three slashes before a relative path and four for an absolute path"
        )
    path = _sqlite_path(url["database"] or "")
    query: dict[str, str] = {}
    for name, value in pairs:
        if name == "mode" and value == "memory":
            raise ValueError("must name a file: a database in memory is lost with the process")
        if name not in _SQLITE_OPTIONS:
            raise ValueError(
                "has an option after its ? that is not supported for SQLite;"
                " write %3F for a ? in a path"
            )
        allowed, pattern = _SQLITE_OPTIONS[name]
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must have {allowed} as {name}")
        if name in query:
            raise ValueError(f"has {name} twice")
        query[name] = value
    query.pop("uri", None)  # a file: URI is known by its beginning
    return URL.create(driver, database=path, query=query)


def _sqlite_path(text: str) -> str:
    """Return the plain path that the part after the third slash names."""
    if "\\" in text:
        raise ValueError("has a backslash: write / between folders, or %5C for one in a name")
    path = _decoded(text)
    if path.startswith("file:"):
        path = _path_of_uri(path.removeprefix("file:"))
    if path in {"", ":memory:"}:
        raise ValueError("must name a file: a database in memory is lost with the process")
    if _LINE_END.search(path):
        raise ValueError("has a NUL character or a line end in its path")
    if path.endswith(("/", "/.", "/..")) or path in {".", ".."}:
        raise ValueError("names a folder instead of a file")
    # Two slashes at the beginning mean something else to SQLite and POSIX than one slash.
    return re.sub("^/+", "/", path)


def _path_of_uri(text: str) -> str:
    """Return the path of a SQLite `file:` URI, as SQLite finds it."""
    if "#" in text or "?" in text:
        raise ValueError("has a # or ? in its file: URI: write %2523 and %253F for them in a path")
    if text.startswith("//"):
        authority, slash, text = text.removeprefix("//").partition("/")
        if authority not in {"", "localhost"} or not slash:
            raise ValueError("names a host in its file: URI, which must be file: and a path")
        text = f"/{text}"
    return _decoded(text)


# --- PostgreSQL ----------------------------------------------------------------------------------


def _read_postgresql(driver: str, url: re.Match[str], pairs: list[tuple[str, str]]) -> URL:
    if url["password"] and _PORT_OR_PASSWORD.match(url["password"]):
        raise ValueError(
            "can be read in two ways; write %40, %2F and %3F"
            " for an @, a / and a ? in a name, a password or an option"
        )
    username, password, database = (
        None if url[part] is None else _decoded(url[part])
        for part in ("username", "password", "database")
    )
    host, port, listed = _hosts(url["hosts"])
    options = _postgresql_options(pairs)
    if "host" in listed and "host" in options:
        raise ValueError("names its hosts twice, before and after the ?")
    query = listed | options
    for each in (host or "", *query.get("host", "").split(",")):
        _check_host(each)
    if any("\0" in part for part in (username, password, database, *query.values()) if part):
        raise ValueError("has a NUL character")
    read = URL.create(driver, username, password, host, port, database or None, query)
    try:
        read.get_dialect()().create_connect_args(read)
    except ArgumentError:
        raise ValueError("must name as many ports as hosts") from None
    return read


def _hosts(text: str) -> tuple[str | None, int | None, dict[str, str]]:
    """Return the one host and its port, or the options that name several or a socket."""
    hosts, ports = [], []
    for each in text.split(","):
        found = _HOST.fullmatch(each)
        if found is None:
            raise ValueError("has a malformed host; an IPv6 address needs brackets: [::1]")
        host = _decoded(found["ipv6"] or found["name"])
        if found["ipv6"]:
            _check_ipv6(host)
        hosts.append(_looked_up(host))
        ports.append(found["port"] or "")
    _check_ports(ports)
    if len(hosts) == 1 and not hosts[0].startswith(("/", "@")):
        return hosts[0] or None, int(ports[0]) if ports[0] else None, {}
    query = {"host": ",".join(hosts)}
    if any(ports):
        query["port"] = ",".join(ports)
    return None, None, query


def _looked_up(host: str) -> str:
    """Return the host as ASCII by IDNA 2008; Python itself would apply IDNA 2003.

    IDNA 2003 turns straße.example into strasse.example, which is another owner's host.
    """
    if host.isascii() or host.startswith(("/", "@")):
        return host
    try:
        return ascii_host(host)
    except ValueError:
        raise ValueError("has a malformed host") from None


def _check_ipv6(text: str) -> None:
    try:
        IPv6Address(text)
    except ValueError:
        raise ValueError("has a malformed IPv6 address") from None


def _check_host(host: str) -> None:
    try:
        host.encode("idna")  # as the name is looked up: no empty label, none over 63 bytes
    except UnicodeError:
        well_formed = False
    else:
        well_formed = _DECODED_HOST.fullmatch(host) is not None and not _CONTROL.search(host)
    if not (well_formed or host.startswith("/")):
        raise ValueError("has a malformed host")


def _check_ports(ports: list[str]) -> None:
    for port in ports:
        if port and not (re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) <= _LARGEST_PORT):
            raise ValueError(f"names a port outside 1 to {_LARGEST_PORT}")


def _postgresql_options(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Return the options by name; ValueError for an empty or unknown option."""
    try:
        from psycopg.pq import Conninfo  # noqa: PLC0415 comes with the extra `postgres`
    except ImportError:
        raise ValueError("needs psycopg: install quart-app[postgres]") from None
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    options: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise ValueError(
                "has an option after its ? that PostgreSQL does not know;"
                " write %3F for a ? in a name or a password"
            )
        if not value:
            raise ValueError(f"has no value for {name}")
        if name == "connect_timeout" and not re.fullmatch("[0-9]{1,9}", value):
            raise ValueError("must have a number of seconds as connect_timeout")
        if name in options and name != "host":
            raise ValueError(f"has {name} twice")
        options[name] = f"{options[name]},{value}" if name in options else value
    if [name for name, _ in pairs].count("host") > 1:  # host=a:1&host=b:2, as SQLAlchemy has it
        if "port" in options:
            raise ValueError("has ports both in several host options and in port")
        options |= _hosts(options["host"])[2]
    elif "host" in options:
        options["host"] = ",".join(_looked_up(host) for host in options["host"].split(","))
    _check_ports(options.get("port", "").split(","))
    settings_in(options.get("options", ""))
    return options
