"""Sources of settings: the environment, `.env` files, and files of one secret each."""

import errno
import os
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from dotenv.parser import parse_stream

from quart_app.settings.errors import PREFIX, SettingsError

SECRETS_FILE = Path("instance/.env")
_ENV_FILES = (SECRETS_FILE, Path(".env"))  # the later wins; the environment wins over both
_SECRETS = {
    *("SECRET_KEY", "SECRET_KEY_FALLBACKS", "PLATFORM_ENCRYPTION_KEY"),
    *("DATABASE_URL", "DATABASE_LISTEN_URL"),
}
SECRET_FILES = {f"{name}_FILE" for name in _SECRETS}
_LF = "\n"
_LARGEST_FILE_BYTES = 64 * 1024  # a device such as /dev/zero never ends


def given_settings(environ: Mapping[str, str] | None, directory: Path) -> dict[str, str]:
    """Return our settings from the environment and the files, with names without the prefix.

    Raises SettingsError.
    """
    given: dict[str, str] = {}
    for path in _ENV_FILES:
        if (directory / path).is_fifo():  # reading it could wait for ever
            raise SettingsError(f"The file {path} can't be read: it is a pipe")
        try:
            given |= _ours(_read_env_file(directory, path))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"The file {path} can't be read: {_reason(error)}") from None
    return given | _ours(os.environ if environ is None else environ)


def _read_env_file(directory: Path, path: Path) -> dict[str, str]:
    """Return the file's settings; a line of ours without a value is refused, not ignored."""
    values: dict[str, str] = {}
    for line in parse_stream(StringIO(_text_of(directory / path))):
        text = line.original.string
        if line.key is not None and line.value is not None and not line.error:
            values[line.key] = line.value
        elif PREFIX in text.partition("#")[0]:
            blank = text[: len(text) - len(text.lstrip())]
            raise SettingsError(
                f"The file {path} has no NAME=VALUE in line {line.original.line + blank.count(_LF)}"
            )
    return values


def _ours(environ: Mapping[str, str | None]) -> dict[str, str]:
    return {
        name.removeprefix(PREFIX): value.removeprefix("\ufeff")
        for name, value in environ.items()
        if name.startswith(PREFIX) and value is not None
    }


def read_secret_files(given: dict[str, str], directory: Path) -> None:
    """Set secrets from their files, which a vault may have written, under their own names."""
    for name in [name for name in given if name.removesuffix("_FILE") in _SECRETS]:
        secret = name.removesuffix("_FILE")
        if secret == name:
            continue
        if secret in given:
            raise SettingsError(
                f"{PREFIX}{secret} and {PREFIX}{name} are both set. Remove one of them"
            )
        try:
            text = _text_of(directory / given.pop(name))
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{PREFIX}{name} can't be read: {_reason(error)}") from None
        given[secret] = text.rstrip("\r\n")


def _text_of(path: Path) -> str:
    """Return a file's text without its byte order mark.

    Raises OSError. Raises UnicodeDecodeError, also for UTF-16 without such a mark.
    """
    with path.open("rb") as file:
        content = file.read(_LARGEST_FILE_BYTES + 1)
    if len(content) > _LARGEST_FILE_BYTES:
        raise OSError(errno.EFBIG, f"it has more than {_LARGEST_FILE_BYTES} bytes")
    text = content.decode("utf-8-sig")
    if "\0" in text:
        raise UnicodeDecodeError("utf-8", content, 0, len(content), "a NUL character")
    return text.replace("\ufeff", "")  # concatenated files have it in between, too


def _reason(error: OSError | UnicodeDecodeError) -> str | None:
    return error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
