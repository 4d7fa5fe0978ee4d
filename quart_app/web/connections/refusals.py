"""The headers of answers that the server makes by itself, without the application."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

Field = tuple[bytes, bytes]

_REQUEST_ID: Final = b"x-request-id"


class _Source:
    """Where the headers come from: a function of the application, which this package can't import.

    It returns what every answer of the application has, with a new request id.
    """

    make_headers: Callable[[], Mapping[str, str]] = dict


def use_headers(make_headers: Callable[[], Mapping[str, str]]) -> None:
    """Let refusals of this process have the headers that `make_headers` returns for each."""
    _Source.make_headers = staticmethod(make_headers)


def headers_of_refusal() -> list[Field]:
    """Return the headers of an answer without a body, with a request id of its own."""
    made = _Source.make_headers().items()
    return [
        (b"content-length", b"0"),
        *((name.lower().encode(), text.encode()) for name, text in made),
    ]


def with_headers_of_refusal(headers: Sequence[Field]) -> list[Field]:
    """Return an answer's headers, with those of a refusal if the application did not make it.

    Hypercorn itself answers where the application fails or the server's name is wrong.
    """
    names = {name for name, _ in headers}
    if _REQUEST_ID in names:
        return list(headers)
    return [*headers, *(field for field in headers_of_refusal() if field[0] not in names)]
