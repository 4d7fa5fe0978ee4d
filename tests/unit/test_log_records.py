"""Text in a log record can neither look like another record nor control a terminal."""

import io
import logging
from collections.abc import Iterator

import pytest

from quart_app import log_records

FORGED = '[2026-01-01 00:00:00] INFO in audit: {"event": "login"}'
TEXTS = [
    f"a\n{FORGED}",
    f"a\r\n{FORGED}",
    "\x1b[2J\x9b",
    "a\u2028b\u202ec\x85d",
    "\x0b\x0c\x1c\x00",
]
LOGGERS = ["quart_app", "quart_app.audit", "hypercorn.error", "hypercorn.access", "asyncio", "root"]


@pytest.fixture(autouse=True)
def _installed() -> Iterator[None]:
    former = logging.getLogRecordFactory()
    log_records.install()
    yield
    logging.setLogRecordFactory(former)


@pytest.fixture(params=LOGGERS)
def logger(request: pytest.FixtureRequest) -> logging.Logger:
    return logging.getLogger(None if request.param == "root" else request.param)


@pytest.fixture
def lines(logger: logging.Logger) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        logging.Formatter("[%(asctime)s] %(levelname)s in %(module)s: %(message)s")
    )
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


def assert_one_record(written: str) -> None:
    first, *others = written.removesuffix("\n").split("\n")
    assert first.startswith("[")
    assert all(line.startswith("    ") for line in others)
    assert all(line.isprintable() for line in (first, *others))


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_a_message_is_one_printable_line(
    logger: logging.Logger, lines: io.StringIO, text: str
) -> None:
    logger.error("a path: %s", text)
    assert_one_record(lines.getvalue())
    lines.truncate(0)
    lines.seek(0)
    logger.error(text)
    assert_one_record(lines.getvalue())


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_a_traceback_is_indented_and_printable(
    logger: logging.Logger, lines: io.StringIO, text: str
) -> None:
    def fail() -> None:
        try:
            raise KeyError(text)  # noqa: TRY301
        except KeyError:
            raise ValueError(text) from None

    try:
        fail()
    except ValueError as error:
        error.add_note(text)
        logger.exception("%s", text, stack_info=True)
    assert_one_record(lines.getvalue())
    assert "ValueError: " in lines.getvalue()


def test_values_that_do_not_fit_the_format_are_shown_beside_it(
    logger: logging.Logger, lines: io.StringIO
) -> None:
    logger.error("%d of %s", "\x1b", "a", "b")  # noqa: PLE1205 that is the case
    assert_one_record(lines.getvalue())
    assert "%d of %s" in lines.getvalue()


def test_an_empty_exc_info_is_ignored(logger: logging.Logger, lines: io.StringIO) -> None:
    logger.error("no exception", exc_info=True)  # noqa: LOG014 that is the case
    assert_one_record(lines.getvalue())
