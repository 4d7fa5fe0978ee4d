"""Settings and use cases for one command. Their errors become one sentence and exit code 1."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import click

from quart_app.composition import build_services
from quart_app.errors import AppError, Unavailable
from quart_app.services import Services
from quart_app.settings import PREFIX, Settings, SettingsError

T = TypeVar("T")


@asynccontextmanager
async def services_of(settings: Settings) -> AsyncIterator[Services]:
    """Build the use cases for one command, and close the database afterwards."""
    built = build_services(settings)
    try:
        yield built.services
    finally:
        await built.close()


def read_settings() -> Settings:
    """Return the settings from the environment. Raises ClickException."""
    try:
        return Settings.from_environ()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def run(work: Callable[[Services], Coroutine[Any, Any, T]]) -> T:
    """Run one use case. Raises ClickException with the sentence of an AppError."""

    async def run_with_services() -> T:
        async with services_of(read_settings()) as services:
            return await work(services)

    return run_coroutine(run_with_services())


def run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that may raise an AppError. Raises ClickException with its sentence."""
    try:
        return asyncio.run(coroutine)
    except AppError as error:
        raise click.ClickException(sentence_for_operator(error)) from None


def sentence_for_operator(error: AppError) -> str:
    """Return the error's sentence; if the database is unavailable, say why and name the setting."""
    cause = getattr(error.__cause__, "orig", None) or error.__cause__
    if not isinstance(error, Unavailable) or cause is None:
        return error.sentence
    said = next(iter(str(cause).splitlines()), type(cause).__name__)
    return (
        f"The database does not answer: {said}."
        f" Check {PREFIX}DATABASE_URL, and run `db upgrade` if you have not."
    )
