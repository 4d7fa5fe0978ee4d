"""The errors that use cases and request checks raise and the web answers."""

from collections.abc import Iterator

from quart_app import app  # noqa: F401 imports every module that has one
from quart_app.errors import AppError, Category
from quart_app.fediverse.errors import ServerError

_ANSWERED = ("quart_app.errors", "quart_app.services", "quart_app.fediverse", "quart_app.web")


def answered_errors() -> set[type[AppError]]:
    """Return the classes of errors; those of commands have no category."""
    return {
        kind
        for kind in _subclasses(AppError)
        if kind.__module__.startswith(_ANSWERED)
        and kind.category is not Category.FAILED
        and kind is not ServerError  # only its subclasses are raised
    }


def _subclasses(kind: type[AppError]) -> Iterator[type[AppError]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)
