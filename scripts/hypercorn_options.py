"""Check Hypercorn's command line before scripts/serve creates or prints anything."""

import argparse
import importlib.util
import re
import socket
import stat
from contextlib import suppress
from ipaddress import IPv6Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import hypercorn.__main__
from hypercorn.config import Config, SocketTypeError
from parsers import PrintableParser

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 nothing is bound here
_DEFAULT_PORT = 8000  # Hypercorn's
_PRINTABLE_ARGPARSE = SimpleNamespace(**vars(argparse) | {"ArgumentParser": PrintableParser})
_WORKER_CLASSES = {"asyncio": None, "uvloop": "uvloop"}


class CanNotServe(Exception):  # noqa: N818 named for the fact
    """Hypercorn can't serve with these options; the message says why."""


class CanNotListen(CanNotServe):
    """An address can't be bound; the message says why."""


def config_of(arguments: list[str]) -> Config:
    """Return Hypercorn's configuration for these arguments.

    Its parser exits for --help and for unknown options. Raises CanNotServe.
    """
    configs: list[Config] = []
    # Hypercorn has no public function that parses arguments without serving.
    with (
        patch.object(hypercorn.__main__, "run", configs.append),
        patch.object(hypercorn.__main__, "argparse", _PRINTABLE_ARGPARSE),
    ):
        try:
            hypercorn.__main__.main(arguments)
        except Exception as error:
            raise CanNotServe(f"its configuration can't be read: {_reason(error)}") from error
    (config,) = configs
    _check_types(config)
    _check_workers(config)
    _check_tls(config)
    _check_files(config)
    return config


def listen(config: Config) -> str | None:
    """Bind all addresses, and return a URL for browsers; None if all are Unix sockets.

    Hypercorn inherits the sockets, so no other process can take an address meanwhile. Raises
    CanNotListen.
    """
    config.bind = [_with_port(bind) for bind in config.bind]
    for bind in (*config.bind, *config.insecure_bind):
        _refuse_path_in_use(bind)
    try:
        sockets = config.create_sockets()
    except OverflowError:
        raise CanNotListen("A port must be a number from 0 to 65535") from None
    except (OSError, ValueError, SocketTypeError) as error:
        raise CanNotListen(f"{', '.join(config.bind)}: {_reason(error)}") from error
    scheme = "https" if config.ssl_enabled else "http"
    bound = sockets.secure_sockets if config.ssl_enabled else sockets.insecure_sockets
    urls = [_url_of(scheme, each) for each in bound]
    config.bind = [f"fd://{each.detach()}" for each in bound]
    if config.ssl_enabled:
        config.insecure_bind = [f"fd://{each.detach()}" for each in sockets.insecure_sockets]
        config.quic_bind = [f"fd://{each.detach()}" for each in sockets.quic_sockets]
    return next((url for url in urls if url is not None), None)


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _check_types(config: Config) -> None:
    """Refuse values in a configuration file that would make Hypercorn fail later."""
    for name in ("bind", "insecure_bind", "quic_bind", "server_names"):
        value: Any = getattr(config, name)
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise CanNotServe(f"{name} must be a list of strings")
    for name in ("workers", "backlog", "graceful_timeout", "keep_alive_timeout"):
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise CanNotServe(f"{name} must be a number, 0 or more")
    if not config.bind:
        raise CanNotServe("bind names no address")


def _check_workers(config: Config) -> None:
    if config.worker_class not in _WORKER_CLASSES:
        raise CanNotServe(
            f"the worker class is {config.worker_class}, but must be {' or '.join(_WORKER_CLASSES)}"
        )
    module = _WORKER_CLASSES[config.worker_class]
    if module and importlib.util.find_spec(module) is None:
        raise CanNotServe(f"{module} is not installed: .venv/bin/pip install {module}")
    if config.use_reloader and config.workers == 0:
        config.workers = 1  # Hypercorn reloads a worker, not itself
    if config.root_path and not config.root_path.startswith("/"):
        raise CanNotServe("a root path must begin with /")


def _check_tls(config: Config) -> None:
    if (config.certfile is None) != (config.keyfile is None):
        raise CanNotServe("TLS needs both a certfile and a keyfile")
    if not config.ssl_enabled:
        if config.insecure_bind or config.quic_bind:
            raise CanNotServe("an insecure or QUIC address needs a certfile and a keyfile")
        return
    if config.quic_bind and importlib.util.find_spec("aioquic") is None:
        raise CanNotServe("QUIC needs aioquic, which is not installed")
    # OpenSSL would ask for a missing password in the terminal, and wait.
    config.keyfile_password = config.keyfile_password or ""
    for path in (config.certfile, config.keyfile, config.ca_certs):
        if path is not None and not Path(path).is_file():
            raise CanNotServe(f"{path} is not a file")
    try:
        config.create_ssl_context()
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise CanNotServe(
            "the certificate or its key can't be used, or needs --keyfile-password:"
            f" {_reason(error)}"
        ) from error


def _check_files(config: Config) -> None:
    """Open the files that Hypercorn writes to, and load its logging configuration."""
    try:
        for path in (config.pid_path, config.accesslog, config.errorlog):
            if isinstance(path, str) and path not in {"", "-"}:
                with Path(path).open("a", encoding="utf-8"):
                    pass
        config.logger_class(config)
    except Exception as error:
        raise CanNotServe(f"its log or pid file can't be used: {_reason(error)}") from error


def _with_port(bind: str) -> str:
    """Return the address with its port. Hypercorn would parse [::1] as the host `:`."""
    if bind.startswith("fd://") and not re.fullmatch("fd://[0-9]{1,9}", bind):
        raise CanNotListen(f"{bind} is not the number of a file descriptor")
    if bind.startswith(("unix:", "fd://")):
        return bind
    with suppress(ValueError):
        return f"[{IPv6Address(bind.removeprefix('[').removesuffix(']'))}]:{_DEFAULT_PORT}"
    if bind.startswith("[") or bind.count(":") != 1:
        return bind
    host, _, port = bind.partition(":")
    if not re.fullmatch("[0-9]+", port):
        raise CanNotListen(f"the port in {bind} is not a number")
    return f"{host}:{port}"


def _refuse_path_in_use(bind: str) -> None:
    """Refuse the path of a socket that another server uses; Hypercorn would replace it."""
    path = Path(bind.removeprefix("unix:"))
    if not bind.startswith("unix:") or not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise CanNotListen(f"{path} is not a socket")
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return
    raise CanNotListen(f"Address already in use ({path})")


def _url_of(scheme: str, bound: socket.socket) -> str | None:
    if bound.family not in {socket.AF_INET, socket.AF_INET6}:
        return None
    host, port = bound.getsockname()[:2]
    host = _ANY_ADDRESS.get(host, host)
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
